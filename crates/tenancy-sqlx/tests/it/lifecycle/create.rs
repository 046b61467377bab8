//! What becomes of tenants whose making fails, is broken off, or meets what is there, on every catalogue.

use std::time::Duration;

use tenancy_core::{Placement, TenantStatus};
use tenancy_sqlx::{NewTenant, TenantPatch};

use super::fixture::{Kind, World, unique};
use crate::support::{Place, id, on_every_database};

async fn a_tenant_gets_a_home_and_leaves_nothing_when_it_goes(place: Place) {
    let slug = unique("home", &place);
    let fixture = World::postgres(place, Kind::Database).await;
    let lifecycle = fixture.lifecycle().await;
    let made = lifecycle.create(NewTenant::new(&*slug)).await.unwrap();
    assert_eq!(made.record.status, TenantStatus::Active);
    assert_eq!(fixture.count_homes(&slug).await, 1);
    let other = lifecycle.create(NewTenant::new(&*slug)).await.unwrap_err();
    assert!(other.is_catalogue(), "{other:?}");
    assert_eq!(
        fixture.count_homes(&slug).await,
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
    let fixture = World::postgres(place, Kind::Database).await;
    fixture.migration("SELECT 1 / 0");
    let error = fixture
        .lifecycle()
        .await
        .create(NewTenant::new(&*slug))
        .await
        .unwrap_err();
    assert!(error.is_migration(), "{error:?}");
    fixture.check_nothing_is_left(&slug).await;

    fixture.migration("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)");
    let builder = fixture.builder().await;
    let seeded = builder
        .seed(|_, _| Box::pin(async { Err("no seed".into()) }))
        .build()
        .await
        .unwrap();
    let error = seeded.create(NewTenant::new(&*slug)).await.unwrap_err();
    assert!(error.is_seed(), "{error:?}");
    fixture.check_nothing_is_left(&slug).await;
}

async fn a_creation_that_was_killed_is_taken_back(place: Place) {
    let slug = unique("killed", &place);
    let fixture = World::postgres(place, Kind::Database).await;
    // Its migrations never end, and the runtime it is made on does.
    fixture.migration("SELECT pg_sleep(3600)");
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let lifecycle = fixture.lifecycle().await;
    let (of_task, new) = (lifecycle.clone(), NewTenant::new(&*slug));
    doomed.spawn(async move { of_task.create(new).await });
    while fixture.count_homes(&slug).await == 0 {
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
    let fixture = World::postgres(place, Kind::Database).await;
    let lifecycle = fixture.lifecycle().await;
    let made = lifecycle.create(NewTenant::new(&*slug)).await.unwrap();
    let home = made.record.placement.unwrap().database;
    fixture.store.create(NewTenant::new("other")).await.unwrap();
    // To the central database, and to the home of another one.
    for database in [&*fixture.central(), &home, ""] {
        let mut patch = TenantPatch::default();
        let mut placement = Placement::default();
        placement.database = database.into();
        patch.placement = Some(Some(placement));
        fixture.store.update(&id("other"), patch).await.unwrap();
        let error = lifecycle.remove(&id("other")).await.unwrap_err();
        assert!(error.is_not_ours() || error.is_misplaced(), "{error:?}");
    }
    assert_eq!(fixture.count_homes(&slug).await, 1);
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
