//! Why a key is found or not.

use tenancy::cache::{
    AnyKey, CacheExplanation, CacheStatistics, CacheVerdict, LeaseExplained, SharedExplained,
};
use tenancy_test::cache::BarrierLoader;

use super::*;

/// Of the same name and version as [`TEXT`], as a release may have it that was deployed since.
const NUMBER: Keys<(&str,), u64> = Keys::new("text", 1);

async fn explained(cache: &TenantCache, tags: &[&str]) -> CacheExplanation {
    cache.explain(&TEXT.key(("a",)), tags).await
}

async fn remember_tagged(cache: &TenantCache) {
    let options = hour().tag("x").tag("y");
    assert_eq!(remember_with(cache, "a", "value", &options).await, "value");
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_is_told_without_a_shared_level() {
    let process = Process::alone();
    let cache = process.cache_of("acme").await;
    let nothing = explained(&cache, &[]).await;
    assert_eq!(nothing.verdict, CacheVerdict::Miss);
    assert_eq!(
        nothing.reason,
        "it was not loaded yet, or has made room for others"
    );
    assert_eq!(
        (nothing.lease, &nothing.shared),
        (LeaseExplained::NotNeeded, &SharedExplained::None)
    );

    remember_tagged(&cache).await;
    let hit = explained(&cache, &[]).await;
    assert_eq!(
        (hit.verdict, hit.key.as_str()),
        (CacheVerdict::Hit, r#"text@1("a",)"#)
    );
    assert_eq!(
        hit.here.unwrap().fresh_for,
        Some(Duration::from_secs(60)),
        "of the local time to live"
    );

    process.clock.advance(Duration::from_secs(61));
    let old = explained(&cache, &[]).await;
    assert_eq!(old.verdict, CacheVerdict::Stale);
    assert_eq!(old.reason, "what this process has is older than its time to live");
    process.clock.advance(Duration::from_secs(60));
    assert_eq!(explained(&cache, &[]).await.verdict, CacheVerdict::Miss);
}

#[tokio::test(start_paused = true)]
async fn the_flush_that_made_it_old_is_told_by_name() {
    let world = World::new();
    let cache = world.process().cache_of("acme").await;
    let key = TEXT.key(("a",));
    let reasons = [
        "was flushed by the tag y",
        "was flushed by its own key",
        "was flushed with everything of this scope",
    ];
    for (at, reason) in reasons.into_iter().enumerate() {
        remember_tagged(&cache).await;
        let _ = match at {
            0 => cache.flush_tags(["y"]).await,
            1 => {
                // A removal takes the entry with it; what another process has of it stays.
                cache.flush_tags(["none of it"]).await;
                let other = world.process().cache_of("acme").await;
                other
                    .put(&key, "new".to_owned(), &hour().ttl(Duration::ZERO))
                    .await
            }
            _ => cache.flush().await,
        };
        settle().await;
        let miss = explained(&cache, &["x", "y"]).await;
        assert_eq!(
            miss.reason,
            format!("what the shared level has {reason}"),
            "{miss}"
        );
        assert_eq!(miss.verdict, CacheVerdict::Miss);
    }
    remember_tagged(&cache).await;
    cache.flush_tags(["y"]).await;
    let unnamed = explained(&cache, &["x"]).await;
    assert!(unnamed.reason.contains("flushed by a tag of slot "), "{unnamed}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_this_process_has_not_heard_of_is_told() {
    let world = World::new();
    let (here, there) = (world.process(), world.process());
    let cache = here.cache_of("acme").await;
    remember_tagged(&cache).await;
    here.node.as_ref().unwrap().lose_subscriber();
    there.cache_of("acme").await.flush_tags(["x"]).soft().await;
    world.pass_the_bound();
    let stale = explained(&cache, &["x"]).await;
    assert!(matches!(stale.lease, LeaseExplained::Ended { .. }), "{stale}");
    assert_eq!(stale.verdict, CacheVerdict::Stale);
    assert_eq!(
        stale.reason,
        "what the shared level has was softly flushed by the tag x"
    );
}

#[tokio::test(start_paused = true)]
async fn explaining_changes_nothing() {
    let world = World::new();
    let (here, there) = (world.process(), world.process());
    remember_tagged(&here.cache_of("acme").await).await;
    let cache = there.cache_of("acme").await;
    let calls = there.node.as_ref().unwrap().calls();
    for _ in 0..2 {
        let hit = explained(&cache, &[]).await;
        assert_eq!(hit.verdict, CacheVerdict::SharedHit, "{hit}");
        assert_eq!(
            (hit.here, hit.lease),
            (None, LeaseExplained::Never),
            "it was not taken over"
        );
    }
    let after = there.node.as_ref().unwrap().calls();
    assert_eq!((after.fetch - calls.fetch, after.total() - calls.total()), (2, 2));
    assert_eq!(cache.statistics(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_told_with_the_reason() {
    let world = World::new();
    remember_tagged(&world.process().cache_of("acme").await).await;
    let cache = world.process().cache_of("acme").await;
    let other = cache.explain(&NUMBER.key(("a",)), &[]).await;
    assert_eq!(other.verdict, CacheVerdict::Miss);
    let SharedExplained::Unreadable {
        is_of_another_release,
        ..
    } = other.shared
    else {
        panic!("{other}");
    };
    assert!(is_of_another_release);
    // Of which type it is to be, a text does not say.
    let key: AnyKey = r#"text@1("a",)"#.parse().unwrap();
    let found = cache.explain_any(&key, &[]).await;
    assert_eq!(found.verdict, CacheVerdict::SharedHit);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["verdict"], "shared_hit");
    assert_eq!(json["shared"]["state"], "found");
    assert_eq!(json["shared"]["depends_on"][0]["what"], "everything");
    assert_eq!(json["shared"]["fresh_for_ms"], 3_600_000);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_runs_and_a_level_that_is_away_are_told() {
    let world = World::new();
    let process = world.process();
    let cache = process.cache_of("acme").await;
    let loader = BarrierLoader::<String>::new();
    let loading = tokio::spawn({
        let (cache, loader) = (cache.clone(), loader.clone());
        async move {
            cache
                .remember(&TEXT.key(("a",)), &hour(), move || loader.load())
                .await
        }
    });
    let load = loader.entered().await;
    assert!(explained(&cache, &[]).await.is_loading);
    process.node.as_ref().unwrap().go_away();
    load.answer("value".to_owned());
    loading.await.unwrap().unwrap();
    let away = explained(&cache, &[]).await;
    assert!(!away.is_loading);
    assert!(matches!(away.shared, SharedExplained::Failed { .. }), "{away}");
    assert_eq!(away.verdict, CacheVerdict::Hit, "the lease has not ended");
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(
        explained(&cache, &[]).await.verdict,
        CacheVerdict::Miss,
        "after the 30 s of an outage"
    );
}

#[tokio::test(start_paused = true)]
async fn what_processes_have_counted_is_told_to_all() {
    let world = World::new();
    let (here, there) = (world.process(), world.process());
    let (one, other) = (here.cache_of("acme").await, there.cache_of("acme").await);
    assert_eq!(other.statistics_of_processes().await.unwrap(), []);
    for cache in [&one, &other, &other] {
        remember_tagged(cache).await;
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    let all = other.statistics_of_processes().await.unwrap();
    assert_eq!(all.len(), 2);
    let sum: CacheStatistics = all.into_iter().sum();
    assert_eq!((sum.loads, sum.shared_hits, sum.hits), (1, 1, 1));
    assert_eq!(sum, one.statistics() + other.statistics());
    // Nothing is told that others know.
    let reports = world.level.calls().report;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.level.calls().report, reports);
    world.clock.advance(Duration::from_secs(3601));
    assert_eq!(
        one.statistics_of_processes().await.unwrap(),
        [],
        "whoever told it may be gone"
    );
    here.node.as_ref().unwrap().go_away();
    assert!(one.statistics_of_processes().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn when_a_tag_was_flushed_last_is_told() {
    let world = World::new();
    let (here, there) = (world.process(), world.process());
    let receipt = there.cache_of("acme").await.flush_tags(["x"]).soft().await;
    let cache = here.cache_of("acme").await;
    let tags = cache.explain_tags(&["x", "y"]).await.unwrap();
    assert_eq!((tags[0].number, tags[0].hard), (receipt.version(), 0));
    assert_eq!(
        tags[0].flushed_at,
        Some(Duration::from_millis(receipt.version() / 1024))
    );
    assert_eq!((tags[1].number, tags[1].flushed_at), (0, None));
    assert!(tags[1].everything_number < tags[0].number);
    let everything = there.cache_of("acme").await.flush().await;
    let tags = cache.explain_tags(&["x"]).await.unwrap();
    assert_eq!((tags[0].number, tags[0].hard), (receipt.version(), 0));
    assert_eq!(tags[0].everything_number, everything.version());
    assert_eq!(
        tags[0].everything_at,
        Some(Duration::from_millis(everything.version() / 1024))
    );
    here.node.as_ref().unwrap().go_away();
    assert!(cache.explain_tags(&["x"]).await.is_err());
    let alone = Process::alone().cache_of("acme").await;
    alone.flush_tags(["x"]).await;
    let tags = alone.explain_tags(&["x"]).await.unwrap();
    assert!(tags[0].number > 0 && tags[0].flushed_at.is_none());
}
