//! Homes of tenants that are registered already, and records that lead where they should not.

use tenancy_core::{Placement, TenantStatus};
use tenancy_sqlx::{NewTenant, TenantPatch};

use super::fixture::{Kind, Tested, World, enter, notes, run};
use crate::support::{Place, id};

async fn lead<DB: Tested>(world: &World<DB>, tenant: &str, database: &str) {
    let mut patch = TenantPatch::default();
    let mut placement = Placement::default();
    placement.database = database.into();
    patch.placement = Some(Some(placement));
    world.store.update(&id(tenant), patch).await.unwrap();
}

async fn a_registered_tenant_gets_its_home_once<DB: Tested>(world: World<DB>, tenant: &str) {
    world.store.create(NewTenant::new(tenant)).await.unwrap();
    let lifecycle = world.lifecycle().await;
    for _ in 0..2 {
        let details = lifecycle.make_home(&id(tenant)).await.unwrap();
        assert_eq!(details.record.status, TenantStatus::Active);
        assert!(details.record.placement.is_none(), "it follows from its id");
    }
    let (tenancy, databases) = world.serve().await;
    let entered = enter(&tenancy, &id(tenant)).await;
    assert_eq!(notes(&databases, &entered).await, ["seeded"], "once");
    run(
        &databases,
        &entered,
        "INSERT INTO notes (id, text) VALUES (2, 'mine')",
    )
    .await;
    lifecycle.make_home(&id(tenant)).await.unwrap();
    assert_eq!(notes(&databases, &entered).await, ["seeded", "mine"]);

    lifecycle.reset(&id(tenant)).await.unwrap();
    assert_eq!(notes(&databases, &entered).await, ["seeded"]);
    lifecycle.remove(&id(tenant)).await.unwrap();
    world.check_nothing_is_left(tenant).await;
    assert_eq!(world.count_homes("tenant").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_tenant_gets_its_schema_once() {
    a_registered_tenant_gets_its_home_once(World::postgres(Place::new(), Kind::Schema).await, "reg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_tenant_gets_its_file_once() {
    a_registered_tenant_gets_its_home_once(World::files(Place::new()).await, "reg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_migrated_and_never_seeded_or_dropped() {
    let world = World::postgres(Place::new(), Kind::Schema).await;
    world.store.create(NewTenant::new("old")).await.unwrap();
    world
        .in_central("CREATE SCHEMA tenant_old; GRANT USAGE ON SCHEMA tenant_old TO app")
        .await
        .unwrap();
    let lifecycle = world.lifecycle().await;
    lifecycle.make_home(&id("old")).await.unwrap();
    world.check_journal(0).await;
    world.in_central("SELECT id FROM tenant_old.notes").await.unwrap();
    world
        .in_central("SELECT 1 / (1 - count(*)) FROM tenant_old.notes")
        .await
        .unwrap();
    for outcome in [
        lifecycle.remove(&id("old")).await,
        lifecycle.reset(&id("old")).await.map(drop),
    ] {
        assert!(outcome.unwrap_err().is_not_ours());
    }
    world.in_central("SELECT id FROM tenant_old.notes").await.unwrap();
    let record = world.store.get(&id("old")).await.unwrap().unwrap().record;
    assert_eq!(record.status, TenantStatus::Active);
}

async fn a_record_that_leads_elsewhere_harms_nobody<DB: Tested>(world: World<DB>) {
    let lifecycle = world.lifecycle().await;
    let made = lifecycle.create(NewTenant::new("right")).await.unwrap();
    let home = made.record.placement.clone().unwrap().database;
    world.store.create(NewTenant::new("derived")).await.unwrap();
    lifecycle.make_home(&id("derived")).await.unwrap();
    let derived = match home.ends_with(".db") {
        true => "tenant_derived.db",
        false => "tenant_derived",
    };
    world.store.create(NewTenant::new("wrong")).await.unwrap();
    for place in [&*home, derived, &*world.central(), "public", "postgres", "mysql"] {
        lead(&world, "wrong", place).await;
        let wrong = id("wrong");
        let reset = lifecycle.reset(&wrong).await.unwrap_err();
        assert!(reset.is_not_ours() || reset.is_misplaced(), "{place}: {reset:?}");
        let removed = lifecycle.remove(&wrong).await.unwrap_err();
        assert!(
            removed.is_not_ours() || removed.is_misplaced(),
            "{place}: {removed:?}"
        );
        if place == &*home || place == derived {
            let made = lifecycle.make_home(&wrong).await.unwrap_err();
            assert!(made.is_misplaced(), "{place}: {made:?}");
        }
        if place == &*home {
            // Whoever is right keeps it, too, until the mistake is mended.
            assert!(lifecycle.remove(&made.record.id).await.unwrap_err().is_not_ours());
        }
    }
    let (tenancy, databases) = world.serve().await;
    for tenant in [&made.record.id, &id("derived")] {
        let tenant = enter(&tenancy, tenant).await;
        assert_eq!(notes(&databases, &tenant).await, ["seeded"]);
    }
    lead(&world, "wrong", "").await;
    lifecycle.remove(&made.record.id).await.unwrap();
    lifecycle.remove(&id("derived")).await.unwrap();
    world.check_journal(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leads_to_another_schema_harms_nobody() {
    a_record_that_leads_elsewhere_harms_nobody(World::postgres(Place::new(), Kind::Schema).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leads_to_another_database_harms_nobody() {
    a_record_that_leads_elsewhere_harms_nobody(World::mariadb(Place::new(), Kind::Database).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leads_to_another_file_harms_nobody() {
    a_record_that_leads_elsewhere_harms_nobody(World::files(Place::new()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_no_policy_tells_apart_are_removed_by_what_is_given_or_not_at_all() {
    let world = World::mariadb(Place::new(), Kind::Guarded).await;
    world.migration("CREATE TABLE notes (tenant_id VARCHAR(48) NOT NULL, text TEXT)");
    world.seed("SELECT 1");
    let lifecycle = world.lifecycle().await;
    let made = lifecycle.create(NewTenant::new("acme")).await.unwrap();
    let refused = lifecycle.remove(&made.record.id).await.unwrap_err();
    assert!(refused.is_not_emptied(), "{refused:?}");
    let record = world.store.get(&made.record.id).await.unwrap().unwrap().record;
    assert_eq!(record.status, TenantStatus::Active, "nothing was begun");

    let builder = world.builder().await.seed(|connection, record| {
        Box::pin(async move {
            let note =
                sqlx::query("INSERT INTO notes VALUES (?, 'hello')").bind(record.id.as_str().to_owned());
            note.execute(connection).await?;
            Ok(())
        })
    });
    let builder = builder.remove_rows(|connection, record| {
        Box::pin(async move {
            let rows =
                sqlx::query("DELETE FROM notes WHERE tenant_id = ?").bind(record.id.as_str().to_owned());
            rows.execute(connection).await?;
            Ok(())
        })
    });
    let lifecycle = builder.build().await.unwrap();
    let other = lifecycle.create(NewTenant::new("other")).await.unwrap();
    lifecycle.reset(&other.record.id).await.unwrap();
    assert_eq!(world.count_rows("notes").await, 1);
    lifecycle.remove(&made.record.id).await.unwrap();
    assert_eq!(world.count_rows("notes").await, 1, "it had none");
    lifecycle.remove(&other.record.id).await.unwrap();
    assert_eq!(world.count_rows("notes").await, 0);
    world.check_nothing_is_left("acme").await;
}
