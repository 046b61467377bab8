//! Migrations that are no transaction.

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _, mysql::MySqlConnectOptions};
use tenancy_sqlx::{
    NewTenant,
    migrate::{FleetMigrator, MigrationPlace, Migrations},
    store::SqlStore,
};
use tenancy_test::servers::{MariaDb, MariaDbDatabase};

use super::fixture::{Fixture, settings};
use crate::support::{Place, id};

const INDEX: &str = "-- no-transaction\n\
    CREATE UNIQUE INDEX CONCURRENTLY notes_text ON notes (text);\n\
    INSERT INTO public.run_log VALUES (current_schema(), 2);\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_made_concurrently_and_a_broken_one_is_cleared_away() {
    let fixture = Fixture::new(Place::new(), 4).await;
    assert!(
        fixture
            .fleet(settings())
            .await
            .migrate()
            .await
            .unwrap()
            .is_complete()
    );
    fixture
        .sql("INSERT INTO t002.notes VALUES (1, 'same'), (2, 'same')")
        .await;
    fixture.migration(2, INDEX);
    let fleet = fixture.fleet(settings()).await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (3, 1), "{report:?}");
    let indexes = "SELECT count(*) FROM pg_class WHERE relname = 'notes_text'";
    assert_eq!(fixture.ask(indexes).await, 3, "the invalid one is gone");

    fixture.sql("DELETE FROM t002.notes WHERE id = 2").await;
    assert!(fleet.migrate().await.unwrap().is_complete());
    let valid =
        "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text LIKE '%notes_text'";
    assert_eq!(fixture.ask(valid).await, 4);
    fixture.check_all_ran_once(4, 2).await;
    assert_eq!(
        fixture
            .ask("SELECT count(*) FROM t002._tenancy_migration_steps")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_runner_leaves_an_index_that_the_next_one_makes_anew() {
    let fixture = Fixture::new(Place::new(), 1).await;
    let fleet = fixture.fleet(settings()).await;
    assert!(fleet.migrate().await.unwrap().is_complete());
    fixture.migration(2, INDEX);
    // As it stands after a kill: the step is begun, and the index is there but not valid.
    fixture
        .sql("INSERT INTO t000.notes VALUES (1, 'same'), (2, 'same')")
        .await;
    let mut connection = fixture.connect().await;
    let broken = sqlx::raw_sql("CREATE UNIQUE INDEX CONCURRENTLY notes_text ON t000.notes (text)");
    assert!(broken.execute(&mut connection).await.is_err());
    fixture
        .sql(
            "DELETE FROM t000.notes WHERE id = 2;
             CREATE TABLE t000._tenancy_migration_steps (version BIGINT NOT NULL, step BIGINT NOT NULL,
                 checksum VARCHAR(64) NOT NULL, is_done BIGINT NOT NULL, PRIMARY KEY (version, step));
             INSERT INTO t000._tenancy_migration_steps VALUES (2, 0, 'begun', 0)",
        )
        .await;
    assert!(
        fixture
            .fleet(settings())
            .await
            .migrate()
            .await
            .unwrap()
            .is_complete()
    );
    assert_eq!(
        fixture
            .ask("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
            .await,
        0
    );
    fixture.check_all_ran_once(1, 2).await;
}

/// A tenant with a database on MariaDB.
struct OnMariaDb {
    database: MariaDbDatabase,
    store: SqlStore,
    catalogue: Place,
    folder: tempfile::TempDir,
}

impl OnMariaDb {
    async fn new() -> Self {
        let catalogue = Place::new();
        let store = catalogue.open().await;
        store.create(NewTenant::new("acme")).await.unwrap();
        Self {
            database: MariaDb::shared().await.database("migrated").await,
            store,
            catalogue,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn migration(&self, version: i64, sql: &str) {
        std::fs::write(self.folder.path().join(format!("{version}_test.sql")), sql).unwrap();
    }

    async fn fleet(&self) -> FleetMigrator<sqlx::MySql> {
        let owner: MySqlConnectOptions = self.database.owner_url().parse().unwrap();
        let migrations = Migrations::from_directory(self.folder.path()).await.unwrap();
        FleetMigrator::builder(&self.store, migrations, move |_| {
            Ok(MigrationPlace::database(owner.clone()))
        })
        .settings(settings())
        .build()
        .await
        .unwrap()
    }

    async fn sql(&self, text: &str) {
        let mut connection = MySqlConnection::connect(&self.database.owner_url())
            .await
            .unwrap();
        let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection);
        run.await.unwrap();
    }

    async fn ask(&self, text: &str) -> i64 {
        let mut connection = MySqlConnection::connect(&self.database.owner_url())
            .await
            .unwrap();
        let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut connection).await;
        row.unwrap().try_get(0).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_a_migration_goes_on_with_the_statement_that_failed() {
    let tenant = OnMariaDb::new().await;
    tenant.migration(
        1,
        "CREATE TABLE notes (id BIGINT PRIMARY KEY, text VARCHAR(20));\n\
         INSERT INTO notes VALUES (1, 'one; two');\n\
         ALTER TABLE later ADD COLUMN extra INT;\n\
         INSERT INTO notes VALUES (2, 'three');\n",
    );
    let fleet = tenant.fleet().await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(tenant.ask("SELECT count(*) FROM notes").await, 1);
    tenant.sql("CREATE TABLE later (id INT)").await;
    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(tenant.ask("SELECT count(*) FROM notes").await, 2);
    assert_eq!(
        tenant.ask("SELECT count(*) FROM _tenancy_migration_steps").await,
        0
    );
    assert_eq!(
        tenant
            .ask("SELECT count(*) FROM _sqlx_migrations WHERE success")
            .await,
        1
    );
    assert_eq!(
        tenant
            .catalogue
            .ask("SELECT count(*) FROM tenancy_migrations")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_a_statement_that_was_broken_off_is_taken_for_done_if_it_was() {
    let tenant = OnMariaDb::new().await;
    tenant.migration(
        1,
        "CREATE TABLE notes (id BIGINT); CREATE TABLE more (id BIGINT);",
    );
    // As it stands after a kill between the statement and the note of it.
    tenant
        .sql(
            "CREATE TABLE notes (id BIGINT);
             CREATE TABLE _tenancy_migration_steps (version BIGINT NOT NULL, step BIGINT NOT NULL,
                 checksum VARCHAR(64) NOT NULL, is_done BIGINT NOT NULL, PRIMARY KEY (version, step));
             INSERT INTO _tenancy_migration_steps VALUES (1, 0, 'begun', 0)",
        )
        .await;
    let fleet = tenant.fleet().await;
    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");

    // What was there before anybody began it is not.
    tenant.sql("CREATE TABLE third (id BIGINT)").await;
    tenant.migration(2, "CREATE TABLE third (id BIGINT)");
    let fleet = tenant.fleet().await;
    for _ in 0..2 {
        let report = fleet.migrate().await.unwrap();
        assert_eq!(report.failed.len(), 1, "{report:?}");
    }
    let record = tenant.store.get(&id("acme")).await.unwrap().unwrap().record;
    let error = fleet.migrate_tenant(&record).await.unwrap_err();
    assert!(
        error.is_tenants() && error.to_string().contains("migration 2 failed"),
        "{error}"
    );
}
