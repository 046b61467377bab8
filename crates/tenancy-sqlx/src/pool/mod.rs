//! Connections to the databases of tenants: one pool for each server, with one budget over all of its tenants.
//!
//! * [`TenantPools::acquire`] takes a [`Tenant`](tenancy::Tenant), which only the stack makes: there is no way to a
//!   connection without being in the scope of a tenant, and none to another tenant's.
//! * The budget counts open connections, whether they are opened, idle, used, cleaned or closed. It is never passed. A
//!   connection in use is never taken away.
//! * A tenant's own idle connection is had at once; else one is opened; else, where connections may be shared, an idle
//!   one of another tenant is taken over; else the one that was idle for longest is closed for it; else the request waits.
//!   Tenants that wait take turns, so that a flood of one costs the others one round. Who has a connection is given
//!   another tenant's place only if its own would not come round in the time that opening one takes. While
//!   connections are short, one tenant has a third of what it [may have](PoolSettings::max_per_tenant) otherwise.
//! * A [`Lease`] that was used is reset before anybody else has it, and the server's answer to the reset says so. A
//!   future that was dropped in `begin`, in a query or in `commit` leaves nothing to the next borrower; a statement that
//!   still runs is cancelled on the server. What can not be taken away closes the connection. Prepared statements of
//!   sqlx survive.
//! * A server that fails is asked once in a while and not by everybody; a missing database or a refused login concerns
//!   its tenant alone. A change of the tenant's record takes a remembered failure back.
//! * Where a tenant was before its record changed, no connection leads any more: idle ones are closed, used ones when
//!   they are given back.
//! * Several processes share the budget of a server with [`BudgetShares`], through the catalogue that they have in common.
//!
//! **Caveats.** Opening and cleaning run in tasks of the runtime in which the pools were built. What extensions of a
//! server keep in a session, and functions that are registered on a SQLite connection, is not reset. On MySQL, a variable
//! that was set inside of a `SELECT` stays in its tenant's connection (on MariaDB it closes it). Behind a pooler in
//! transaction mode every connection is closed after use, and an error says so once. After a statement that was dropped while
//! it was prepared, sqlx-mysql 0.9.0 may panic in the task that cleans; the connection is closed then. Built with
//! `panic = "abort"`, that would end the process.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::{Sqlite, sqlite::SqliteConnectOptions};
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_sqlx::pool::{PoolSettings, Target, TenantPools};
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! # tenancy.ready().await;
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().to_owned();
//! let pools = TenantPools::<Sqlite>::builder(move |record| {
//!     Target::database(&format!("{}/{}.db", directory.display(), record.id))
//! })
//! .server("files", SqliteConnectOptions::new().create_if_missing(true), PoolSettings::new(50))
//! .build();
//!
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let mut lease = pools.acquire(&acme).await?;
//! sqlx::query("CREATE TABLE notes (text TEXT)").execute(&mut *lease).await?;
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! What an operator may want to see:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use sqlx::{Sqlite, sqlite::SqliteConnectOptions};
//! use tenancy_sqlx::pool::{PoolSettings, Target, TenantPools};
//!
//! let settings = PoolSettings::new(20)
//!     .max_per_tenant(4)
//!     .wait_timeout(Duration::from_secs(1));
//! let pools = TenantPools::<Sqlite>::builder(|record| Target::database(&format!("data/{}.db", record.id)))
//!     .server("files", SqliteConnectOptions::new(), settings)
//!     .build();
//!
//! let figures = pools.figures("files").ok_or("there is no such server")?;
//! assert_eq!((figures.open, figures.waiting, figures.budget), (0, 0, 20));
//! pools.close().await;
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

pub(crate) mod breaker;
mod control;
mod core;
mod departures;
mod error;
mod figures;
mod janitor;
mod lease;
mod open;
mod pools;
mod server;
mod settings;
mod shares;
pub(crate) mod target;

pub(crate) use self::pools::Servers;
pub use self::{
    error::DatabaseError,
    figures::{PoolFigures, TenantFigures},
    lease::Lease,
    pools::{TenantPools, TenantPoolsBuilder},
    settings::PoolSettings,
    shares::BudgetShares,
    target::{Sharing, Target},
};
