use std::{path::PathBuf, time::Duration};

/// How look-ups behave. Every figure has a default that suits most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolveSettings {
    /// How long a found tenant is used before the store is asked again, for stores that do not say what changed.
    /// 300 s; up to a tenth is taken off at random.
    pub cache_ttl: Duration,
    /// How many keys such a store's cache holds. 100,000.
    pub cache_capacity: u64,
    /// How long an unknown key is remembered, for such stores. 1 s.
    pub negative_ttl: Duration,
    /// How many unknown keys are remembered. 10,000.
    pub negative_capacity: u64,
    /// How long a tenant is served after it was last read, or its list compared, while the store does not answer. 1 h.
    pub max_stale: Duration,
    /// How long to wait before a stale entry's store is asked again. 5 s.
    pub stale_retry: Duration,
    /// How many look-ups of unknown keys reach the store each second. 100.
    pub misses_per_second: u32,
    /// How many of them may come at once. 200.
    pub miss_burst: u32,
    /// How many different keys may be asked for at the same time. 256.
    pub max_flights: usize,
    /// How long a request waits for a look-up. 2 s.
    pub resolve_timeout: Duration,
    /// How long the store may take for a look-up. 5 s.
    pub load_timeout: Duration,
    /// How often a store that can be watched is asked what changed. 500 ms; a signal comes earlier.
    pub poll_interval: Duration,
    /// How long it may take to answer that. 1 s.
    pub poll_timeout: Duration,
    /// Where the snapshot is kept for a start while the store is away. Nowhere unless set.
    pub snapshot_file: Option<PathBuf>,
    /// How old that file may be to be used. 24 h.
    pub snapshot_max_age: Duration,
    /// How often it is written at most. 30 s.
    pub snapshot_interval: Duration,
}

impl Default for ResolveSettings {
    fn default() -> Self {
        Self {
            cache_ttl: Duration::from_secs(300),
            cache_capacity: 100_000,
            negative_ttl: Duration::from_secs(1),
            negative_capacity: 10_000,
            max_stale: Duration::from_secs(3600),
            stale_retry: Duration::from_secs(5),
            misses_per_second: 100,
            miss_burst: 200,
            max_flights: 256,
            resolve_timeout: Duration::from_secs(2),
            load_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_millis(500),
            poll_timeout: Duration::from_secs(1),
            snapshot_file: None,
            snapshot_max_age: Duration::from_secs(24 * 3600),
            snapshot_interval: Duration::from_secs(30),
        }
    }
}

impl ResolveSettings {
    /// The same without times that cannot be added to a clock. A hundred years are for ever.
    pub(super) fn within_reason(self) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Self {
            cache_ttl: self.cache_ttl.min(FOR_EVER),
            negative_ttl: self.negative_ttl.min(FOR_EVER),
            max_stale: self.max_stale.min(FOR_EVER),
            stale_retry: self.stale_retry.min(FOR_EVER),
            resolve_timeout: self.resolve_timeout.min(FOR_EVER),
            load_timeout: self.load_timeout.min(FOR_EVER),
            // Zero would leave no time for anything else.
            poll_interval: self.poll_interval.clamp(Duration::from_millis(1), FOR_EVER),
            poll_timeout: self.poll_timeout.min(FOR_EVER),
            snapshot_max_age: self.snapshot_max_age.min(FOR_EVER),
            snapshot_interval: self.snapshot_interval.min(FOR_EVER),
            ..self
        }
    }
}
