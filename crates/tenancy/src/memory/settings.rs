//! Settings of the memory stage.

use std::time::Duration;

/// Which figure of a request is compared with [`MemorySettings::warn_over`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The most that it had at one time; with the tasks that it started, as if they had all had their most at once.
    #[default]
    Peak,
    /// All that it ever allocated.
    Allocated,
}

/// What is counted, and what is said about it. Every setter consumes and returns the settings.
#[derive(Clone, Debug)]
pub struct MemorySettings {
    pub(super) warn_over: u64,
    pub(super) measure: Measure,
    pub(super) warn_every: Duration,
    pub(super) log_memory: bool,
    pub(super) log_cleanup: bool,
    pub(super) track_survivors: bool,
    pub(super) grace: Duration,
    pub(super) max_routes: usize,
    pub(super) in_extensions: bool,
    pub(crate) tenant_budget: Option<u64>,
}

impl MemorySettings {
    /// The defaults, each of which its setter names.
    pub fn new() -> Self {
        Self {
            warn_over: 1024 * 1024,
            measure: Measure::Peak,
            warn_every: Duration::from_secs(60),
            log_memory: true,
            log_cleanup: false,
            track_survivors: false,
            grace: Duration::from_secs(1),
            max_routes: 256,
            in_extensions: false,
            tenant_budget: None,
        }
    }

    /// A request that needs more than so many bytes is named in the log and told to the listener. Default: 1 MiB.
    #[must_use]
    pub fn warn_over(mut self, bytes: u64) -> Self {
        self.warn_over = bytes;
        self
    }

    /// Which figure is compared with it. Default: [`Measure::Peak`].
    #[must_use]
    pub fn measure(mut self, measure: Measure) -> Self {
        self.measure = measure;
        self
    }

    /// How often requests of one route and tenant are named at most. Those in between are counted, and the next line says how many there were.
    /// Default: once in 60 s.
    #[must_use]
    pub fn warn_every(mut self, interval: Duration) -> Self {
        self.warn_every = interval;
        self
    }

    /// Whether requests above the threshold are written to the log, at WARN. The listener and the totals hear of them anyway. Default: yes.
    #[must_use]
    pub fn log_memory(mut self, log: bool) -> Self {
        self.log_memory = log;
        self
    }

    /// Whether a line at DEBUG says of every request that has ended what it allocated, freed and left. Default: no.
    #[must_use]
    pub fn log_cleanup(mut self, log: bool) -> Self {
        self.log_cleanup = log;
        self
    }

    /// Whether [`RequestScoped`](super::RequestScoped) values are looked at after the request, and those that have outlived it are named.
    /// Default: no.
    #[must_use]
    pub fn track_survivors(mut self, track: bool) -> Self {
        self.track_survivors = track;
        self
    }

    /// How long after the request that look is. Default: 1 s. At once where no tokio runtime is there.
    #[must_use]
    pub fn survivor_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many routes have sums of their own; what comes after is counted as `other`. Default: 256.
    #[must_use]
    pub fn max_routes(mut self, most: usize) -> Self {
        self.max_routes = most;
        self
    }

    /// Whether [`RequestMemory`](super::RequestMemory) stands in the extensions of request and response as well, for layers that are no axum
    /// handlers: two allocations more for each request. Default: no.
    #[must_use]
    pub fn in_extensions(mut self, insert: bool) -> Self {
        self.in_extensions = insert;
        self
    }

    /// A tenant that has more than so many live bytes is answered with 503, until enough is freed. What its entries weigh in the cache does not count: the
    /// cache has a bound of its own. Needs the exact level, an allocator with [`Owned`](super::Owned) in it; a stack without is not built.
    /// A tenant that finds no place in the allocator's table of owners ([`Tenant::live_bytes`](crate::Tenant::live_bytes)) is not held to it; the log
    /// says so. Default: none.
    #[must_use]
    pub fn tenant_budget(mut self, bytes: u64) -> Self {
        self.tenant_budget = Some(bytes);
        self
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self::new()
    }
}
