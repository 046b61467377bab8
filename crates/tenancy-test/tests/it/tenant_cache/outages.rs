use tenancy::cache::OnOutage;
use tenancy_test::cache::BarrierLoader;

use super::*;

#[tokio::test]
async fn without_the_shared_level_everything_is_loaded_and_kept_here() {
    let world = World::new();
    let process = world.process();
    process.node.as_ref().unwrap().go_away();
    let cache = process.cache_of("acme").await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(remember(&cache, name, name).await, name);
    }
    // It is left alone by now, and what was loaded since it is away is served.
    let calls = process.node.as_ref().unwrap().calls().total();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(remember(&cache, name, "again").await, name);
    }
    assert_eq!(process.node.as_ref().unwrap().calls().total(), calls);
}

#[tokio::test]
async fn in_an_outage_what_was_known_is_served_for_a_stated_time() {
    let world = World::new();
    let process = world.process();
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    process.node.as_ref().unwrap().go_away();
    for _ in 0..3 {
        world.pass_the_bound();
        assert_eq!(remember(&cache, "a", "new").await, "old");
    }
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(remember(&cache, "a", "new").await, "new");
}

#[tokio::test]
async fn with_bypass_nothing_is_served_that_might_be_stale() {
    let world = World::new();
    let process = world.process_with(CacheSettings::new().on_outage(OnOutage::Bypass));
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    process.node.as_ref().unwrap().go_away();
    assert_eq!(remember(&cache, "a", "new").await, "old");
    world.pass_the_bound();
    assert_eq!(remember(&cache, "a", "new").await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_can_not_be_told_is_pending_and_told_later() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two] {
        remember(&process.cache_of("acme").await, "a", "old").await;
        settle().await;
    }
    one.node.as_ref().unwrap().go_away();
    let receipt = one.cache_of("acme").await.flush().await;
    assert!(receipt.is_pending());
    assert_eq!(receipt.everywhere_within(), None);
    // Here it is in effect.
    assert_eq!(remember(&one.cache_of("acme").await, "a", "new").await, "new");
    assert_eq!(remember(&two.cache_of("acme").await, "a", "?").await, "old");
    one.node.as_ref().unwrap().come_back();
    while receipt.is_pending() {
        world.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    settle().await;
    assert_eq!(remember(&two.cache_of("acme").await, "a", "new").await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_level_that_never_answers_holds_nobody_up_for_long() {
    let world = World::new();
    let process = world.process();
    let cache = process.cache_of("acme").await;
    process.node.as_ref().unwrap().freeze();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(remember(&cache, name, name).await, name);
    }
    process.node.as_ref().unwrap().thaw();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(remember(&cache, "e", "e").await, "e");
    settle().await;
    assert_eq!(
        remember(&world.process().cache_of("acme").await, "e", "?").await,
        "e"
    );
}

#[tokio::test]
async fn an_emptied_level_brings_nothing_back() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two] {
        remember(&process.cache_of("acme").await, "a", "old").await;
        settle().await;
    }
    let _ = one.cache_of("acme").await.flush().await;
    world.level.flush_db();
    world.pass_the_bound();
    for process in [&one, &two] {
        assert_eq!(process.cache_of("acme").await.get(&TEXT.key(("a",))).await, None);
    }
    // And it works on.
    assert_eq!(remember(&one.cache_of("acme").await, "a", "new").await, "new");
    settle().await;
    assert_eq!(remember(&two.cache_of("acme").await, "a", "?").await, "new");
}

#[tokio::test]
async fn a_flush_that_a_failover_has_lost_is_taught_again() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two] {
        remember(&process.cache_of("acme").await, "a", "old").await;
        settle().await;
    }
    two.node.as_ref().unwrap().lose_subscriber();
    let replica = world.level.checkpoint();
    let _ = one.cache_of("acme").await.flush().await;
    world.level.fail_over_to(&replica);
    // The one who knows asks first, and teaches.
    world.pass_the_bound();
    assert_eq!(one.cache_of("acme").await.get(&TEXT.key(("a",))).await, None);
    world.pass_the_bound();
    assert_eq!(two.cache_of("acme").await.get(&TEXT.key(("a",))).await, None);
}

/// Nobody can say that nothing was flushed since the load began.
#[tokio::test]
async fn who_is_cut_off_does_not_join_a_load_that_began_longer_ago_than_the_bound() {
    for on_outage in [OnOutage::Bypass, OnOutage::ServeWithin(Duration::from_secs(1))] {
        let world = World::new();
        let process = world.process_with(CacheSettings::new().on_outage(on_outage));
        let cache = process.cache_of("acme").await;
        let slow = BarrierLoader::<String>::new();
        let first = tokio::spawn({
            let (cache, slow) = (cache.clone(), slow.clone());
            async move {
                let load = move || slow.load();
                cache.remember(&TEXT.key(("a",)), &hour(), load).await.unwrap()
            }
        });
        let old = slow.entered().await;
        process.node.as_ref().unwrap().go_away();
        let receipt = world.process().cache_of("acme").await.flush().await;
        world
            .clock
            .advance(receipt.everywhere_within().unwrap() + Duration::from_secs(1));
        let second = tokio::spawn(async move { remember(&cache, "a", "new").await });
        settle().await;
        old.answer("old".to_owned());
        assert_eq!(first.await.unwrap().as_str(), "old");
        assert_eq!(second.await.unwrap(), "new", "{on_outage:?}");
    }
}

#[tokio::test]
async fn who_is_cut_off_still_loads_once_for_many() {
    let world = World::new();
    let process = world.process();
    process.node.as_ref().unwrap().go_away();
    let cache = process.cache_of("acme").await;
    let loader = BarrierLoader::<String>::new();
    for _ in 0..100 {
        let (cache, loader) = (cache.clone(), loader.clone());
        tokio::spawn(async move {
            let load = move || loader.load();
            cache.remember(&TEXT.key(("a",)), &hour(), load).await
        });
    }
    settle().await;
    assert_eq!(loader.calls(), 1);
}

#[tokio::test]
async fn after_a_gap_in_the_messages_it_is_asked_what_was_missed() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two] {
        remember(&process.cache_of("acme").await, "a", "old").await;
        settle().await;
    }
    two.node.as_ref().unwrap().lose_subscriber();
    let _ = one.cache_of("acme").await.flush().await;
    settle().await;
    let get = async || two.cache_of("acme").await.get(&TEXT.key(("a",))).await;
    // Allowed, and so that the next line means something.
    assert!(get().await.is_some());
    two.node.as_ref().unwrap().regain_subscriber();
    settle().await;
    assert_eq!(get().await, None);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_question_that_fails_do_not_ask_it_again() {
    let world = World::new();
    // Nothing is asked in the background meanwhile.
    let bound = Duration::from_secs(60);
    let settings = CacheSettings::new().staleness_bound(bound).local_ttl(bound * 2);
    let process = world.process_with(settings);
    let cache = process.cache_of("acme").await;
    remember(&cache, "a", "old").await;
    settle().await;
    world.clock.advance(bound);
    let node = process.node.as_ref().unwrap();
    node.freeze();
    let calls = node.calls().total();
    // The clock of leases stands still: they all begin at the same moment.
    let key = TEXT.key(("a",));
    let answers = futures_util::future::join_all((0..10).map(|_| cache.get(&key))).await;
    for answer in answers {
        assert_eq!(answer.as_deref().map(String::as_str), Some("old"));
    }
    assert_eq!(node.calls().total() - calls, 1);
}

#[tokio::test]
async fn what_another_process_has_left_is_served_as_stale_where_loading_fails() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(10))
        .stale_for(Duration::from_secs(60))
        .early_refresh(false);
    remember_with(&one.cache_of("acme").await, "a", "old", &options).await;
    settle().await;
    world.clock.advance(Duration::from_secs(20));
    // This one has never seen it.
    let cache = two.cache_of("acme").await;
    let fail = async || Err::<String, _>("no database");
    let key = TEXT.key(("a",));
    let served = cache.remember(&key, &options, fail).await.unwrap();
    assert_eq!(*served, "old");
    assert_eq!((cache.statistics().stale, cache.statistics().misses), (1, 1));
    // Not after a hard flush, and not beyond its time.
    cache.flush().await;
    assert!(
        cache
            .remember(&key, &options, fail)
            .await
            .unwrap_err()
            .is_failed()
    );
    remember_with(&one.cache_of("acme").await, "b", "old", &options).await;
    settle().await;
    world.clock.advance(Duration::from_secs(71));
    let key = TEXT.key(("b",));
    assert!(
        cache
            .remember(&key, &options, fail)
            .await
            .unwrap_err()
            .is_failed()
    );
}

#[tokio::test]
async fn a_level_that_refuses_to_store_is_not_one_that_is_away() {
    let world = World::new();
    let process = world.process();
    let node = process.node.as_ref().unwrap();
    node.refuse_to_store(true);
    let cache = process.cache_of("acme").await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        remember(&cache, name, "value").await;
        settle().await;
    }
    // It is still asked, and a flush still heard of.
    assert!(!cache.flush().await.is_pending());
}
