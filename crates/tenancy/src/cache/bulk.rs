//! Many entries at once.

use std::{future::Future, sync::Arc, time::Duration};

use tenancy_core::BoxError;
use tracing::Instrument as _;

use super::{
    Cache, CacheKey, CacheValue, EntryOptions, FlushReceipt, LoadError,
    fill::Life,
    hub::AnyValue,
    load::{slots_of, typed},
    loads::FlightKey,
    shared::{Cell, FlushMode},
    versions::{Judgement, Stamp},
};
use crate::{
    memory::Metering,
    scope::{self, metered},
};

impl Cache {
    /// In a task of its own: what was loaded is kept though nobody waits for it any more.
    pub(super) async fn load_missing<V, E, Loading>(
        &self,
        keys: &[CacheKey<V>],
        options: &EntryOptions,
        load: impl FnOnce(Vec<usize>) -> Loading + Send + 'static,
        found: Vec<Option<Arc<V>>>,
    ) -> Result<Vec<Arc<V>>, LoadError>
    where
        V: CacheValue,
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<Vec<V>, E>> + Send + 'static,
    {
        let spare_turn = self.spare_turn().await;
        let missing: Vec<_> = (0..keys.len()).filter(|&at| found[at].is_none()).collect();
        let wanted: Vec<_> = missing.iter().map(|&at| keys[at].clone()).collect();
        // Before the load.
        let stamps: Vec<_> = wanted
            .iter()
            .map(|key| self.account.versions.stamp(&slots_of(key, options)))
            .collect();
        let life = Life::of(options, &self.hub.settings);
        let cache = self.clone();
        let (Some(first), Some(stamp)) = (wanted.first().cloned(), stamps.first()) else {
            return Ok(found.into_iter().flatten().collect());
        };
        let kind = first.kind();
        let flight = FlightKey::alone::<Vec<Arc<V>>>(kind, stamp.clone());
        let loading = self.account.loads.join(flight, move || {
            let all = async move {
                let _spare_turn = spare_turn;
                cache.load_all(wanted, stamps, life, missing, load).await
            };
            // As that of one value: what stays is the cache's.
            Box::pin(metered(all, Metering::of_cache()).in_current_span())
        });
        let loaded = typed::<Vec<Arc<V>>, V>(&first, loading.outcome().await)?;
        let mut loaded = loaded.iter().map(Arc::clone);
        let values = found.into_iter().map(|value| value.or_else(|| loaded.next()));
        values
            .collect::<Option<_>>()
            .ok_or_else(|| LoadError::abandoned(kind))
    }

    async fn load_all<V, E, Loading>(
        &self,
        keys: Vec<CacheKey<V>>,
        stamps: Vec<Stamp>,
        life: Life,
        missing: Vec<usize>,
        load: impl FnOnce(Vec<usize>) -> Loading + Send + 'static,
    ) -> Result<AnyValue, BoxError>
    where
        V: CacheValue,
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<Vec<V>, E>> + Send + 'static,
    {
        let began = self.now();
        self.account.counters.loads.add();
        let (loaded, saw_stale) = self
            .in_scope(async move { (load(missing).await, scope::has_seen_stale()) })
            .await;
        let values = match loaded {
            Ok(values) if values.len() == keys.len() => values,
            Ok(values) => {
                self.account.counters.failed_loads.add();
                let error = format!("{} values were loaded for {} keys", values.len(), keys.len());
                return Err(error.into());
            }
            Err(error) => {
                self.account.counters.failed_loads.add();
                return Err(error.into());
            }
        };
        // As of one value that was made of what is old already.
        let life = if saw_stale {
            life.with_ttl(Duration::ZERO)
        } else {
            life
        };
        let entries = keys.iter().zip(values).zip(stamps);
        let (loaded, to_share): (Vec<_>, Vec<_>) = entries
            .map(|((key, value), stamp)| self.keep(key, value, stamp, life, began))
            .map(|kept| (kept.value, kept.to_share))
            .unzip();
        self.store_later(to_share.into_iter().flatten().collect());
        let loaded = AnyValue::new(Arc::new(loaded));
        Ok(if saw_stale { loaded.of_stale() } else { loaded })
    }

    /// A caller that is dropped has flushed what was there, or has not begun.
    pub(super) async fn put_all<V: CacheValue>(
        &self,
        entries: Vec<(CacheKey<V>, V)>,
        options: &EntryOptions,
    ) -> FlushReceipt {
        self.hub.run();
        let life = Life::of(options, &self.hub.settings);
        // What is kept under numbers of before would be dead.
        self.renew_if_lapsed().await;
        // Before the flush: what is flushed while this goes on must not be missed.
        let stamps: Vec<_> = entries
            .iter()
            .map(|(key, _)| self.account.versions.stamp(&slots_of(key, options)))
            .collect();
        let receipt = self
            .raise(own_cells(entries.iter().map(|(key, _)| key)), FlushMode::Hard)
            .await;
        let now = self.now();
        let mut stored = Vec::new();
        for ((key, value), stamp) in entries.into_iter().zip(stamps) {
            let Cell::Slot(own) = Self::own_cell(&key) else {
                continue;
            };
            let stamp = stamp.with_slot(own, receipt.version());
            let Some(packed) = self.pack(&key, &value, &stamp, life, Duration::ZERO) else {
                continue;
            };
            // Another has put it since: it must not take the place of that.
            if self.account.versions.judge(&stamp) != Judgement::Fresh {
                continue;
            }
            let times = (now, Duration::ZERO);
            self.insert(&key, Arc::new(value), stamp, life, times, packed.weight);
            stored.extend(packed.to_share);
        }
        if !stored.is_empty() {
            self.store(&stored).await;
        }
        receipt
    }

    pub(super) async fn remove_all<V>(&self, keys: &[CacheKey<V>]) -> FlushReceipt {
        let receipt = self.raise(own_cells(keys.iter()), FlushMode::Hard).await;
        for key in keys {
            let bytes = key.as_bytes();
            let hash = self.account.share.hash_of(key.hash_in_process());
            self.hub.level1.remove(&self.account.share, bytes, hash);
        }
        self.discard_later(keys.iter().map(CacheKey::entry_name).collect());
        receipt
    }
}

fn own_cells<'a, V: 'a>(keys: impl Iterator<Item = &'a CacheKey<V>>) -> Vec<Cell> {
    let mut cells: Vec<_> = keys.map(Cache::own_cell).collect();
    cells.sort_unstable();
    cells.dedup();
    cells
}
