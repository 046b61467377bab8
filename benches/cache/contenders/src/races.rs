//! Loading and removing, as each does it.

use std::{convert::Infallible, sync::Arc};

use futures_util::future::BoxFuture;
use multi_tier_cache::{Bytes, CacheManager, CacheStrategy};
use tenancy_bench_cache::loading::{Loading, Made};

struct QuickCache(quick_cache::sync::Cache<&'static str, String>);

impl Loading for QuickCache {
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let load = async { Ok::<_, Infallible>(load.await) };
            let Ok(value) = self.0.get_or_insert_async(&key, load).await;
            value
        })
    }

    fn remove(&self, key: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.0.remove(&key)) })
    }
}

pub(crate) fn quick_cache() -> Made {
    Box::pin(async { Ok(Arc::new(QuickCache(quick_cache::sync::Cache::new(100))) as Arc<dyn Loading>) })
}

struct Foyer(foyer_memory::Cache<String, String>);

impl Loading for Foyer {
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let load = || async move { Ok::<_, std::io::Error>(load.await) };
            match self.0.get_or_fetch(key, load).await {
                Ok(entry) => entry.value().clone(),
                Err(error) => error.to_string(),
            }
        })
    }

    fn remove(&self, key: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.0.remove(key)) })
    }
}

pub(crate) fn foyer() -> Made {
    Box::pin(async {
        let cache = foyer_memory::CacheBuilder::new(100).build();
        Ok(Arc::new(Foyer(cache)) as Arc<dyn Loading>)
    })
}

struct MultiTier(CacheManager);

impl Loading for MultiTier {
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let load = || async move { Ok(Bytes::from(load.await)) };
            match self
                .0
                .get_or_compute_with(key, CacheStrategy::LongTerm, load)
                .await
            {
                Ok(value) => String::from_utf8_lossy(&value).into_owned(),
                Err(error) => error.to_string(),
            }
        })
    }

    fn remove(&self, key: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.0.invalidate(key).await {
                eprintln!("{error}");
            }
        })
    }
}

pub(crate) fn multi_tier() -> Made {
    Box::pin(async {
        let cache = CacheManager::new_with_tiers(vec![crate::memory::tier(100)?], None)?;
        Ok(Arc::new(MultiTier(cache)) as Arc<dyn Loading>)
    })
}
