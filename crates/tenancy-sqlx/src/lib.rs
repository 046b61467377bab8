//! The durable catalogue of tenants.
//!
//! [`store::SqlStore`] keeps tenants and their domains in an embedded SQLite file, on PostgreSQL, or on MySQL or MariaDB. It is a
//! [`TenantStore`](tenancy_core::TenantStore) that can list and watch, so that requests never wait for it, and
//! it is what operators change tenants through. [`file::TenantsFile`] reads tenants from a TOML file, to
//! register them at start. [`adopt`] makes a catalogue of tables that an application has already.
//!
//! A change is one transaction with one change number. Numbers commit in order, the log of changes outlives a
//! purge, and an id that was used once is never given again.
//!
//! Features: `sqlite` (default; compiles SQLite), `postgres` and `mysql` bring the [`store`] module, for that database each;
//! `handoff` keeps the single-use tokens of `tenancy::handoff` beside the catalogue, and `domains` the claims of
//! `tenancy::domains`; both depend on `tenancy`.
//! `databases` brings the databases of tenants (modules `database`, `isolation`, `audit`, `batch`, `outbox`, `pool`, `migrate`, `transfer`), on PostgreSQL
//! with `postgres`, on MySQL and MariaDB with `mysql`, on SQLite with `sqlite`.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy_core::{TenantKey, TenantStore};
//! use tenancy_sqlx::{NewTenant, store::SqlStore};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("catalogue.db");
//! let store = SqlStore::connect(&path).await?;
//!
//! let mut acme = NewTenant::new("acme");
//! acme.plan = Some("pro".into());
//! acme.domains = vec!["shop.acme.example".into()];
//! store.create(acme).await?;
//!
//! let found = store.find(&TenantKey::domain("shop.acme.example")?).await?;
//! assert_eq!(found.unwrap().id, "acme");
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(
        dead_code,
        unused_imports,
        reason = "without any database, nobody uses what all of them do"
    )
)]

pub mod adopt;
#[cfg(feature = "databases")]
pub mod audit;
#[cfg(feature = "databases")]
pub mod batch;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod central;
#[cfg(feature = "databases")]
pub mod database;
#[cfg(feature = "databases")]
mod engine;
mod error;
pub mod file;
#[cfg(all(
    feature = "databases",
    any(feature = "sqlite", feature = "postgres", feature = "mysql")
))]
pub mod guide;
#[cfg(feature = "databases")]
pub mod isolation;
#[cfg(all(
    feature = "databases",
    any(feature = "sqlite", feature = "postgres", feature = "mysql")
))]
pub mod lifecycle;
#[cfg(all(
    feature = "databases",
    any(feature = "sqlite", feature = "postgres", feature = "mysql")
))]
pub mod migrate;
mod names;
#[cfg(feature = "databases")]
pub mod outbox;
#[cfg(feature = "databases")]
pub mod pool;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub mod store;
mod tenant;
#[cfg(feature = "databases")]
pub mod transfer;

#[cfg(feature = "databases")]
pub use engine::TenantEngine;
pub use error::CatalogueError;
pub use names::{RESERVED_NAMES, canonical_domain};
pub use tenant::{DomainDetails, NewTenant, TenantDetails, TenantPatch};
