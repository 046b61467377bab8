//! Level 1 by itself, as the benches see it.

use std::{fmt, hash::BuildHasher, sync::Arc, time::Duration};

use foldhash::quality::RandomState;
use tenancy_core::SystemClock;

use super::{Entry, Level1, Level1Settings, Share, entry::OVERHEAD};
use crate::cache::versions::{ScopeVersions, nanos};

/// Level 1 with one share, whose entries have two tags and a slot of their own.
pub struct MemoryLevel {
    level1: Level1,
    share: Arc<Share>,
    versions: ScopeVersions,
    hashes: RandomState,
}

impl MemoryLevel {
    /// With room for so many entries that weigh `entry_bytes` with their keys. `hot_entries` of them are hot.
    pub fn new(entries: u64, entry_bytes: u32, hot_entries: usize) -> Self {
        let settings = Level1Settings {
            max_bytes: entries * u64::from(entry_bytes),
            hot_entries,
            ..Level1Settings::default()
        };
        let level1 = Level1::new(&settings, Arc::new(SystemClock::new()));
        Self {
            share: level1.share(),
            level1,
            versions: ScopeVersions::alone(1),
            hashes: RandomState::default(),
        }
    }

    /// The value, if it is fresh: with the hash, the versions' judgement and a count of the value's `Arc`.
    #[inline]
    pub fn get<V: Send + Sync + 'static>(&self, key: &[u8], now: Duration) -> Option<Arc<V>> {
        let hash = self.hash(key);
        self.level1
            .glance(&self.share, key, hash, now, |brief, entry| {
                let fresh = nanos(now) < brief.fresh_end
                    && self.versions.holds_lease(now)
                    && self.versions.is_fresh(&entry.stamp, &brief.last_check);
                fresh.then(|| Arc::clone(&entry.value).downcast().ok()).flatten()
            })
            .flatten()
    }

    /// Puts a value that weighs `entry_bytes` with its key.
    pub fn put<V: Send + Sync + 'static>(&self, key: &[u8], value: Arc<V>, entry_bytes: u32) {
        let key_bytes = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let entry = Entry {
            value,
            stamp: self.versions.stamp(&[7, 77, 777]),
            valid_at: Duration::ZERO,
            fresh_until: Duration::MAX,
            calm_until: Duration::MAX,
            usable_until: Duration::MAX,
            load_cost: Duration::ZERO,
            weight: entry_bytes.saturating_sub(OVERHEAD).saturating_sub(key_bytes),
        };
        self.level1.insert(&self.share, key, self.hash(key), entry);
    }

    /// What all entries weigh.
    pub fn bytes(&self) -> u64 {
        self.level1.bytes()
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        self.hashes.hash_one((self.share.id(), key))
    }
}

impl fmt::Debug for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLevel")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
