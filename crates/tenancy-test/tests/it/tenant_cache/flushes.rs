use tenancy::cache::FlushReceipt;
use tenancy_test::cache::{BarrierLoader, MessageFaults};

use super::*;

const BOUND: Duration = Duration::from_secs(2);

async fn both_know(world: &World) -> (Process, Process) {
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two] {
        assert_eq!(
            remember_with(&process.cache_of("acme").await, "a", "old", &hour().tag("t")).await,
            "old"
        );
        settle().await;
    }
    (one, two)
}

async fn get(process: &Process) -> Option<String> {
    let found = process.cache_of("acme").await.get(&TEXT.key(("a",))).await;
    found.map(|found| found.to_string())
}

#[tokio::test]
async fn a_flush_of_a_tag_is_in_effect_here_at_once_and_there_when_it_is_heard() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    let receipt = one.cache_of("acme").await.flush_tags(["t"]).await;
    assert_eq!(get(&one).await, None);
    settle().await;
    assert_eq!(get(&two).await, None);
    assert_eq!(receipt.everywhere_within(), Some(BOUND));
    world.pass_the_bound();
    assert_eq!(receipt.everywhere_within(), Some(Duration::ZERO));
}

#[tokio::test]
async fn a_flush_that_nobody_hears_of_is_in_effect_after_the_bound() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    two.node
        .as_ref()
        .unwrap()
        .harm_messages(MessageFaults::seeded(1).lost(100));
    let receipt = one.cache_of("acme").await.flush().await;
    settle().await;
    assert_eq!(get(&one).await, None);
    // Allowed, and so that the next line means something.
    assert_eq!(get(&two).await.as_deref(), Some("old"));
    world.clock.advance(receipt.everywhere_within().unwrap());
    assert_eq!(get(&two).await, None);
}

#[tokio::test]
async fn other_tags_and_other_tenants_keep_what_they_have() {
    let world = World::new();
    let process = world.process();
    let (acme, globex) = (process.cache_of("acme").await, process.cache_of("globex").await);
    for cache in [&acme, &globex] {
        remember_with(cache, "a", "old", &hour().tag("t")).await;
        remember_with(cache, "b", "old", &hour().tag("u")).await;
    }
    let _ = acme.flush_tags(["t"]).await;
    assert_eq!(acme.get(&TEXT.key(("a",))).await, None);
    assert!(acme.get(&TEXT.key(("b",))).await.is_some());
    assert!(globex.get(&TEXT.key(("a",))).await.is_some());
    let _ = acme.flush().await;
    assert_eq!(acme.get(&TEXT.key(("b",))).await, None);
    assert!(globex.get(&TEXT.key(("b",))).await.is_some());
    let none: [&str; 0] = [];
    let nothing = globex.flush_tags(none).await;
    assert!(!nothing.is_pending());
    assert!(globex.get(&TEXT.key(("b",))).await.is_some());
}

/// For each way to flush: what was loaded before it must not be found after it, however late the load ends.
#[tokio::test]
async fn a_load_that_began_before_a_flush_does_not_bring_the_old_value_back() {
    for way in ["tag", "all", "remove", "put", "elsewhere"] {
        let world = World::new();
        let (one, two) = (world.process(), world.process());
        let cache = one.cache_of("acme").await;
        // So that it is known, and heard of.
        remember(&two.cache_of("acme").await, "other", "x").await;
        let loader = BarrierLoader::new();
        let loading = tokio::spawn({
            let (cache, load) = (cache.clone(), loader.clone());
            async move {
                let load = move || load.load();
                cache.remember(&TEXT.key(("a",)), &hour().tag("t"), load).await
            }
        });
        let entered = loader.entered().await;
        let receipt: FlushReceipt = match way {
            "tag" => cache.flush_tags(["t"]).await,
            "all" => cache.flush().await,
            "remove" => cache.remove(&TEXT.key(("a",))).await,
            "put" => cache.put(&TEXT.key(("a",)), "put".to_owned(), &hour()).await,
            _ => two.cache_of("acme").await.flush_tags(["t"]).await,
        };
        settle().await;
        entered.answer("old".to_owned());
        // Who asked before the flush may have what was there before it.
        let _ = loading.await.unwrap().unwrap();
        settle().await;
        world.clock.advance(receipt.everywhere_within().unwrap());
        let expected = if way == "put" { "put" } else { "new" };
        for process in [&one, &two] {
            let found = remember(&process.cache_of("acme").await, "a", "new").await;
            assert_eq!(found, expected, "{way}");
            settle().await;
        }
    }
}

#[tokio::test]
async fn who_asks_after_a_flush_does_not_join_a_load_of_before() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let (before, after) = (BarrierLoader::new(), BarrierLoader::new());
    let ask = |loader: &BarrierLoader<String>| {
        let (cache, loader) = (cache.clone(), loader.clone());
        tokio::spawn(async move {
            let load = move || loader.load();
            cache
                .remember(&TEXT.key(("a",)), &hour(), load)
                .await
                .unwrap()
                .to_string()
        })
    };
    let first = ask(&before);
    let old = before.entered().await;
    let _ = cache.flush().await;
    let second = ask(&after);
    after.entered().await.answer("new".to_owned());
    assert_eq!(second.await.unwrap(), "new");
    old.answer("old".to_owned());
    assert_eq!(first.await.unwrap(), "old");
    assert_eq!(cache.get(&TEXT.key(("a",))).await.unwrap().as_str(), "new");
}

#[tokio::test]
async fn a_put_is_seen_everywhere_within_the_bound() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    two.node
        .as_ref()
        .unwrap()
        .harm_messages(MessageFaults::seeded(1).lost(100));
    let receipt = one
        .cache_of("acme")
        .await
        .put(&TEXT.key(("a",)), "new".to_owned(), &hour())
        .await;
    assert_eq!(get(&one).await.as_deref(), Some("new"));
    world.clock.advance(receipt.everywhere_within().unwrap());
    assert_eq!(get(&two).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn after_a_soft_flush_the_old_value_is_served_while_one_loads_the_new_one() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    let _ = cache.flush().soft().await;
    assert_eq!(cache.get(&TEXT.key(("a",))).await, None);
    assert_eq!(remember(&cache, "a", "new").await, "old");
    settle().await;
    assert_eq!(remember(&cache, "a", "newer").await, "new");
    assert_eq!(cache.statistics().stale, 1);
    assert_eq!(cache.statistics().loads, 2);
}

#[tokio::test]
async fn a_soft_flush_makes_the_old_value_usable_for_a_stated_time_only() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    let _ = cache.flush().soft().await;
    process.clock.advance(Duration::from_secs(30));
    assert_eq!(remember(&cache, "a", "new").await, "new");
}

#[tokio::test]
async fn a_hard_flush_after_a_soft_one_is_hard() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    let _ = cache.flush().soft().await;
    let _ = cache.flush().await;
    assert_eq!(remember(&cache, "a", "new").await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_barrier_ends_when_no_process_serves_what_was_there_before() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    two.node
        .as_ref()
        .unwrap()
        .harm_messages(MessageFaults::seeded(1).lost(100));
    let cache = one.cache_of("acme").await;
    let barrier = tokio::spawn(async move { cache.flush().barrier().await });
    settle().await;
    assert!(!barrier.is_finished());
    world.pass_the_bound();
    barrier.await.unwrap().unwrap();
    assert_eq!(get(&two).await, None);
}

#[tokio::test]
async fn a_flush_is_done_though_its_caller_hangs_up() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    one.node.as_ref().unwrap().hold_answers();
    let cache = one.cache_of("acme").await;
    let flush = tokio::spawn(async move { cache.flush().await });
    let held = one.node.as_ref().unwrap().held_answer().await;
    flush.abort();
    held.release();
    settle().await;
    assert_eq!(get(&one).await, None);
    assert_eq!(get(&two).await, None);
}

#[tokio::test]
async fn a_soft_flush_that_is_not_heard_of_is_soft_all_the_same() {
    let world = World::new();
    let (one, two) = both_know(&world).await;
    two.node.as_ref().unwrap().lose_subscriber();
    let _ = one.cache_of("acme").await.flush_tags(["t"]).soft().await;
    world.pass_the_bound();
    let cache = two.cache_of("acme").await;
    assert_eq!(remember(&cache, "a", "new").await, "old");
    settle().await;
    assert_eq!(remember(&cache, "a", "newer").await, "new");
}

#[tokio::test]
async fn of_two_puts_the_one_with_the_higher_number_stays() {
    let world = World::new();
    let process = world.process();
    let node = process.node.as_ref().unwrap();
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    settle().await;
    node.hold_answers();
    let put = async |value: &str| {
        let (cache, value) = (cache.clone(), value.to_owned());
        let put = tokio::spawn(async move { cache.put(&TEXT.key(("a",)), value, &hour()).await });
        (put, node.held_answer().await)
    };
    let (first, held_first) = put("first").await;
    let (second, held_second) = put("second").await;
    held_second.release();
    settle().await;
    held_first.release();
    settle().await;
    node.stop_holding();
    assert!(first.await.unwrap().version() < second.await.unwrap().version());
    let fetched = node.calls().fetch;
    assert_eq!(get(&process).await.as_deref(), Some("second"));
    assert_eq!(node.calls().fetch, fetched, "it is here");
}
