//! Tenants with a home each, whatever the database: the same tests run over all of them.

use std::any::Any;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Database, MySql, MySqlConnection, PgConnection, Postgres, Row,
    Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tenancy::{MemoryStore, Tenancy, Tenant};
use tenancy_sqlx::{
    TenantEngine,
    database::{Server, TenantDatabases, TenantDb},
    pool::{PoolFigures, PoolSettings},
};
use tenancy_test::servers::{FaultProxy, MariaDb};

use super::fixture::{self, Kind, World, canary_of, enter_all};

/// Tenants with a table of notes each, in which one says whose it is.
pub(super) struct Homes<DB: TenantEngine> {
    pub(super) databases: TenantDatabases<DB>,
    pub(super) tenants: Vec<Tenant>,
    _tenancy: Tenancy,
    /// The database or the directory, and what stands in front of it.
    _keeps: Box<dyn Any>,
}

impl Homes<Postgres> {
    /// With a proxy in front, if there shall be one.
    pub(super) async fn postgres(
        kind: Kind,
        name: &str,
        tenants: usize,
        settings: PoolSettings,
        through: Option<&dyn Fn(&FaultProxy)>,
    ) -> Self {
        let world = World::with(kind, name, tenants, |url| Server::at(url).budget(1)).await;
        let (url, proxy) = by_way_of(
            through,
            world.database.server().address(),
            world.database.app_url(),
        )
        .await;
        let databases = TenantDatabases::builder(&world.tenancy)
            .server("main", Server::at(url).settings(settings))
            .isolation(kind.isolation())
            .build()
            .await
            .unwrap();
        Self {
            databases,
            tenants: world.tenants.clone(),
            _tenancy: world.tenancy.clone(),
            _keeps: Box::new((world, proxy)),
        }
    }
}

impl Homes<MySql> {
    pub(super) async fn mariadb(
        name: &str,
        tenants: usize,
        settings: PoolSettings,
        through: Option<&dyn Fn(&FaultProxy)>,
    ) -> Self {
        let database = MariaDb::shared().await.database(name).await;
        let server = database.server();
        let number = database.name().split('_').next().unwrap();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("{number}-{tenant}")).collect();
        for id in &ids {
            let canary = canary_of(id);
            for statement in [
                format!("CREATE DATABASE `tenant_{id}`"),
                format!("CREATE TABLE `tenant_{id}`.notes AS SELECT CAST('{canary}' AS CHAR(100)) AS text"),
                format!(
                    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON `tenant\\_{id}`.* TO app"
                ),
            ] {
                server.sql(statement).await;
            }
        }
        let (tenancy, tenants) = enter_all(&store_of(&ids), &ids).await;
        let (url, proxy) = by_way_of(through, server.address(), database.app_url()).await;
        let databases = TenantDatabases::builder(&tenancy)
            .server("main", Server::at(url).settings(settings))
            .build()
            .await
            .unwrap();
        Self {
            databases,
            tenants,
            _tenancy: tenancy,
            _keeps: Box::new((database, proxy)),
        }
    }
}

impl Homes<Sqlite> {
    pub(super) async fn files(tenants: usize, settings: PoolSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t-{tenant}")).collect();
        for id in &ids {
            let path = directory.path().join(format!("tenant_{id}.db"));
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = options
                .journal_mode(SqliteJournalMode::Wal)
                .connect()
                .await
                .unwrap();
            let canary = canary_of(id);
            let sql = format!("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('{canary}')");
            connection.leave(&sql).await.unwrap();
            connection.close().await.unwrap();
        }
        let (tenancy, tenants) = enter_all(&store_of(&ids), &ids).await;
        let url = format!("sqlite://{}", directory.path().display());
        let databases = TenantDatabases::builder(&tenancy)
            .server("main", Server::at(url).settings(settings))
            .build()
            .await
            .unwrap();
        Self {
            databases,
            tenants,
            _tenancy: tenancy,
            _keeps: Box::new(directory),
        }
    }
}

fn store_of(ids: &[String]) -> MemoryStore {
    MemoryStore::of(ids.iter().map(String::as_str)).unwrap()
}

async fn by_way_of(
    through: Option<&dyn Fn(&FaultProxy)>,
    server: std::net::SocketAddr,
    url: String,
) -> (String, Option<FaultProxy>) {
    let Some(set_up) = through else {
        return (url, None);
    };
    let proxy = FaultProxy::start(server).await.unwrap();
    set_up(&proxy);
    (proxy.url(&url), Some(proxy))
}

impl<DB: TenantEngine> Homes<DB> {
    pub(super) fn db(&self, tenant: usize) -> TenantDb<DB> {
        self.databases.of(&self.tenants[tenant])
    }

    /// What stands in the first of a tenant's notes, and at the beginning of all others.
    pub(super) fn canary(&self, tenant: usize) -> String {
        canary_of(self.tenants[tenant].id().as_str())
    }

    pub(super) fn figures(&self) -> PoolFigures {
        self.databases.figures("main").unwrap()
    }

    /// Nothing is in use, nothing on its way. Fails after a minute.
    pub(super) async fn until_quiet(&self) -> PoolFigures {
        for _ in 0..6_000 {
            let figures = self.figures();
            if figures.open == figures.idle && figures.waiting == 0 {
                return figures;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("never quiet: {:#?}", self.figures());
    }
}

/// What tests do on a connection of any database.
pub(super) trait Notes {
    async fn notes(&mut self) -> Result<Vec<String>, sqlx::Error>;
    async fn add(&mut self, text: &str) -> Result<(), sqlx::Error>;
    /// Runs SQL as it stands, and leaves what it leaves.
    async fn leave(&mut self, sql: &str) -> Result<(), sqlx::Error>;
    /// Whether it is outside of a transaction, as the database says.
    async fn is_outside(&mut self) -> bool;
    /// Runs for some hundredths of a second.
    const SLOW: &'static str;
    /// What must not be there for the next borrower: `{foreign}` stands for a note that is no tenant's.
    const LEFT: [&'static str; 3];
}

impl Notes for PgConnection {
    async fn notes(&mut self) -> Result<Vec<String>, sqlx::Error> {
        fixture::notes(self).await
    }

    async fn add(&mut self, text: &str) -> Result<(), sqlx::Error> {
        fixture::add(self, text).await
    }

    async fn leave(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self).await?;
        Ok(())
    }

    async fn is_outside(&mut self) -> bool {
        // In the simple protocol, where a statement of its own begins with its transaction.
        let look = "SELECT now() = statement_timestamp() AND pg_current_xact_id_if_assigned() IS NULL";
        let row = sqlx::raw_sql(look).fetch_one(self).await.unwrap();
        row.get(0)
    }

    const SLOW: &'static str = "SELECT pg_sleep(0.03)";
    const LEFT: [&'static str; 3] = [
        "CREATE TEMP TABLE notes AS SELECT '{foreign}' AS text",
        "BEGIN; SET LOCAL search_path TO nowhere; SET app.tenant TO 'nobody'",
        "SET search_path TO nowhere; SET default_transaction_read_only TO on",
    ];
}

impl Notes for MySqlConnection {
    async fn notes(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let query = sqlx::query("SELECT CAST(text AS CHAR) FROM notes ORDER BY 1");
        texts::<MySql>(&query.fetch_all(self).await?)
    }

    async fn add(&mut self, text: &str) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO notes VALUES (?)")
            .bind(text)
            .execute(self)
            .await?;
        Ok(())
    }

    async fn leave(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self).await?;
        Ok(())
    }

    async fn is_outside(&mut self) -> bool {
        let look = sqlx::raw_sql("SELECT CAST(@@in_transaction AS CHAR)");
        look.fetch_one(self).await.unwrap().get::<String, _>(0) == "0"
    }

    const SLOW: &'static str = "SELECT SLEEP(0.03)";
    const LEFT: [&'static str; 3] = [
        "CREATE TEMPORARY TABLE notes AS SELECT '{foreign}' AS text",
        "BEGIN; INSERT INTO notes VALUES ('{foreign}')",
        "SET SESSION autocommit = 0; INSERT INTO notes VALUES ('{foreign}')",
    ];
}

impl Notes for SqliteConnection {
    async fn notes(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let query = sqlx::query("SELECT text FROM notes ORDER BY 1");
        texts::<Sqlite>(&query.fetch_all(self).await?)
    }

    async fn add(&mut self, text: &str) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO notes VALUES (?)")
            .bind(text)
            .execute(self)
            .await?;
        Ok(())
    }

    async fn leave(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self).await?;
        Ok(())
    }

    async fn is_outside(&mut self) -> bool {
        self.leave("BEGIN; ROLLBACK").await.is_ok()
    }

    const SLOW: &'static str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) \
                                SELECT count(*) FROM n";
    const LEFT: [&'static str; 3] = [
        "CREATE TEMP TABLE notes AS SELECT '{foreign}' AS text",
        "BEGIN; INSERT INTO notes VALUES ('{foreign}')",
        "PRAGMA query_only = ON",
    ];
}

fn texts<DB: Database>(rows: &[DB::Row]) -> Result<Vec<String>, sqlx::Error>
where
    String: sqlx::Type<DB> + for<'r> sqlx::Decode<'r, DB>,
    usize: sqlx::ColumnIndex<DB::Row>,
{
    rows.iter().map(|row| row.try_get(0)).collect()
}
