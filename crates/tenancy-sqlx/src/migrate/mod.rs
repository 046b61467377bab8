//! Migrates the databases, schemas or files of all tenants.
//!
//! * **Up to date costs nothing.** The catalogue knows which tenants are at the version, and where they were then. They
//!   are not connected to: a run over tenants that are all up to date is one look at the catalogue.
//! * **Existing ledgers count.** What `sqlx migrate` applied to a tenant stands in its `_sqlx_migrations`, and this goes
//!   on with that table. A migration whose text was changed, or that this program does not know, fails its tenant.
//! * **Any number of processes.** Those with the same migrations share one work list; those with others are refused
//!   while a run is under way. A process that is killed loses nothing: after [its lease](FleetSettings::lease) others go
//!   on with its tenants, and so does the next run.
//! * **Canaries first.** Until they are migrated nobody else is begun, and if one fails, nobody is. After that, the run
//!   [ends](FleetSettings::stop_at) when too many tenants failed. What failed is tried again by the next run.
//! * **One migration, one transaction**, together with its row of the ledger, on PostgreSQL and SQLite. Two tenants never
//!   share one. Statements wait for locks no longer than [`lock_timeout`](FleetSettings::lock_timeout), since they keep
//!   requests waiting behind them.
//! * **One at a time.** A session lock in the tenant's own database keeps two processes apart even if the catalogue is
//!   mistaken, and ends with the session.
//!
//! # Apart from transactions
//! A file that begins with `-- no-transaction`, for `CREATE INDEX CONCURRENTLY`, and every file on MySQL and MariaDB,
//! where changes of a schema commit at once, is run statement by statement. Each is journaled in the tenant's database
//! (`_tenancy_migration_steps`), so that a run that was killed goes on with the statement that it stood at. That one may
//! have had its effect: if it makes what is there, or drops what is not, it is taken for done. An invalid index of its name
//! is dropped first.
//!
//! # Caveats
//! * Schemas and databases must be there. Their role must own the tables.
//! * The server must be reached without a pooler in transaction mode, which would hand the session's lock on.
//! * Statements inside of stored programs of MySQL are not told apart: a `CREATE PROCEDURE`, `FUNCTION`, `TRIGGER` or
//!   `EVENT` must be the last statement of its file.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::postgres::PgConnectOptions;
//! use tenancy_sqlx::{
//!     migrate::{FleetMigrator, MigrationPlace, Migrations},
//!     store::{SqlStore, SqlStoreOptions},
//! };
//!
//! let store = SqlStore::open(SqlStoreOptions::url("postgres://app@db.internal/app")?).await?;
//! let migrations = Migrations::from_directory("migrations/tenants").await?;
//! let owner: PgConnectOptions = "postgres://owner@db.internal/app".parse()?;
//! let fleet = FleetMigrator::<sqlx::Postgres>::builder(&store, migrations, move |record| {
//!     Ok(MigrationPlace::database(owner.clone().database(record.id.as_str())))
//! })
//! .build()
//! .await?;
//!
//! let report = fleet.migrate().await?;
//! for failed in &report.failed {
//!     eprintln!("{}: {}", failed.tenant, failed.reason);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A file of SQLite for each tenant:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::{SqlSafeStr as _, migrate::{Migration, MigrationType, Migrator}, sqlite::SqliteConnectOptions};
//! use tenancy_sqlx::{
//!     NewTenant,
//!     migrate::{FleetMigrator, MigrationPlace, Migrations},
//!     store::SqlStore,
//! };
//!
//! # let directory = tempfile::tempdir()?;
//! # let folder = directory.path().to_owned();
//! let store = SqlStore::connect(folder.join("catalogue.db")).await?;
//! store.create(NewTenant::new("acme")).await?;
//!
//! let notes = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)".into_sql_str();
//! let notes = Migration::new(1, "notes".into(), MigrationType::Simple, notes, false);
//! let migrations = Migrations::new(&Migrator::with_migrations(vec![notes]));
//! let fleet = FleetMigrator::builder(&store, migrations, move |record| {
//!     let file = folder.join(format!("{}.db", record.id));
//!     Ok(MigrationPlace::<sqlx::Sqlite>::database(
//!         SqliteConnectOptions::new().filename(file).create_if_missing(true),
//!     ))
//! })
//! .build()
//! .await?;
//!
//! assert_eq!(fleet.migrate().await?.migrated, 1);
//! assert_eq!(fleet.migrate().await?.up_to_date, 1);
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod compare;
mod error;
mod fleet;
mod ledger;
mod place;
mod report;
mod set;
mod settings;
mod statements;
mod stepwise;
mod tenant;

pub(crate) use compare::is_missing_table;
pub use compare::{FleetPlan, LedgerComparison};
#[cfg(feature = "postgres")]
pub(crate) use ledger::LEDGER;
#[cfg(feature = "postgres")]
pub(crate) use stepwise::TABLE as STEPS;

pub use error::MigrationError;
pub use fleet::{FleetMigrator, FleetMigratorBuilder};
pub use place::MigrationPlace;
pub use report::{FailedTenant, MigrationEvent, MigrationReport, RunOutcome};
pub use set::Migrations;
pub use settings::FleetSettings;
