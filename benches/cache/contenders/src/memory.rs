//! Level 1 of each, made for the same keys and the same number of entries.

use std::sync::Arc;

use ::cached::{ConcurrentCached, ShardedLruCache};
use foldhash::quality::RandomState;
use futures_executor::block_on;
use futures_util::FutureExt;
use multi_tier_cache::{Bytes, CacheManager, CacheTier, L1Cache, MokaCacheConfig};
use tenancy_bench_cache::memory::{Bed, Made, Memory, Value};

struct QuickCache {
    bed: Bed,
    cache: quick_cache::sync::Cache<String, Value, quick_cache::UnitWeighter, RandomState>,
}

impl Memory for QuickCache {
    #[inline]
    fn get(&self, key: u32) -> bool {
        self.cache.get(self.bed.key(key)).is_some()
    }

    fn put(&self, key: u32) {
        let value = self.bed.value(key);
        self.cache.insert(self.bed.key(key).to_owned(), value);
    }
}

pub(crate) fn quick_cache(bed: &Bed) -> Made {
    let capacity = bed.capacity;
    let cache = quick_cache::sync::Cache::with(
        capacity as usize,
        capacity.into(),
        quick_cache::UnitWeighter,
        RandomState::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    );
    let bed = bed.clone();
    Ok(Box::new(QuickCache { bed, cache }))
}

struct Foyer {
    bed: Bed,
    cache: foyer_memory::Cache<String, Value, RandomState>,
}

impl Memory for Foyer {
    #[inline]
    fn get(&self, key: u32) -> bool {
        self.cache.get(self.bed.key(key)).is_some()
    }

    fn put(&self, key: u32) {
        let value = self.bed.value(key);
        self.cache.insert(self.bed.key(key).to_owned(), value);
    }
}

pub(crate) fn foyer(bed: &Bed) -> Made {
    let builder = foyer_memory::CacheBuilder::new(bed.capacity as usize);
    let cache = builder.with_hash_builder(RandomState::default()).build();
    let bed = bed.clone();
    Ok(Box::new(Foyer { bed, cache }))
}

struct Cached {
    bed: Bed,
    cache: ShardedLruCache<String, Value>,
}

impl Memory for Cached {
    #[inline]
    fn get(&self, key: u32) -> bool {
        let key = &self.bed.keys[key as usize];
        matches!(self.cache.cache_get(key), Ok(Some(_)))
    }

    fn put(&self, key: u32) {
        let value = self.bed.value(key);
        let put = self.cache.cache_set(self.bed.key(key).to_owned(), value);
        assert!(put.is_ok(), "putting into memory can not fail");
    }
}

pub(crate) fn cached(bed: &Bed) -> Made {
    let cache = ShardedLruCache::new(bed.capacity as usize);
    let bed = bed.clone();
    Ok(Box::new(Cached { bed, cache }))
}

/// Its manager with the first tier alone, its future polled once.
struct MultiTier {
    bed: Bed,
    value: Bytes,
    cache: CacheManager,
}

impl Memory for MultiTier {
    #[inline]
    fn get(&self, key: u32) -> bool {
        let found = self.cache.get(self.bed.key(key)).now_or_never();
        matches!(found, Some(Ok(Some(_))))
    }

    fn put(&self, key: u32) {
        let strategy = multi_tier_cache::CacheStrategy::LongTerm;
        let put = self
            .cache
            .set_with_strategy(self.bed.key(key), self.value.clone(), strategy);
        assert!(block_on(put).is_ok(), "putting into memory can not fail");
    }
}

pub(crate) fn tier(capacity: u32) -> Result<CacheTier, multi_tier_cache::error::CacheError> {
    let config = MokaCacheConfig {
        max_capacity: capacity.into(),
        ..MokaCacheConfig::default()
    };
    Ok(CacheTier::new(Arc::new(L1Cache::new(config)?), 1, false, 1, 1.0))
}

pub(crate) fn multi_tier(bed: &Bed) -> Made {
    Ok(Box::new(MultiTier {
        bed: bed.clone(),
        value: Bytes::copy_from_slice(&bed.value(0)),
        cache: CacheManager::new_with_tiers(vec![tier(bed.capacity)?], None)?,
    }))
}
