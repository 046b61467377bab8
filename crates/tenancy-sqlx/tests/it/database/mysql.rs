//! A database for each tenant on MariaDB, and tables that tenants share there.

use std::time::Duration;

use sqlx::{Connection, MySql, MySqlConnection, Row};
use tenancy::{MemoryStore, Tenancy, Tenant};
use tenancy_core::Placement;
use tenancy_sqlx::{
    audit::FindingKind,
    database::{DatabaseError, Server, TenantDatabases, TenantDb},
    isolation::Isolation,
    pool::PoolSettings,
};
use tenancy_test::servers::{MariaDb, MariaDbDatabase};

use super::fixture::{canary_of, enter_all};
use crate::pool::fixture::{patient, poll_at_most};

struct World {
    database: MariaDbDatabase,
    store: MemoryStore,
    _tenancy: Tenancy,
    tenants: Vec<Tenant>,
    databases: TenantDatabases<MySql>,
}

impl World {
    async fn new(name: &str, tenants: usize, isolation: Isolation, settings: PoolSettings) -> Self {
        let database = MariaDb::shared().await.database(name).await;
        let number = database.name().split('_').next().unwrap().to_owned();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("{number}-{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let (tenancy, tenants) = enter_all(&store, &ids).await;
        let databases = TenantDatabases::builder(&tenancy)
            .server("main", Server::at(database.app_url()).settings(settings))
            .isolation(isolation)
            .build()
            .await
            .unwrap();
        Self {
            database,
            store,
            _tenancy: tenancy,
            tenants,
            databases,
        }
    }

    /// With a database for each tenant.
    async fn databases(name: &str, tenants: usize, settings: PoolSettings) -> Self {
        let world = Self::new(name, tenants, Isolation::database(), settings).await;
        for tenant in &world.tenants {
            world
                .make(&format!("tenant_{}", tenant.id()), tenant.id().as_str())
                .await;
        }
        world
    }

    async fn make(&self, name: &str, id: &str) {
        let server = self.database.server();
        let quoted = name.replace('`', "``");
        let canary = canary_of(id);
        let pattern = quoted.replace('_', "\\_");
        for statement in [
            format!("CREATE DATABASE `{quoted}`"),
            format!("CREATE TABLE `{quoted}`.notes AS SELECT '{canary}' AS text"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{pattern}`.* TO app"),
        ] {
            server.sql(statement).await;
        }
    }

    fn db(&self, tenant: usize) -> TenantDb<MySql> {
        self.databases.of(&self.tenants[tenant])
    }

    fn canary(&self, tenant: usize) -> String {
        canary_of(self.tenants[tenant].id().as_str())
    }

    async fn place(&self, tenant: usize, name: &str) {
        let tenant = &self.tenants[tenant];
        let before = tenant.epoch();
        let edit = self.store.update(tenant.id(), |record| {
            let mut placement = Placement::default();
            placement.database = name.into();
            record.placement = Some(Box::new(placement));
        });
        edit.await.unwrap();
        while tenant.epoch() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn notes(connection: &mut MySqlConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT CAST(text AS CHAR) FROM notes ORDER BY 1")
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn notes_in(db: &TenantDb<MySql>) -> Result<Vec<String>, DatabaseError> {
    let mut transaction = db.begin().await?;
    let notes = notes(&mut transaction).await?;
    transaction.commit().await?;
    Ok(notes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_text_reads_each_tenants_own_rows() {
    // Fewer connections than tenants. A connection that went from one to another would run what it had prepared before.
    let settings = patient(3).settle(Duration::ZERO);
    let world = World::databases("own_rows", 5, settings).await;
    let work = (0..60).map(|round| {
        let world = &world;
        async move {
            let tenant = round % 5;
            assert_eq!(notes_in(&world.db(tenant)).await.unwrap(), [world.canary(tenant)]);
            let mut connection = world.db(tenant).acquire().await.unwrap();
            assert_eq!(notes(&mut connection).await.unwrap(), [world.canary(tenant)]);
        }
    });
    futures_util::future::join_all(work).await;
    let figures = world.databases.figures("main").unwrap();
    assert!(figures.re_points == 0 && figures.evictions > 0, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_a_statement_went_to_is_not_the_next_borrowers() {
    let settings = patient(4).max_per_tenant(1);
    let world = World::databases("went_away", 2, settings).await;
    assert_eq!(notes_in(&world.db(0)).await.unwrap(), [world.canary(0)]);
    let mut connection = world.db(0).acquire().await.unwrap();
    let other = format!("USE `tenant_{}`", world.tenants[1].id());
    sqlx::raw_sql(sqlx::AssertSqlSafe(other))
        .execute(&mut *connection)
        .await
        .unwrap();
    // What was prepared before still reads the old one: such a connection must go.
    assert_eq!(notes(&mut connection).await.unwrap(), [world.canary(0)]);
    drop(connection);
    let opens = world.databases.figures("main").unwrap().opens;
    for _ in 0..3 {
        assert_eq!(notes_in(&world.db(0)).await.unwrap(), [world.canary(0)]);
    }
    assert_eq!(world.databases.figures("main").unwrap().opens, opens + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_dropped_at_any_await_leaves_nothing_to_the_next_borrower() {
    let settings = patient(4).max_per_tenant(1);
    let world = World::databases("dropped_work", 1, settings).await;
    let mut ended = 0;
    for polls in 1..=18 {
        for _ in 0..4 {
            let work = async {
                let mut transaction = world.db(0).begin().await.unwrap();
                sqlx::query("INSERT INTO notes VALUES (?)")
                    .bind("uncommitted")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                let nested = transaction.nested().await.unwrap();
                drop(nested);
                transaction.rollback().await.unwrap();
            };
            ended += usize::from(poll_at_most(polls, work).await.is_some());
            assert_eq!(
                notes_in(&world.db(0)).await.unwrap(),
                [world.canary(0)],
                "after {polls} polls"
            );
        }
    }
    assert!((1..72).contains(&ended), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_named_word_for_word_and_none_of_the_servers_is_had() {
    let world = World::databases("hostile", 2, patient(4)).await;
    let number = world.database.name().split('_').next().unwrap();
    for name in [
        format!("{number} o`brien"),
        format!("{number}'\"; --"),
        format!("{number}.Ä\\"),
    ] {
        world.make(&name, &"x".repeat(3)).await;
        world.place(0, &name).await;
        assert_eq!(
            notes_in(&world.db(0)).await.unwrap(),
            [canary_of("xxx")],
            "{name}"
        );
    }
    let central = world.database.name().to_owned();
    let other = format!("tenant_{}", world.tenants[1].id());
    for name in [
        "mysql",
        "information_schema",
        "SYS",
        &central,
        &other,
        &"x".repeat(64),
        "a\0b",
    ] {
        world.place(0, name).await;
        let error = world.db(0).begin().await.unwrap_err();
        assert!(error.is_misplaced(), "{name:?}: {error:?}");
        assert_eq!(notes_in(&world.db(1)).await.unwrap(), [world.canary(1)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_tables_take_only_statements_with_the_tenant_in_them() {
    let settings = patient(3).settle(Duration::ZERO);
    let world = World::new("guarded", 6, Isolation::guarded(), settings).await;
    let name = world.database.name();
    let table = format!(
        "CREATE TABLE {name}.notes (id BIGINT PRIMARY KEY AUTO_INCREMENT, tenant_id VARCHAR(48), text TEXT)"
    );
    world.database.server().sql(table).await;
    for tenant in 0..6 {
        let mut transaction = world.db(tenant).guarded().await.unwrap();
        for number in ["first", "second"] {
            let inserted = transaction
                .query("INSERT INTO notes (text, tenant_id) VALUES (CONCAT(?, ' {tenant} ', ?), {tenant})")
                .bind(number)
                .bind(world.canary(tenant))
                .execute();
            assert_eq!(inserted.await.unwrap().rows_affected(), 1);
        }
        transaction.commit().await.unwrap();
    }
    let reads = (0..30).map(|round| {
        let world = &world;
        async move {
            let tenant = round % 6;
            let mut transaction = world.db(tenant).guarded().await.unwrap();
            let texts: Vec<(String,)> = transaction
                .query("SELECT CAST(text AS CHAR) FROM notes WHERE tenant_id = {tenant} AND text LIKE ? ORDER BY id")
                .bind("first%")
                .fetch_all_as()
                .await
                .unwrap();
            assert_eq!(texts, [(format!("first {{tenant}} {}", world.canary(tenant)),)]);
            transaction.rollback().await.unwrap();
        }
    });
    futures_util::future::join_all(reads).await;
    let mut transaction = world.db(0).guarded().await.unwrap();
    for sql in [
        "SELECT * FROM notes",
        "SELECT * FROM notes WHERE text = '{tenant}'",
        "SELECT * FROM notes -- {tenant}",
        "SELECT {tenant}; DELETE FROM notes",
    ] {
        assert!(
            transaction.query(sql).fetch_all().await.unwrap_err().is_failed(),
            "{sql}"
        );
    }
    transaction.rollback().await.unwrap();
    // There is no way around.
    assert!(world.db(0).begin().await.unwrap_err().is_guarded());
    assert!(world.db(0).acquire().await.unwrap_err().is_guarded());
    assert!(world.db(0).read().await.unwrap_err().is_guarded());
    let transaction = world.db(0).transaction(|_| Box::pin(async { Ok(()) })).await;
    assert!(transaction.unwrap_err().is_guarded());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_do_not_write() {
    let world = World::databases("reads", 1, patient(4)).await;
    let mut read = world.db(0).read().await.unwrap();
    assert_eq!(notes(&mut read).await.unwrap(), [world.canary(0)]);
    let written = sqlx::query("INSERT INTO notes VALUES ('x')")
        .execute(&mut *read)
        .await;
    assert!(written.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_may_read_every_database_is_refused() {
    let database = MariaDb::shared().await.database("logins").await;
    let (tenancy, _) = enter_all(&MemoryStore::of(["acme"]).unwrap(), &[]).await;
    let built = TenantDatabases::<MySql>::builder(&tenancy)
        .server("main", Server::at(database.admin_url()))
        .build()
        .await;
    let error = built.unwrap_err();
    let findings = error.audit().unwrap().findings();
    assert_eq!(
        (findings[0].kind(), findings[0].subject()),
        (FindingKind::Superuser, "admin")
    );
    let mut connection = MySqlConnection::connect(&database.app_url()).await.unwrap();
    connection.ping().await.unwrap();
}
