//! What is left of a cache that nobody has any more.

use tenancy_test::cache::BarrierLoader;
use tokio::runtime::{Builder, Handle};

use super::*;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Long enough for what ends at once, and too short for whatever sleeps in the cache.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(200)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn its_tasks_end_with_it() {
    let world = World::new();
    let process = world.process();
    let cache = process.cache_of("acme").await;
    let of_others = tasks();
    remember(&cache, "a", "old").await;
    drop(cache);
    let _ = process.cache_of("acme").await.flush().await;
    process.node.as_ref().unwrap().go_away();
    assert!(process.cache_of("acme").await.flush().await.is_pending());
    settle().await;
    assert!(tasks() >= of_others + 4, "that forget, renew, listen and tell");
    // The level lives on, and nobody says a word.
    let node = process.node.clone();
    drop(process);
    a_moment().await;
    assert!(tasks() <= of_others, "{} tasks", tasks());
    drop(node);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_runs_ends_for_who_waits_and_nothing_is_left() {
    let world = World::new();
    let process = world.process();
    let cache = process.cache_of("acme").await;
    let of_others = tasks();
    let loader = BarrierLoader::<String>::new();
    let caller = tokio::spawn({
        let loader = loader.clone();
        async move {
            let load = move || loader.load();
            cache.remember(&TEXT.key(("a",)), &hour(), load).await
        }
    });
    let load = loader.entered().await;
    let abandoned = process.cache_of("acme").await;
    let hung_up = tokio::spawn({
        let loader = loader.clone();
        async move {
            let load = move || loader.load();
            abandoned.remember(&TEXT.key(("b",)), &hour(), load).await
        }
    });
    let other = loader.entered().await;
    hung_up.abort();
    drop(process);
    a_moment().await;
    assert!(!load.is_dropped() && !other.is_dropped());
    load.answer("done".to_owned());
    other.answer("kept".to_owned());
    assert_eq!(caller.await.unwrap().unwrap().as_str(), "done");
    a_moment().await;
    assert!(tasks() <= of_others, "{} tasks", tasks());
    // What was loaded for nobody is in the shared level.
    let other = world.process().cache_of("acme").await;
    assert_eq!(remember(&other, "b", "?").await, "kept");
}

#[tokio::test(start_paused = true)]
async fn a_pending_flush_of_a_cache_that_ends_is_abandoned() {
    let world = World::new();
    let process = world.process();
    process.node.as_ref().unwrap().go_away();
    let receipt = process.cache_of("acme").await.flush().await;
    let barrier = tokio::spawn(async move { receipt.everywhere().await });
    settle().await;
    assert!(!barrier.is_finished());
    drop(process);
    barrier.await.unwrap().unwrap_err();
}

#[test]
fn it_goes_on_where_the_runtime_ends_that_it_was_first_used_on() {
    let runtime = || {
        Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
    };
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let node = one.node.clone().unwrap();
    let receipt = runtime().unwrap().block_on(async {
        remember(&one.cache_of("acme").await, "a", "old").await;
        node.go_away();
        one.cache_of("acme").await.flush().await
    });
    node.come_back();
    assert!(receipt.is_pending());
    runtime().unwrap().block_on(async {
        world.pass_the_bound();
        assert_eq!(remember(&one.cache_of("acme").await, "a", "new").await, "new");
        // It is told, though nobody flushes here.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!receipt.is_pending());
        // And messages are heard again.
        let _ = two.cache_of("acme").await.flush().await;
        settle().await;
        assert_eq!(one.cache_of("acme").await.get(&TEXT.key(("a",))).await, None);
    });
}
