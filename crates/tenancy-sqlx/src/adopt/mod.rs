//! A catalogue over tables that an application has already.
//!
//! [`Adoption`] says which table and columns hold the tenants, and writes the SQL that makes a catalogue of them:
//! views of a fixed shape, triggers that number every change, and a few small tables of their own. The application's
//! tables get no column and lose none; [`Adoption::removal`] takes all of it out again.
//!
//! * Changes stay where they are made today: in the application, by whatever SQL. Triggers see them in the same
//!   transaction, so that what is rolled back was never seen.
//! * A row that is deleted and made anew under the same id is another tenant: it gets another incarnation.
//! * Names are quoted, texts are escaped: nothing that is given here becomes SQL of its own.
//!
//! ```
//! use tenancy_core::TenantStatus;
//! use tenancy_sqlx::adopt::{Adoption, DomainsTable};
//!
//! let mut customers = Adoption::new("customers", "id");
//! customers.slug = Some("subdomain".into());
//! customers.status = Some("state".into());
//! customers.status_map = vec![("live".into(), TenantStatus::Active), ("late".into(), TenantStatus::Suspended)];
//! customers.domains = Some(DomainsTable::new("customer_domains", "host", "customer_id"));
//!
//! let sql = customers.sqlite()?;
//! assert!(sql.contains("CREATE VIEW tenancy_tenants"));
//! # Ok::<(), tenancy_sqlx::CatalogueError>(())
//! ```
//!
//! Applied, and read by a [`SqlStore`](crate::store::SqlStore):
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
//! use tenancy_core::{TenantKey, TenantStore};
//! use tenancy_sqlx::{adopt::{AdoptedData, Adoption}, store::{SqlStore, SqlStoreOptions}};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("app.db");
//! let mut app = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await?;
//! sqlx::raw_sql(
//!     "CREATE TABLE customers (id INTEGER PRIMARY KEY, subdomain TEXT, name TEXT);
//!      INSERT INTO customers VALUES (1, 'acme', 'Acme Ltd')",
//! )
//! .execute(&mut app)
//! .await?;
//!
//! let mut customers = Adoption::new("customers", "id");
//! customers.slug = Some("subdomain".into());
//! customers.data = AdoptedData::Columns(vec!["name".into()]);
//! customers.apply(&path).await?; // or `tenancy catalogue adopt`, and your own migration
//!
//! let store = SqlStore::open(SqlStoreOptions::new(&path).adopted()).await?;
//! let acme = store.find(&TenantKey::slug("acme")?).await?.unwrap();
//! assert_eq!(acme.attachment().and_then(|data| data.json()), Some(r#"{"name":"Acme Ltd"}"#));
//!
//! sqlx::raw_sql("UPDATE customers SET subdomain = 'acme-shop'").execute(&mut app).await?;
//! assert!(store.find(&TenantKey::slug("acme")?).await?.is_none());
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # The fixed shape
//!
//! This is what a store reads. [`Adoption`] makes all of it; views written by hand do as well.
//!
//! | object | columns |
//! |---|---|
//! | view `tenancy_tenants` | `id`, `slug`, `status`, `plan`, `tenant_type`, `settings`, `data`, `placement_server`, `placement_database`, `maintenance`: text; `epoch`, `incarnation`, `created_at_ms`, `updated_at_ms`: integers. Never NULL are `id`, `slug`, `status`, `epoch`, `incarnation` |
//! | view `tenancy_domains` | `tenant_id`, `domain`: text, in lower case; a row for each domain |
//! | table `tenancy_change_head` | `number`: of the last change; `floor`: the oldest that the log holds. One row |
//! | table `tenancy_changes` | `number`, without gaps; `stamp`, random; `tenant_id`; `kind`; `keys`, such as `["slug:acme","domain:acme.example"]`: every key that the tenant lost or got; `actor`, may be NULL; `at_ms` |
//! | view `tenancy_schema` | `version` 1, `oldest_reader` 1, `applied_at_ms`, `kind` `'adopted'`, `triggers`: how many there must be whose names begin with `tenancy_on_`. One row |
//!
//! Each change is a row of `tenancy_changes` and moves `number`, in the transaction that changes the tenant. `epoch` is
//! the number of the tenant's last change, `incarnation` that of its creation: a row that is deleted and made anew has
//! another. The log holds one row at least.
//!
//! # Caveats
//!
//! * SQLite runs no trigger for a row that `REPLACE` removes. A tenant removed for its id or slug is seen all the same; one
//!   removed for another unique column, or a domain's row, is not. `PRAGMA recursive_triggers = ON` in the application
//!   makes SQLite run them.
//! * SQLite refuses to rename a table while a view names one that is gone, and drops triggers with their table. Before a
//!   migration that rebuilds the table, run [`removal`](Adoption::removal) with [`Removal::KeepNumbers`], and adopt again
//!   after it. A store that runs meanwhile serves what it knows, and says that the catalogue does not answer.
//! * The tables get indexes of their own, on the id as text (unique) and on domains; on MySQL none.
//! * A transaction that changes a tenant holds the change number until it ends, and others that change tenants wait for
//!   it: keep such transactions short, and change tenants in the same order in each. Changes of columns that the catalogue
//!   does not read wait for nothing. Under `REPEATABLE READ` or `SERIALIZABLE`, PostgreSQL may ask the application to try
//!   again, as for any row that two change.
//! * PostgreSQL: triggers run once for a statement, `TRUNCATE` included, with the rights of who adopted. They are found by
//!   their functions, whose names begin with `tenancy_on_`, and one that is missing or disabled is noticed each second.
//! * MySQL and MariaDB: triggers run for each row, and not at all for `TRUNCATE` and for what a foreign key deletes or
//!   changes: `tenancy catalogue check` ([`faults`](crate::store::SqlStore::faults)) finds what they missed, and whether
//!   triggers are missing. Making them needs the right `TRIGGER`, and where the binary log is on, also
//!   `log_bin_trust_function_creators`. Reading needs the right `TRIGGER`, to see that they are there. An id in binary
//!   form (`BINARY(16)`) cannot be adopted, and dates without a zone are taken for UTC.
//! * The kind of isolation of a tenant is chosen in code: adopted tables have none.
//!
//! ```
//! use tenancy_sqlx::adopt::Adoption;
//!
//! // The tables of Laravel's stancl/tenancy, as they are.
//! let sql = Adoption::stancl().sqlite()?;
//! assert!(sql.contains("tenancy_db_name"));
//!
//! let mut wrong = Adoption::new("customers", "id");
//! wrong.plan = Some("plan->not a key'".into());
//! assert!(wrong.sqlite().unwrap_err().is_invalid());
//! # Ok::<(), tenancy_sqlx::CatalogueError>(())
//! ```

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod apply;
mod columns;
mod mysql;
mod postgres;
mod source;
mod sqlite;

use tenancy_core::TenantStatus;

use crate::CatalogueError;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use apply::{columns, columns_at};

/// Which tables and columns hold the tenants. See the [module](self).
///
/// Where a column is asked for, `column->key` means the value of that key in a column of JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adoption {
    /// The table with one row for each tenant.
    pub table: String,
    /// Its column with the tenant's id: a text, a number, or a UUID as text or as a blob (shown in hex then). Unique.
    pub id: String,
    /// The short name, for subdomains and paths. Compared in lower case. Unset, the id is the short name.
    pub slug: Option<String>,
    /// The status. Unset, every tenant is active.
    pub status: Option<String>,
    /// What the application's words for a status mean; an empty word stands for NULL. A word that is neither here nor
    /// one of `active`, `suspended`, `pending`, `deleted` leaves the tenant out.
    pub status_map: Vec<(String, TenantStatus)>,
    /// Name of the plan.
    pub plan: Option<String>,
    /// What kind of customer it is.
    pub tenant_type: Option<String>,
    /// Settings, as JSON text.
    pub settings: Option<String>,
    /// Maintenance, as the JSON text of [`Maintenance`](tenancy_core::Maintenance); NULL while there is none.
    pub maintenance: Option<String>,
    /// Name of the server with the tenant's data.
    pub placement_server: Option<String>,
    /// Name of the database, schema or file with the tenant's data.
    pub placement_database: Option<String>,
    /// When the tenant was created: seconds or milliseconds since 1970, or a date and time that SQLite reads.
    pub created_at: Option<String>,
    /// What `tenant.data()` gives to handlers.
    pub data: AdoptedData,
    /// The table with the tenants' domains. Unset, tenants have none.
    pub domains: Option<DomainsTable>,
    /// As stancl/tenancy has it: a domain without a dot is a subdomain.
    stancl: bool,
}

/// What of its own row a tenant carries along. None, unless set: a row may hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptedData {
    /// Nothing.
    #[default]
    None,
    /// These columns, as a JSON object with their names. Blobs are written in hex.
    Columns(Vec<String>),
    /// One column that holds JSON text.
    Json(String),
}

/// The table that holds domains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DomainsTable {
    /// The table; it may be that of the tenants.
    pub table: String,
    /// Its column with the domain. Compared in lower case; Unicode ones must stand in their `xn--` form.
    pub domain: String,
    /// Its column with the tenant's id.
    pub tenant: String,
}

impl DomainsTable {
    /// The table, its column with the domain, and its column with the tenant's id.
    pub fn new(table: impl Into<String>, domain: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            domain: domain.into(),
            tenant: tenant.into(),
        }
    }
}

/// What [`Adoption::removal`] leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// Nothing: the file is as it was before the adoption.
    Everything,
    /// The tables with change numbers and incarnations, for a table that is rebuilt and then adopted again: its tenants
    /// stay the same tenants.
    KeepNumbers,
}

impl Adoption {
    /// A table and its column with the tenant's id. Every tenant is active, and its id is its short name.
    pub fn new(table: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            id: id.into(),
            slug: None,
            status: None,
            status_map: Vec::new(),
            plan: None,
            tenant_type: None,
            settings: None,
            maintenance: None,
            placement_server: None,
            placement_database: None,
            created_at: None,
            data: AdoptedData::None,
            domains: None,
            stancl: false,
        }
    }

    /// The tables of Laravel's stancl/tenancy: `tenants` with JSON in `data`, and `domains`.
    ///
    /// The database is `tenancy_db_name`, the plan is `plan`, maintenance is `maintenance_mode`, all in `data`. A domain
    /// without a dot is a subdomain and becomes the tenant's short name. `tenant.data()` gives `data` without the
    /// database user's name and password.
    pub fn stancl() -> Self {
        let in_data = |key: &str| Some(format!("data->{key}"));
        Self {
            plan: in_data("plan"),
            placement_database: in_data("tenancy_db_name"),
            created_at: Some("created_at".into()),
            data: AdoptedData::Json("data".into()),
            domains: Some(DomainsTable::new("domains", "domain", "tenant_id")),
            stancl: true,
            ..Self::new("tenants", "id")
        }
    }

    /// The SQL for a database, to be run where the application's tables are.
    ///
    /// One transaction on SQLite and PostgreSQL; on MySQL and MariaDB each statement stands for itself, and a run that was
    /// broken off is run again. Running it again, with other columns too, replaces what it made before; tenants keep their
    /// incarnations. It fails on a managed catalogue. Run it so that it stops at the first error.
    ///
    /// # Errors
    /// Invalid when a name or a text cannot stand in SQL, or belongs to tenancy itself.
    pub fn sql(&self, dialect: SqlDialect) -> Result<String, CatalogueError> {
        match dialect {
            SqlDialect::Sqlite => sqlite::adoption(self),
            SqlDialect::Postgres => postgres::adoption(self),
            SqlDialect::MySql => {
                let about = "The tenancy catalogue over your own tables.";
                mysql::adoption(self).map(|steps| mysql::text(about, &steps))
            }
        }
    }

    /// [`sql`](Self::sql) for SQLite: `sqlite3 -bail FILE`.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub fn sqlite(&self) -> Result<String, CatalogueError> {
        self.sql(SqlDialect::Sqlite)
    }

    /// The SQL that takes the adoption out of a database, whichever columns it was made of. Running it where there is none
    /// changes nothing.
    pub fn removal_sql(dialect: SqlDialect, what: Removal) -> String {
        match dialect {
            SqlDialect::Sqlite => sqlite::removal(what),
            SqlDialect::Postgres => postgres::removal(what),
            SqlDialect::MySql => mysql::text(
                "Takes the tenancy catalogue out of your tables.",
                &mysql::removal(what),
            ),
        }
    }

    /// [`removal_sql`](Self::removal_sql) for SQLite.
    pub fn removal(what: Removal) -> String {
        Self::removal_sql(SqlDialect::Sqlite, what)
    }
}

/// Whose SQL to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SqlDialect {
    /// SQLite 3.38 and newer.
    Sqlite,
    /// PostgreSQL 13 and newer.
    Postgres,
    /// MySQL 8.0.21 and newer, MariaDB 10.6 and newer.
    MySql,
}

impl SqlDialect {
    /// What speaks at a URL: `sqlite:`, `postgres://`, `mysql://` or `mariadb://`; `None` for any other.
    pub fn of_url(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::MySql),
            _ => None,
        }
    }
}
