//! A tenant that goes while processes work with it.

use std::{convert::Infallible, time::Duration};

use tenancy::{
    MemoryStore, Tenancy,
    cache::{CacheSettings, EntryOptions, Keys},
    resolve::Subdomain,
};
use tenancy_redis::{Redis, RedisLevel};

use super::MINUTE;
use crate::{
    joined::BOUND,
    place::{database, level},
};

const NUMBER: Keys<(u32,), u64> = Keys::new("number", 1);

struct Process {
    tenancy: Tenancy,
    redis: Redis,
}

impl Process {
    fn new(level: RedisLevel, store: &MemoryStore) -> Self {
        let redis = level.redis();
        let settings = CacheSettings::new().staleness_bound(BOUND).shared(level);
        let tenancy = Tenancy::builder(Subdomain::of("example.com").unwrap(), store.clone()).cache(settings);
        Self {
            tenancy: tenancy.build().unwrap(),
            redis,
        }
    }

    async fn work(&self) {
        let tenant = self.tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
        let cache = self.tenancy.cache_of(&tenant);
        let options = EntryOptions::new().ttl(10 * MINUTE).tag("numbers");
        for key in 0..20 {
            let load = async || Ok::<_, Infallible>(1);
            cache.remember(&NUMBER.key((key,)), &options, load).await.unwrap();
        }
        cache.flush_tags(["numbers"]).await;
        let redis = self.redis.of(&tenant);
        redis.counter("visits").add(1).await.unwrap();
    }
}

/// Some times as long as processes that have not heard would renew their leases.
#[tokio::test]
async fn nothing_of_a_tenant_that_was_deleted_and_then_erased_comes_back_from_processes_that_served_it() {
    let database = database().await;
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let processes = [(); 2].map(|()| Process::new(level(&database.url()), &store));
    for process in &processes {
        process.tenancy.ready().await;
        process.work().await;
    }
    let acme = "acme".parse().unwrap();
    let tenant = processes[0].tenancy.enter(&acme).await.unwrap();
    let record = tenant.record();
    // The cache of a request that is still running.
    let held = processes[1].tenancy.cache_of(&tenant);
    store.remove(&acme).await.unwrap();

    let erased = processes[0].redis.erase(&record).after(7 * BOUND).await.unwrap();
    assert!(erased.is_all() && erased.keys >= 4, "{erased:?}");
    tokio::time::sleep(4 * BOUND).await;
    let again = processes[0]
        .redis
        .erase(&record)
        .after(Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((again.keys, again.passes), (0, 1));
    assert!(processes[0].tenancy.enter(&acme).await.is_err());
    drop((tenant, held));
}
