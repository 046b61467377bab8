//! Guides: how the parts work together, from the first request to what can go wrong.
//!
//! | guide | answers |
//! |---|---|
//! | [Identify a tenant](identify_a_tenant) | which tenant a request is for, and what a client gets if that can not be told |
//! | [Order of stages](order_of_stages) | what happens to a request before your router, and how to change it |
//! | [Routes](routes) | which routes tenants see, which nobody's hosts see, and for whom code runs |
//! | [Jobs, cron and sockets](jobs_cron_sockets) | how code outside of requests gets a tenant, and when it loses it |
//!
//! Their examples are compiled and run with the tests of this crate.

/// From a request to its tenant: identifiers, host rules, stores.
#[doc = include_str!("../docs/identify-a-tenant.md")]
pub mod identify_a_tenant {}

/// What a request passes before your router, why in this order, and how to change it.
#[doc = include_str!("../docs/order-of-stages.md")]
pub mod order_of_stages {}

/// Tenant, central and universal routes, and the scope in which they run.
#[doc = include_str!("../docs/routes.md")]
pub mod routes {}

/// Queues, cron, WebSockets and streams; what is kept for each tenant.
#[doc = include_str!("../docs/jobs-cron-sockets.md")]
pub mod jobs_cron_sockets {}
