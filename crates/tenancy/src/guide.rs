//! Guides: how the parts work together, from the first request to what can go wrong.
//!
//! | guide | answers |
//! |---|---|
//! | [Add to an existing app](add_to_an_existing_app) | how an application that runs takes the stack in, and out again |
//! | [Roll out and roll back](roll_out_and_back) | how a stack that only watches becomes one that refuses |
//! | [Why did I get 404, 403 or 503?](why_404_403_503) | from an answer to its reason |
//! | [Local development](local_development) | tenants on localhost, a tenant for requests that name none, CORS |
//! | [Identify a tenant](identify_a_tenant) | which tenant a request is for, and what a client gets if that can not be told |
//! | [Order of stages](order_of_stages) | what happens to a request before your router, and how to change it |
//! | [Auth, sessions and SSO](auth_sessions_sso) | how sessions and tokens of one tenant are kept from all others; impersonation; one callback host |
//! | [Your own tenants table](own_tenants_table) | how tenants come from a table that you have already, and how to take that back |
//! | [Custom domains](custom_domains) | how a tenant claims a domain and proves it, and how certificates come about |
//! | [Routes](routes) | which routes tenants see, which nobody's hosts see, and for whom code runs |
//! | [Jobs, cron and sockets](jobs_cron_sockets) | how code outside of requests gets a tenant, and when it loses it |
//! | [Cache per tenant](cache_per_tenant) | what a tenant has cached, for how long, in how much memory, in which processes |
//! | [Flush, and what it promises](flush_and_what_it_promises) | when what was changed is served nowhere, and what can delay that |
//! | [Keep whole responses](response_cache) | which pages of a route are kept, for whom, until when |
//! | [Warm up](warm_up) | what is loaded before it is asked for, when, and what that may take; why a key is not cached |
//! | Find the request that eats memory (`find_the_request_that_eats_memory`, with the feature `memory`) | which route of which tenant takes how much |
//! | [Watch it](watch_it) | how a process says that it works, and which tenant is not well |
//! | Logs per tenant (`logs_per_tenant`, with the feature `log`) | the tenant in each line, more or less of one tenant |
//!
//! Their examples are compiled and run with the tests of this crate.

/// Into an application that exists: own tables, own sign-in, workers, tests.
#[doc = include_str!("../docs/add-to-an-existing-app.md")]
pub mod add_to_an_existing_app {}

/// Credentials bound to tenants, cookies, impersonation, and single sign-on over one host.
#[doc = include_str!("../docs/auth-sessions-sso.md")]
pub mod auth_sessions_sso {}

/// Domains of customers: claimed, proven, served, with certificates.
#[doc = include_str!("../docs/custom-domains.md")]
pub mod custom_domains {}

/// From a request to its tenant: identifiers, host rules, stores.
#[doc = include_str!("../docs/identify-a-tenant.md")]
pub mod identify_a_tenant {}

/// Tenants on your own machine: names under localhost, a dev tenant, front-ends on other ports, CORS.
#[doc = include_str!("../docs/local-development.md")]
pub mod local_development {}

/// What a request passes before your router, why in this order, and how to change it.
#[doc = include_str!("../docs/order-of-stages.md")]
pub mod order_of_stages {}

/// Tenants from tables that an application has already.
#[doc = include_str!("../docs/own-tenants-table.md")]
pub mod own_tenants_table {}

/// Tenant, central and universal routes, and the scope in which they run.
#[doc = include_str!("../docs/routes.md")]
pub mod routes {}

/// Queues, cron, WebSockets and streams; what is kept for each tenant.
#[doc = include_str!("../docs/jobs-cron-sockets.md")]
pub mod jobs_cron_sockets {}

/// Values of each tenant, remembered in this process and in those beside it.
#[doc = include_str!("../docs/cache-per-tenant.md")]
pub mod cache_per_tenant {}

/// What a flush does, by when, in which process; how to test it; Redis.
#[doc = include_str!("../docs/flush-and-what-it-promises.md")]
pub mod flush_and_what_it_promises {}

/// Whole responses of a route, kept for each tenant.
#[doc = include_str!("../docs/response-cache.md")]
pub mod response_cache {}

/// Recipes: what tenants need, loaded at their first use, after a flush, after a deploy.
#[doc = include_str!("../docs/warm-up.md")]
pub mod warm_up {}

/// From a process that grows to the route and the tenant that make it grow.
#[cfg(feature = "memory")]
#[doc = include_str!("../docs/find-the-request-that-eats-memory.md")]
pub mod find_the_request_that_eats_memory {}

/// Probes, checks in the background, and the health of tenants.
#[doc = include_str!("../docs/watch-it.md")]
pub mod watch_it {}

/// The tenant in each line of the log, and a level for each tenant.
#[cfg(feature = "log")]
#[doc = include_str!("../docs/logs-per-tenant.md")]
pub mod logs_per_tenant {}

/// Stages that only watch, what they count, and the switches.
#[doc = include_str!("../docs/roll-out-and-back.md")]
pub mod roll_out_and_back {}

/// Every reason for a refusal, and what to do about it.
#[doc = include_str!("../docs/why-404-403-503.md")]
pub mod why_404_403_503 {}
