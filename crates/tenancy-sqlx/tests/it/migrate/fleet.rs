use std::time::Duration;

use tenancy_core::Placement;
use tenancy_sqlx::{TenantPatch, migrate::RunOutcome};

use super::fixture::{Fixture, name, settings};
use crate::support::{Backend, Place, id, on_every_database};

async fn the_whole_fleet_is_migrated_once_and_costs_nothing_then(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 9).await;
    let fleet = fixture.fleet(settings()).await;
    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.version, report.migrated, report.up_to_date), (1, 9, 0));
    assert_eq!(fixture.asked(), 9);

    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.migrated, report.up_to_date), (0, 9));
    assert_eq!(fixture.asked(), 0, "nobody is connected to");

    fixture.add("young").await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!((report.migrated, report.up_to_date), (1, 9));
    assert_eq!(fixture.asked(), 1);

    fixture.logged_migration(2, "ALTER TABLE notes ADD COLUMN done BOOLEAN");
    let newer = fixture.fleet(settings()).await;
    assert_eq!(newer.migrate().await.unwrap().migrated, 10);
    fixture.check_all_ran_once(10, 2).await;
}

async fn a_tenant_that_moved_is_looked_at_and_one_that_is_deleted_is_not(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 3).await;
    let fleet = fixture.fleet(settings()).await;
    fixture.store.delete(&id(&name(1))).await.unwrap();
    assert_eq!(fleet.migrate().await.unwrap().migrated, 2);

    let mut patch = TenantPatch::default();
    let mut placement = Placement::default();
    placement.database = "elsewhere".into();
    patch.placement = Some(Some(placement));
    fixture.store.update(&id(&name(0)), patch).await.unwrap();
    fixture.store.restore(&id(&name(1))).await.unwrap();
    fixture.asked();
    let report = fleet.migrate().await.unwrap();
    assert_eq!((report.migrated, report.up_to_date), (2, 1));
    assert_eq!(fixture.asked(), 2);
    // The ledger of the one that moved had it all: the place of this test does not change with the placement.
    fixture.check_all_ran_once(3, 1).await;

    fleet.look_again(&id(&name(2))).await.unwrap();
    assert_eq!(fleet.migrate().await.unwrap().migrated, 1);
}

async fn runners_at_once_share_the_work(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 24).await;
    fixture.logged_migration(2, "CREATE INDEX ON notes (text)");
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(super::fixture::open(&fixture.catalogue.url()).await);
    }
    let runners = stores.iter().map(|store| async {
        let url = fixture.tenants.owner_url();
        let fleet = super::fixture::fleet(store, fixture.folder(), &url, settings().workers(2), || {}).await;
        fleet.migrate().await.unwrap()
    });
    for report in futures_util::future::join_all(runners).await {
        assert!(report.is_complete(), "{report:?}");
    }
    fixture.check_all_ran_once(24, 2).await;
}

async fn other_migrations_wait_until_a_run_has_ended(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 2).await;
    // On a machine that is busy, signs of life are late.
    let older = fixture.fleet(settings().lease(Duration::from_secs(5))).await;
    fixture.logged_migration(2, "SELECT pg_sleep(3600)");
    let newer = fixture.fleet(settings().lease(Duration::from_secs(2))).await;
    // Its first tenant never ends.
    let stuck = tokio::spawn(async move { newer.migrate().await });
    wait_until(async || fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%3600%' AND datname = current_database() AND pid <> pg_backend_pid()").await > 0)
        .await;
    let refused = older.migrate().await.unwrap_err();
    assert!(refused.is_busy(), "{refused:?}");

    stuck.abort();
    assert!(stuck.await.is_err());
    // Who began it gives no sign of life any more.
    wait_until(async || match older.migrate().await {
        Ok(report) => {
            assert_eq!(report.outcome, RunOutcome::Done, "{report:?}");
            assert!(report.is_complete(), "{report:?}");
            true
        }
        Err(error) => {
            assert!(error.is_busy(), "{error:?}");
            false
        }
    })
    .await;
    fixture.check_all_ran_once(2, 1).await;
}

async fn wait_until(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..2_400 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never so");
}

on_every_database!(
    the_whole_fleet_is_migrated_once_and_costs_nothing_then,
    a_tenant_that_moved_is_looked_at_and_one_that_is_deleted_is_not,
    runners_at_once_share_the_work,
    other_migrations_wait_until_a_run_has_ended,
);

async fn ten_thousand_that_are_up_to_date_are_one_look_at_the_catalogue(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 1).await;
    let fleet = fixture.fleet(settings()).await;
    assert!(fleet.migrate().await.unwrap().is_complete());
    for chunk in 0..10 {
        let rows = (chunk * 1_000..(chunk + 1) * 1_000)
            .map(|n| format!("('n{n}', 'n{n}', 'active', {e}, {e}, 0, 0)", e = n + 100_000));
        let rows = rows.collect::<Vec<_>>().join(", ");
        let columns = "id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms";
        fixture
            .catalogue
            .run(&format!("INSERT INTO tenants ({columns}) VALUES {rows}"))
            .await;
    }
    // As if each had been migrated.
    fixture
        .catalogue
        .run(
            "INSERT INTO tenancy_migrations SELECT t.id, t.incarnation, '', '', '', m.version, m.checksum, 0
             FROM tenants t, tenancy_migrations m WHERE m.tenant_id <> t.id",
        )
        .await;
    fixture.asked();
    let report = fleet.migrate().await.unwrap();
    eprintln!("{:?}: {:?}", fixture.catalogue.backend(), report.elapsed);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.migrated, report.up_to_date), (0, 10_001));
    assert_eq!(fixture.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_on_sqlite() {
    ten_thousand_that_are_up_to_date_are_one_look_at_the_catalogue(Place::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_on_postgres() {
    let place = Place::on(Backend::Postgres).await;
    ten_thousand_that_are_up_to_date_are_one_look_at_the_catalogue(place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_on_mariadb() {
    let place = Place::on(Backend::MariaDb).await;
    ten_thousand_that_are_up_to_date_are_one_look_at_the_catalogue(place).await;
}
