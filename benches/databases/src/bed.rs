//! Servers with tenants to measure on.

use sqlx::{Connection, PgConnection, Postgres as Pg, postgres::PgConnectOptions};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_bench::Failure;
use tenancy_sqlx::pool::{PoolSettings, Target, TenantPools};
use tenancy_test::servers::{Postgres, PostgresOptions, Role};

/// How the pools under measurement call the one server that they have.
pub(crate) const SERVER: &str = "main";

/// Tenants `t0`, `t1` and so on.
pub(crate) struct Tenants {
    handles: Vec<Tenant>,
    /// Keeps the handles fresh.
    _tenancy: Tenancy,
}

impl Tenants {
    pub(crate) async fn new(count: usize) -> Result<Self, Failure> {
        let ids: Vec<String> = (0..count).map(name_of).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str))?;
        let tenancy = Tenancy::new(Subdomain::of("example.com")?, store);
        tenancy.ready().await;
        let mut handles = Vec::with_capacity(count);
        for id in &ids {
            handles.push(tenancy.enter(&id.parse()?).await?);
        }
        Ok(Self {
            handles,
            _tenancy: tenancy,
        })
    }

    pub(crate) fn get(&self, tenant: usize) -> &Tenant {
        &self.handles[tenant]
    }

    pub(crate) fn count(&self) -> usize {
        self.handles.len()
    }
}

/// The name of a tenant, of its database and of its schema.
pub(crate) fn name_of(tenant: usize) -> String {
    format!("t{tenant}")
}

/// A server of PostgreSQL.
pub(crate) struct PgBed {
    server: Postgres,
}

/// What each database of a tenant has: 100 notes.
const NOTES: &str = "CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL); \
                     INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 100) AS n; \
                     GRANT SELECT, INSERT, DELETE ON notes TO app";

impl PgBed {
    /// Of 400 connections. More than any contender needs, so that what it refuses is its own doing.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let options = PostgresOptions::new()
            .max_connections(400)
            .setting("autovacuum", "off")
            .setting("max_locks_per_transaction", "256");
        Ok(Self {
            server: Postgres::start(options).await?,
        })
    }

    /// One with a database for each of so many tenants.
    pub(crate) async fn with_databases(tenants: usize) -> Result<Self, Failure> {
        let bed = Self::start().await?;
        bed.server.sql("CREATE DATABASE fresh").await;
        bed.run_in("fresh", NOTES).await?;
        for tenant in 0..tenants {
            let database = name_of(tenant);
            bed.server
                .sql(format!(
                    "CREATE DATABASE {database} TEMPLATE fresh STRATEGY file_copy"
                ))
                .await;
        }
        Ok(bed)
    }

    /// Runs statements as the superuser.
    pub(crate) async fn run_in(&self, database: &str, statements: &str) -> Result<(), Failure> {
        let mut connection = PgConnection::connect_with(&self.options(Role::Admin, database)?).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// Over the socket, without a password: hashing it would be half of what a connect costs.
    pub(crate) fn options(&self, role: Role, database: &str) -> Result<PgConnectOptions, Failure> {
        Ok(self.server.socket_url(role, database).parse()?)
    }

    pub(crate) fn server(&self) -> &Postgres {
        &self.server
    }

    /// The pool under measurement, over databases of the tenants' names.
    pub(crate) fn pools(&self, settings: PoolSettings) -> Result<TenantPools<Pg>, Failure> {
        Ok(
            TenantPools::builder(|record| Target::database(record.id.as_str()))
                .server(SERVER, self.options(Role::App, "postgres")?, settings)
                .build(),
        )
    }
}

/// What one request does: reads a note, and makes sure whose it is.
pub(crate) async fn read_note(connection: &mut PgConnection, tenant: usize) -> Result<(), Failure> {
    let (database, _): (String, String) =
        sqlx::query_as("SELECT current_database()::text, text FROM notes WHERE id = $1")
            .bind(7)
            .fetch_one(connection)
            .await?;
    if database == name_of(tenant) {
        Ok(())
    } else {
        Err(format!("the connection of t{tenant} leads to {database}").into())
    }
}
