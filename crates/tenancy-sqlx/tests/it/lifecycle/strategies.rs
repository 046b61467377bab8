//! Each way to keep tenants apart: made, seeded, served as the application's role, reset and removed.

use tenancy_core::TenantStatus;
use tenancy_sqlx::NewTenant;

use super::fixture::{Kind, Tested, World, enter, notes, run, unique};
use crate::support::Place;

async fn a_life<DB: Tested>(world: World<DB>, slug: &str, homes: usize) {
    let (tenancy, databases) = world.serve().await;
    let lifecycle = world.builder().await.serving(&databases).build().await.unwrap();
    let made = lifecycle.create(NewTenant::new(slug)).await.unwrap();
    let other = lifecycle.create(NewTenant::new("other")).await.unwrap();
    assert_eq!(made.record.status, TenantStatus::Active);
    assert_eq!(world.count_homes(slug).await, homes);
    let (tenant, neighbour) = (
        enter(&tenancy, &made.record.id).await,
        enter(&tenancy, &other.record.id).await,
    );
    run(
        &databases,
        &tenant,
        "INSERT INTO notes (id, text) VALUES (2, 'mine')",
    )
    .await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded", "mine"]);
    assert_eq!(notes(&databases, &neighbour).await, ["seeded"]);

    lifecycle.reset(&made.record.id).await.unwrap();
    assert_eq!(
        notes(&databases, &tenant).await,
        ["seeded"],
        "it is empty, but for its seeds"
    );
    assert_eq!(notes(&databases, &neighbour).await, ["seeded"]);
    world.check_journal(2).await;

    lifecycle.remove(&made.record.id).await.unwrap();
    assert_eq!(notes(&databases, &neighbour).await, ["seeded"], "nobody else");
    lifecycle.remove(&other.record.id).await.unwrap();
    world.check_nothing_is_left(slug).await;
    assert_eq!(
        world.place.ask("SELECT count(*) FROM tenancy_migrations").await,
        0
    );
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_postgres() {
    let place = Place::new();
    let slug = unique("life", &place);
    a_life(World::postgres(place, Kind::Database).await, &slug, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas() {
    let place = Place::new();
    let slug = unique("schemed", &place);
    a_life(World::postgres(place, Kind::Schema).await, &slug, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows() {
    let world = World::postgres(Place::new(), Kind::Rows).await;
    world.seed("INSERT INTO notes (id, text) VALUES (1, 'seeded'); INSERT INTO comments (note) VALUES (1); INSERT INTO a_list (comment_of) VALUES (1)");
    a_life(world, "rowed", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_mariadb() {
    let place = Place::new();
    let slug = unique("maria-life", &place);
    let world = World::mariadb(place, Kind::Database).await;
    a_life(world, &slug.replace('-', "x"), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files() {
    a_life(World::files(Place::new()).await, "filed", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_tenant_that_was_migrated_are_closed() {
    let world = World::postgres(Place::new(), Kind::Schema).await;
    let (tenancy, databases) = world.serve().await;
    let lifecycle = world.builder().await.serving(&databases).build().await.unwrap();
    let made = lifecycle.create(NewTenant::new("acme")).await.unwrap();
    let tenant = enter(&tenancy, &made.record.id).await;
    assert_eq!(notes(&databases, &tenant).await, ["seeded"]);
    let opens = || databases.figures("main").unwrap().opens;
    // Who comes while the connection is reset is given another one.
    let quiet = async || {
        while databases.figures("main").unwrap().idle != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    quiet().await;
    lifecycle.fleet().unwrap().migrate().await.unwrap();
    notes(&databases, &tenant).await;
    assert_eq!(opens(), 1, "nothing was migrated");
    quiet().await;
    world.second_migration("ALTER TABLE notes ALTER COLUMN text TYPE CHAR(9)");
    let newer = world.builder().await.serving(&databases).build().await.unwrap();
    let report = newer.fleet().unwrap().migrate().await.unwrap();
    assert_eq!(report.migrated, 1, "{report:?}");
    assert_eq!(
        notes(&databases, &tenant).await,
        ["seeded   "],
        "the type is another one"
    );
    assert_eq!(opens(), 2);
}
