//! Which tenants are not well: from what is seen of their requests, and from probes of those that are active.

mod layer;
mod probe;
mod routes;
#[cfg(test)]
mod tests;
mod vitals;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use moka::{policy::EvictionPolicy, sync::Cache};
use tenancy_core::{BoxError, TenantId};

pub use self::layer::{TenantHealthFuture, TenantHealthLayer, TenantHealthService};
pub(crate) use self::vitals::Vitals;
use super::check::{Check, Finding};
use crate::Tenant;

type Probe = Arc<dyn Fn(Tenant) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// So many probes in a row must fail before a tenant is down.
const FAILED_PROBES: u32 = 2;

/// How tenants are doing, as far as this process sees. Clones are the same one.
///
/// Signals are what [`layer`](Self::layer) sees of responses (5xx, and how long they took to begin), objects of
/// [`resource`](crate::resource) that could not be made, what [`Tenant::note_failure`] was told, and probes. They count for half a
/// minute to a minute. A tenant without any is *idle*, and on no list. Never part of readiness: others are well.
///
/// Set it up before it is used; what is changed on a clone is not changed on others.
#[derive(Clone)]
#[must_use = "give it to a HealthBuilder"]
pub struct TenantHealth {
    settings: Arc<Settings>,
    /// Those that were active lately. Bounded: a client that makes many tenants active pushes others out of the list.
    recent: Cache<TenantId, Tenant>,
}

#[derive(Clone)]
struct Settings {
    slow_after: Duration,
    least_requests: u32,
    down_share: f64,
    degraded_share: f64,
    most_down: f64,
    probe: Option<Probe>,
    probe_interval: Duration,
    probe_timeout: Duration,
    probes_at_once: usize,
}

/// How one tenant is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TenantState {
    /// Most of what was asked failed, or probes do.
    Down,
    /// Some of it failed, or was slow.
    Degraded,
    /// It is well.
    Up,
    /// Nothing was seen of it lately.
    Idle,
}

impl TenantState {
    const ALL: [(&'static str, Self); 4] = [
        ("down", Self::Down),
        ("degraded", Self::Degraded),
        ("up", Self::Up),
        ("idle", Self::Idle),
    ];

    /// As the admin routes say it.
    pub fn as_str(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, state)| *state == self);
        known.map_or("idle", |(name, _)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, state)| *state)
    }
}

/// What is known of one tenant. Counts are of the last half a minute to a minute; beyond 65,535 in half a minute only their shares
/// are right.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TenantReport {
    /// The tenant.
    pub tenant: TenantId,
    /// How it is doing.
    pub state: TenantState,
    /// Requests, and failures that were noted beside them.
    pub requests: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that took long to begin their answer.
    pub slow: u32,
    /// Probes that failed in a row.
    pub failed_probes: u32,
}

impl TenantHealth {
    /// With the defaults, for up to 1,000 tenants that are active.
    pub fn new() -> Self {
        Self::of_at_most(1_000)
    }

    /// For up to so many tenants that are active: of more, those that were so most lately. At least 1.
    pub fn of_at_most(tenants: u64) -> Self {
        let recent = Cache::builder()
            .max_capacity(tenants.max(1))
            .eviction_policy(EvictionPolicy::lru())
            // What is kept of a tenant in memory is let go some time after its last request.
            .time_to_idle(Duration::from_secs(600))
            .build();
        Self {
            settings: Arc::new(Settings {
                slow_after: Duration::from_secs(1),
                least_requests: 10,
                down_share: 0.5,
                degraded_share: 0.05,
                most_down: 0.1,
                probe: None,
                probe_interval: Duration::from_secs(30),
                probe_timeout: Duration::from_secs(2),
                probes_at_once: 4,
            }),
            recent,
        }
    }

    /// After which the begin of an answer is slow. Default: 1 s.
    pub fn slow_after(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.settings).slow_after = time;
        self
    }

    /// With fewer requests than this, failures say nothing. Default: 10.
    pub fn least_requests(mut self, requests: u32) -> Self {
        Arc::make_mut(&mut self.settings).least_requests = requests;
        self
    }

    /// From which share of failures on a tenant is down; from a tenth of it on, or if so many are slow, it is degraded. Default: 0.5.
    pub fn down_share(mut self, share: f64) -> Self {
        Arc::make_mut(&mut self.settings).down_share = share;
        Arc::make_mut(&mut self.settings).degraded_share = share / 10.0;
        self
    }

    /// The check `tenants` fails when more than this share of active tenants is down. Default: 0.1.
    pub fn most_down(mut self, share: f64) -> Self {
        Arc::make_mut(&mut self.settings).most_down = share;
        self
    }

    /// Asks for each active tenant, in its scope, whether it is well: its database, for instance. Every 30 s, give or take a tenth, 4
    /// tenants at once, each for 2 s at most. One that panics has failed; two failures in a row, and the tenant is down.
    pub fn probe<F, Fut, E>(mut self, probe: F) -> Self
    where
        F: Fn(Tenant) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Arc::make_mut(&mut self.settings).probe = Some(Arc::new(move |tenant| {
            let asked = probe(tenant);
            Box::pin(async move { asked.await.map_err(Into::into) })
        }));
        self
    }

    /// How often, and for how many at once. Default: 30 s, 4; at least 1 s and 1.
    pub fn probe_every(mut self, interval: Duration, at_once: usize) -> Self {
        Arc::make_mut(&mut self.settings).probe_interval = interval.max(Duration::from_secs(1));
        Arc::make_mut(&mut self.settings).probes_at_once = at_once.max(1);
        self
    }

    /// A layer that sees the responses of tenants: right inside of the gate,
    /// `insert_after(Stage::Gate, tenants.layer())`, so that it also sees deadlines that have passed.
    pub fn layer(&self) -> TenantHealthLayer {
        TenantHealthLayer::new(self.clone())
    }

    /// How a tenant is doing.
    pub fn of(&self, tenant: &Tenant) -> TenantReport {
        let vitals = tenant.vitals();
        let counts = vitals.counts(tenant.home().clock.monotonic_coarse());
        let failed_probes = vitals.failed_probes();
        let share = |part: u32| f64::from(part) / f64::from(counts.requests.max(1));
        let is_enough = counts.requests >= self.settings.least_requests;
        let state = match counts.requests {
            0 => TenantState::Idle,
            _ if failed_probes >= FAILED_PROBES => TenantState::Down,
            _ if is_enough && share(counts.failed) >= self.settings.down_share => TenantState::Down,
            _ if is_enough && share(counts.failed) >= self.settings.degraded_share => TenantState::Degraded,
            _ if is_enough && share(counts.slow) >= self.settings.down_share => TenantState::Degraded,
            _ => TenantState::Up,
        };
        TenantReport {
            tenant: tenant.id().clone(),
            state,
            requests: counts.requests,
            failed: counts.failed,
            slow: counts.slow,
            failed_probes,
        }
    }

    /// Tenants that are active, the worst first, then by id. Copies what is known of each; does not wait.
    pub fn active(&self) -> Vec<TenantReport> {
        let reports = self.recent.iter().map(|(_, tenant)| self.of(&tenant));
        let mut active: Vec<_> = reports
            .filter(|report| report.state != TenantState::Idle)
            .collect();
        active.sort_unstable_by(|a, b| (a.state, &a.tenant).cmp(&(b.state, &b.tenant)));
        active
    }

    /// One of those that are on the list.
    pub fn find(&self, id: &TenantId) -> Option<TenantReport> {
        self.recent.get(id).map(|tenant| self.of(&tenant))
    }

    fn saw(&self, tenant: &Tenant, took: Duration, failed: bool) {
        let now = tenant.home().clock.monotonic_coarse();
        let vitals = tenant.vitals();
        vitals.count(now, failed, took >= self.settings.slow_after);
        if vitals.is_to_be_listed(now) {
            self.recent.insert(tenant.id().clone(), tenant.clone());
        }
    }

    /// The roll-up, for the registry.
    pub(super) fn check(&self) -> Check {
        let tenants = self.clone();
        let check = move || {
            let active = tenants.active();
            let down = active
                .iter()
                .filter(|report| report.state == TenantState::Down)
                .count();
            let most = tenants.settings.most_down;
            async move {
                let share = down as f64 / active.len().max(1) as f64;
                if share <= most {
                    return Ok(Finding::of(down as f64, "tenants down"));
                }
                Err(format!("{down} of {} active tenants are down", active.len()))
            }
        };
        Check::new("tenants", check).degrades()
    }
}

impl Default for TenantHealth {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TenantHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantHealth")
            .field("active", &self.recent.entry_count())
            .field("probes", &self.settings.probe.is_some())
            .finish_non_exhaustive()
    }
}
