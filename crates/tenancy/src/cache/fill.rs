//! How entries get into the levels, and out of the shared one.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, CacheKey, CacheSettings, CacheValue, EntryOptions,
    envelope::{EnvelopeError, Header, Opened, Place, seal, weigh},
    hub::Unanswered,
    level1::Entry,
    shared::{EntryName, FoundEntry, StoredEntry},
    versions::{Judgement, Stamp},
};
use crate::memory::Metering;

/// Longer lives count as this, so that no time of the clock is too large for them.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// So many entries of some kilobytes are had well within the time of a call.
const ASKED_AT_ONCE: usize = 100;

pub(super) fn longest(time: Duration) -> Duration {
    time.min(LONGEST)
}

/// How long an entry lives, after jitter, and what it counts for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
    jitter: f64,
    size: Option<u32>,
}

impl Life {
    pub(super) fn of(options: &EntryOptions, settings: &CacheSettings) -> Self {
        Self {
            fresh: options.ttl,
            stale: longest(options.stale_for),
            jitter: settings.ttl_jitter * fastrand::f64(),
            size: options.size,
        }
        .shortened()
    }

    pub(super) fn with_ttl(self, ttl: Duration) -> Self {
        Self { fresh: ttl, ..self }.shortened()
    }

    fn shortened(self) -> Self {
        Self {
            fresh: longest(self.fresh).mul_f64(1.0 - self.jitter),
            ..self
        }
    }
}

/// A value that is to be kept.
pub(super) struct Packed {
    /// Bytes it counts for in this process.
    pub(super) weight: usize,
    /// For the shared level.
    pub(super) to_share: Option<StoredEntry>,
}

impl Packed {
    fn only_here(weight: usize) -> Self {
        Self {
            weight,
            to_share: None,
        }
    }
}

/// What was loaded, and what has become of it.
pub(super) struct Kept<V> {
    pub(super) value: Arc<V>,
    pub(super) is_kept: bool,
    /// For the shared level.
    pub(super) to_share: Option<StoredEntry>,
}

impl<V> Kept<V> {
    fn not(value: Arc<V>) -> Self {
        Self {
            value,
            is_kept: false,
            to_share: None,
        }
    }
}

impl Cache {
    /// Keeps what was loaded, and gives it back with what is for the shared level. What can not be kept is given back all the same.
    pub(super) fn keep<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        value: V,
        stamp: Stamp,
        life: Life,
        began: Duration,
    ) -> Kept<V> {
        let value = Arc::new(value);
        // It was flushed meanwhile: it must not take the place of what was kept since.
        if self.account.versions.judge(&stamp) != Judgement::Fresh {
            return Kept::not(value);
        }
        let cost = self.now().saturating_sub(began);
        let Some(packed) = self.pack(key, &*value, &stamp, life, cost) else {
            return Kept::not(value);
        };
        let here = Arc::clone(&value);
        self.insert(key, here, stamp, life, (began, cost), packed.weight);
        Kept {
            value,
            is_kept: true,
            to_share: packed.to_share,
        }
    }

    /// Weighs a value, and writes it for the shared level if it is of use there. `None`: it is not to be kept.
    pub(super) fn pack<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        value: &V,
        stamp: &Stamp,
        life: Life,
        cost: Duration,
    ) -> Option<Packed> {
        if life.fresh.is_zero() {
            return None;
        }
        // Under a number of this process's own it is of no use to others.
        let is_shared = self.hub.link.is_some() && self.account.versions.may_share(stamp);
        let packed = match life.size {
            _ if is_shared => self.seal(key, value, stamp, life, cost).map(|entry| Packed {
                weight: life.size.map_or(entry.bytes.len(), |size| size as usize),
                to_share: Some(entry),
            }),
            Some(size) => Ok(Packed::only_here(size as usize)),
            None => weigh(self.hub.settings.codec, stamp, value).map(Packed::only_here),
        };
        match packed {
            Ok(packed) => self.fits(key, &packed).then_some(packed),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(kind = key.kind(), error, "a value can not be cached");
                None
            }
        }
    }

    fn seal<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        value: &V,
        stamp: &Stamp,
        life: Life,
        cost: Duration,
    ) -> Result<StoredEntry, EnvelopeError> {
        let header = Header {
            stamp: stamp.clone(),
            ttl: life.fresh + life.stale,
            fresh_for: life.fresh,
            load_cost: cost,
        };
        let name = key.entry_name();
        let place = Place::new(&self.account.name, &name);
        let bytes = seal(place, &header, self.hub.settings.codec, value)?;
        Ok(StoredEntry {
            name,
            bytes,
            ttl: header.ttl,
        })
    }

    fn fits<V>(&self, key: &CacheKey<V>, packed: &Packed) -> bool {
        let written = packed.to_share.as_ref().map_or(0, |entry| entry.bytes.len());
        let bytes = packed.weight.max(written);
        let fits = bytes <= self.hub.settings.max_entry_bytes as usize;
        if !fits {
            tracing::debug!(kind = key.kind(), bytes, "a value is too large for the cache");
        }
        fits
    }

    /// `times`: from when it is known to be valid, and what its load took.
    pub(super) fn insert<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        value: Arc<V>,
        stamp: Stamp,
        life: Life,
        times: (Duration, Duration),
        weight: usize,
    ) {
        let (valid_at, load_cost) = times;
        let now = self.now();
        let here = self.hub.settings.local_ttl;
        let entry = Entry {
            value,
            stamp,
            valid_at,
            fresh_until: now + life.fresh.min(here),
            // Beyond ten times the cost the chance would be one of twenty thousand.
            calm_until: (now + life.fresh.min(here)).saturating_sub(load_cost.saturating_mul(10)),
            usable_until: now + life.fresh.min(here) + life.stale,
            load_cost,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
        };
        let bytes = key.as_bytes();
        let hash = self.account.share.hash_of(key.hash_in_process());
        let insert = || self.hub.level1.insert(&self.account.share, bytes, hash, entry);
        Metering::of_cache().run(insert);
    }

    /// In a task of its own: whoever waits for the value does not wait for this.
    pub(super) fn store_later(&self, entries: Vec<StoredEntry>) {
        if entries.is_empty() {
            return;
        }
        let cache = self.clone();
        let stored = tokio::spawn(async move { cache.store(&entries).await });
        if let Some(warming) = &self.warming {
            warming.note_store(stored);
        }
    }

    pub(super) async fn store(&self, entries: &[StoredEntry]) {
        let Some(link) = &self.hub.link else {
            return;
        };
        let stored = link
            .call_aside(link.level.store(&self.account.name, entries))
            .await;
        if let Err(Unanswered::Failed(error)) = stored {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "an entry could not be kept in the shared cache level");
        }
    }

    /// Frees memory; nobody can read these any more.
    pub(super) fn discard_later(&self, names: Vec<EntryName>) {
        if self.hub.link.is_none() {
            return;
        }
        let cache = self.clone();
        tokio::spawn(async move {
            if let Some(link) = &cache.hub.link {
                // They end by themselves, too.
                let _ = link
                    .call_aside(link.level.discard(&cache.account.name, &names))
                    .await;
            }
        });
    }

    /// From the shared level, if it will be fresh for longer than this.
    pub(super) async fn fetch_one<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        for_longer_than: Duration,
    ) -> Option<Arc<V>> {
        let mut values = [None];
        self.fetch_missing(std::slice::from_ref(key), &mut values, for_longer_than)
            .await;
        let [value] = values;
        value
    }

    /// Fills the gaps from the shared level, with one question for each hundred.
    pub(super) async fn fetch_missing<V: CacheValue>(
        &self,
        keys: &[CacheKey<V>],
        values: &mut [Option<Arc<V>>],
        for_longer_than: Duration,
    ) {
        let gaps: Vec<_> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        for gaps in gaps.chunks(ASKED_AT_ONCE) {
            self.fetch_gaps(keys, values, gaps, for_longer_than).await;
        }
    }

    async fn fetch_gaps<V: CacheValue>(
        &self,
        keys: &[CacheKey<V>],
        values: &mut [Option<Arc<V>>],
        gaps: &[usize],
        for_longer_than: Duration,
    ) {
        let Some(link) = &self.hub.link else {
            return;
        };
        let names: Vec<_> = gaps.iter().map(|&at| keys[at].entry_name()).collect();
        let (pending, ask) = self.account.ask();
        let sent_at = self.now();
        let fetched = match link.call(link.level.fetch(&ask, &names)).await {
            Ok(fetched) => fetched,
            Err(Unanswered::LeftAlone) => return,
            Err(Unanswered::Failed(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "the shared cache level could not be read");
                return;
            }
        };
        let applied = self
            .hub
            .apply(link, &self.account, &pending, sent_at, &fetched.answer)
            .await;
        // Without a lease nothing says that the entries are what they should be.
        if applied.is_err() || !self.account.versions.holds_lease(self.now()) {
            return;
        }
        for (&at, found) in gaps.iter().zip(&fetched.entries) {
            values[at] = found
                .as_ref()
                .and_then(|found| self.take_found(&keys[at], found, sent_at, for_longer_than));
        }
    }

    /// Reads an entry of the shared level, and keeps it here for as long as it lives there.
    fn take_found<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        found: &FoundEntry,
        sent_at: Duration,
        for_longer_than: Duration,
    ) -> Option<Arc<V>> {
        let place = Place::new(&self.account.name, &key.entry_name());
        let read =
            Opened::open(place, &found.bytes).and_then(|opened| Ok((opened.value::<V>()?, opened.header)));
        let (value, header) = match read {
            Ok(read) => read,
            Err(error) => {
                self.account.counters.unreadable.add();
                let error: &dyn std::error::Error = &error;
                tracing::debug!(
                    kind = key.kind(),
                    error,
                    "an entry of the shared cache level can not be read"
                );
                return None;
            }
        };
        if self.account.versions.judge(&header.stamp) != Judgement::Fresh {
            return None;
        }
        let age = header.ttl.saturating_sub(found.remaining);
        let fresh = header.fresh_for.saturating_sub(age);
        // One that is too old is kept for the case that it can not be loaded anew; not in the place of one that lives on here.
        let is_wanted = fresh > for_longer_than;
        if !is_wanted && !fresh.is_zero() {
            return None;
        }
        let value = Arc::new(value);
        let life = Life {
            fresh,
            stale: header.ttl.saturating_sub(header.fresh_for).min(found.remaining),
            jitter: 0.0,
            size: None,
        };
        let times = (sent_at, header.load_cost);
        self.insert(
            key,
            Arc::clone(&value),
            header.stamp,
            life,
            times,
            found.bytes.len(),
        );
        is_wanted.then(|| {
            self.account.counters.shared_hits.add();
            value
        })
    }
}
