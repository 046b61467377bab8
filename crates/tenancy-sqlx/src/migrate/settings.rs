use std::time::Duration;

use tenancy_core::TenantId;

use crate::store::journal::StopRule;

/// How a fleet is migrated.
///
/// ```
/// use tenancy_sqlx::migrate::FleetSettings;
///
/// let settings = FleetSettings::new().workers(8).canaries(5).stop_at(0.02);
/// ```
#[derive(Clone, Debug)]
pub struct FleetSettings {
    pub(super) workers: usize,
    pub(super) canaries: u64,
    pub(super) named_canaries: Vec<TenantId>,
    pub(super) stop: StopRule,
    pub(super) lease: Duration,
    pub(super) connect: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) patience: Duration,
    pub(super) ignore_unknown: bool,
}

impl FleetSettings {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            workers: 4,
            canaries: 1,
            named_canaries: Vec::new(),
            stop: StopRule {
                rate: 0.05,
                at_least: 20,
            },
            lease: Duration::from_secs(15),
            connect: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            ignore_unknown: false,
        }
    }

    /// How many tenants this process migrates at once, each over one connection; 4 unless set, 1 at least.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How many tenants are migrated before all others; 1 unless set. If one of them fails, no other is begun.
    #[must_use]
    pub fn canaries(mut self, tenants: u64) -> Self {
        self.canaries = tenants;
        self
    }

    /// Which tenants are migrated before all others, instead of the first ones by id.
    #[must_use]
    pub fn canary_tenants(mut self, tenants: impl IntoIterator<Item = TenantId>) -> Self {
        self.named_canaries = tenants.into_iter().collect();
        self
    }

    /// The share of tenants that may fail, from 0 (the first failure ends the run) to 1; 0.05 unless set. Of fewer than
    /// twenty tried, it counts as of twenty.
    #[must_use]
    pub fn stop_at(mut self, rate: f64) -> Self {
        self.stop.rate = if rate.is_nan() { 0.0 } else { rate.clamp(0.0, 1.0) };
        self
    }

    /// How long a process may give no sign of life before another one takes its tenants over; 15 s unless set, 100 ms at
    /// least. All processes need the same time.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// How long connecting to a tenant may take; 10 s unless set.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// How long a statement waits for the locks of others, and keeps those waiting that come after it; 5 s unless set.
    /// What waits longer is taken back and tried again. MySQL counts in whole seconds. Not for migrations
    /// [apart](crate::migrate#apart-from-transactions), which keep nobody waiting.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// How long a tenant is tried again while what stands in the way may pass: locks, a server that restarts, a session
    /// of a process that died; 30 s of waiting unless set.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes tenants for good that have migrations which are not among these: for a program that is older than its
    /// tenants. Refused unless set.
    #[must_use]
    pub fn ignore_unknown(mut self, ignore: bool) -> Self {
        self.ignore_unknown = ignore;
        self
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self::new()
    }
}
