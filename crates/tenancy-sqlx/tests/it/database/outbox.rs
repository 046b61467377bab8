//! Flushes that are written down in the tenant's own transaction.

use std::{future::Future as _, pin::pin, task::Poll, time::Duration};

use sqlx::{AssertSqlSafe, MySql, Postgres, Row, Sqlite};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    cache::{CacheSettings, EntryOptions, FlushPlan, Keys},
    resolve::Subdomain,
};
use tenancy_sqlx::{
    database::{Server, TenantDatabases},
    isolation::{EngineKind, GuardedTables, Isolation},
    outbox::CacheOutbox,
};
use tenancy_test::{
    cache::MemoryLevel,
    servers::{MariaDb, Role},
};

use super::fixture::{KINDS, Kind, World, add, enter_all, notes_in, run};
use crate::pool::fixture::patient;

const COUNT: Keys<(), usize> = Keys::new("count", 1);

fn notes_plan() -> FlushPlan {
    FlushPlan::tags(["notes"])
}

async fn fill(tenancy: &Tenancy, tenant: &Tenant) {
    let options = EntryOptions::new().tag("notes");
    tenancy.cache_of(tenant).put(&COUNT.key(()), 1, &options).await;
    assert!(is_cached(tenancy, tenant).await);
}

async fn is_cached(tenancy: &Tenancy, tenant: &Tenant) -> bool {
    tenancy.cache_of(tenant).get(&COUNT.key(())).await.is_some()
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: still not after 10 s");
}

/// With the table, where each kind of tenants has it.
async fn world(kind: Kind, name: &str) -> World {
    let world = World::new(kind, name, 2).await;
    let table = CacheOutbox::<Postgres>::table(EngineKind::Postgres);
    let grant = "GRANT SELECT, INSERT, DELETE ON tenancy_cache_flushes TO app";
    let plain = format!("{table}; {grant}");
    match kind {
        Kind::Databases => {
            for tenant in &world.tenants {
                let name = format!("tenant_{}", tenant.id());
                run(&world.database.server().url(Role::Owner, &name), &plain).await;
            }
        }
        Kind::Schemas => {
            for tenant in &world.tenants {
                let schema = format!(r#"SET search_path TO "tenant_{}""#, tenant.id());
                run(&world.database.owner_url(), &format!("{schema}; {plain}")).await;
            }
        }
        Kind::Rows => {
            let policy = "
                ALTER TABLE tenancy_cache_flushes ENABLE ROW LEVEL SECURITY;
                ALTER TABLE tenancy_cache_flushes FORCE ROW LEVEL SECURITY;
                CREATE POLICY of_tenant ON tenancy_cache_flushes
                    USING (tenant_id = nullif(current_setting('app.tenant', true), ''))";
            run(&world.database.owner_url(), &format!("{plain}; {policy}")).await;
        }
    }
    world
}

async fn rows(world: &World, tenant: usize) -> i64 {
    let mut transaction = world.db(tenant).begin().await.unwrap();
    let row = sqlx::query("SELECT count(*) FROM tenancy_cache_flushes")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    row.get(0)
}

/// As a process that ended between its commit and its flush.
async fn leave(world: &World, tenant: usize, plan: &str) {
    let mut transaction = world.db(tenant).begin().await.unwrap();
    sqlx::query("INSERT INTO tenancy_cache_flushes (id, tenant_id, plan) VALUES ($1, $2, $3)")
        .bind(format!("{:032x}", fastrand::u128(..)))
        .bind(world.tenants[tenant].id().as_str())
        .bind(plan)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_flushes_its_own_tenant_and_leaves_nothing_behind() {
    for kind in KINDS {
        let world = world(kind, "outbox").await;
        let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
        for tenant in &world.tenants {
            fill(&world.tenancy, tenant).await;
        }
        let mut transaction = world.db(0).begin().await.unwrap();
        assert_eq!(transaction.tenant().id(), world.tenants[0].id());
        add(&mut transaction, "new").await.unwrap();
        assert!(is_cached(&world.tenancy, &world.tenants[0]).await, "{kind:?}");
        let receipt = outbox.commit(transaction, notes_plan()).await.unwrap();
        assert!(!receipt.is_pending());
        assert!(!is_cached(&world.tenancy, &world.tenants[0]).await, "{kind:?}");
        assert!(is_cached(&world.tenancy, &world.tenants[1]).await, "{kind:?}");
        assert_eq!(notes_in(&world.db(0)).await.unwrap().len(), 2, "{kind:?}");
        until("forgotten", async || rows(&world, 0).await == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rolled_back_flushes_nothing() {
    let world = world(Kind::Schemas, "outbox_back").await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    fill(&world.tenancy, &world.tenants[0]).await;
    let mut transaction = world.db(0).begin().await.unwrap();
    add(&mut transaction, "new").await.unwrap();
    // After it nothing can be written down.
    sqlx::query("SELECT 1 / 0")
        .execute(&mut *transaction)
        .await
        .unwrap_err();
    assert!(outbox.commit(transaction, notes_plan()).await.is_err());
    assert!(is_cached(&world.tenancy, &world.tenants[0]).await);
    assert_eq!(notes_in(&world.db(0)).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_table_nothing_is_committed() {
    let world = World::new(Kind::Schemas, "outbox_none", 1).await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    let mut transaction = world.db(0).begin().await.unwrap();
    add(&mut transaction, "new").await.unwrap();
    let error = outbox.commit(transaction, notes_plan()).await.unwrap_err();
    assert!(error.as_sqlx().is_some(), "{error:?}");
    assert_eq!(notes_in(&world.db(0)).await.unwrap().len(), 1);
    // Without a flush it needs none.
    let mut transaction = world.db(0).begin().await.unwrap();
    add(&mut transaction, "new").await.unwrap();
    outbox
        .commit(transaction, FlushPlan::tags([""; 0]))
        .await
        .unwrap();
    assert_eq!(notes_in(&world.db(0)).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_during_a_commit_leaves_no_old_value() {
    let world = world(Kind::Schemas, "outbox_gone").await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    let tenant = &world.tenants[0];
    let mut committed = 0;
    for polls in 1..=12 {
        fill(&world.tenancy, tenant).await;
        let before = notes_in(&world.db(0)).await.unwrap().len();
        let mut transaction = world.db(0).begin().await.unwrap();
        add(&mut transaction, "new").await.unwrap();
        {
            let mut commit = pin!(outbox.commit(transaction, notes_plan()));
            let mut left = polls;
            std::future::poll_fn(|context| {
                left -= 1;
                match commit.as_mut().poll(context) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }
        // The connection comes back, and whatever goes on by itself has ended.
        world.databases.forget(tenant);
        until("no note is left", async || rows(&world, 0).await == 0).await;
        let is_committed = notes_in(&world.db(0)).await.unwrap().len() > before;
        committed += usize::from(is_committed);
        if is_committed {
            until("flushed", async || !is_cached(&world.tenancy, tenant).await).await;
        }
    }
    assert!(committed > 0, "no commit went on by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_left_is_delivered() {
    for kind in KINDS {
        let world = world(kind, "outbox_left").await;
        let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
        for tenant in &world.tenants {
            fill(&world.tenancy, tenant).await;
        }
        let other = FlushPlan::tags(["other"]).to_string();
        leave(&world, 0, &notes_plan().to_string()).await;
        leave(&world, 0, &other).await;
        leave(&world, 1, &other).await;
        assert_eq!(outbox.deliver(&world.tenants[0]).await.unwrap(), 2, "{kind:?}");
        assert_eq!(outbox.deliver(&world.tenants[1]).await.unwrap(), 1, "{kind:?}");
        assert_eq!(outbox.deliver(&world.tenants[1]).await.unwrap(), 0, "{kind:?}");
        assert!(!is_cached(&world.tenancy, &world.tenants[0]).await, "{kind:?}");
        assert!(is_cached(&world.tenancy, &world.tenants[1]).await, "{kind:?}");
        // Of a later release, or damaged: better too much than too little.
        leave(&world, 1, "later *").await;
        assert_eq!(outbox.deliver(&world.tenants[1]).await.unwrap(), 1);
        assert!(!is_cached(&world.tenancy, &world.tenants[1]).await, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_delivered_in_pages() {
    let world = world(Kind::Databases, "outbox_many").await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    let mut transaction = world.db(0).begin().await.unwrap();
    let id = world.tenants[0].id().as_str();
    let sql = format!(
        "INSERT INTO tenancy_cache_flushes SELECT '{id}', n::text, 'hard ' || n FROM generate_series(0, 1200) AS n"
    );
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(outbox.deliver(&world.tenants[0]).await.unwrap(), 1201);
    assert_eq!(rows(&world, 0).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_whose_cache_is_used_are_looked_after_until_the_guard_is_dropped() {
    let world = world(Kind::Schemas, "outbox_kept").await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    fill(&world.tenancy, &world.tenants[0]).await;
    let deliveries = outbox.deliver_regularly(Duration::from_millis(100));
    leave(&world, 0, &notes_plan().to_string()).await;
    // Nobody uses this one's cache here.
    leave(&world, 1, &notes_plan().to_string()).await;
    until("delivered", async || rows(&world, 0).await == 0).await;
    assert!(!is_cached(&world.tenancy, &world.tenants[0]).await);
    assert_eq!(rows(&world, 1).await, 1);
    drop(deliveries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_the_shared_level_has_not_heard_of_stays_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let node = MemoryLevel::new().node();
    let tenancy = Tenancy::builder(
        Subdomain::of("example.com").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    )
    .cache(CacheSettings::new().shared(node.clone()))
    .build()
    .unwrap();
    tenancy.ready().await;
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().display());
    let databases = TenantDatabases::<Sqlite>::builder(&tenancy)
        .server("files", Server::at(url).settings(patient(4)))
        .build()
        .await
        .unwrap();
    let mut transaction = databases.of(&acme).begin().await.unwrap();
    sqlx::query(CacheOutbox::<Sqlite>::table(EngineKind::Sqlite))
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();

    let outbox = CacheOutbox::new(&tenancy, &databases);
    node.go_away();
    let transaction = databases.of(&acme).begin().await.unwrap();
    let receipt = outbox.commit(transaction, notes_plan()).await.unwrap();
    assert!(receipt.is_pending());
    assert_eq!(outbox.deliver(&acme).await.unwrap(), 0);
    let rows = async || {
        let mut transaction = databases.of(&acme).begin().await.unwrap();
        let count = sqlx::query("SELECT count(*) FROM tenancy_cache_flushes")
            .fetch_one(&mut *transaction)
            .await;
        transaction.rollback().await.unwrap();
        count.unwrap().get::<i64, _>(0)
    };
    assert_eq!(rows().await, 1);
    node.come_back();
    // Without anybody asking for it.
    until("delivered", async || rows().await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_delete_is_told_so_and_does_not_flush_for_ever() {
    let world = world(Kind::Rows, "outbox_kept_rows").await;
    let hidden = "DROP POLICY of_tenant ON tenancy_cache_flushes;
        CREATE POLICY reads ON tenancy_cache_flushes FOR SELECT
            USING (tenant_id = nullif(current_setting('app.tenant', true), ''));
        CREATE POLICY writes ON tenancy_cache_flushes FOR INSERT WITH CHECK (true)";
    run(&world.database.owner_url(), hidden).await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    leave(&world, 0, &notes_plan().to_string()).await;
    let error = outbox.deliver(&world.tenants[0]).await.unwrap_err();
    let text = format!("{:?}", error.as_sqlx());
    assert!(text.contains("can not be deleted"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_flushes_since_it_may_have_been_done() {
    let world = world(Kind::Databases, "outbox_doubt").await;
    let outbox = CacheOutbox::new(&world.tenancy, &world.databases);
    let name = format!("tenant_{}", world.tenants[0].id());
    let deferred =
        "CREATE TABLE parts (id int PRIMARY KEY, whole int REFERENCES parts DEFERRABLE INITIALLY DEFERRED);
        GRANT SELECT, INSERT ON parts TO app";
    run(&world.database.server().url(Role::Owner, &name), deferred).await;
    fill(&world.tenancy, &world.tenants[0]).await;
    let mut transaction = world.db(0).begin().await.unwrap();
    sqlx::query("INSERT INTO parts VALUES (1, 2)")
        .execute(&mut *transaction)
        .await
        .unwrap();
    // Seen by the commit alone.
    assert!(outbox.commit(transaction, notes_plan()).await.is_err());
    assert!(!is_cached(&world.tenancy, &world.tenants[0]).await);
    assert_eq!(rows(&world, 0).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_tenants_share_without_policies_have_it_too() {
    let database = MariaDb::shared().await.database("outbox").await;
    let number = database.name().split('_').next().unwrap().to_owned();
    let ids = [format!("{number}-a"), format!("{number}-b")];
    let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
    let (tenancy, tenants) = enter_all(&store, &ids).await;
    let databases = TenantDatabases::<MySql>::builder(&tenancy)
        .server("main", Server::at(database.app_url()).settings(patient(4)))
        .isolation(Isolation::of(GuardedTables::new()))
        .build()
        .await
        .unwrap();
    let (server, name) = (database.server(), database.name());
    let table = CacheOutbox::<MySql>::table(EngineKind::MySql);
    let table = table.replace("TABLE tenancy", &format!("TABLE `{name}`.tenancy"));
    server.sql(table).await;
    let grant = "GRANT SELECT, INSERT, DELETE ON";
    server
        .sql(format!("{grant} `{name}`.tenancy_cache_flushes TO app"))
        .await;

    let outbox = CacheOutbox::new(&tenancy, &databases);
    for tenant in &tenants {
        fill(&tenancy, tenant).await;
    }
    let transaction = databases.of(&tenants[0]).guarded().await.unwrap();
    outbox.commit_guarded(transaction, notes_plan()).await.unwrap();
    assert!(!is_cached(&tenancy, &tenants[0]).await);
    assert!(is_cached(&tenancy, &tenants[1]).await);

    let mut transaction = databases.of(&tenants[1]).guarded().await.unwrap();
    transaction
        .query("INSERT INTO tenancy_cache_flushes (id, tenant_id, plan) VALUES ('left', {tenant}, 'hard *')")
        .execute()
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    until("forgotten", async || {
        outbox.deliver(&tenants[0]).await.unwrap() == 0
    })
    .await;
    assert_eq!(outbox.deliver(&tenants[1]).await.unwrap(), 1);
    assert!(!is_cached(&tenancy, &tenants[1]).await);
}
