//! Values that say only once they are loaded what they depend on.

use tenancy::cache::{FlushReceipt, Loaded};
use tenancy_test::cache::{BarrierLoader, MessageFaults, WaitingLoad};
use tokio::task::JoinHandle;

use super::*;

const KEY: &str = "a";

type Loading = (JoinHandle<String>, WaitingLoad<String>);

/// A load that has begun, and will say that it depends on this tag.
async fn begin(cache: &TenantCache, tag: &'static str) -> Loading {
    let loader = BarrierLoader::<String>::new();
    let waits = loader.clone();
    let cache = cache.clone();
    let loading = tokio::spawn(async move {
        let load = async move || loader.load().await.map(|value| Loaded::new(value).tag(tag));
        let found = cache.remember_loaded(&TEXT.key((KEY,)), &hour(), load).await;
        found.unwrap().to_string()
    });
    settle().await;
    assert_eq!(waits.calls(), 1, "it waits for another's load");
    (loading, waits.entered().await)
}

async fn end((loading, load): Loading, value: &str) {
    load.answer(value.to_owned());
    assert_eq!(loading.await.unwrap(), value);
    settle().await;
}

async fn get(process: &Process) -> Option<String> {
    let found = process.cache_of("acme").await.get(&TEXT.key((KEY,))).await;
    found.map(|found| found.to_string())
}

#[tokio::test]
async fn a_flush_that_comes_during_the_load_wins_wherever_it_comes_from() {
    for way in [
        "tag",
        "all",
        "remove",
        "elsewhere",
        "elsewhere, and nobody hears of it",
    ] {
        let world = World::new();
        let (one, two) = (world.process(), world.process());
        let cache = one.cache_of("acme").await;
        // So that it is known, and heard of.
        remember(&cache, "other", "x").await;
        remember(&two.cache_of("acme").await, "other", "x").await;
        if way.ends_with("hears of it") {
            let node = one.node.as_ref().unwrap();
            node.harm_messages(MessageFaults::seeded(1).lost(100));
        }
        let loading = begin(&cache, "late").await;
        let receipt: FlushReceipt = match way {
            "tag" => cache.flush_tags(["late"]).await,
            "all" => cache.flush().await,
            "remove" => cache.remove(&TEXT.key((KEY,))).await,
            _ => two.cache_of("acme").await.flush_tags(["late"]).await,
        };
        settle().await;
        end(loading, "old").await;
        if !way.starts_with("elsewhere") {
            assert_eq!(get(&one).await, None, "{way}");
        }
        world.clock.advance(receipt.everywhere_within().unwrap());
        for process in [&one, &two] {
            assert_eq!(get(process).await, None, "{way}");
        }
    }
}

#[tokio::test]
async fn what_else_is_flushed_during_the_load_does_no_harm() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    let cache = one.cache_of("acme").await;
    let _ = cache.flush_tags(["late"]).await;
    let loading = begin(&cache, "late").await;
    let _ = cache.flush_tags(["other"]).await;
    let _ = two.cache_of("acme").await.flush_tags(["another"]).await;
    let _ = two.cache_of("globex").await.flush().await;
    settle().await;
    end(loading, "kept").await;
    for process in [&one, &two] {
        assert_eq!(get(process).await.as_deref(), Some("kept"));
    }
}

#[tokio::test]
async fn a_late_tag_flushes_in_every_process() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    end(begin(&one.cache_of("acme").await, "late").await, "old").await;
    assert_eq!(get(&two).await.as_deref(), Some("old"));
    let receipt = two.cache_of("acme").await.flush_tags(["late"]).await;
    assert_eq!(get(&two).await, None);
    world.clock.advance(receipt.everywhere_within().unwrap());
    assert_eq!(get(&one).await, None);
}

#[tokio::test]
async fn who_asks_after_a_flush_does_not_wait_for_a_load_of_before_whatever_it_will_depend_on() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let old = begin(&cache, "late").await;
    let _ = cache.flush_tags(["late"]).await;
    let new = begin(&cache, "late").await;
    end(new, "new").await;
    end(old, "old").await;
    assert_eq!(get(&process).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_value_says_for_how_long_it_is_fresh_and_usable() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let remember = async |loaded: Loaded<String>| {
        let load = async move || Ok::<_, Infallible>(loaded);
        let found = cache.remember_loaded(&TEXT.key((KEY,)), &hour(), load).await;
        found.unwrap().to_string()
    };
    let loaded = |text: &str| Loaded::new(text.to_owned());
    let short = loaded("short")
        .ttl(Duration::from_secs(1))
        .stale_for(Duration::ZERO);
    assert_eq!(remember(short).await, "short");
    assert_eq!(remember(loaded("next")).await, "short");
    process.clock.advance(Duration::from_secs(1));
    assert_eq!(remember(loaded("none").ttl(Duration::ZERO)).await, "none");
    assert_eq!(get(&process).await, None);
}
