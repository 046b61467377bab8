//! What an application uses in its own tests: requests of a tenant, made-up tenants, and a service that records.
//!
//! * [`as_tenant`] and [`as_central`] put a router behind the stack, for one tenant or for none: no server, no `Host`,
//!   no store. A test that exists changes in one line.
//! * [`fake`] and [`TenantFactory`] make tenants. The handles are real: each comes out of a stack that resolved it.
//! * [`Recorder`] is an inner service that keeps what reached it. [`ManualClock`] stands still until it is moved.
//!   [`caught_up`] waits until a stack has seen what a store holds, without sleeping.
//! * `assert_growth` (feature `memory`) sends many requests and fails where memory grows with them.
//! * [`cache`] has a second cache level in memory that can be hurt, and a loader that stops in the middle of a load.
//! * [`conformance`] is what every [`TenantStore`](tenancy_core::TenantStore) must do, and every
//!   [`SharedLevel`](tenancy::cache::shared::SharedLevel), to be run against yours.
//!
//! **Caveats.** For tests: what is impossible panics, with the place in your test. Every call with a name makes a tenant
//! anew, as if in a process of its own: to compare handles, make one with [`fake`] and pass that. How requests are resolved
//! is not tested by `as_tenant`; for that, build the application's own `Tenancy` and send requests with hosts.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::Tenant;
//! use tenancy_test::as_tenant;
//! use tower::ServiceExt;
//!
//! let router = Router::new().route("/", get(|tenant: Tenant| async move { format!("hello {tenant}") }));
//!
//! // The one line that changes: `let app = router;` before.
//! let app = as_tenant(router, "acme");
//!
//! let response = app.oneshot(Request::get("/").body(Body::empty())?).await?;
//! assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, "hello acme");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{Tenant, core::TenantStatus};
//! use tenancy_test::{TenantFactory, as_tenant};
//! use tower::ServiceExt;
//!
//! let router = Router::new().route("/plan", get(|tenant: Tenant| async move {
//!     tenant.record().plan.as_deref().unwrap_or("free").to_owned()
//! }));
//! let factory = TenantFactory::new();
//! let paying = factory.next().plan("pro").settings(serde_json::json!({"seats": 5}));
//! let suspended = factory.next().status(TenantStatus::Suspended);
//!
//! let request = || Request::get("/plan").body(Body::empty());
//! assert_eq!(as_tenant(router.clone(), paying).oneshot(request()?).await?.status(), 200);
//! assert_eq!(as_tenant(router, suspended).oneshot(request()?).await?.status(), 403);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod app;
pub mod cache;
mod caught_up;
pub mod conformance;
mod factory;
mod fake;
#[cfg(feature = "memory")]
mod growth;
// Text alone: an application compiles none of it.
#[cfg(any(doc, doctest))]
pub mod guide;
mod recorder;
#[cfg(all(feature = "servers", target_os = "linux"))]
pub mod servers;

pub use tenancy_core::{Clock, ManualClock};

#[cfg(feature = "memory")]
pub use crate::growth::{GrowsTooMuch, GrowthCheck, MeasuredGrowth, assert_growth};
pub use crate::{
    app::{TestApp, TestAppFuture, as_central, as_tenant},
    caught_up::caught_up,
    factory::{TenantDraft, TenantFactory, memory_store},
    fake::{FakeTenant, IntoTenant, fake},
    recorder::{Recorded, Recorder, Recording},
};
