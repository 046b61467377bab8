use std::time::Duration;

use sqlx::Executor as _;
use tenancy_sqlx::migrate::RunOutcome;

use super::fixture::{Fixture, name, settings};
use crate::support::{Backend, Place, id, on_every_database};

/// What is in the way of the migration.
async fn spoil(fixture: &Fixture, tenant: &str) {
    fixture
        .sql(&format!("CREATE VIEW {tenant}.notes AS SELECT 1"))
        .await;
}

async fn a_canary_that_fails_ends_the_run_before_it_begins(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 8).await;
    spoil(&fixture, &name(5)).await;
    let fleet = fixture
        .fleet(settings().canary_tenants([id(&name(5)), id(&name(6))]))
        .await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!(report.outcome, RunOutcome::CanaryFailed, "{report:?}");
    assert!(report.migrated <= 1, "the other canary at most: {report:?}");
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].tenant, name(5).as_str());
    assert!(report.failed[0].reason.contains("migration 1"), "{report:?}");
    assert!(!report.is_complete() && report.not_tried >= 6, "{report:?}");

    fixture.sql(&format!("DROP VIEW {}.notes", name(5))).await;
    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    fixture.check_all_ran_once(8, 1).await;
}

async fn a_run_ends_when_too_many_fail_and_the_next_one_tries_them_again(catalogue: Place) {
    let fixture = Fixture::new(catalogue, 30).await;
    for number in 3..9 {
        spoil(&fixture, &name(number)).await;
    }
    let fleet = fixture.fleet(settings().workers(1).stop_at(0.1)).await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!(report.outcome, RunOutcome::TooManyFailed, "{report:?}");
    // More than a tenth of twenty.
    assert_eq!((report.migrated, report.failed.len()), (3, 3), "{report:?}");
    assert_eq!(report.not_tried, 24);

    for number in 3..9 {
        fixture.sql(&format!("DROP VIEW {}.notes", name(number))).await;
    }
    spoil(&fixture, &name(20)).await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!(report.outcome, RunOutcome::Done, "{report:?}");
    assert_eq!(
        (report.up_to_date, report.migrated, report.failed.len()),
        (3, 26, 1)
    );
    fixture.check_all_ran_once(29, 1).await;
}

on_every_database!(
    a_canary_that_fails_ends_the_run_before_it_begins,
    a_run_ends_when_too_many_fail_and_the_next_one_tries_them_again,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_half_way_leaves_nothing() {
    let fixture = Fixture::new(Place::new(), 2).await;
    fixture.logged_migration(
        2,
        "CREATE TABLE half (id BIGINT); SELECT 1 / (SELECT count(*) FROM notes)",
    );
    let fleet = fixture.fleet(settings().workers(1)).await;
    assert_eq!(fleet.migrate().await.unwrap().failed.len(), 1);
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'half'";
    assert_eq!(fixture.ask(tables).await, 0);
    fixture.sql("INSERT INTO t000.notes VALUES (1, '')").await;
    let report = fleet.migrate().await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (1, 1), "{report:?}");
    fixture.sql("INSERT INTO t001.notes VALUES (1, '')").await;
    assert!(fleet.migrate().await.unwrap().is_complete());
    fixture.check_all_ran_once(2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_makes_its_tenant_wait_and_nobody_else() {
    let fixture = Fixture::new(Place::on(Backend::Postgres).await, 6).await;
    let fleet = fixture.fleet(settings()).await;
    assert!(fleet.migrate().await.unwrap().is_complete());
    fixture.logged_migration(2, "ALTER TABLE notes ADD COLUMN done BOOLEAN");
    let fleet = fixture.fleet(settings()).await;

    let mut holder = fixture.connect().await;
    holder
        .execute("BEGIN; LOCK TABLE t003.notes IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let run = tokio::spawn(async move { fleet.migrate().await.unwrap() });
    while fixture
        .ask("SELECT count(*) FROM public.run_log WHERE version = 2")
        .await
        < 5
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever comes to the table while the migration is turned away is served: it does not stand in the queue for long.
    fixture.ask("SELECT count(*) FROM t003.notes").await;
    holder.execute("COMMIT").await.unwrap();
    assert!(run.await.unwrap().is_complete());
    fixture.check_all_ran_once(6, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_a_schema_fails_alone_and_nothing_lands_in_another_one() {
    let fixture = Fixture::new(Place::new(), 3).await;
    fixture.sql("DROP SCHEMA t001").await;
    let report = fixture.fleet(settings()).await.migrate().await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (2, 1), "{report:?}");
    assert_eq!(report.failed[0].reason, "its schema is not there");
    let in_public = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'run_log'";
    assert_eq!(fixture.ask(in_public).await, 0);
}
