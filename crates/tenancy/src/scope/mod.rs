//! For whom code runs: the current tenant, far from the handler too, and what ends with a request.
//!
//! * In a request the scope is current during every poll of the handler's future and of the response's body, and
//!   in nothing else. It is put back after success, error, panic and hang-up, and nests.
//! * [`run`], [`central`] and [`run_for_many`] open scopes elsewhere; they need a [`Tenant`](crate::Tenant), which
//!   is had from a request or from [`Tenancy::enter`](crate::Tenancy::enter).
//! * [`spawn`], [`spawn_blocking`], [`carry`] and [`carry_callback`] take the scope along. A plain `tokio::spawn` has none: code there that needs a tenant
//!   finds none, never another one. What the cache serves stale there is not noticed by a load that waits for it: it keeps what it makes
//!   of that as if it were new.
//! * [`put`], [`get`] and [`on_exit`] keep values and clean-up for one request. Values that live with the
//!   application belong into axum's state instead.
//!
//! **Caveats.** A body whose exact length is known is buffered data as a rule, and is handed on as it is, without a
//! wrapper: a body type of your own that knows its length and runs code while it is polled runs outside of the
//! scope, unless something is registered for the request. The current scope is not a proof: functions that touch
//! tenant data should take a [`Tenant`](crate::Tenant).
//!
//! [`current`] takes no lock and allocates nothing. Entering costs two exchanges of a thread-local for each poll.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, scope};
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//!
//! let (with, without) = scope::run(&acme, async {
//!     let with = scope::spawn(async { scope::current_tenant() }).await.unwrap();
//!     let without = tokio::spawn(async { scope::current_tenant() }).await.unwrap();
//!     (with, without)
//! })
//! .await;
//! assert_eq!((with, without), (Some(acme), None));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::scope::{self, NoScope};
//!
//! struct Basket(Vec<&'static str>);
//!
//! scope::central(async {
//!     scope::put(Basket(vec!["apple"]))?;
//!     scope::on_exit(|| println!("runs last"))?;
//!     scope::on_exit(|| println!("runs first"))?;
//!     assert_eq!(scope::get::<Basket>().unwrap().0, ["apple"]);
//!     Ok::<_, NoScope>(())
//! })
//! .await?;
//! assert!(scope::get::<Basket>().is_none());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod body;
mod current;
mod future;
mod run;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use body::ScopedBody;
pub use current::{Scope, current, current_tenant};
pub(crate) use current::{Slot, has_seen_stale, note_stale, with_current};
pub use future::Scoped;
pub use run::{
    Panicked, RunForMany, TenantOutcome, carry, carry_callback, central, run, run_for_many, spawn,
    spawn_blocking,
};
pub(crate) use run::{metered, panic_message, run_load};
pub use values::{NoScope, get, on_exit, put};
