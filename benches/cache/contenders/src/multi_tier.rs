//! multi-tier-cache with its Redis.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use multi_tier_cache::{
    Bytes, CacheManager, CacheStrategy, InvalidationConfig, L1Cache, L2Cache, MokaCacheConfig,
};
use tenancy_bench::Failure;
use tenancy_bench_cache::{
    correctness::{Finding, in_time},
    flush::Crowded,
};
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::time::{Instant, sleep};

use crate::MULTI_TIER_CACHE;

/// As its documents say for several processes.
async fn node(url: &str) -> Result<CacheManager, Failure> {
    let level1 = Arc::new(L1Cache::new(MokaCacheConfig::default())?);
    let level2 = Arc::new(L2Cache::with_url(url).await?);
    let config = InvalidationConfig::default();
    Ok(CacheManager::new_with_invalidation(level1, level2, url, config).await?)
}

async fn text(cache: &CacheManager, loaded: &'static str) -> Result<String, Failure> {
    let load = || async move { Ok(Bytes::from(loaded)) };
    let value = cache
        .get_or_compute_with("text", CacheStrategy::LongTerm, load)
        .await?;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

/// As tenancy is asked; it has ten seconds, and is asked for what it promises to have by then.
pub(crate) async fn lost_message(server: Redis) -> Result<Finding, Failure> {
    let proxy = FaultProxy::start(server.address()).await?;
    let here = node(&server.url()).await?;
    let there = node(&proxy.url(&server.url())).await?;
    text(&here, "old").await?;
    text(&there, "old").await?;
    // Its subscription is a task of its own.
    sleep(Duration::from_millis(500)).await;
    proxy.set(Fault::Freeze);
    here.invalidate("text").await?;
    proxy.cut();
    proxy.set(Fault::Pass);
    // It connects anew after five seconds.
    sleep(Duration::from_secs(10)).await;
    let found = text(&there, "new").await?;
    let text = format!("10 s after the removal another process serves the {found} value");
    Ok(Finding::seen(MULTI_TIER_CACHE, found == "new", text))
}

/// One read that its memory does not have.
pub(crate) async fn frozen(server: Redis) -> Result<Finding, Failure> {
    let cache = node(&server.url()).await?;
    text(&cache, "old").await?;
    server.freeze().await;
    let load = || async { Ok(Bytes::from("loaded")) };
    let asked = cache.get_or_compute_with("other", CacheStrategy::LongTerm, load);
    let finding = in_time(MULTI_TIER_CACHE, async { asked.await.is_ok() }).await;
    server.thaw().await;
    Ok(finding)
}

/// 10,000 entries of one tenant, by the pattern that they have in common.
pub(crate) async fn flush_by_pattern(crowded: Arc<Crowded>) -> Result<Finding, Failure> {
    const ENTRIES: usize = 10_000;
    let proxy = FaultProxy::start(crowded.server.address()).await?;
    let cache = node(&proxy.url(&crowded.server.url())).await?;
    let names: Vec<String> = (0..ENTRIES).map(|key| format!("one-of-many:{key}")).collect();
    for chunk in names.chunks(500) {
        let puts = chunk
            .iter()
            .map(|name| cache.set_with_strategy(name, Bytes::from("x"), CacheStrategy::LongTerm));
        for put in join_all(puts).await {
            put?;
        }
    }
    let (before, began) = (proxy.traffic().round_trips, Instant::now());
    cache.invalidate_pattern("one-of-many:*").await?;
    let trips = proxy.traffic().round_trips - before;
    let text = format!(
        "{trips} round trips, {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(Finding::seen(MULTI_TIER_CACHE, trips == 1, text))
}
