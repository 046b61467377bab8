use std::{fmt, sync::Arc, time::Duration};

use super::{CacheCodec, shared::SharedLevel};

const MOST_LOADS: usize = 1 << 20;
const MOST_BYTES: u64 = 1 << 50;
const LONGEST_LOCAL_TTL: Duration = Duration::from_secs(24 * 3600);

/// How the cache of a stack works. The defaults suit one process with some hundred tenants.
///
/// | setting | default | unit |
/// |---|---|---|
/// | [`max_bytes`](Self::max_bytes) | 64 MiB | bytes of level 1, all tenants together |
/// | [`max_entry_bytes`](Self::max_entry_bytes) | 1 MiB | bytes of one value, encoded |
/// | [`local_ttl`](Self::local_ttl) | 60 s | longest life in level 1 |
/// | [`staleness_bound`](Self::staleness_bound) | 2 s | until a flush is in effect everywhere |
/// | [`on_outage`](Self::on_outage) | serve within 30 s | |
/// | [`loads_per_tenant`](Self::loads_per_tenant) | 16 | loads at once |
/// | [`load_timeout`](Self::load_timeout) | 30 s | |
/// | [`takeover_after`](Self::takeover_after) | 5 s | |
/// | [`soft_timeout`](Self::soft_timeout) | 100 ms | |
/// | [`soft_flush_grace`](Self::soft_flush_grace) | 30 s | |
/// | [`ttl_jitter`](Self::ttl_jitter) | 0.1 | share of the time to live |
#[derive(Clone)]
pub struct CacheSettings {
    pub(crate) max_bytes: u64,
    pub(crate) max_entry_bytes: u32,
    pub(crate) local_ttl: Duration,
    pub(crate) staleness_bound: Duration,
    pub(crate) shared: Option<Arc<dyn SharedLevel>>,
    pub(crate) codec: CacheCodec,
    pub(crate) on_outage: OnOutage,
    pub(crate) loads_per_tenant: usize,
    pub(crate) load_timeout: Duration,
    pub(crate) takeover_after: Duration,
    pub(crate) soft_timeout: Duration,
    pub(crate) soft_flush_grace: Duration,
    pub(crate) ttl_jitter: f64,
}

/// What becomes of entries in this process while the shared level can not be reached, and flushes of other processes can not be
/// heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// An entry is served until it is so old, counted from its load or from when this process knew its numbers to be the newest,
    /// whichever is later. A flush in another process may be missed for so long after the
    /// [`staleness_bound`](CacheSettings::staleness_bound).
    ServeWithin(Duration),
    /// Nothing is served that might be stale: everything is loaded, with a few loads at once for each tenant.
    Bypass,
}

impl CacheSettings {
    /// The defaults: level 1 alone.
    pub fn new() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            local_ttl: Duration::from_secs(60),
            staleness_bound: Duration::from_secs(2),
            shared: None,
            codec: CacheCodec::default(),
            on_outage: OnOutage::ServeWithin(Duration::from_secs(30)),
            loads_per_tenant: 16,
            load_timeout: Duration::from_secs(30),
            takeover_after: Duration::from_secs(5),
            soft_timeout: Duration::from_millis(100),
            soft_flush_grace: Duration::from_secs(30),
            ttl_jitter: 0.1,
        }
    }

    /// A second level that processes have in common, such as `tenancy-redis` offers.
    pub fn shared(mut self, level: impl SharedLevel) -> Self {
        self.shared = Some(Arc::new(level));
        self
    }

    /// Whether processes have a second level in common.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// How many bytes entries may take in this process, keys and book-keeping included.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How large one encoded value may be. A larger one is handed to who asked for it and not kept.
    pub fn max_entry_bytes(mut self, bytes: u32) -> Self {
        self.max_entry_bytes = bytes;
        self
    }

    /// How long an entry is fresh in this process at most; in the shared level it is for its whole time to live. At most a day.
    pub fn local_ttl(mut self, ttl: Duration) -> Self {
        self.local_ttl = ttl;
        self
    }

    /// After this long a flush is in effect in every process, whatever messages were lost. A shorter bound asks the shared level
    /// more often: twice in this time for each tenant that is being served. At least 100 ms.
    pub fn staleness_bound(mut self, bound: Duration) -> Self {
        self.staleness_bound = bound;
        self
    }

    /// How values are written for the shared level.
    pub fn codec(mut self, codec: CacheCodec) -> Self {
        self.codec = codec;
        self
    }

    /// What to serve while the shared level can not be reached.
    pub fn on_outage(mut self, policy: OnOutage) -> Self {
        self.on_outage = policy;
        self
    }

    /// How many loads of one tenant run at once; further ones wait, within the load's time.
    pub fn loads_per_tenant(mut self, loads: usize) -> Self {
        self.loads_per_tenant = loads;
        self
    }

    /// After this long a load is given up, and everybody who waits for it gets an error, or the stale value.
    pub fn load_timeout(mut self, after: Duration) -> Self {
        self.load_timeout = after;
        self
    }

    /// A load that runs for longer does not keep the next caller from trying another.
    pub fn takeover_after(mut self, after: Duration) -> Self {
        self.takeover_after = after;
        self
    }

    /// Where there is a stale value, a load is waited for so long; then the stale value is served, and the load goes on.
    pub fn soft_timeout(mut self, after: Duration) -> Self {
        self.soft_timeout = after;
        self
    }

    /// For so long after a soft flush the flushed entries are served while they are loaded anew. Another soft flush of the same
    /// tenant begins it again; no entry is served beyond its own [`stale_for`](super::EntryOptions::stale_for).
    pub fn soft_flush_grace(mut self, grace: Duration) -> Self {
        self.soft_flush_grace = grace;
        self
    }

    /// By which share of it, at most, a time to live is shortened at random, so that what was loaded together does not end
    /// together. From 0 to 0.5.
    pub fn ttl_jitter(mut self, share: f64) -> Self {
        self.ttl_jitter = share;
        self
    }

    /// What is wrong with them, in words for the one who wrote them.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let rules = [
            (
                self.staleness_bound < Duration::from_millis(100),
                format!("a staleness bound of {:?} is below 100 ms", self.staleness_bound),
            ),
            (
                self.staleness_bound > Duration::from_secs(3600),
                format!("a staleness bound of {:?} is above an hour", self.staleness_bound),
            ),
            (
                !(0.0..=0.5).contains(&self.ttl_jitter),
                format!("a jitter of {} is not between 0 and 0.5", self.ttl_jitter),
            ),
            (
                self.loads_per_tenant == 0,
                "no load at once is allowed".to_owned(),
            ),
            (
                self.loads_per_tenant > MOST_LOADS,
                format!(
                    "{} loads at once are more than {MOST_LOADS}",
                    self.loads_per_tenant
                ),
            ),
            (
                self.max_bytes > MOST_BYTES,
                format!("{} bytes are more than a pebibyte", self.max_bytes),
            ),
            (self.load_timeout.is_zero(), "a load has no time".to_owned()),
            (
                self.local_ttl > LONGEST_LOCAL_TTL,
                format!("a life of {:?} in level 1 is above a day", self.local_ttl),
            ),
            (
                u64::from(self.max_entry_bytes) > self.max_bytes,
                format!(
                    "one entry may have {} bytes, and all together {}",
                    self.max_entry_bytes, self.max_bytes
                ),
            ),
        ];
        let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
        broken.map(|(_, mistake)| mistake).collect()
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSettings")
            .field("max_bytes", &self.max_bytes)
            .field("staleness_bound", &self.staleness_bound)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
