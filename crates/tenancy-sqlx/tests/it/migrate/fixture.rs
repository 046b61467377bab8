use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tempfile::TempDir;
use tenancy_core::TenantRecord;
use tenancy_sqlx::{
    NewTenant,
    isolation::Identifier,
    migrate::{FleetMigrator, FleetSettings, MigrationPlace, Migrations},
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{Postgres, TestDatabase};

use crate::support::Place;

/// Each migration tells this table, in its own transaction, that it was run: what is run twice stands there twice.
const LOG: &str = "CREATE TABLE public.run_log (schema TEXT NOT NULL, version BIGINT NOT NULL)";

/// A catalogue, and a schema of PostgreSQL for each of its tenants.
pub(super) struct Fixture {
    pub(super) catalogue: Place,
    pub(super) store: SqlStore,
    pub(super) tenants: TestDatabase,
    folder: TempDir,
    /// How often somebody wanted to know where a tenant is, which comes before every connection.
    pub(super) asked: Arc<AtomicUsize>,
}

impl Fixture {
    pub(super) async fn new(catalogue: Place, tenants: usize) -> Self {
        let fixture = Self {
            store: catalogue.open().await,
            catalogue,
            tenants: Postgres::shared().await.database("fleet").await,
            folder: tempfile::tempdir().unwrap(),
            asked: Arc::default(),
        };
        fixture.sql(LOG).await;
        for number in 0..tenants {
            fixture.add(&name(number)).await;
        }
        fixture.logged_migration(1, "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)");
        fixture
    }

    pub(super) async fn add(&self, tenant: &str) {
        self.sql(&format!("CREATE SCHEMA \"{tenant}\"")).await;
        self.store.create(NewTenant::new(tenant)).await.unwrap();
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn migration(&self, version: i64, sql: &str) -> PathBuf {
        let file = self.folder.path().join(format!("{version}_test.sql"));
        fs::write(&file, sql).unwrap();
        file
    }

    pub(super) fn logged_migration(&self, version: i64, sql: &str) {
        self.migration(version, &logged(version, sql));
    }

    pub(super) async fn fleet(&self, settings: FleetSettings) -> FleetMigrator<sqlx::Postgres> {
        let asked = Arc::clone(&self.asked);
        fleet(
            &self.store,
            self.folder(),
            &self.tenants.owner_url(),
            settings,
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
            },
        )
        .await
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    pub(super) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.tenants.owner_url()).await.unwrap()
    }

    pub(super) async fn sql(&self, text: &str) {
        let mut connection = self.connect().await;
        let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await;
        if let Err(error) = run {
            panic!("{error}: {text}");
        }
        connection.close().await.unwrap();
    }

    /// The number that a query returns.
    pub(super) async fn ask(&self, text: &str) -> i64 {
        let mut connection = self.connect().await;
        let cast = AssertSqlSafe(format!("SELECT ({text})::bigint"));
        let row = sqlx::query(cast).fetch_one(&mut connection).await.unwrap();
        row.try_get(0).unwrap()
    }

    /// Every tenant has every version once, and nobody holds a lock.
    pub(super) async fn check_all_ran_once(&self, tenants: usize, versions: usize) {
        let wanted = i64::try_from(tenants * versions).unwrap();
        assert_eq!(self.ask("SELECT count(*) FROM public.run_log").await, wanted);
        let distinct = "SELECT count(*) FROM (SELECT DISTINCT schema, version FROM public.run_log) x";
        assert_eq!(self.ask(distinct).await, wanted);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(self.ask(locks).await, 0);
    }
}

pub(super) fn name(number: usize) -> String {
    format!("t{number:03}")
}

pub(super) fn logged(version: i64, sql: &str) -> String {
    format!("{sql};\nINSERT INTO public.run_log VALUES (current_schema(), {version});\n")
}

/// Short enough for tests, but for the lease: on a machine that is busy, signs of life are late.
pub(super) fn settings() -> FleetSettings {
    FleetSettings::new()
        .lease(Duration::from_secs(60))
        .lock_timeout(Duration::from_millis(200))
        .patience(Duration::from_secs(60))
}

/// What a process of its own builds too.
pub(super) async fn fleet(
    store: &SqlStore,
    folder: &Path,
    tenants_url: &str,
    settings: FleetSettings,
    asked: impl Fn() + Send + Sync + 'static,
) -> FleetMigrator<sqlx::Postgres> {
    let migrations = Migrations::from_directory(folder).await.unwrap();
    let owner: PgConnectOptions = tenants_url.parse().unwrap();
    let place = move |record: &TenantRecord| {
        asked();
        let schema = Identifier::new(record.id.as_str())?;
        Ok(MigrationPlace::schema(owner.clone(), schema).with_path(Identifier::new("public")?))
    };
    FleetMigrator::builder(store, migrations, place)
        .settings(settings)
        .build()
        .await
        .unwrap()
}

pub(super) async fn open(url: &str) -> SqlStore {
    let options = SqlStoreOptions::url(url).unwrap();
    SqlStore::open(options.connections(0..=2).wait(Duration::from_secs(60)))
        .await
        .unwrap()
}
