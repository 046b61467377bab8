//! What has been counted of a scope in this process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of one scope. Relaxed: they order nothing.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: StripedCounter,
    pub(crate) shared_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) stale: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) loads: Counter,
    pub(crate) failed_loads: Counter,
    pub(crate) early_refreshes: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) flushes: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

/// For what is counted most: threads that count at the same time mostly have a cache line each.
#[derive(Default)]
pub(crate) struct StripedCounter([Stripe; STRIPES]);

const STRIPES: usize = 4;

#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl StripedCounter {
    #[inline]
    pub(crate) fn add(&self) {
        // A thread that is ending has none of its own any more.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or_default();
        self.0[stripe].0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

impl Counter {
    #[inline]
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, bytes: u64, evicted: u64) -> CacheStatistics {
        CacheStatistics {
            hits: self.hits.read(),
            shared_hits: self.shared_hits.read(),
            misses: self.misses.read(),
            stale: self.stale.read(),
            coalesced: self.coalesced.read(),
            loads: self.loads.read(),
            failed_loads: self.failed_loads.read(),
            early_refreshes: self.early_refreshes.read(),
            unreadable: self.unreadable.read(),
            flushes: self.flushes.read(),
            bytes,
            evicted,
        }
    }
}

/// What one process has counted of one tenant's cache, since it has used it without a pause of some minutes.
///
/// Those of several processes can be added up: `iter.sum()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Answers from level 1.
    pub hits: u64,
    /// Answers from the shared level.
    pub shared_hits: u64,
    /// Questions that neither level could answer.
    pub misses: u64,
    /// Answers with a stale value: after a soft flush, or since loading failed or took too long.
    pub stale: u64,
    /// Callers that waited for a load that another one had begun.
    pub coalesced: u64,
    /// Loads that were begun.
    pub loads: u64,
    /// Those of them that failed, by whatever reason.
    pub failed_loads: u64,
    /// Loads that were begun before the entry ended.
    pub early_refreshes: u64,
    /// Entries of the shared level that could not be read: of another shape, or damaged.
    pub unreadable: u64,
    /// Flushes that this process was asked for.
    pub flushes: u64,
    /// Bytes in level 1 now.
    pub bytes: u64,
    /// Entries that level 1 gave up for want of room.
    pub evicted: u64,
}

impl std::ops::Add for CacheStatistics {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            hits: self.hits.saturating_add(other.hits),
            shared_hits: self.shared_hits.saturating_add(other.shared_hits),
            misses: self.misses.saturating_add(other.misses),
            stale: self.stale.saturating_add(other.stale),
            coalesced: self.coalesced.saturating_add(other.coalesced),
            loads: self.loads.saturating_add(other.loads),
            failed_loads: self.failed_loads.saturating_add(other.failed_loads),
            early_refreshes: self.early_refreshes.saturating_add(other.early_refreshes),
            unreadable: self.unreadable.saturating_add(other.unreadable),
            flushes: self.flushes.saturating_add(other.flushes),
            bytes: self.bytes.saturating_add(other.bytes),
            evicted: self.evicted.saturating_add(other.evicted),
        }
    }
}

impl std::iter::Sum for CacheStatistics {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), std::ops::Add::add)
    }
}
