//! Fleets whose tenants are where homes say that they are.

use tenancy_core::{Placement, TenantId, TenantRecord};
use tenancy_sqlx::{
    NewTenant,
    database::{Server, TenantHomes},
    isolation::{DatabasePerTenant, GuardedTables, Isolation, SchemaPerTenant, SharedRows},
    migrate::{FleetMigrator, MigrationPlace, Migrations},
};
use tenancy_test::servers::{Postgres, PostgresOptions, TestDatabase};

use super::fixture::settings;
use crate::support::Place;

fn homes(database: &TestDatabase) -> TenantHomes<sqlx::Postgres> {
    let schemas = SchemaPerTenant::new().extra_path(["extensions"]).unwrap();
    TenantHomes::builder()
        .server("main", Server::at(database.app_url()).owner(database.owner_url()))
        .server("ownerless", Server::at(database.app_url()))
        .isolation(
            Isolation::of(schemas)
                .or(DatabasePerTenant::new())
                .or(SharedRows::new())
                .or(GuardedTables::new()),
        )
        .build()
        .unwrap()
}

fn placed(server: &str, isolation: &str, database: &str) -> TenantRecord {
    let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
    let mut placement = Placement::default();
    placement.server = server.into();
    placement.isolation = isolation.into();
    placement.database = database.into();
    record.placement = Some(Box::new(placement));
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_strategy_says_where_its_migrations_run() {
    let database = Postgres::shared().await.database("places").await;
    let homes = homes(&database);
    let shown = |record: &TenantRecord| {
        MigrationPlace::of(&homes, record)
            .map(|place| format!("{place:?}"))
            .map_err(|error| error.is_misplaced() || error.is_unknown_server())
    };
    for (isolation, named, path, shared) in [
        (
            "",
            "",
            r#"[Identifier("tenant_acme"), Identifier("extensions")]"#,
            "None",
        ),
        (
            "schema",
            "o\"x",
            r#"[Identifier("o\"x"), Identifier("extensions")]"#,
            "None",
        ),
        ("database", "", "[]", "None"),
        ("rows", "", "[]", r#"Some("main")"#),
        ("guarded", "", "[]", r#"Some("main")"#),
    ] {
        let place = shown(&placed("", isolation, named)).unwrap();
        let expected = format!("MigrationPlace {{ search_path: {path}, shared: {shared}, .. }}");
        assert_eq!(place, expected, "{isolation}");
    }
    for wrong in [
        placed("", "schema", "public"),
        placed("", "database", database.name()),
        placed("", "rows", "elsewhere"),
        placed("", "nothing", ""),
        placed("nowhere", "", ""),
        placed("ownerless", "", ""),
    ] {
        assert_eq!(shown(&wrong), Err(true), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_tenants_share_are_migrated_once() {
    const TENANTS: usize = 30;
    let server = Postgres::start(PostgresOptions::new().setting("log_connections", "on"));
    let database = server.await.unwrap().database("shared").await;
    let place = Place::new();
    let store = place.open().await;
    for number in 0..TENANTS {
        let mut tenant = NewTenant::new(format!("t{number}"));
        let mut placement = Placement::default();
        placement.isolation = "rows".into();
        tenant.placement = Some(placement);
        store.create(tenant).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("1_notes.sql"),
        "CREATE TABLE notes (tenant_id TEXT)",
    )
    .unwrap();
    let migrations = Migrations::from_directory(folder.path()).await.unwrap();
    let fleet = FleetMigrator::of_homes(&store, migrations, &homes(&database))
        .settings(settings().workers(4))
        .build()
        .await
        .unwrap();
    let report = fleet.migrate().await.unwrap();
    assert_eq!(
        (report.migrated, report.failed.len()),
        (TENANTS as u64, 0),
        "{report:?}"
    );
    assert_eq!(connections(&database), 1, "one for all");
    let again = fleet.migrate().await.unwrap();
    assert_eq!((again.up_to_date, again.migrated), (TENANTS as u64, 0));
    assert_eq!(connections(&database), 1, "nobody connected again");
}

/// How often the owner connected to the database.
fn connections(database: &TestDatabase) -> usize {
    let line = format!("connection authorized: user=owner database={}", database.name());
    database.server().log().matches(&line).count()
}
