//! Steps say that somebody is at them, and do not wait for having said so.

use std::{sync::Arc, time::Duration};

use sqlx::SqliteConnection;
use tenancy_sqlx::{
    NewTenant,
    lifecycle::{LifecycleAction, Moment},
    store::SqlStore,
};
use tokio::{sync::Mutex, time};

use super::fixture::World;
use crate::support::{Place, run};

/// What the fixture's steps leave between one heartbeat and the next.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_goes_on_while_its_heartbeat_waits_for_what_the_step_holds() {
    let mut world = World::files(Place::new()).await;
    // A step that waits for its own heartbeat does so until this is over, and then goes on: far later than is waited here.
    let options = world.place.options().wait(Duration::from_secs(600));
    world.store = SqlStore::open(options).await.unwrap();
    let other = Arc::new(Mutex::new(world.place.raw().await));
    let of_hook = Arc::clone(&other);
    let builder = world.builder().await.hook(move |step| {
        let other = Arc::clone(&of_hook);
        async move {
            if (step.moment, step.action) == (Moment::Before, LifecycleAction::Migrate) {
                keep_a_heartbeat_waiting(&mut *other.lock().await).await;
            }
            Ok(())
        }
    });
    let lifecycle = builder.build().await.unwrap();
    run(
        &mut *other.lock().await,
        "CREATE TABLE events (number INTEGER PRIMARY KEY, event TEXT NOT NULL);
         CREATE TRIGGER beat AFTER UPDATE ON tenancy_homes
             WHEN NEW.stage = OLD.stage AND NEW.tenant_id IS OLD.tenant_id
             BEGIN INSERT INTO events (event) VALUES ('heartbeat'); END;
         CREATE TRIGGER opened AFTER UPDATE ON tenancy_homes WHEN NEW.stage = 'made'
             BEGIN INSERT INTO events (event) VALUES ('done'); END",
    )
    .await;

    let created = lifecycle.create(NewTenant::new("acme"));
    let created = time::timeout(Duration::from_secs(60), created).await;
    created.expect("the step waits for its own heartbeat").unwrap();

    let mut events: Vec<String> = sqlx::query_scalar("SELECT event FROM events ORDER BY number")
        .fetch_all(&mut *other.lock().await)
        .await
        .unwrap();
    // However many there were.
    events.dedup();
    assert_eq!(
        events,
        ["heartbeat", "held", "let go", "heartbeat", "done"],
        "none gets through while the hook holds the catalogue"
    );
}

/// Between two that get through.
async fn keep_a_heartbeat_waiting(other: &mut SqliteConnection) {
    wait_for_a_heartbeat(other).await;
    run(
        other,
        "BEGIN IMMEDIATE; INSERT INTO events (event) VALUES ('held')",
    )
    .await;
    for _ in 0..5 {
        time::sleep(PAUSE).await;
    }
    run(other, "INSERT INTO events (event) VALUES ('let go'); COMMIT").await;
    wait_for_a_heartbeat(other).await;
}

/// The last that happened.
async fn wait_for_a_heartbeat(other: &mut SqliteConnection) {
    loop {
        let last: Option<String> =
            sqlx::query_scalar("SELECT event FROM events ORDER BY number DESC LIMIT 1")
                .fetch_optional(&mut *other)
                .await
                .unwrap();
        if last.as_deref() == Some("heartbeat") {
            return;
        }
        time::sleep(PAUSE / 10).await;
    }
}
