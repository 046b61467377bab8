//! What is told to hooks, and what they can stop.

use std::sync::{Arc, Mutex};

use sqlx::Postgres;
use tenancy_sqlx::{
    NewTenant,
    lifecycle::{Lifecycle, LifecycleAction, Moment},
};

use super::fixture::{Kind, World};
use crate::support::Place;

type Log = Arc<Mutex<Vec<String>>>;

async fn hooked(world: &World<Postgres>, stops: Option<LifecycleAction>) -> (Lifecycle<Postgres>, Log) {
    let log = Log::default();
    let of_hook = Arc::clone(&log);
    let builder = world.builder().await.hook(move |step| {
        let when = match step.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        of_hook
            .lock()
            .unwrap()
            .push(format!("{when} {} of {}", step.action, step.slug));
        async move {
            match step.moment {
                Moment::Before if Some(step.action) == stops => Err("not today".into()),
                // That one that fails after the work changes nothing.
                Moment::After => Err("too late".into()),
                Moment::Before => Ok(()),
            }
        }
    });
    (builder.build().await.unwrap(), log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_hear_of_each_step_before_and_after() {
    let world = World::postgres(Place::new(), Kind::Schema).await;
    let (lifecycle, log) = hooked(&world, None).await;
    let made = lifecycle.create(NewTenant::new("acme")).await.unwrap();
    lifecycle.remove(&made.record.id).await.unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            "before create of acme",
            "before migrate of acme",
            "after migrate of acme",
            "before seed of acme",
            "after seed of acme",
            "after create of acme",
            "before drop of acme",
            "after drop of acme",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_before_a_step_stops_it_and_nothing_is_left() {
    use LifecycleAction::{Claim, Create, Drop, Migrate, Reset, Seed};
    let world = World::postgres(Place::new(), Kind::Schema).await;
    for action in [Create, Migrate, Seed] {
        let (lifecycle, _) = hooked(&world, Some(action)).await;
        let error = lifecycle.create(NewTenant::new("stopped")).await.unwrap_err();
        assert!(error.is_hook(), "{action}: {error:?}");
        world.check_nothing_is_left("stopped").await;
    }
    let (lifecycle, _) = hooked(&world, None).await;
    let made = lifecycle.create(NewTenant::new("stays")).await.unwrap();
    lifecycle.pending(1).refill_once().await.unwrap();
    for action in [Drop, Reset, Claim] {
        let (lifecycle, _) = hooked(&world, Some(action)).await;
        let stopped = match action {
            Drop => lifecycle.remove(&made.record.id).await.map(drop),
            Reset => lifecycle.reset(&made.record.id).await.map(drop),
            _ => lifecycle.pending(1).claim(NewTenant::new("new")).await.map(drop),
        };
        assert!(stopped.unwrap_err().is_hook(), "{action}");
    }
    let there = world.store.get(&made.record.id).await.unwrap().unwrap();
    assert_eq!(there.record, made.record, "as if nothing had been asked for");
    assert_eq!(world.count_homes("stays").await, 1);
    assert_eq!(world.count_homes("pending").await, 1);
    world.check_journal(2).await;
}
