//! What requests take and how they end, for each tenant and for all: exported, and at hand in this process. Needs the
//! feature `metrics`.
//!
//! * [`RequestMetricsLayer`] counts requests, through the [`metrics`](https://docs.rs/metrics) facade: any exporter takes
//!   it. Handles are looked up once and kept, the tenant's in its control block: a request builds no label.
//! * [`Metrics::last`] answers what was in the last ten seconds to two hours, without an exporter: see [`window`].
//! * [`Metrics::record`] takes figures of the application's own, for the tenant that code runs for.
//! * [`TenantSlots`] says which tenants have series of their own; the rest share `_other`, so that totals are right.
//! * A service that panics, or fails without a response, is counted as one that answered with 500.
//! * Gauges come back when a request is dropped, panics, or its body is: nothing has to run for that.
//!
//! | name | type | labels |
//! |---|---|---|
//! | `http_server_request_duration_seconds` | histogram | `method`, `route`, `status_class` |
//! | `http_server_active_requests` | gauge | `method` |
//! | `http_server_request_body_size_bytes`, `http_server_response_body_size_bytes` | histogram | `route` |
//! | `http_server_aborted_requests_total` | counter | `phase`: `future`, `body` |
//! | `tenant_requests_total` | counter | `tenant`, `outcome`: `ok`, `client`, `server`, `aborted` |
//! | `tenant_request_duration_seconds` | histogram | `tenant` |
//! | `tenant_active_requests` | gauge | `tenant` |
//! | `tenant_slots_in_use`, `tenant_overflow_total` | gauge, counter | |
//! | `metrics_unknown_names_total`, `metrics_unusable_values_total` | counter | |
//! | `metrics_minutes_dropped_total`, `metrics_minutes_unreadable_total` (with a store) | counter | |
//! | the application's own | histogram | `tenant` |
//!
//! Durations end when the head of the response is ready; a request is active until its body has ended. Sizes are of bodies
//! whose length is known. A method that is not of RFC 9110 or 5789 is `_OTHER`; a request without a matched route is
//! `_unmatched`. No label is made of what a client sent.
//!
//! **Where the layer stands.** Inside of the resolve stage it knows the tenant, and, if the stack
//! [tracks routes](crate::stack::TenancyBuilder::track_routes), the route. Outside of the stack it counts what
//! is refused too, but all requests are `_none` there. In a `Router::layer` it knows both, and sees only what is routed.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, metrics::{Metrics, RequestMetricsLayer, TenantSlots}, resolve::Subdomain, stack::Stage};
//! use tower::ServiceExt;
//!
//! let metrics = Metrics::builder().slots(TenantSlots::top(50)).build()?;
//! metrics.start();
//!
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?)
//!     .insert_after(Stage::Resolve, RequestMetricsLayer::new(&metrics))
//!     .track_routes(true)
//!     .build()?;
//! let app = tenancy.wrap(Router::new().route("/orders/{id}", get(|| async { "an order" })));
//!
//! let request = Request::get("/orders/7").header("host", "acme.example.com").body(Body::empty())?;
//! app.oneshot(request).await?;
//!
//! let acme = "acme".parse()?;
//! let requests = metrics.last(Duration::from_secs(60)).tenant(&acme).stats()?;
//! assert_eq!((requests.samples(), requests.error_ratio()), (1, Some(0.0)));
//! assert_eq!(metrics.labels(), ["acme"]);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! With `metrics-exporter-prometheus`, install the recorder first, and set buckets for the durations. Never set its
//! `idle_timeout` with these: handles are kept, and what they count after the exporter has forgotten their series is seen
//! by nobody. A tenant that loses its slot leaves its series behind until the process ends: see
//! [`TenantSlots::held_for`].

mod builder;
mod hub;
mod registry;
mod request;
mod series;
mod slots;
mod spec;
mod table;
mod top;
pub mod window;

#[cfg(test)]
mod tests;

pub(crate) use self::series::Seat;
pub use self::{
    builder::{MetricsBuilder, MetricsError},
    hub::Metrics,
    request::{RequestMetrics, RequestMetricsFuture, RequestMetricsLayer},
    slots::{CENTRAL, OTHER, TenantSlots, UNRESOLVED},
    spec::{MetricSpec, REQUEST_DURATION},
    window::{MemoryWindowStore, NodeMinute, QueryError, Window, WindowStats, WindowStore, WindowStoreError},
};
