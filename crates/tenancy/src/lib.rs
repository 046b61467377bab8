//! Multi-tenancy for axum as a stack of tower layers.
//!
//! Every request knows its tenant before routing; nothing of one tenant is seen by another.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
//!
//! async fn hello(tenant: Tenant) -> String {
//!     format!("hello from {}", tenant.id())
//! }
//!
//! let tenants = MemoryStore::of(["acme", "globex"])?;
//! let tenancy = Tenancy::new(Subdomain::of("localhost")?, tenants);
//! let app = tenancy.wrap(Router::new().route("/", get(hello)));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # if false {
//! axum::serve(listener, app).await?;
//! # }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # The parts
//!
//! | module | what it does |
//! |---|---|
//! | [`resolve`] | finds the tenant: host rules, identifiers, look-up |
//! | [`stack`] | all stages as one layer, in an order you can change |
//! | [`routes`] | tenant, central and universal routers |
//! | [`gate`] | status and maintenance |
//! | [`scope`] | the current tenant, and what ends with a request |
//! | [`extract`] | `Tenant`, `Option<Tenant>`, `Central`, `Resolution` |
//! | [`rejection`] | what refused requests get, and why |
//! | [`rollout`] | stages that count what they would refuse, and refuse nothing |
//! | [`credential`] | a session or token of one tenant is refused by all others |
//! | [`domains`] | custom domains: claimed, verified, and told to the proxy that makes certificates |
//! | [`handoff`] | single-use tokens: impersonation, single sign-on over one host |
//! | [`schedule`] | jobs for every tenant, one run at a time across processes |
//! | [`resource`] | what an application keeps for each tenant, made at first use |
//! | [`secret`] | values that are shown nowhere |
//! | [`cache`] | values of each tenant, remembered in this process and in those beside it |
//! | [`response_cache`] | whole responses of routes, kept for each tenant |
//! | [`health`] | checks in the background, probes, tenants that are not well |
//! | [`event`] | what happens, told to a listener |
//! | `log` | the tenant in each line of the log, and a log level for each (feature `log`) |
//! | `memory` | what each request, route and tenant allocates (feature `memory`) |
//! | `metrics` | figures of requests and of the application's own, for each tenant (feature `metrics`) |
//! | [`empty`] | empty form fields as nothing |
//! | [`core`] | ids, keys, records, and the traits to implement |
//! | [`guide`] | guides, from the first request to single sign-on |
//!
//! # What it does not do
//!
//! It does not authenticate: a header or a path says which tenant is *meant*, not that the client may act in it.
//!
//! # Crate features
//!
//! * `http1`, `http2` (both on): what `axum::serve` speaks. Without `http2`, WebSockets over HTTP/2 are refused.
//! * `log`: what `tracing-subscriber` needs to say for which tenant a line was written.
//! * `memory` (off): the memory of requests is counted, where the application's allocator is the meter of `tenancy-memory`.
//! * `metrics`: what is counted for each tenant, on the `metrics` facade.
//! * `dns`, `http-check` (both off): proof of custom [`domains`] by a DNS record, or by a request to them.

pub mod cache;
pub mod credential;
pub mod domains;
pub mod empty;
pub mod event;
pub mod extract;
pub mod gate;
// Text alone: an application compiles none of it.
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod handoff;
pub mod health;
mod hex;
mod home;
mod limit;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(not(feature = "memory"))]
mod memory {
    //! The same seams, with nothing in them.

    pub(crate) use self::metering::Metering;

    mod metering {
        #[derive(Debug, Default)]
        pub(crate) struct Metering {
            _nothing: (),
        }

        impl Metering {
            pub(crate) fn carried() -> Self {
                Self::default()
            }

            pub(crate) fn of_cache() -> Self {
                Self::default()
            }

            pub(crate) fn is_on(&self) -> bool {
                false
            }

            #[inline(always)]
            pub(crate) fn run<R>(&mut self, run: impl FnOnce() -> R) -> R {
                run()
            }

            pub(crate) fn finish(self, _: &mut http::Response<axum::body::Body>) {}
        }
    }
}
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod rejection;
pub mod resolve;
pub mod resource;
pub mod response_cache;
pub mod rollout;
pub mod routes;
pub mod schedule;
pub mod scope;
pub mod secret;
pub mod stack;
mod store;
mod tenant;
mod tenant_ref;

pub use tenancy_core as core;

pub use crate::{
    extract::Central,
    secret::Secret,
    stack::Tenancy,
    store::{MemoryStore, MemoryStoreError},
    tenant::{DataError, SettingsError, Tenant, UrlError},
    tenant_ref::TenantRef,
};

/// For this workspace's benches and fuzz targets only: parts of the whole by themselves. No stability is promised.
#[doc(hidden)]
pub mod bench {
    use axum::body::Body;
    use http::Request;

    pub use crate::cache::{CacheEntry, MemoryLevel};
    use crate::{Tenancy, resolve::Outcome, tenant::GateState};

    /// Resolves a request and checks the tenant's status, without handing the tenant over.
    pub fn resolve_only(tenancy: &Tenancy, request: &Request<Body>) -> bool {
        match tenancy.resolver().resolve(request) {
            Outcome::Found(found) => found
                .resolution
                .tenant()
                .is_some_and(|tenant| tenant.gate_state() == GateState::Open),
            Outcome::Refused(_) | Outcome::Ask(_) => false,
        }
    }
}
