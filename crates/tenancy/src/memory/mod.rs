//! What each request, route and tenant allocates, frees, keeps and needs at most.
//!
//! * The application installs the meter: `#[global_allocator] static ALLOCATOR: Metered<System> = Metered::new(System);`, around
//!   jemalloc or mimalloc as well. Without it nothing is counted: the log says so once, and [`RequestMemory::usage`] is an error, never zero.
//! * [`TenancyBuilder::memory`](crate::stack::TenancyBuilder::memory) adds the stage `memory`, outside of all others. [`MemoryLayer`] is that stage alone, as
//!   a tower layer.
//! * The account is open during every poll and the drop of the response's future and body, and in everything that
//!   [`scope::spawn`](crate::scope::spawn), [`spawn_blocking`](crate::scope::spawn_blocking) and [`carry`](crate::scope::carry) start. It closes when the body
//!   has ended or is dropped and all of that has ended.
//! * [`RequestMemory`] tells a handler what its request has used so far; [`Tenant::memory`](crate::Tenant::memory) and [`MemoryTotals`] sum up
//!   what has closed, for each tenant and each route.
//! * A request that needs more than [`warn_over`](MemorySettings::warn_over) (1 MiB) is named in the log, with its route and tenant.
//!
//! **What it cannot know.** What the request's body takes while the connection reads it, and the response's frames once they were handed to the
//! connection: those are `escaped`, and `retained` is an indication. Tasks of a plain `tokio::spawn`, of rayon or of a driver's pool: their share is
//! [`process_totals`]`().unattributed`. C libraries with an allocator of their own; `mmap`; stacks; page cache. Sizes are those asked for. A body whose
//! exact length is known is handed on as it is, as data that is there already: what code in such a body allocates is not seen, and nobody can tell whether
//! the client took it all. A value that the cache loads is the cache's ([`Purpose::Cache`]), not the request's that waits for it. What runs outside of
//! requests, in a [`scope::run`](crate::scope::run) or a job, is in no account and no tenant's.
//!
//! **Cost.** One allocation for a request, and one more where its body is streamed. Awaits nothing; the clock is read only where a warning is due.
//!
//! ```standalone_crate
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::alloc::System;
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{
//!     MemoryStore, Tenancy,
//!     memory::{MemorySettings, Metered, RequestMemory},
//!     resolve::Subdomain,
//! };
//! use tower::ServiceExt;
//!
//! #[global_allocator]
//! static ALLOCATOR: Metered<System> = Metered::new(System);
//!
//! async fn report(memory: RequestMemory) -> String {
//!     let rows = vec![0_u8; 4_000_000];
//!     let usage = memory.usage().expect("the meter is installed");
//!     format!("{} rows, {} bytes at most", rows.len(), usage.peak)
//! }
//!
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .memory(MemorySettings::new().warn_over(2 * 1024 * 1024))
//!     .build()?;
//! let app = tenancy.wrap(Router::new().route("/report", get(report)));
//! let request = Request::get("/report").header("host", "acme.example.com").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), 200);
//!
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! assert!(acme.memory().unwrap().largest > 3_900_000);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod account;
mod body;
mod extract;
mod layer;
mod metering;
mod settings;
mod stage;
mod survivors;
mod tenant;
mod totals;
mod warning;

pub(crate) use account::{Keeper, note_route, note_tenant};
pub use extract::{MemoryUnavailable, RequestMemory};
pub use layer::MemoryLayer;
pub(crate) use metering::{Metering, mark_as_running_code};
pub use settings::{Measure, MemorySettings};
pub(crate) use stage::{begin, check_budget};
pub use survivors::RequestScoped;
pub use tenancy_memory::{
    Account, Metered, Owned, ProcessTotals, Purpose, PurposeUsage, Totals, Usage, are_owners_kept, charge_to,
    is_installed, process_totals, purposes, switch,
};
pub(crate) use tenant::{OwnerSearch, TenantMemory};
pub use totals::{MemoryTotals, RouteMemory};
