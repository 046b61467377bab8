//! The databases of tenants, in a handler and outside of one.
//!
//! * [`TenantDb`] is an extractor. It opens nothing: the first connection is asked for by [`begin`](TenantDb::begin),
//!   [`acquire`](TenantDb::acquire) or [`read`](TenantDb::read). What these return derefs to sqlx's connection, so that queries
//!   stay as they are.
//! * A tenant's [`TenantDb`] can be had for the tenant of a request, or for one that [`Tenancy::enter`](tenancy::Tenancy::enter)
//!   gave: there is no other way to its data.
//! * Where it lives is for [`isolation`](crate::isolation) to say. The message that begins the transaction also enters the
//!   tenant's schema or rows: this costs no round trip.
//! * A transaction that is dropped is rolled back, also when its future was dropped in the middle of a statement, before
//!   anybody else has the connection. See [`pool`](crate::pool).
//! * [`DatabaseError`] is a response: 503 with `Retry-After` for a database that is busy or away, in the words of the
//!   application's own [`on_rejection`](tenancy::stack::TenancyBuilder::on_rejection). It names no tenant and no server.
//! * [`build`](TenantDatabasesBuilder::build) looks at each server first, and refuses a login that policies do not bind and
//!   whatever else would show one tenant to another: see [`audit`](crate::audit).
//!
//! **Caveats.** A transaction holds a connection until it ends: do not wait for others inside of one. After a migration
//! changed the type of a column, the statements that a connection remembers are stale:
//! [`transaction`](TenantDb::transaction) tries again, once, and [`forget`](TenantDatabases::forget) closes them all.
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # mod example {
//! use axum::{Router, routing::get};
//! use sqlx::Postgres;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_sqlx::{
//!     database::{DatabaseError, Server, TenantDatabases, TenantDb},
//!     isolation::Isolation,
//! };
//!
//! async fn notes(db: TenantDb<Postgres>) -> Result<String, DatabaseError> {
//!     let mut transaction = db.begin().await?;
//!     let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM notes")
//!         .fetch_one(&mut *transaction)
//!         .await?;
//!     transaction.commit().await?;
//!     Ok(format!("{count} notes"))
//! }
//!
//! async fn app() -> Result<(), Box<dyn std::error::Error>> {
//!     let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//!     let databases = TenantDatabases::<Postgres>::builder(&tenancy)
//!         .server("main", Server::at("postgres://app@db/app").owner("postgres://owner@db/app").budget(100))
//!         .isolation(Isolation::database())
//!         .build()
//!         .await?;
//!     let app = tenancy.wrap(Router::new().route("/notes", get(notes)).with_state(databases));
//! #   drop(app);
//!     Ok(())
//! }
//! # }
//! ```
//!
//! Outside of requests, and with files:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::Sqlite;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_sqlx::{database::{Server, TenantDatabases}, isolation::Isolation};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().display();
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! # tenancy.ready().await;
//! let databases = TenantDatabases::<Sqlite>::builder(&tenancy)
//!     .server("files", Server::at(format!("sqlite://{directory}?mode=rwc")).budget(50))
//!     .isolation(Isolation::file())
//!     .build()
//!     .await?;
//!
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let mut transaction = databases.of(&acme).begin().await?;
//! sqlx::query("CREATE TABLE notes (text TEXT)").execute(&mut *transaction).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod builder;
mod claims;
mod databases;
mod db;
mod guarded;
mod homes;
mod lease;
mod operate;
mod response;
mod server;

pub use self::{
    builder::{BuildError, TenantDatabasesBuilder},
    databases::TenantDatabases,
    db::TenantDb,
    guarded::{GuardedQuery, GuardedTransaction},
    homes::{TenantHomes, TenantHomesBuilder},
    lease::{TenantConnection, TenantTransaction},
    operate::{ClientHome, Login},
    server::Server,
};
pub use crate::pool::{BudgetShares, DatabaseError};
