//! Processes that are killed at each step of what they do to a tenant.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::Postgres;
use tenancy_core::{TenantId, TenantStatus};
use tenancy_sqlx::{
    NewTenant,
    database::{Server, TenantHomes},
    isolation::Isolation,
    lifecycle::{Lifecycle, Moment, MoveTo},
    migrate::Migrations,
    store::{SqlStore, SqlStoreOptions},
};

use super::fixture::{Kind, World, enter, notes, run};
use crate::support::{Place, on_every_database};

const CATALOGUE: &str = "TENANCY_TEST_CATALOGUE";
const APP: &str = "TENANCY_TEST_APP";
const OWNER: &str = "TENANCY_TEST_OWNER";
const FOLDER: &str = "TENANCY_TEST_FOLDER";
const ERRAND: &str = "TENANCY_TEST_ERRAND";
const STEP: &str = "TENANCY_TEST_STEP";

/// What a process is at when it is killed.
const HERE: &str = "here it stands";

/// Not a test: what the others start. It stops for ever at a step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that other tests start"]
async fn a_victim() {
    let [catalogue, app, owner, folder, errand, step] = [CATALOGUE, APP, OWNER, FOLDER, ERRAND, STEP]
        .map(|name| env::var(name).expect("the test that starts it says so"));
    let options = SqlStoreOptions::url(&catalogue).unwrap();
    let store = SqlStore::open(options.connections(0..=2).wait(Duration::from_secs(60)))
        .await
        .unwrap();
    let homes = TenantHomes::<Postgres>::builder()
        .server("main", Server::at(app).owner(owner))
        .isolation(Isolation::schema());
    let migrations = Migrations::from_directory(format!("{folder}/migrations"))
        .await
        .unwrap();
    let lifecycle = Lifecycle::builder(&store, &homes.build().unwrap())
        .migrations(migrations)
        .seeds_from_directory(format!("{folder}/seeds"))
        .broken_off_after(Duration::ZERO)
        .move_through(&folder)
        .hook(move |now| {
            let when = match now.moment {
                Moment::Before => "before",
                Moment::After => "after",
            };
            let is_here = format!("{when} {}", now.action) == step;
            async move {
                if is_here {
                    println!("{HERE}");
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        })
        .build()
        .await
        .unwrap();
    let victim: TenantId = "victim".parse().unwrap();
    match &*errand {
        "create" => drop(lifecycle.create(NewTenant::new("victim")).await),
        "make home" => drop(lifecycle.make_home(&victim).await),
        "reset" => drop(lifecycle.reset(&victim).await),
        "move" => {
            let to = MoveTo::server("main").let_end(Duration::ZERO);
            drop(lifecycle.move_home(&victim, to).await);
        }
        "remove" => drop(lifecycle.remove(&victim).await),
        "claim" => drop(lifecycle.pending(1).claim(NewTenant::new("victim")).await),
        _ => drop(lifecycle.pending(2).refill_once().await),
    }
    panic!("it was to be killed at {errand}");
}

/// Starts a process, and kills it (SIGKILL) when it is at the step.
async fn kill_at(world: &World<Postgres>, errand: &str, step: &str) {
    let mut victim = start(world, errand, step);
    let output = BufReader::new(victim.stdout.take().unwrap());
    let stands = tokio::task::spawn_blocking(move || {
        output
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains(HERE))
    });
    assert!(stands.await.unwrap(), "it ended before {step} of {errand}");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

fn start(world: &World<Postgres>, errand: &str, step: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "lifecycle::crash::a_victim",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CATALOGUE, world.place.url())
        .env(APP, world.app_url())
        .env(OWNER, world.url())
        .env(FOLDER, world.folder())
        .env(ERRAND, errand)
        .env(STEP, step)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn a_creation_that_is_killed_at_any_step_leaves_nothing(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let lifecycle = world.lifecycle().await;
    for step in [
        "before create",
        "before migrate",
        "after migrate",
        "before seed",
        "after seed",
    ] {
        kill_at(&world, "create", step).await;
        lifecycle.recover().await.unwrap();
        world.check_nothing_is_left("victim").await;
    }
    kill_at(&world, "create", "after create").await;
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
    let made = world.store.get_by_slug("victim").await.unwrap().unwrap();
    assert_eq!(made.record.status, TenantStatus::Active);
    lifecycle.remove(&made.record.id).await.unwrap();
    world.check_nothing_is_left("victim").await;
}

async fn a_reset_that_is_killed_at_any_step_leaves_one_home(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let lifecycle = world.lifecycle().await;
    let id = lifecycle
        .create(NewTenant::new("victim"))
        .await
        .unwrap()
        .record
        .id;
    let (tenancy, databases) = world.serve().await;
    let tenant = enter(&tenancy, &id).await;
    run(&databases, &tenant, "INSERT INTO notes VALUES (2, 'mine')").await;
    let steps = [
        ("before reset", true),
        ("before migrate", true),
        ("before seed", true),
        ("after seed", true),
        ("after reset", false),
    ];
    for (step, keeps) in steps {
        kill_at(&world, "reset", step).await;
        lifecycle.recover().await.unwrap();
        assert_eq!(world.count_homes("victim").await, 1, "{step}");
        world.check_journal(1).await;
        let record = world.store.get(&id).await.unwrap().unwrap().record;
        assert_eq!(record.status, TenantStatus::Active, "{step}");
        while tenant.epoch() < record.epoch {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let expected: &[&str] = if keeps { &["seeded", "mine"] } else { &["seeded"] };
        assert_eq!(notes(&databases, &tenant).await, expected, "{step}");
    }
}

async fn a_move_that_is_killed_at_any_step_leaves_one_home_with_all_rows(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let builder = world.builder().await.move_through(world.folder());
    let lifecycle = builder.keep_left_homes(Duration::ZERO).build().await.unwrap();
    let created = lifecycle.create(NewTenant::new("victim")).await.unwrap();
    let (id, at_first) = (created.record.id, created.record.placement);
    let (tenancy, databases) = world.serve().await;
    let tenant = enter(&tenancy, &id).await;
    let mut expected = vec!["seeded".to_owned()];
    let steps = [
        "before move",
        "before migrate",
        "after migrate",
        "before fence",
        "after fence",
        "before export",
        "after export",
        "before import",
        "after import",
        "after move",
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let text = format!("before it is killed {step}");
        let insert = format!("INSERT INTO notes VALUES ({}, '{text}')", number + 2);
        run(&databases, &tenant, &insert).await;
        expected.push(text);
        kill_at(&world, "move", step).await;
        lifecycle.recover().await.unwrap();
        assert_eq!(world.count_homes("victim").await, 1, "{step}");
        world.check_journal(1).await;
        assert_eq!(world.stages("made").await, 1, "{step}");
        let record = world.store.get(&id).await.unwrap().unwrap().record;
        assert_eq!(
            (record.status, &record.maintenance),
            (TenantStatus::Active, &None),
            "{step}"
        );
        assert_eq!(record.placement == at_first, step != "after move", "{step}");
        while tenant.epoch() < record.epoch {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(notes(&databases, &tenant).await, expected, "{step}");
        let left = std::fs::read_dir(world.folder()).unwrap();
        let left = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("tenancy-move")
        });
        assert_eq!(left.count(), 0, "{step}");
    }
    run(&databases, &tenant, "INSERT INTO notes VALUES (99, 'after all')").await;
}

async fn a_home_that_is_ready_or_is_claimed_is_never_lost_or_given_twice(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let lifecycle = world.lifecycle().await;
    for step in ["before migrate", "after migrate", "before seed", "after seed"] {
        kill_at(&world, "refill", step).await;
        let unfinished = lifecycle.pending(1).status().await.unwrap().unfinished;
        assert_eq!(unfinished, 1, "{step}");
        assert_eq!(lifecycle.recover().await.unwrap(), 1, "{step}");
        assert_eq!(world.count_homes("pending").await, 0, "{step}");
        world.check_journal(0).await;
    }
    lifecycle.pending(1).refill_once().await.unwrap();
    kill_at(&world, "claim", "before claim").await;
    assert_eq!(lifecycle.pending(1).status().await.unwrap().ready, 1);
    assert!(world.store.get_by_slug("victim").await.unwrap().is_none());
    kill_at(&world, "claim", "after claim").await;
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
    assert_eq!(lifecycle.pending(1).status().await.unwrap().ready, 0);
    let made = world.store.get_by_slug("victim").await.unwrap().unwrap();
    assert_eq!(made.record.status, TenantStatus::Active);
    world.check_journal(1).await;
}

async fn what_is_killed_while_it_makes_or_drops_a_home_is_gone_on_with(place: Place) {
    let world = World::postgres(place, Kind::Schema).await;
    let lifecycle = world.lifecycle().await;
    let id: TenantId = "victim".parse().unwrap();
    world.store.create(NewTenant::new("victim")).await.unwrap();
    for step in ["before migrate", "before seed"] {
        kill_at(&world, "make home", step).await;
        let record = world.store.get(&id).await.unwrap().unwrap().record;
        assert_eq!(record.status, TenantStatus::Active, "it was there before");
    }
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    assert_eq!(world.stages("made").await, 1);
    let (tenancy, databases) = world.serve().await;
    assert_eq!(notes(&databases, &enter(&tenancy, &id).await).await, ["seeded"]);

    kill_at(&world, "remove", "before drop").await;
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
    assert_eq!(world.stages("made").await, 1, "nothing was begun");
    // A lock keeps the home from being dropped, and the process dies meanwhile.
    let mut holder = world.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE tenant_victim.notes")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut process = start(&world, "remove", "never");
    while world.stages("dropping").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(
        world.store.get(&id).await.unwrap().unwrap().record.status,
        TenantStatus::Deleted
    );
    drop(holder);
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    world.check_nothing_is_left("victim").await;
    assert_eq!(world.count_homes("tenant").await, 0);
}

on_every_database!(
    a_creation_that_is_killed_at_any_step_leaves_nothing,
    a_reset_that_is_killed_at_any_step_leaves_one_home,
    a_move_that_is_killed_at_any_step_leaves_one_home_with_all_rows,
    a_home_that_is_ready_or_is_claimed_is_never_lost_or_given_twice,
    what_is_killed_while_it_makes_or_drops_a_home_is_gone_on_with,
);
