//! Caches that load what they do not have, as the questions of right and wrong ask them.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tenancy::cache::{CacheSettings, EntryOptions, Keys, TenantCache};
use tenancy_bench::Failure;

use crate::stack::cache_of_one;

/// A cache with one loader for all who ask at the same time.
pub trait Loading: Send + Sync {
    /// What is cached under `key`, or else what `load` gives.
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String>;

    /// Removes what is cached under `key`.
    fn remove(&self, key: &'static str) -> BoxFuture<'_, ()>;
}

/// A cache, or why it could not be made.
pub type Made = BoxFuture<'static, Result<Arc<dyn Loading>, Failure>>;

/// A cache by its name, and how it is made.
pub struct Loader {
    /// As in the other rows.
    pub name: &'static str,
    /// Makes an empty one.
    pub make: fn() -> Made,
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loader").field(&self.name).finish()
    }
}

const TEXTS: Keys<&str, String> = Keys::new("texts", 1);

struct OfTenant(TenantCache);

impl Loading for OfTenant {
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let options = EntryOptions::new().tag("texts");
            let load = move || async move { Ok::<_, std::io::Error>(load.await) };
            match self.0.remember(&TEXTS.key(key), &options, load).await {
                Ok(value) => String::clone(&value),
                Err(error) => error.to_string(),
            }
        })
    }

    fn remove(&self, _: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.0.flush_tags(["texts"]).await) })
    }
}

pub(crate) fn tenancy() -> Made {
    Box::pin(async {
        let cache = cache_of_one(CacheSettings::new()).await?;
        Ok(Arc::new(OfTenant(cache)) as Arc<dyn Loading>)
    })
}

struct OfMoka(moka::future::Cache<&'static str, String>);

impl Loading for OfMoka {
    fn get_or_load(&self, key: &'static str, load: BoxFuture<'static, String>) -> BoxFuture<'_, String> {
        Box::pin(self.0.get_with(key, load))
    }

    fn remove(&self, key: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.invalidate(&key).await })
    }
}

pub(crate) fn moka() -> Made {
    Box::pin(async { Ok(Arc::new(OfMoka(moka::future::Cache::new(100))) as Arc<dyn Loading>) })
}
