//! Homes that are made and dropped on real servers.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tenancy_core::{Placement, TenantStatus};
use tenancy_sqlx::{
    NewTenant, TenantPatch,
    lifecycle::{Homes, Lifecycle},
    migrate::{FleetMigrator, MigrationPlace, Migrations},
    store::SqlStore,
};
use tenancy_test::servers::{Postgres, TestDatabase};

use crate::support::{Place, id, on_every_database};

struct Fixture {
    store: SqlStore,
    place: Place,
    central: TestDatabase,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new(place: Place) -> Self {
        let fixture = Self {
            store: place.open().await,
            place,
            central: Postgres::shared().await.database("homes").await,
            folder: tempfile::tempdir().unwrap(),
        };
        fixture.migration("CREATE TABLE notes (id BIGINT PRIMARY KEY)");
        fixture
    }

    fn migration(&self, sql: &str) {
        std::fs::write(self.folder.path().join("1_notes.sql"), sql).unwrap();
    }

    fn options(&self) -> PgConnectOptions {
        self.central.admin_url().parse().unwrap()
    }

    async fn lifecycle(&self) -> Lifecycle<sqlx::Postgres> {
        let options = self.options();
        let migrations = Migrations::from_directory(self.folder.path()).await.unwrap();
        let fleet = FleetMigrator::builder(&self.store, migrations, move |record| {
            let home = record
                .placement
                .as_ref()
                .map_or("", |placement| &*placement.database);
            Ok(MigrationPlace::database(options.clone().database(home)))
        });
        let fleet = fleet.build().await.unwrap();
        Lifecycle::new(
            &self.store,
            &fleet,
            Homes::<sqlx::Postgres>::databases(self.options()),
        )
        .broken_off_after(Duration::ZERO)
    }

    /// Databases whose name begins like this.
    async fn databases(&self, prefix: &str) -> usize {
        let named = format!("SELECT datname FROM pg_database WHERE datname LIKE '{prefix}\\_%'");
        self.central.server().sql(named).await.len()
    }

    async fn check_nothing_is_left(&self, slug: &str) {
        assert_eq!(self.databases(slug).await, 0);
        assert!(self.store.get_by_slug(slug).await.unwrap().is_none());
        assert_eq!(self.place.ask("SELECT count(*) FROM tenancy_homes").await, 0);
        assert_eq!(self.place.ask("SELECT count(*) FROM tenancy_migrations").await, 0);
    }
}

fn unique(prefix: &str, place: &Place) -> String {
    format!("{prefix}{:?}", place.backend()).to_lowercase()
}

async fn a_tenant_gets_a_home_and_leaves_nothing_when_it_goes(place: Place) {
    let slug = unique("home", &place);
    let fixture = Fixture::new(place).await;
    let lifecycle = fixture.lifecycle().await;
    let made = lifecycle.create(NewTenant::new(&*slug)).await.unwrap();
    assert_eq!(made.record.status, TenantStatus::Active);
    assert_eq!(fixture.databases(&slug).await, 1);
    let other = lifecycle.create(NewTenant::new(&*slug)).await.unwrap_err();
    assert!(other.is_catalogue(), "{other:?}");
    assert_eq!(
        fixture.databases(&slug).await,
        1,
        "the first one's home is untouched"
    );
    assert_eq!(lifecycle.recover().await.unwrap(), 0);

    lifecycle.remove(&made.record.id).await.unwrap();
    fixture.check_nothing_is_left(&slug).await;
    assert!(
        lifecycle
            .remove(&made.record.id)
            .await
            .unwrap_err()
            .is_no_tenant()
    );
}

async fn a_creation_that_fails_leaves_nothing(place: Place) {
    let slug = unique("fails", &place);
    let fixture = Fixture::new(place).await;
    fixture.migration("SELECT 1 / 0");
    let error = fixture
        .lifecycle()
        .await
        .create(NewTenant::new(&*slug))
        .await
        .unwrap_err();
    assert!(error.is_migration(), "{error:?}");
    fixture.check_nothing_is_left(&slug).await;

    fixture.migration("CREATE TABLE notes (id BIGINT PRIMARY KEY)");
    let seeded = fixture
        .lifecycle()
        .await
        .seed(async |_| Err::<(), _>("no seed".into()));
    let error = seeded.create(NewTenant::new(&*slug)).await.unwrap_err();
    assert!(error.is_seed(), "{error:?}");
    fixture.check_nothing_is_left(&slug).await;
}

async fn a_creation_that_was_killed_is_taken_back(place: Place) {
    let slug = unique("killed", &place);
    let fixture = Fixture::new(place).await;
    // Its migrations never end, and the runtime it is made on does.
    fixture.migration("SELECT pg_sleep(3600)");
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let lifecycle = fixture.lifecycle().await;
    let (of_task, new) = (lifecycle.clone(), NewTenant::new(&*slug));
    doomed.spawn(async move { of_task.create(new).await });
    while fixture.databases(&slug).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    doomed.shutdown_background();
    assert!(fixture.store.get_by_slug(&slug).await.unwrap().is_some());
    let lifecycle = fixture.lifecycle().await;
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    fixture.check_nothing_is_left(&slug).await;
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
}

async fn what_was_not_made_here_is_not_dropped(place: Place) {
    let slug = unique("ours", &place);
    let fixture = Fixture::new(place).await;
    let lifecycle = fixture.lifecycle().await;
    let made = lifecycle.create(NewTenant::new(&*slug)).await.unwrap();
    let home = made.record.placement.unwrap().database;
    fixture.store.create(NewTenant::new("other")).await.unwrap();
    // To the central database, and to the home of another one.
    for database in [fixture.central.name(), &home, ""] {
        let mut patch = TenantPatch::default();
        let mut placement = Placement::default();
        placement.database = database.into();
        patch.placement = Some(Some(placement));
        fixture.store.update(&id("other"), patch).await.unwrap();
        let error = lifecycle.remove(&id("other")).await.unwrap_err();
        assert!(error.is_not_ours(), "{error:?}");
    }
    assert_eq!(fixture.databases(&slug).await, 1);
    let other = fixture.store.get(&id("other")).await.unwrap().unwrap();
    assert_eq!(other.record.status, TenantStatus::Active);
    lifecycle.remove(&made.record.id).await.unwrap();
}

on_every_database!(
    a_tenant_gets_a_home_and_leaves_nothing_when_it_goes,
    a_creation_that_fails_leaves_nothing,
    a_creation_that_was_killed_is_taken_back,
    what_was_not_made_here_is_not_dropped,
);
