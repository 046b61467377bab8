use std::sync::{Arc, Mutex};

use sqlx::migrate::Migrator;
use tenancy_sqlx::isolation::Identifier;
use tenancy_sqlx::migrate::{FleetMigrator, MigrationEvent, MigrationPlace, Migrations};

use super::fixture::{Fixture, name, settings};
use crate::support::{Place, id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqlx_applied_before_counts() {
    let fixture = Fixture::new(Place::new(), 3).await;
    fixture.logged_migration(2, "CREATE INDEX ON notes (text)");
    let mut connection = fixture.connect().await;
    sqlx::raw_sql("SET search_path TO t001, public")
        .execute(&mut connection)
        .await
        .unwrap();
    let migrator = Migrator::new(fixture.folder()).await.unwrap();
    migrator.run_to(1, &mut connection).await.unwrap();

    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let owner: sqlx::postgres::PgConnectOptions = fixture.tenants.owner_url().parse().unwrap();
    let migrations = Migrations::from_directory(fixture.folder()).await.unwrap();
    let fleet = FleetMigrator::builder(&fixture.store, migrations, move |record| {
        let schema = Identifier::new(record.id.as_str())?;
        Ok(MigrationPlace::schema(owner.clone(), schema).with_path(Identifier::new("public")?))
    })
    .observe(move |event| {
        if let MigrationEvent::Migrated { tenant, migrations } = event {
            sees.lock().unwrap().push((tenant.to_string(), migrations));
        }
    })
    .build()
    .await
    .unwrap();
    assert!(fleet.migrate().await.unwrap().is_complete());
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, [(name(0), 2), (name(1), 1), (name(2), 2)]);
    fixture.check_all_ran_once(3, 2).await;
    // And sqlx finds what this applied.
    migrator.run(&mut connection).await.unwrap();
    fixture.check_all_ran_once(3, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_or_unknown_migration_fails_the_tenant_that_has_it() {
    let fixture = Fixture::new(Place::new(), 1).await;
    assert!(
        fixture
            .fleet(settings())
            .await
            .migrate()
            .await
            .unwrap()
            .is_complete()
    );
    fixture.logged_migration(1, "CREATE TABLE other (id BIGINT)");
    let report = fixture.fleet(settings()).await.migrate().await.unwrap();
    assert_eq!(
        report.failed[0].reason,
        "migration 1 was changed after it was applied"
    );

    std::fs::remove_file(fixture.folder().join("1_test.sql")).unwrap();
    fixture.logged_migration(2, "CREATE TABLE other (id BIGINT)");
    let report = fixture.fleet(settings()).await.migrate().await.unwrap();
    assert!(
        report.failed[0]
            .reason
            .contains("migration 1 was applied and is not"),
        "{report:?}"
    );
    let tolerant = fixture.fleet(settings().ignore_unknown(true)).await;
    assert!(tolerant.migrate().await.unwrap().is_complete());
    fixture.check_all_ran_once(1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_and_a_tenant_are_taken_back_and_brought_forth_again() {
    let fixture = Fixture::new(Place::new(), 3).await;
    for (version, kind, sql) in [
        (2, "up", "CREATE TABLE two (id BIGINT)"),
        (2, "down", "DROP TABLE two"),
        (3, "up", "CREATE TABLE three (id BIGINT)"),
        (3, "down", "DROP TABLE three"),
    ] {
        std::fs::write(fixture.folder().join(format!("{version}_test.{kind}.sql")), sql).unwrap();
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('two', 'three')";
    let fleet = fixture.fleet(settings()).await;
    assert_eq!(fleet.migrate().await.unwrap().migrated, 3);
    assert_eq!(fixture.ask(tables).await, 6);

    let report = fleet.roll_back(1).await.unwrap();
    assert!(report.is_complete() && report.migrated == 3, "{report:?}");
    assert_eq!(fixture.ask(tables).await, 0);
    assert_eq!(fleet.roll_back(1).await.unwrap().up_to_date, 3);

    let record = fixture.store.get(&id("t001")).await.unwrap().unwrap().record;
    assert_eq!(fleet.migrate_tenant(&record).await.unwrap(), 2);
    assert_eq!(fleet.migrate_tenant(&record).await.unwrap(), 0);
    assert_eq!(fixture.ask(tables).await, 2);
    assert_eq!(fleet.roll_back_tenant(&record, 2).await.unwrap(), 1);
    assert_eq!(fixture.ask(tables).await, 1);
    assert_eq!(fleet.migrate().await.unwrap().migrated, 3);
    assert_eq!(fixture.ask(tables).await, 6);

    for bad in [3, 4, -1] {
        let error = fleet.roll_back(bad).await.unwrap_err();
        assert!(error.is_no_such_version(), "{error:?}");
    }
    // The first has no way back, so that nothing of a tenant is taken back.
    let report = fleet.roll_back(0).await.unwrap();
    assert_eq!(report.failed[0].reason, "migration 1 has no `.down.sql`");
    assert_eq!(fixture.ask(tables).await, 6);
}
