//! Takes the data of one tenant out of its home, and into another one.
//!
//! * [`Export`] writes a directory: `tenant.json`, which says what is there, and a file of rows for each table. On SQLite,
//!   one file has all tables. All of it is as it was at **one moment**, whatever is written meanwhile, and is read in the
//!   **tenant's own session by the application's role**: what a request of the tenant could not see is not exported.
//! * [`Import`] checks the whole directory before it uses any of it, and takes it in with **one transaction**: all or
//!   nothing. The home must be there with the same migrations, and its tables must be empty, or may be
//!   [replaced](Import::replace). The owner of the tables writes; where tenants share tables, the application's role does,
//!   in the new tenant's session, so that policies check each row.
//! * Both **stream**: a table may be larger than memory. A row is held in memory at most.
//! * An export that was broken off is never taken for a whole one: it has another name, and no `tenant.json`.
//! * A directory may come from anybody. Nothing in it becomes SQL or a path: tables are looked up by name among those of the
//!   home, rows are values. What is missing, changed, or should not be there is refused.
//!
//! | | rows are read by | and written by |
//! |---|---|---|
//! | PostgreSQL | `COPY … TO` in a repeatable read transaction | `COPY … FROM`, tables that others refer to first |
//! | MySQL, MariaDB | `SELECT` in a consistent snapshot | `INSERT` with bound values, references checked at the end |
//! | SQLite | `VACUUM INTO` | `INSERT … SELECT` from the attached file, references checked at the end |
//!
//! A home of PostgreSQL may be a schema in the export and a database where it is imported, or the other way round.
//!
//! **Caveats.** Not exported: large objects, materialized views, temporary and foreign tables, privileges, and where tenants
//! share tables, tables without policies and the values of sequences. There, keys must differ between tenants for a copy
//! beside the original. Triggers do not run at an import on PostgreSQL and SQLite, but where tenants share tables; on MySQL
//! they do. An import needs a home that nobody else migrates or imports into, and one that is not served.
//! Values of `oid` and the types that name objects keep their text.
//!
//! A tenant of SQLite is copied:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::{Connection, Sqlite, SqliteConnection};
//! use tenancy_core::{TenantId, TenantRecord};
//! use tenancy_sqlx::{
//!     database::{Server, TenantHomes},
//!     transfer::{Export, Import},
//! };
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let homes = TenantHomes::<Sqlite>::builder()
//!     .server("files", Server::at(format!("sqlite://{}", directory.display())))
//!     .build()?;
//! for id in ["acme", "copy"] {
//!     let file = format!("sqlite://{}/tenant_{id}.db?mode=rwc", directory.display());
//!     let mut connection = SqliteConnection::connect(&file).await?;
//!     sqlx::raw_sql("CREATE TABLE notes (text TEXT NOT NULL)").execute(&mut connection).await?;
//!     if id == "acme" {
//!         sqlx::raw_sql("INSERT INTO notes VALUES ('hello')").execute(&mut connection).await?;
//!     }
//!     connection.close().await?;
//! }
//!
//! let [acme, copy] = ["acme", "copy"].map(|id| TenantRecord::new(TenantId::new(id).unwrap()));
//! Export::of(&homes, &acme).to(directory.join("export")).await?;
//! let report = Import::into(&homes, &copy).from(directory.join("export")).await?;
//! assert_eq!((report.tables, report.rows), (1, 1));
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

#![cfg_attr(
    not(feature = "postgres"),
    allow(
        dead_code,
        reason = "what tells tenants of one database apart is used where there are such"
    )
)]

mod engine;
mod error;
mod export;
mod import;
mod incoming;
mod manifest;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(any(feature = "postgres", test))]
mod order;
mod outgoing;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod progress;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use self::{engine::Transfers, outgoing::remove_export};
pub use self::{
    error::TransferError,
    export::{Export, ExportReport},
    import::{Import, ImportReport},
    manifest::ExportedTenant,
    progress::TransferProgress,
};
