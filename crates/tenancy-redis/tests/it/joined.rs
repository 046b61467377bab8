//! The tenant cache of whole processes over real servers that fail: requests do not, and nothing is stale beyond the bound.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy::{
    MemoryStore, Tenancy,
    cache::{CacheSettings, EntryOptions, Keys, TenantCache},
    resolve::Subdomain,
    stack::TenancyBuilder,
};
use tenancy_redis::RedisSettings;
use tenancy_test::servers::Redis;
use tokio::time::sleep;

use crate::place::{eventually, patient};

const NUMBER: Keys<(u32,), u64> = Keys::new("number", 1);
/// Short, so that tests wait for it.
pub(crate) const BOUND: Duration = Duration::from_millis(400);

pub(crate) fn process(url: &str) -> Tenancy {
    builder(url).build().unwrap()
}

pub(crate) fn builder(url: &str) -> TenancyBuilder {
    with(RedisSettings::single(url))
}

fn with(settings: RedisSettings) -> TenancyBuilder {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let level = settings.build().unwrap();
    let settings = CacheSettings::new().staleness_bound(BOUND).shared(level);
    Tenancy::builder(Subdomain::of("example.com").unwrap(), store).cache(settings)
}

pub(crate) async fn cache_of(process: &Tenancy, tenant: &str) -> TenantCache {
    let tenant = process.enter(&tenant.parse().unwrap()).await.unwrap();
    process.cache_of(&tenant)
}

/// What is stored behind the cache.
#[derive(Clone, Default)]
pub(crate) struct Truth(Arc<AtomicU64>);

impl Truth {
    pub(crate) async fn read(&self, cache: &TenantCache, key: u32) -> u64 {
        let truth = Arc::clone(&self.0);
        let load = async move || Ok::<_, Infallible>(truth.load(Ordering::SeqCst));
        let options = EntryOptions::new().ttl(Duration::from_secs(3600)).tag("numbers");
        *cache.remember(&NUMBER.key((key,)), &options, load).await.unwrap()
    }

    pub(crate) fn write(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

#[tokio::test]
async fn with_a_server_that_is_not_there_everything_is_loaded_and_kept_here() {
    let (process, truth) = (process("redis://127.0.0.1:1"), Truth::default());
    let cache = cache_of(&process, "acme").await;
    for _ in 0..3 {
        for key in 0..10 {
            truth.read(&cache, key).await;
        }
    }
    let statistics = cache.statistics();
    assert_eq!((statistics.loads, statistics.hits), (10, 20));
    let receipt = cache.flush().await;
    assert!(receipt.is_pending());
    truth.write();
    assert_eq!(truth.read(&cache, 0).await, 1);
}

#[tokio::test]
async fn a_flush_is_seen_by_the_other_process_within_the_bound() {
    let server = Redis::start(&[]).await.unwrap();
    let (one, two) = (process(&server.url()), process(&server.url()));
    let (here, there) = (cache_of(&one, "acme").await, cache_of(&two, "acme").await);
    let truth = Truth::default();
    for round in 1..=5 {
        truth.read(&there, 1).await;
        truth.write();
        if round % 2 == 0 {
            // Nobody hears of it.
            server.command("CLIENT KILL TYPE pubsub").await;
        }
        let receipt = here.flush_tags(["numbers"]).barrier().await.unwrap();
        assert_eq!(receipt.everywhere_within(), Some(Duration::ZERO));
        assert_eq!(truth.read(&there, 1).await, round);
        assert_eq!(truth.read(&here, 1).await, round);
    }
}

#[tokio::test]
async fn a_frozen_server_fails_no_request_and_what_it_missed_it_is_told() {
    let server = Redis::start(&[]).await.unwrap();
    let (one, two) = (process(&server.url()), process(&server.url()));
    let (here, there) = (cache_of(&one, "acme").await, cache_of(&two, "acme").await);
    let truth = Truth::default();
    for key in 0..10 {
        truth.read(&here, key).await;
        truth.read(&there, key).await;
    }
    server.freeze().await;
    for key in 0..20 {
        assert_eq!(truth.read(&here, key).await, 0);
        assert_eq!(truth.read(&there, key).await, 0);
    }
    let now = truth.write();
    let receipt = here.flush_tags(["numbers"]).await;
    assert!(receipt.is_pending());
    for key in 0..20 {
        assert_eq!(truth.read(&here, key).await, now);
    }
    server.thaw().await;
    receipt.everywhere().await.unwrap();
    for key in 0..20 {
        assert_eq!(truth.read(&there, key).await, now);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_fails_no_request() {
    let server = Redis::start(&[]).await.unwrap();
    let (one, two) = (process(&server.url()), process(&server.url()));
    let (here, there) = (cache_of(&one, "acme").await, cache_of(&two, "acme").await);
    let truth = Truth::default();
    for _ in 0..5 {
        server.kill().await;
        for key in 0..10 {
            truth.read(&here, key).await;
            truth.read(&there, key).await;
        }
        server.restart().await.unwrap();
        let now = truth.write();
        let receipt = here.flush().await;
        assert_eq!(truth.read(&here, 1).await, now);
        receipt.everywhere().await.unwrap();
        // The bound holds for who reaches Redis; until then it serves what it has, as long as it may.
        eventually("the other has heard", async || truth.read(&there, 1).await == now).await;
    }
}

#[tokio::test]
async fn an_emptied_server_brings_nothing_back_and_costs_one_load_for_each_entry() {
    let server = Redis::start(&[]).await.unwrap();
    let (one, two) = (process(&server.url()), process(&server.url()));
    let (here, there) = (cache_of(&one, "acme").await, cache_of(&two, "acme").await);
    let truth = Truth::default();
    truth.read(&here, 1).await;
    truth.read(&there, 1).await;
    let now = truth.write();
    let receipt = here.flush().await;
    server.command("FLUSHALL").await;
    receipt.everywhere().await.unwrap();
    sleep(BOUND).await;
    assert_eq!(truth.read(&there, 1).await, now);
    assert_eq!(truth.read(&here, 1).await, now);
    assert_eq!(cache_of(&one, "globex").await.statistics().loads, 0);
}

#[tokio::test]
async fn damaged_and_foreign_bytes_are_misses() {
    let server = Redis::start(&[]).await.unwrap();
    // Many, since the first may be loaded without being looked at: while a process connects, and when it begins to listen.
    const ENTRIES: u32 = 20;
    let process = || {
        with(patient(RedisSettings::single(server.url())))
            .build()
            .unwrap()
    };
    let (one, two, truth) = (process(), process(), Truth::default());
    for tenant in ["acme", "globex"] {
        let cache = cache_of(&one, tenant).await;
        for key in 0..ENTRIES {
            truth.read(&cache, key).await;
        }
    }
    eventually("all are stored", async || {
        let keys = server.command("KEYS *:e:*").await;
        keys.iter().filter(|key| !key.is_empty()).count() >= 2 * ENTRIES as usize
    })
    .await;
    // What is one tenant's, under the other's key.
    let copy = "EVAL \"local k = redis.call('KEYS', '*{acme:*:e:*'); local g = redis.call('KEYS', '*{globex:*:e:*'); \
                for i = 1, #k do redis.call('COPY', k[i], g[i], 'REPLACE'); redis.call('SETRANGE', k[i], 0, 'xxxx') end return 1\" 0";
    server.command(copy).await;
    let now = truth.write();
    for tenant in ["acme", "globex"] {
        let cache = cache_of(&two, tenant).await;
        for key in 0..ENTRIES {
            assert_eq!(truth.read(&cache, key).await, now, "{tenant}");
        }
        assert!(cache.statistics().unreadable > 0, "{tenant}");
    }
}
