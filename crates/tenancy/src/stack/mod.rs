//! The stack: all stages around your router, as one layer, in an order you can change.
//!
//! Default order, outside in: panic catch · maintenance (of the whole service) · resolve · gate · body limit ·
//! deadline · cache scope · your router.
//!
//! * [`Tenancy::wrap`] and [`Tenancy::routes`] put it around whole routers, before routing. That is where it belongs:
//!   inside `Router::layer` it runs after routing, too late for a tenant in the path, and costs more.
//! * Stages are phases of one future. A layer of your own goes between any two of them with
//!   [`TenancyBuilder::insert_after`] and [`TenancyBuilder::insert_before`]; the rest of the stack is one boxed service there.
//! * An order that makes no sense is refused when the stack is built, with every mistake named.
//! * The stack never answers with an error: what is refused gets a small response; see [`rejection`](crate::rejection).
//!
//! **Caveats.** A panic is caught only by unwinding: programs built with `panic = "abort"` end. The deadline covers
//! the time until the answer begins, not its body, so that event streams and downloads live.
//!
//! For a tenant that is known, all stages together allocate once for the request's extension and let the
//! extension map grow once; they await nothing.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let app = tenancy.wrap(Router::new().route("/", get(|tenant: Tenant| async move { format!("hello {tenant}") })));
//!
//! let request = Request::get("/").header("host", "acme.example.com").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), 200);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use axum::http::HeaderValue;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, stack::{Order, Stage}};
//! use tower_http::set_header::SetResponseHeaderLayer;
//!
//! let versioned = SetResponseHeaderLayer::overriding(
//!     axum::http::HeaderName::from_static("x-version"),
//!     HeaderValue::from_static("7"),
//! );
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .order(Order::from_names(["maintenance", "resolve", "gate", "body_limit"])?)
//!     .body_limit(64 * 1024)
//!     .insert_after(Stage::Resolve, versioned)
//!     .build()?;
//! assert_eq!(
//!     tenancy.order().to_string(),
//!     "maintenance · resolve · (layer) · gate · body_limit · your router"
//! );
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod builder;
mod composite;
mod layer;
mod mistake;
mod order;
mod phase;
mod service;
mod tenancy;

pub use builder::{TenancyBuilder, check_public_url};
pub use composite::{BoxedService, TenancyFuture, TenancyService};
pub use layer::StageLayer;
pub use mistake::{ConfigError, ConfigMistake};
pub use order::{Order, OrderError, OrderMistake, Stage};
pub(crate) use phase::SegmentShared;
#[cfg(feature = "memory")]
pub(crate) use phase::Step;
pub use service::{ResponseFuture, StageService};
pub use tenancy::{CatalogueState, EnterError, OrderInForce, Tenancy, TenancyStatus};
