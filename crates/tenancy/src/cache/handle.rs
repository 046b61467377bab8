//! What applications hold: a scope's part of the cache.

use std::{fmt, future::Future, ops::Deref, sync::Arc, time::Duration};

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{
    CacheKey, CacheScope, CacheStatistics, CacheValue, EntryOptions, Flush, FlushReceipt, LoadError, Loaded,
    hub::{Account, Hub},
    load::Manner,
    shared::{Cell, FlushMode, SharedError},
    slots::slot_of_tag,
    warm::WarmHandle,
};
use crate::{
    Tenant,
    extract::{Central, ExtractRejection},
    home::Home,
};

/// One scope's part of the cache: a tenant's, by [`TenantCache`], or the central one, by [`CentralCache`].
///
/// Methods never fail because a level does not answer: what can not be read is loaded, and what can not be written is not
/// kept. Clones share everything.
#[derive(Clone)]
pub struct Cache {
    pub(super) hub: Arc<Hub>,
    pub(super) account: Arc<Account>,
    pub(super) whose: Whose,
    /// Of a recipe, rather than a request.
    pub(super) warming: Option<Arc<WarmHandle>>,
}

/// In which scope loads run.
#[derive(Clone)]
pub(super) enum Whose {
    Tenant(Tenant),
    Central,
}

/// A tenant's part of the cache. Extract it in handlers behind the cache-scope stage; elsewhere
/// [`Tenancy::cache_of`](crate::Tenancy::cache_of) makes it of a [`Tenant`]. Derefs to [`Cache`], which has the methods.
#[derive(Clone, Debug)]
pub struct TenantCache {
    tenant: Tenant,
    cache: Cache,
}

/// The part of the cache that is no tenant's. Extract it in central handlers. Derefs to [`Cache`], which has the methods.
#[derive(Clone, Debug)]
pub struct CentralCache {
    cache: Cache,
}

impl TenantCache {
    pub(crate) fn of(tenant: &Tenant) -> Self {
        let hub = Arc::clone(tenant.home().cache.get());
        let account = hub.account_of(tenant);
        Self {
            tenant: tenant.clone(),
            cache: Cache {
                hub,
                account,
                whose: Whose::Tenant(tenant.clone()),
                warming: None,
            },
        }
    }

    pub(crate) fn for_warming(
        tenant: &Tenant,
        hub: &Arc<Hub>,
        account: &Arc<Account>,
        handle: Arc<WarmHandle>,
    ) -> Self {
        Self {
            tenant: tenant.clone(),
            cache: Cache {
                hub: Arc::clone(hub),
                account: Arc::clone(account),
                whose: Whose::Tenant(tenant.clone()),
                warming: Some(handle),
            },
        }
    }

    /// Whose part this is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

impl CentralCache {
    pub(crate) fn of(home: &Home) -> Self {
        let hub = Arc::clone(home.cache.get());
        let account = hub.central_account();
        Self {
            cache: Cache {
                hub,
                account,
                whose: Whose::Central,
                warming: None,
            },
        }
    }
}

impl Deref for TenantCache {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.cache
    }
}

impl Deref for CentralCache {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.cache
    }
}

impl CacheScope {
    /// The tenant's part of the stack's cache.
    pub fn cache(&self) -> TenantCache {
        TenantCache::of(self.tenant())
    }
}

impl<S: Sync> FromRequestParts<S> for TenantCache {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let scope = <CacheScope as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(scope.cache())
    }
}

impl<S: Sync> FromRequestParts<S> for CentralCache {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        <Central as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        match parts.extensions.get::<crate::resolve::Resolution>() {
            Some(resolution) => Ok(Self::of(resolution.home())),
            None => Err(ExtractRejection::missing_layer("CentralCache")),
        }
    }
}

impl Cache {
    /// What is cached under this key and fresh. Asks the shared level where this process does not have it; allocates nothing
    /// where it has.
    pub async fn get<V: CacheValue>(&self, key: &CacheKey<V>) -> Option<Arc<V>> {
        match self.get_now(key) {
            Some(value) => Some(value),
            None => Box::pin(self.get_slowly(key)).await,
        }
    }

    /// What is cached under these keys and fresh, in their order; one question to the shared level for each hundred that this
    /// process does not have.
    pub async fn get_many<V: CacheValue>(&self, keys: &[CacheKey<V>]) -> Vec<Option<Arc<V>>> {
        let mut values: Vec<_> = keys.iter().map(|key| self.get_now(key)).collect();
        if values.iter().any(Option::is_none) {
            Box::pin(self.get_missing(keys, &mut values)).await;
        }
        values
    }

    /// What is cached under this key, or else what `load` gives, which is then cached.
    ///
    /// * Those who ask for the same at the same time wait for one load. It runs in a task of its own, in this scope: who hangs up
    ///   does not end it.
    /// * What was flushed while the load ran is handed to who waited and not kept.
    /// * Where loading fails or takes too long, a stale value is served, if there is one that was not flushed hard.
    /// * A load may remember other things of the same scope. It waits for no turn for them: it has one.
    ///
    /// Where this process has the entry nothing is allocated and nothing awaited.
    ///
    /// # Errors
    /// When the load failed, panicked, took longer than the cache's settings allow, or asks for what it loads, and there is no stale
    /// value.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where something has to be loaded.
    pub async fn remember<V, E, Loading>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
        load: impl FnOnce() -> Loading + Send + 'static,
    ) -> Result<Arc<V>, LoadError>
    where
        V: CacheValue,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
        Loading: Future<Output = Result<V, E>> + Send + 'static,
    {
        let found = match self.look_to_serve(key, options) {
            Ok(value) => return Ok(value),
            Err(found) => found,
        };
        Box::pin(self.remember_slowly(key, options, load, found)).await
    }

    /// As [`remember`](Self::remember), for what may not exist: that there is none is cached as well, for
    /// [`none_ttl`](EntryOptions::none_ttl).
    ///
    /// # Errors
    /// As [`remember`](Self::remember).
    pub async fn remember_found<V, E, Loading>(
        &self,
        key: &CacheKey<Option<V>>,
        options: &EntryOptions,
        load: impl FnOnce() -> Loading + Send + 'static,
    ) -> Result<Arc<Option<V>>, LoadError>
    where
        Option<V>: CacheValue,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
        Loading: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let found = match self.look_to_serve(key, options) {
            Ok(value) => return Ok(value),
            Err(found) => found,
        };
        let none_ttl = options.none_ttl;
        let load = async move || {
            let value = load().await?;
            let ttl = if value.is_none() { none_ttl } else { None };
            Ok::<_, E>(Loaded {
                ttl,
                ..Loaded::new(value)
            })
        };
        let loading = Box::pin(self.remember_with(key, options, load, found, Manner::Value));
        loading.await.map(|remembered| remembered.value)
    }

    /// As [`remember`](Self::remember), for values that are known to depend on something, or to live for another time, only once
    /// they are loaded: `load` gives a [`Loaded`], which has tags of its own.
    ///
    /// A flush of one of these tags that comes while the value is being loaded flushes it, too. Since nobody knows the tags before,
    /// who asks after any flush of this scope does not wait for a load that began before it, but starts another.
    ///
    /// # Errors
    /// As [`remember`](Self::remember).
    pub async fn remember_loaded<V, E, Loading>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
        load: impl FnOnce() -> Loading + Send + 'static,
    ) -> Result<Arc<V>, LoadError>
    where
        V: CacheValue,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
        Loading: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        let found = match self.look_to_serve(key, options) {
            Ok(value) => return Ok(value),
            Err(found) => found,
        };
        let loading = Box::pin(self.remember_with(key, options, load, found, Manner::TaggedLate));
        loading.await.map(|remembered| remembered.value)
    }

    /// As [`remember`](Self::remember), for many at once: `load` is called once, with the places of those that are missing, and
    /// gives their values in that order. Others who ask for some of them at the same time load them again. There are no stale values
    /// and no early refresh here: what is not fresh is loaded, and waited for.
    ///
    /// # Errors
    /// As [`remember`](Self::remember), and when `load` gives another number of values than it was asked for.
    pub async fn remember_many<V, E, Loading>(
        &self,
        keys: &[CacheKey<V>],
        options: &EntryOptions,
        load: impl FnOnce(Vec<usize>) -> Loading + Send + 'static,
    ) -> Result<Vec<Arc<V>>, LoadError>
    where
        V: CacheValue,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
        Loading: Future<Output = Result<Vec<V>, E>> + Send + 'static,
    {
        let found = self.get_many(keys).await;
        let present: Option<Vec<_>> = found.iter().cloned().collect();
        match present {
            Some(values) => Ok(values),
            None => Box::pin(self.load_missing(keys, options, load, found)).await,
        }
    }

    /// Caches a value in the place of what was there, in every process: what others have of the key is flushed.
    ///
    /// Two round trips to the shared level. To fill the cache with what was just loaded, [`remember`](Self::remember) is better:
    /// it flushes nothing, and notices what is flushed meanwhile.
    pub async fn put<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        value: V,
        options: &EntryOptions,
    ) -> FlushReceipt {
        Box::pin(self.put_all(vec![(key.clone(), value)], options)).await
    }

    /// As [`put`](Self::put), for many at once, with the same round trips.
    pub async fn put_many<V: CacheValue>(
        &self,
        entries: impl IntoIterator<Item = (CacheKey<V>, V)>,
        options: &EntryOptions,
    ) -> FlushReceipt {
        Box::pin(self.put_all(entries.into_iter().collect(), options)).await
    }

    /// Removes an entry, in every process. A load that has begun before does not bring the old value back.
    pub async fn remove<V>(&self, key: &CacheKey<V>) -> FlushReceipt {
        Box::pin(self.remove_all(std::slice::from_ref(key))).await
    }

    /// As [`remove`](Self::remove), for many at once.
    pub async fn remove_many<V>(&self, keys: &[CacheKey<V>]) -> FlushReceipt {
        Box::pin(self.remove_all(keys)).await
    }

    /// Flushes everything of this scope when awaited: one round trip, however many entries there are.
    ///
    /// ```
    /// # async fn example(cache: &tenancy::cache::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// let receipt = cache.flush().await;
    /// println!("in effect everywhere within {:?}", receipt.everywhere_within());
    ///
    /// // What a plan allowed must not be seen after it was taken away.
    /// cache.flush_tags(["plan"]).barrier().await?;
    ///
    /// // A report may be old for a moment, while it is made anew.
    /// cache.flush_tags(["report"]).soft().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Flush<'_> {
        Flush::new(self, vec![Cell::Base])
    }

    /// Flushes all entries with one of these tags when awaited: one round trip. Without a tag nothing is flushed.
    pub fn flush_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Flush<'_> {
        let mut cells: Vec<_> = tags
            .into_iter()
            .map(|tag| Cell::Slot(slot_of_tag(tag.as_ref())))
            .collect();
        cells.sort_unstable();
        cells.dedup();
        Flush::new(self, cells)
    }

    /// What this process has counted of this scope.
    pub fn statistics(&self) -> CacheStatistics {
        self.account.statistics()
    }

    /// What each process that shares the level has counted of this scope, as it has told within the last hour: every ten seconds while
    /// that changes. Without a shared level, what this one has.
    ///
    /// # Errors
    /// When the shared level does not answer.
    pub async fn statistics_of_processes(&self) -> Result<Vec<CacheStatistics>, SharedError> {
        if self.hub.link.is_none() {
            return Ok(vec![self.statistics()]);
        }
        let reports = self.hub.reports_of(&self.account).await?;
        // What a later release counts is left out; what an earlier one did not count is zero.
        let counted = reports.iter().map(|report| serde_json::from_str(&report.text));
        Ok(counted.flatten().collect())
    }

    pub(super) async fn raise(&self, cells: Vec<Cell>, mode: FlushMode) -> FlushReceipt {
        self.account.counters.flushes.add();
        let is_whole = cells.contains(&Cell::Base);
        let receipt = self.hub.flush(&self.account, cells, mode).await;
        if is_whole {
            self.hub.warmer.wake(&self.account);
        }
        receipt
    }

    pub(super) fn own_cell<V>(key: &CacheKey<V>) -> Cell {
        Cell::Slot(key.slot())
    }

    pub(super) fn now(&self) -> Duration {
        self.hub.now()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("scope", &self.account.name)
            .finish_non_exhaustive()
    }
}
