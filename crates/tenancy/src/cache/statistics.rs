//! What has been counted of a scope in this process.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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

/// For what is counted most: a few threads have a cache line each, to which nobody else writes; the others share some.
#[derive(Default)]
pub(crate) struct StripedCounter {
    own: [Stripe; STRIPES],
    shared: [Stripe; STRIPES],
}

const STRIPES: usize = 4;

#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// Where a thread counts.
enum Writer {
    /// As the only one.
    Alone(usize),
    WithOthers(usize),
}

static TAKEN: [AtomicBool; STRIPES] = [const { AtomicBool::new(false) }; STRIPES];
static NEXT_SHARED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WRITER: Writer = Writer::new();
}

impl Writer {
    fn new() -> Self {
        // Acquire: it goes on from what the one before it has counted.
        let free = TAKEN
            .iter()
            .position(|taken| !taken.swap(true, Ordering::Acquire));
        match free {
            Some(stripe) => Self::Alone(stripe),
            None => Self::WithOthers(NEXT_SHARED.fetch_add(1, Ordering::Relaxed) % STRIPES),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Self::Alone(stripe) = *self
            && let Some(taken) = TAKEN.get(stripe)
        {
            taken.store(false, Ordering::Release);
        }
    }
}

/// A number below four: mostly another one for each of a few threads.
#[inline]
pub(crate) fn stripe_of_thread() -> usize {
    // A thread that is ending has none of its own any more.
    let of_writer = |writer: &Writer| match *writer {
        Writer::Alone(stripe) | Writer::WithOthers(stripe) => stripe,
    };
    WRITER.try_with(of_writer).unwrap_or_default()
}

impl StripedCounter {
    #[inline]
    pub(crate) fn add(&self) {
        let counted = WRITER.try_with(|writer| match *writer {
            // Nobody else writes here: a load and a store, without a lock on the cache line.
            Writer::Alone(stripe) => {
                let count = &self.own[stripe].0;
                count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            Writer::WithOthers(stripe) => self.add_shared(stripe),
        });
        if counted.is_err() {
            self.add_shared(0);
        }
    }

    #[inline(never)]
    fn add_shared(&self, stripe: usize) {
        self.shared[stripe].0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        let stripes = self.own.iter().chain(&self.shared);
        stripes.map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
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

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn no_hit_is_lost_however_many_threads_count_and_whoever_counts_in_their_place_later() {
        const THREADS: usize = 3 * STRIPES;
        const EACH: u64 = 5_000;
        let counter = StripedCounter::default();
        for wave in 1..=3 {
            let begin = Barrier::new(THREADS);
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        begin.wait();
                        (0..EACH).for_each(|_| counter.add());
                    });
                }
            });
            assert_eq!(counter.read(), wave * EACH * THREADS as u64);
        }
    }
}
