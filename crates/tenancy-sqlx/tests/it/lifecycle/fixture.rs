use std::{path::PathBuf, time::Duration};

use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};
use tenancy::{Tenancy, Tenant, resolve::Subdomain};
use tenancy_core::TenantId;
use tenancy_sqlx::{
    TenantEngine,
    database::{Server, TenantDatabases, TenantHomes},
    isolation::Isolation,
    lifecycle::{Lifecycle, LifecycleBuilder},
    migrate::Migrations,
    store::SqlStore,
};
use tenancy_test::servers::{self, MariaDb, MariaDbDatabase, TestDatabase};

use crate::{pool::fixture::patient, support::Place};

/// What a tenant's data is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Database,
    Schema,
    Rows,
    Guarded,
    File,
}

/// Where homes are made: gone when dropped.
enum Ground {
    Postgres(TestDatabase),
    MariaDb(MariaDbDatabase),
    Folder(tempfile::TempDir),
}

/// Lets tests ask each database the same.
pub(super) trait Tested: TenantEngine {
    fn texts(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    fn try_run(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

macro_rules! tested {
    ($engine:ty) => {
        impl Tested for $engine {
            async fn texts(connection: &mut Self::Connection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
                sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_all(connection)
                    .await
            }

            async fn try_run(connection: &mut Self::Connection, sql: &str) -> Result<(), sqlx::Error> {
                let text = sqlx::raw_sql(AssertSqlSafe(sql));
                text.execute(connection).await.map(drop)
            }
        }
    };
}
tested!(Postgres);
tested!(MySql);
tested!(Sqlite);

/// A catalogue, and a server or folder for the homes of its tenants.
pub(super) struct World<DB: TenantEngine> {
    pub(super) place: Place,
    pub(super) store: SqlStore,
    pub(super) homes: TenantHomes<DB>,
    kind: Kind,
    ground: Ground,
    folder: tempfile::TempDir,
}

const NOTES: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200) NOT NULL)";

const SHARED_NOTES: &str = "
    CREATE TABLE notes (
        tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
        id INTEGER, text VARCHAR(200) NOT NULL, PRIMARY KEY (tenant_id, id)
    );
    CREATE TABLE comments (
        tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
        note INTEGER, FOREIGN KEY (tenant_id, note) REFERENCES notes
    );
    CREATE TABLE a_list (tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
        comment_of INTEGER, FOREIGN KEY (tenant_id, comment_of) REFERENCES notes);";

const POLICY: &str = "
    ALTER TABLE {} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {} FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_tenant ON {} USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
        WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));";

impl<DB: Tested> World<DB> {
    async fn over(place: Place, kind: Kind, ground: Ground, server: Server) -> Self {
        let isolation = match kind {
            Kind::Database => Isolation::database(),
            Kind::Schema => Isolation::schema(),
            Kind::Rows => Isolation::rows(),
            Kind::Guarded => Isolation::guarded(),
            Kind::File => Isolation::file(),
        };
        let settings = patient(8);
        let homes = TenantHomes::builder().server("main", server.settings(settings));
        let world = Self {
            store: place.open().await,
            place,
            homes: homes.isolation(isolation).build().unwrap(),
            kind,
            ground,
            folder: tempfile::tempdir().unwrap(),
        };
        let policies = ["notes", "comments", "a_list"].map(|table| POLICY.replace("{}", table));
        world.migration(&match kind {
            Kind::Rows => format!("{SHARED_NOTES}{}", policies.concat()),
            _ => NOTES.to_owned(),
        });
        std::fs::create_dir(world.folder.path().join("seeds")).unwrap();
        world.seed("INSERT INTO notes (id, text) VALUES (1, 'seeded')");
        world
    }

    pub(super) fn migrations(&self) -> PathBuf {
        self.folder.path().join("migrations")
    }

    pub(super) fn migration(&self, sql: &str) {
        std::fs::create_dir_all(self.migrations()).unwrap();
        std::fs::write(self.migrations().join("1_notes.sql"), sql).unwrap();
    }

    pub(super) fn second_migration(&self, sql: &str) {
        std::fs::write(self.migrations().join("2_more.sql"), sql).unwrap();
    }

    pub(super) fn seed(&self, sql: &str) {
        std::fs::write(self.folder.path().join("seeds/1.sql"), sql).unwrap();
    }

    pub(super) async fn builder(&self) -> LifecycleBuilder<DB> {
        let migrations = Migrations::from_directory(self.migrations()).await.unwrap();
        Lifecycle::builder(&self.store, &self.homes)
            .migrations(migrations)
            .seeds_from_directory(self.folder.path().join("seeds"))
            .broken_off_after(Duration::ZERO)
    }

    pub(super) async fn lifecycle(&self) -> Lifecycle<DB> {
        self.builder().await.build().await.unwrap()
    }

    /// Homes whose name begins like this.
    pub(super) async fn count_homes(&self, prefix: &str) -> usize {
        let like = format!("'{}\\_%'", prefix.replace('_', "\\_"));
        match (&self.ground, self.kind) {
            (Ground::Postgres(database), Kind::Schema) => {
                let mut connection = connect::<Postgres>(&database.owner_url()).await;
                let named = format!("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE {like}");
                Postgres::texts(&mut connection, &named).await.unwrap().len()
            }
            (Ground::Postgres(database), _) => {
                let named = format!("SELECT datname FROM pg_database WHERE datname LIKE {like}");
                database.server().sql(named).await.len()
            }
            (Ground::MariaDb(database), _) => {
                let named = format!(
                    "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE {like}"
                );
                database.server().sql(named).await.len()
            }
            (Ground::Folder(folder), _) => match std::fs::read_dir(folder.path().join("tenants")) {
                Err(_) => 0,
                Ok(files) => files
                    .filter(|file| {
                        let name = file.as_ref().unwrap().file_name();
                        name.to_string_lossy().starts_with(&format!("{prefix}_"))
                    })
                    .count(),
            },
        }
    }

    /// The name of the server's own database.
    pub(super) fn central(&self) -> String {
        match &self.ground {
            Ground::Postgres(database) => database.name().to_owned(),
            Ground::MariaDb(database) => database.name().to_owned(),
            Ground::Folder(_) => "catalogue.db".to_owned(),
        }
    }

    pub(super) async fn check_nothing_is_left(&self, slug: &str) {
        assert_eq!(self.count_homes(slug).await, 0, "{:?}", self.kind);
        assert!(self.store.get_by_slug(slug).await.unwrap().is_none());
        self.check_journal(0).await;
    }

    pub(super) async fn check_journal(&self, homes: i64) {
        assert_eq!(self.place.ask("SELECT count(*) FROM tenancy_homes").await, homes);
    }

    pub(super) async fn stages(&self, stage: &str) -> i64 {
        let count = format!("SELECT count(*) FROM tenancy_homes WHERE stage = '{stage}'");
        self.place.ask(&count).await
    }

    /// What serves tenants, as the application's role.
    pub(super) async fn serve(&self) -> (Tenancy, TenantDatabases<DB>) {
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), self.store.clone());
        tenancy.ready().await;
        let databases = TenantDatabases::over(&tenancy, &self.homes).audit(self.kind != Kind::Guarded);
        (tenancy, databases.build().await.unwrap())
    }
}

impl World<Postgres> {
    pub(super) async fn postgres(place: Place, kind: Kind) -> Self {
        let database = servers::Postgres::shared().await.database("homes").await;
        let server = Server::at(database.app_url()).owner(database.owner_url());
        Self::over(place, kind, Ground::Postgres(database), server).await
    }

    /// Runs SQL in the server's own database, as the owner.
    pub(super) async fn in_central(&self, sql: &str) -> Result<(), sqlx::Error> {
        let Ground::Postgres(database) = &self.ground else {
            unreachable!()
        };
        let mut connection = connect::<Postgres>(&database.owner_url()).await;
        Postgres::try_run(&mut connection, sql).await
    }

    pub(super) fn url(&self) -> String {
        let Ground::Postgres(database) = &self.ground else {
            unreachable!()
        };
        database.owner_url()
    }

    pub(super) fn app_url(&self) -> String {
        let Ground::Postgres(database) = &self.ground else {
            unreachable!()
        };
        database.app_url()
    }

    pub(super) async fn connect(&self) -> sqlx::PgConnection {
        connect::<Postgres>(&self.url()).await
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl World<MySql> {
    pub(super) async fn mariadb(place: Place, kind: Kind) -> Self {
        let database = MariaDb::shared().await.database("homes").await;
        let server = Server::at(database.app_url()).owner(database.owner_url());
        Self::over(place, kind, Ground::MariaDb(database), server).await
    }

    pub(super) async fn count_rows(&self, table: &str) -> usize {
        let Ground::MariaDb(database) = &self.ground else {
            unreachable!()
        };
        let mut connection = connect::<MySql>(&database.owner_url()).await;
        let rows = format!("SELECT 'row' FROM {table}");
        MySql::texts(&mut connection, &rows).await.unwrap().len()
    }
}

impl World<Sqlite> {
    pub(super) async fn files(place: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tenants")).unwrap();
        let url = format!("sqlite://{}/tenants?mode=rwc", folder.path().display());
        Self::over(place, Kind::File, Ground::Folder(folder), Server::at(url)).await
    }
}

async fn connect<DB: TenantEngine>(url: &str) -> DB::Connection {
    <DB::Connection as sqlx::Connection>::connect(url).await.unwrap()
}

pub(super) async fn enter(tenancy: &Tenancy, id: &TenantId) -> Tenant {
    loop {
        // Until the process knows it as it is.
        match tenancy.enter(id).await {
            Ok(tenant) => return tenant,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What a tenant's notes say, as the application sees them.
pub(super) async fn notes<DB: Tested>(databases: &TenantDatabases<DB>, tenant: &Tenant) -> Vec<String> {
    let mut transaction = databases.of(tenant).begin().await.unwrap();
    let notes = DB::texts(&mut transaction, "SELECT text FROM notes ORDER BY id")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    notes
}

pub(super) async fn run<DB: Tested>(databases: &TenantDatabases<DB>, tenant: &Tenant, sql: &str) {
    let mut transaction = databases.of(tenant).begin().await.unwrap();
    DB::try_run(&mut transaction, sql).await.unwrap();
    transaction.commit().await.unwrap();
}

pub(super) fn unique(prefix: &str, place: &Place) -> String {
    format!("{prefix}{:?}{}", place.backend(), std::process::id()).to_lowercase()
}
