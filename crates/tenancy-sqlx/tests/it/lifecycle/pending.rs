//! Homes that are ready before anybody asks.

use std::time::Duration;

use tenancy::{Tenancy, resolve::Subdomain};
use tenancy_core::TenantStatus;
use tenancy_sqlx::{
    NewTenant,
    database::DatabaseError,
    lifecycle::Lifecycle,
    migrate::Migrations,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{FaultProxy, Postgres};

use super::fixture::{Kind, World, enter, notes, unique};
use crate::support::{Backend, Place, on_every_database};

async fn a_sign_up_takes_a_home_that_is_ready(place: Place) {
    let slug = unique("signup", &place);
    let world = World::postgres(place, Kind::Schema).await;
    let (tenancy, databases) = world.serve().await;
    let lifecycle = world.lifecycle().await;
    let pending = lifecycle.pending(2);
    let refill = pending.refill_once().await.unwrap();
    assert_eq!((refill.made, refill.migrated), (2, 0));
    assert_eq!(pending.refill_once().await.unwrap().made, 0, "there are enough");
    let status = pending.status().await.unwrap();
    assert_eq!((status.ready, status.outdated, status.unfinished), (2, 0, 0));

    let mut new = NewTenant::new(&*slug);
    new.plan = Some("pro".into());
    let claimed = pending.claim(new).await.unwrap();
    assert_eq!(claimed.record.status, TenantStatus::Active);
    assert_eq!(claimed.record.plan.as_deref(), Some("pro"));
    let home = claimed.record.placement.clone().unwrap();
    assert!(home.database.starts_with("pending_"), "{home:?}");
    assert_eq!(world.count_homes(&slug).await, 0, "none was made for it");
    let tenant = enter(&tenancy, &claimed.record.id).await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded"]);
    assert_eq!(pending.status().await.unwrap().ready, 1);
    // It is known to be migrated, and is nobody else's.
    let report = lifecycle.fleet().unwrap().migrate().await.unwrap();
    assert_eq!((report.up_to_date, report.migrated), (1, 0));

    // A slug that is taken takes no home.
    assert!(
        pending
            .claim(NewTenant::new(&*slug))
            .await
            .unwrap_err()
            .is_catalogue()
    );
    assert_eq!(pending.status().await.unwrap().ready, 1);
    // What is there is used up, and whoever comes then waits for one.
    pending.claim(NewTenant::new("second")).await.unwrap();
    let third = pending.claim(NewTenant::new("third")).await.unwrap();
    assert!(third.record.placement.unwrap().database.starts_with("third_"));
    for id in [
        &claimed.record.id,
        &"second".parse().unwrap(),
        &"third".parse().unwrap(),
    ] {
        lifecycle.remove(id).await.unwrap();
    }
    world.check_journal(0).await;
    assert_eq!(world.count_homes("pending").await, 0);
}

async fn homes_of_an_older_version_are_migrated_before_they_are_given(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let before = world.lifecycle().await.pending(2);
    before.refill_once().await.unwrap();
    world.second_migration("ALTER TABLE notes ADD COLUMN done BOOLEAN");
    let lifecycle = world.lifecycle().await;
    let after = lifecycle.pending(2);
    assert_eq!(after.status().await.unwrap().outdated, 2);
    let new = after.claim(NewTenant::new("early")).await.unwrap();
    let home = new.record.placement.unwrap().database;
    assert!(
        home.starts_with("early_"),
        "none of the old ones is given: {home}"
    );
    assert_eq!(after.refill_once().await.unwrap().migrated, 2);
    // The program of before has none that is its own, and leaves those of the newer one alone.
    let status = before.status().await.unwrap();
    assert_eq!((status.ready, status.outdated), (0, 2));
    assert_eq!(before.refill_once().await.unwrap().migrated, 0);
    after.claim(NewTenant::new("late")).await.unwrap();
    let added =
        "SELECT 1 FROM information_schema.columns WHERE table_name = 'notes' AND column_name = 'done'";
    let (tenancy, databases) = world.serve().await;
    let late = enter(&tenancy, &"late".parse().unwrap()).await;
    let mut transaction = databases.of(&late).begin().await.unwrap();
    let found = sqlx::query(added).fetch_all(&mut *transaction).await.unwrap();
    assert!(!found.is_empty());
    assert_eq!(after.drain().await.unwrap(), 1);
    assert_eq!(world.count_homes("pending").await, 1, "the one that was given");
}

async fn several_processes_give_each_home_once_and_make_no_more_than_wanted(place: Place) {
    const HOMES: u64 = 6;
    let world = World::postgres(place, Kind::Schema).await;
    let others = [
        world.lifecycle().await,
        world.lifecycle().await,
        world.lifecycle().await,
    ];
    let pools = others.each_ref().map(|lifecycle| lifecycle.pending(HOMES));
    let refills = pools.each_ref().map(|pool| pool.refill_once());
    let [first, second, third] = refills;
    let made = tokio::join!(first, second, third);
    let made = [made.0, made.1, made.2].map(|refill| refill.unwrap().made);
    assert_eq!(made.iter().sum::<u64>(), HOMES, "{made:?}");

    let mut claims = tokio::task::JoinSet::new();
    for number in 0..usize::try_from(HOMES).unwrap() {
        let pool = pools[number % 3].clone();
        claims.spawn(async move { pool.claim(NewTenant::new(format!("t{number}"))).await });
    }
    let mut homes: Vec<_> = claims
        .join_all()
        .await
        .into_iter()
        .map(|claimed| claimed.unwrap().record.placement.unwrap().database)
        .collect();
    homes.sort();
    homes.dedup();
    assert_eq!(homes.len() as u64, HOMES);
    assert!(homes.iter().all(|home| home.starts_with("pending_")), "{homes:?}");
    assert_eq!(world.stages("made").await, 6);
}

async fn a_task_makes_a_home_for_each_that_is_taken_and_waits_after_failures(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    world.migration("SELECT 1 / 0");
    let failing = world.lifecycle().await.keep_pending(2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    failing.stop().await;
    assert_eq!(world.count_homes("pending").await, 0, "what fails is dropped");
    world.check_journal(0).await;

    world.migration("CREATE TABLE notes (id INTEGER, text TEXT)");
    let lifecycle = world.lifecycle().await;
    let pending = lifecycle.keep_pending(2);
    ready(&pending, 2).await;
    pending.claim(NewTenant::new("first")).await.unwrap();
    ready(&pending, 2).await;
    pending.stop().await;
    pending.claim(NewTenant::new("second")).await.unwrap();
    assert_eq!(pending.status().await.unwrap().ready, 1, "nobody makes more");
    assert_eq!(pending.drain().await.unwrap(), 1);
    world.check_journal(2).await;
}

async fn ready(pending: &tenancy_sqlx::lifecycle::PendingHomes<sqlx::Postgres>, wanted: u64) {
    while pending.status().await.unwrap().ready < wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_seed_that_asks_who_it_is_runs_when_a_home_is_claimed(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let builder = world.builder().await.seed(|connection, record| {
        Box::pin(async move {
            if record.slug() == "unlucky" {
                return Err("no seed".into());
            }
            let note = sqlx::query("INSERT INTO notes VALUES (2, $1)").bind(record.slug().to_owned());
            note.execute(connection).await?;
            Ok(())
        })
    });
    let lifecycle = builder.build().await.unwrap();
    let pending = lifecycle.pending(2);
    pending.refill_once().await.unwrap();
    let claimed = pending.claim(NewTenant::new("lucky")).await.unwrap();
    assert_eq!(claimed.record.status, TenantStatus::Active);
    let (tenancy, databases) = world.serve().await;
    let tenant = enter(&tenancy, &claimed.record.id).await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded", "lucky"]);

    let error = pending.claim(NewTenant::new("unlucky")).await.unwrap_err();
    assert!(error.is_seed(), "{error:?}");
    assert!(world.store.get_by_slug("unlucky").await.unwrap().is_none());
    assert_eq!(world.count_homes("pending").await, 1, "only the lucky one's");
    world.check_journal(1).await;
}

on_every_database!(
    a_sign_up_takes_a_home_that_is_ready,
    homes_of_an_older_version_are_migrated_before_they_are_given,
    several_processes_give_each_home_once_and_make_no_more_than_wanted,
    a_task_makes_a_home_for_each_that_is_taken_and_waits_after_failures,
    a_seed_that_asks_who_it_is_runs_when_a_home_is_claimed,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_tables_are_shared_nothing_is_made_ahead() {
    let world = World::postgres(Place::new(), Kind::Rows).await;
    let lifecycle = world.lifecycle().await;
    let pending = lifecycle.pending(3);
    assert_eq!(pending.refill_once().await.unwrap().made, 0);
    assert_eq!(pending.status().await.unwrap().ready, 0);
    pending.claim(NewTenant::new("acme")).await.unwrap();
    let (tenancy, databases) = world.serve().await;
    let tenant = enter(&tenancy, &"acme".parse().unwrap()).await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connections_of_this_process_end_with_the_home() {
    let world = World::files(Place::new()).await;
    let (tenancy, databases) = world.serve().await;
    let lifecycle = world.builder().await.serving(&databases).build().await.unwrap();
    let made = lifecycle.create(NewTenant::new("acme")).await.unwrap();
    let tenant = enter(&tenancy, &made.record.id).await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded"]);
    lifecycle.remove(&made.record.id).await.unwrap();
    let refused: DatabaseError = databases.of(&tenant).begin().await.unwrap_err();
    assert!(!refused.is_busy(), "{refused:?}");
    assert_eq!(world.count_homes("acme").await, 0, "nothing makes the file anew");
}

/// Of the catalogue, all that goes over the wire: what the sign-up waits for, and what comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_takes_few_round_trips() {
    let world = World::postgres(Place::on(Backend::Postgres).await, Kind::Schema).await;
    let proxy = FaultProxy::start(Postgres::shared().await.address())
        .await
        .unwrap();
    let options = SqlStoreOptions::url(&proxy.url(&world.place.url())).unwrap();
    let store = SqlStore::open(options.connections(2..=4)).await.unwrap();
    let migrations = Migrations::from_directory(world.migrations()).await.unwrap();
    let builder = Lifecycle::builder(&store, &world.homes).migrations(migrations);
    let pending = builder.build().await.unwrap().pending(20);
    pending.refill_once().await.unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store.clone());
    tenancy.ready().await;

    let mut counted = Vec::new();
    for number in 0..20 {
        let before = proxy.traffic().round_trips;
        let claimed = pending.claim(NewTenant::new(format!("t{number}"))).await.unwrap();
        counted.push(proxy.traffic().round_trips - before);
        tenancy.enter(&claimed.record.id).await.unwrap();
    }
    // Begin, a home, the names, all that is written, commit; then the change as whoever follows reads it. What else there is
    // goes on beside it: connections that were given back are reset, and now and then somebody polls.
    counted.sort_unstable();
    assert!((7..=14).contains(&counted[10]), "{counted:?}");
}
