//! What only a server can do to a catalogue: go away, come back, refuse, and hold transactions open.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tenancy::{Tenancy, resolve::Subdomain};
use tenancy_core::{ChangeMark, LockStore as _, TenantKey, TenantStore as _};
use tenancy_sqlx::{
    CatalogueError, NewTenant,
    store::{SqlLocks, SqlStore, SqlStoreOptions},
};
use tenancy_test::{
    caught_up,
    servers::{Fault, FaultProxy, MariaDb, MariaDbOptions, Postgres, PostgresOptions, Role},
};

use crate::support::{Backend, Follower, Place, followed, list, on_every_database};

on_every_database!(
    a_catalogue_whose_tenants_are_gone_is_not_one_in_which_nothing_happens,
    many_processes_that_start_at_once_make_one_catalogue,
    a_long_transaction_of_others_delays_no_number,
    writers_of_two_processes_take_every_number_once_and_in_order,
    a_change_by_plain_sql_reaches_the_snapshot,
    reads_that_are_dropped_leave_nothing_behind,
    connections_that_the_server_ended_are_nobodys_error,
);

async fn connections_that_the_server_ended_are_nobodys_error(place: Place) {
    if place.backend() == Backend::Sqlite {
        // It has none that another could end.
        return;
    }
    let store = place.open().await;
    let acme = TenantKey::slug("acme").unwrap();
    for round in 0..5 {
        let name = if round == 0 {
            "acme".to_owned()
        } else {
            format!("t{round}")
        };
        store.create(NewTenant::new(name)).await.unwrap();
        let start = store.head().await.unwrap();
        // As many as there may be.
        let several = std::iter::repeat_with(|| store.find(&acme)).take(8);
        for found in futures_util::future::join_all(several).await {
            assert!(found.unwrap().is_some());
        }
        end_connections(&place).await;
        assert!(store.find(&acme).await.unwrap().is_some());
        end_connections(&place).await;
        assert_eq!(followed(store.changes(start, 10).await.unwrap()).0, start);
        end_connections(&place).await;
        store.suspend(&"acme".parse().unwrap()).await.unwrap();
        store.resume(&"acme".parse().unwrap()).await.unwrap();
    }
}

/// Returns when they are gone.
async fn end_connections(place: &Place) {
    let mut other = place.other().await;
    let (one, end) = match place.backend() {
        Backend::MariaDb => (
            "SELECT coalesce(max(id), 0) FROM information_schema.processlist
             WHERE db = DATABASE() AND id <> connection_id()",
            "KILL",
        ),
        _ => (
            "SELECT coalesce(max(pid), 0) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "SELECT pg_terminate_backend",
        ),
    };
    loop {
        match other.ask(one).await {
            0 => return,
            // It may have gone by itself.
            id => drop(other.try_run(&format!("{end} ({id})")).await),
        }
    }
}

async fn many_processes_that_start_at_once_make_one_catalogue(place: Place) {
    let starting: Vec<_> = (0..8)
        .map(|n| {
            let options = place.options().connections(0..=2);
            let locks = place.options();
            tokio::spawn(async move {
                let store = SqlStore::open(options).await.unwrap();
                let locks = SqlLocks::open(locks).await.unwrap();
                let got = locks
                    .try_acquire("start", &n.to_string(), Duration::from_secs(60))
                    .await;
                store.create(NewTenant::new(format!("t{n}"))).await.unwrap();
                store.close().await;
                locks.close().await;
                got.unwrap()
            })
        })
        .collect();
    let mut got = 0;
    for start in starting {
        got += i32::from(start.await.unwrap());
    }
    assert_eq!(got, 1);
    let store = place.open().await;
    assert_eq!(store.head().await.unwrap().number, 9);
    assert_eq!(store.count().await.unwrap(), 8);
}

/// It has no number, so that there is none that could appear late.
async fn a_long_transaction_of_others_delays_no_number(place: Place) {
    if place.backend() == Backend::Sqlite {
        // It has one writer.
        return;
    }
    let (a, b) = (place.open().await, place.open().await);
    place.run("CREATE TABLE notes (id INTEGER PRIMARY KEY)").await;
    let mut follower = Follower::start(&b).await;
    let mut long = place.other().await;
    long.begin().await;
    long.run("INSERT INTO notes VALUES (1)").await;
    assert_eq!(long.ask("SELECT count(*) FROM tenants").await, 0);
    for n in 0..5 {
        a.create(NewTenant::new(format!("t{n}"))).await.unwrap();
        follower.follow(&b, 2).await;
        assert_eq!(follower.mark.number, n + 2);
    }
    long.run("INSERT INTO notes VALUES (2)").await;
    long.run("COMMIT").await;
    let before = follower.mark;
    follower.follow(&b, 2).await;
    assert_eq!(follower.mark, before);
    assert_eq!(follower.entries, list(&a, 10).await);
}

async fn writers_of_two_processes_take_every_number_once_and_in_order(place: Place) {
    let stores = [place.open().await, place.open().await];
    let mut follower = Follower::start(&stores[0]).await;
    let writing: Vec<_> = (0..4)
        .map(|writer| {
            let store = stores[writer % 2].clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    store
                        .create(NewTenant::new(format!("t{writer}-{n}")))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    // A number that is seen is never followed by a lower one that comes later: the follower would say so.
    while !writing.iter().all(tokio::task::JoinHandle::is_finished) {
        follower.follow(&stores[1], 3).await;
        tokio::task::yield_now().await;
    }
    for writer in writing {
        writer.await.unwrap();
    }
    follower.follow(&stores[1], 3).await;
    assert_eq!(follower.mark.number, 41);
    assert_eq!(follower.entries, list(&stores[0], 100).await);
    let log = stores[0].changes_since(0, 100).await.unwrap();
    assert!(
        log.iter()
            .zip(1..)
            .all(|(change, number)| change.number == number)
    );
}

async fn a_change_by_plain_sql_reaches_the_snapshot(place: Place) {
    let store = place.open().await;
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store.clone());
    tenancy.ready().await;
    let mut other = place.other().await;
    other.begin().await;
    for sql in [
        "UPDATE tenancy_change_head SET number = number + 1",
        "INSERT INTO tenants (id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms)
             VALUES ('acme', 'acme', 'active', 2, 2, 0, 0)",
        "INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, \"keys\", at_ms)
             VALUES (2, 4711, 'acme', 'create', '[\"slug:acme\"]', 0)",
    ] {
        other.run(sql).await;
    }
    other.run("COMMIT").await;
    caught_up(&tenancy, &store).await;
    assert_eq!(tenancy.status().tenants, 1);
}

async fn reads_that_are_dropped_leave_nothing_behind(place: Place) {
    let store = place.open().await;
    for n in 0..20 {
        store.create(NewTenant::new(format!("t{n}"))).await.unwrap();
    }
    let start = ChangeMark::NONE;
    for n in 0..60_u64 {
        let reading = store.changes(start, 5);
        let listing = store.list(None, 5);
        tokio::select! {
            biased;
            _ = async { tokio::join!(reading, listing) } => {}
            () = async { for _ in 0..n { tokio::task::yield_now().await; } } => {}
        }
    }
    store.create(NewTenant::new("last")).await.unwrap();
    assert_eq!(list(&store, 7).await.len(), 21);
    if place.backend() == Backend::Postgres {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND state LIKE 'idle in transaction%'";
        assert_eq!(place.ask(open).await, 0);
    }
}

/// Another process's store, its listener cut: the next poll sees what nobody was woken for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_wakes_other_processes_and_a_lost_listener_only_delays_them() {
    let place = Place::on(Backend::Postgres).await;
    let (here, there) = (place.open().await, place.open().await);
    let mut woken = there.signal().unwrap().subscribe();
    // The first wake says that it listens.
    woken.changed().await;
    let created = here.create(NewTenant::new("acme")).await.unwrap();
    while woken.changed().await < created.record.epoch {}

    let start = there.head().await.unwrap();
    let listening = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    while place.ask(listening).await < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(place.ask(cut).await, 2);
    here.create(NewTenant::new("globex")).await.unwrap();
    let (mark, changes, _) = followed(there.changes(start, 10).await.unwrap());
    assert_eq!(changes.len(), 1);
    // It listens again by itself.
    loop {
        let again = here.create(NewTenant::new("initech")).await;
        let number = match again {
            Ok(created) => created.record.epoch,
            Err(_) => {
                here.resume(&crate::support::id("initech"))
                    .await
                    .unwrap()
                    .record
                    .epoch
            }
        };
        let heard = tokio::time::timeout(Duration::from_millis(500), async {
            while woken.changed().await < number {}
        });
        if heard.await.is_ok() {
            break;
        }
        here.suspend(&crate::support::id("initech")).await.unwrap();
    }
    assert!(there.head().await.unwrap().number > mark.number);
}

/// The reader is so far away that something is always written between two of its statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_told_of_one_state_while_others_write() {
    let place = Place::on(Backend::Postgres).await;
    let here = place.open().await;
    let acme = here.create(NewTenant::new("acme")).await.unwrap().record.id;
    let proxy = FaultProxy::start(Postgres::shared().await.address())
        .await
        .unwrap();
    let options = SqlStoreOptions::url(&proxy.url(&place.url())).unwrap();
    let far = SqlStore::open(options.connections(0..=3)).await.unwrap();
    let mut follower = Follower::start(&far).await;
    // So that its statements are prepared, and each is one round trip from now on.
    here.suspend(&acme).await.unwrap();
    follower.follow(&far, 1000).await;

    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let writing = tokio::spawn({
        let here = here.clone();
        async move {
            loop {
                here.resume(&acme).await.unwrap();
                here.suspend(&acme).await.unwrap();
            }
        }
    });
    for _ in 0..3 {
        let before = follower.mark.number;
        while follower.mark.number == before {
            // Fails where it is told of what is newer than what it was told.
            follower.follow(&far, 1000).await;
        }
    }
    writing.abort();
    let _ = writing.await;
    here.close().await;
    proxy.set(Fault::Pass);
    follower.follow(&far, 1000).await;
    assert_eq!(follower.entries, list(&far, 10).await);
}

/// A store that waits for a short time only, so that nobody waits for long where nobody answers. What a busy machine does
/// not do in that time is tried again.
async fn open_hasty(url: &str) -> SqlStore {
    let options = SqlStoreOptions::url(url).unwrap().connections(0..=3);
    let options = options.wait(Duration::from_millis(700));
    again(async || SqlStore::open(options.clone()).await).await
}

/// Until it is done. Fails after some hundred times.
async fn again<T>(mut work: impl AsyncFnMut() -> Result<T, CatalogueError>) -> T {
    for _ in 0..600 {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not come back");
}

async fn lives_through_a_restart(url: String, stop: impl AsyncFn(), start: impl AsyncFn()) {
    let setup = SqlStore::open(SqlStoreOptions::url(&url).unwrap()).await.unwrap();
    setup.create(NewTenant::new("acme")).await.unwrap();
    setup.close().await;
    let store = open_hasty(&url).await;
    let acme = TenantKey::slug("acme").unwrap();
    let head = again(async || store.head().await).await;

    stop().await;
    let error = store.find(&acme).await.unwrap_err();
    assert!(
        error.is_unavailable(),
        "a store that is away has not none: {error:?}"
    );
    assert!(store.changes(head, 10).await.unwrap_err().is_unavailable());
    assert!(
        store
            .create(NewTenant::new("globex"))
            .await
            .unwrap_err()
            .is_unavailable()
    );

    start().await;
    again(async || store.get_by_slug("acme").await).await.unwrap();
    again(async || match store.create(NewTenant::new("globex")).await {
        // It was made, and the answer was late.
        Err(error) if error.is_conflict() => Ok(()),
        created => created.map(drop),
    })
    .await;
    let changes = again(async || store.changes_since(head.number, 10).await).await;
    assert_eq!(changes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_postgres_lives_through_a_restart() {
    let server = Postgres::start(PostgresOptions::new()).await.unwrap();
    let database = server.database("restart").await;
    lives_through_a_restart(
        database.owner_url(),
        async || server.stop().await,
        async || server.restart().await.unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_mariadb_lives_through_a_restart() {
    let server = MariaDb::start(MariaDbOptions::new()).await.unwrap();
    let database = server.database("restart").await;
    lives_through_a_restart(
        database.owner_url(),
        async || server.kill().await,
        async || server.restart().await.unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_unavailable_within_the_wait() {
    let place = Place::on(Backend::Postgres).await;
    let proxy = FaultProxy::start(Postgres::shared().await.address())
        .await
        .unwrap();
    place.open().await.create(NewTenant::new("acme")).await.unwrap();
    let store = open_hasty(&proxy.url(&place.url())).await;
    let acme = TenantKey::slug("acme").unwrap();
    proxy.set(Fault::Freeze);
    for _ in 0..6 {
        assert!(store.find(&acme).await.unwrap_err().is_unavailable());
    }
    proxy.cut();
    proxy.set(Fault::Pass);
    again(async || store.get_by_slug("acme").await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_is_told_without_the_password() {
    for url in [
        "postgres://nobody:hunter2@127.0.0.1:1/app",
        "mysql://nobody:hunter2@127.0.0.1:1/app",
    ] {
        let options = SqlStoreOptions::url(url).unwrap();
        let options = options.connect_timeout(Duration::from_millis(300));
        let error = SqlStore::open(options).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    let place = Place::on(Backend::Postgres).await;
    let server = Postgres::shared().await;
    let missing = SqlStoreOptions::url(&server.url(Role::App, "no_such_database")).unwrap();
    let error = SqlStore::open(missing).await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(
        error.operator_detail().unwrap().contains("no_such_database"),
        "{error:?}"
    );
    drop(place);
}

/// A role that may only read opens it read-only, and no other way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_only_read_can_read() {
    let place = Place::on(Backend::Postgres).await;
    let Place::Postgres(database) = &place else {
        panic!("it is on PostgreSQL");
    };
    let store = place.open().await;
    store.create(NewTenant::new("acme")).await.unwrap();
    let mut owner = PgConnection::connect(&database.owner_url()).await.unwrap();
    sqlx::raw_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
        .execute(&mut owner)
        .await
        .unwrap();
    let as_app = || {
        SqlStoreOptions::url(&database.app_url())
            .unwrap()
            .connections(0..=2)
    };
    let reading = SqlStore::open(as_app().read_only()).await.unwrap();
    assert_eq!(reading.count().await.unwrap(), 1);
    let managing = SqlStore::open(as_app()).await.unwrap();
    let error = managing.create(NewTenant::new("globex")).await.unwrap_err();
    assert!(error.is_read_only(), "{error:?}");
}

async fn a_catalogue_whose_tenants_are_gone_is_not_one_in_which_nothing_happens(place: Place) {
    let store = place.open().await;
    let head = store.head().await.unwrap();
    assert!(followed(store.changes(head, 10).await.unwrap()).1.is_empty());
    place.run("ALTER TABLE tenants RENAME TO elsewhere").await;
    assert!(store.changes(head, 10).await.unwrap_err().is_unavailable());
    place.run("ALTER TABLE elsewhere RENAME TO tenants").await;
    assert!(followed(store.changes(head, 10).await.unwrap()).1.is_empty());
}
