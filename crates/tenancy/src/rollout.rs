//! Taking the stack into an application that runs: first it only watches, then it refuses, stage by stage.
//!
//! * [`TenancyBuilder::observe`](crate::stack::TenancyBuilder::observe) builds a stack that resolves, counts and logs what it
//!   would refuse, and lets every request through as it came: forwarding headers stay, the path is not stripped, panics
//!   and long answers are left alone, and a store that does not answer is waited for a quarter of a second at most.
//! * Extractors stay closed: [`Tenant`] on a request that would have been refused answers with that refusal. Handlers that
//!   do not extract it run as before.
//! * [`Tenant::compare`] and [`Rollout::compare`] count and log where the application's present way of finding the tenant
//!   disagrees.
//! * [`Rollout::enforce`] switches one stage on, [`Rollout::observe`] off again, while requests run: the next request of
//!   that stage sees it.
//!
//! A request on a central host goes to the same router while the resolve stage observes, where
//! [`Tenancy::wrap`](crate::Tenancy::wrap) would answer 404.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, stack::Stage};
//! use tower::ServiceExt;
//!
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?).observe().build()?;
//! let app = tenancy.wrap(Router::new().route("/", get(|| async { "as ever" })));
//! let to_nobody = || Request::get("/").header("host", "nobody.example.com").body(Body::empty());
//!
//! assert_eq!(app.clone().oneshot(to_nobody()?).await?.status(), 200);
//! assert_eq!(tenancy.rollout().report().would_refuse(), 1);
//!
//! tenancy.rollout().enforce(Stage::Resolve);
//! assert_eq!(app.oneshot(to_nobody()?).await?.status(), 404);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Beside what the application does today:
//!
//! ```
//! use axum::{Router, extract::{Request, State}, middleware::{self, Next}, response::Response};
//! use tenancy::rollout::Rollout;
//!
//! #[derive(Clone)]
//! struct CurrentCustomer(String);
//!
//! /// Behind the application's own middleware, which leaves a `CurrentCustomer`.
//! async fn compare(State(rollout): State<Rollout>, request: Request, next: Next) -> Response {
//!     let legacy = request.extensions().get::<CurrentCustomer>();
//!     rollout.compare(request.extensions().get(), legacy.map(|customer| customer.0.as_str()));
//!     next.run(request).await
//! }
//!
//! fn behind(router: Router, rollout: &Rollout) -> Router {
//!     router.layer(middleware::from_fn_with_state(rollout.clone(), compare))
//! }
//! ```

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use tenancy_core::Clock;

use crate::{
    Tenant,
    event::{Event, TenancyListener},
    rejection::RejectionReason,
    resolve::Resolution,
    stack::Stage,
};

/// The longest that an observed request waits for the store.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Which stages of a stack only watch, and what they have seen. Cloning copies a pointer.
///
/// Made with the stack, and had from [`Tenancy::rollout`](crate::Tenancy::rollout).
#[derive(Clone)]
pub struct Rollout {
    inner: Arc<Inner>,
}

struct Inner {
    /// A bit for each stage that observes.
    observing: AtomicU16,
    would_refuse: [AtomicU64; RejectionReason::ALL.len()],
    held_by_maintenance: AtomicU64,
    agreed: AtomicU64,
    disagreed: AtomicU64,
    clock: Arc<dyn Clock>,
    listener: Option<Arc<dyn TenancyListener>>,
    /// When a disagreement was last logged, in milliseconds of the clock, plus one.
    logged_at: AtomicU64,
}

fn bit(stage: Stage) -> u16 {
    1 << stage as u16
}

impl Rollout {
    pub(crate) fn new(
        observing: impl IntoIterator<Item = Stage>,
        clock: Arc<dyn Clock>,
        listener: Option<Arc<dyn TenancyListener>>,
    ) -> Self {
        let bits = observing.into_iter().fold(0, |bits, stage| bits | bit(stage));
        Self {
            inner: Arc::new(Inner {
                observing: AtomicU16::new(bits),
                would_refuse: Default::default(),
                held_by_maintenance: AtomicU64::new(0),
                agreed: AtomicU64::new(0),
                disagreed: AtomicU64::new(0),
                clock,
                listener,
                logged_at: AtomicU64::new(0),
            }),
        }
    }

    /// Makes a stage refuse what it would have refused. Takes effect with the next request that comes to it.
    pub fn enforce(&self, stage: Stage) {
        if self.inner.observing.fetch_and(!bit(stage), Ordering::AcqRel) & bit(stage) != 0 {
            tracing::warn!(stage = stage.as_str(), "a stage refuses from now on");
        }
    }

    /// Makes a stage watch only. Takes effect with the next request that comes to it.
    pub fn observe(&self, stage: Stage) {
        if self.inner.observing.fetch_or(bit(stage), Ordering::AcqRel) & bit(stage) == 0 {
            tracing::warn!(stage = stage.as_str(), "a stage only observes from now on");
        }
    }

    /// Makes every stage refuse.
    pub fn enforce_all(&self) {
        Stage::every().for_each(|stage| self.enforce(stage));
    }

    /// Makes every stage watch only: the way back.
    pub fn observe_all(&self) {
        Stage::every().for_each(|stage| self.observe(stage));
    }

    /// Whether a stage only watches.
    #[inline]
    pub fn observes(&self, stage: Stage) -> bool {
        self.inner.observing.load(Ordering::Acquire) & bit(stage) != 0
    }

    /// Compares what the stack found with what the application finds today, by id. Counts, and logs a disagreement, one a
    /// second at most. Returns whether they agree; nobody and nobody agree.
    pub fn compare(&self, resolution: Option<&Resolution>, legacy: Option<&str>) -> bool {
        self.compare_tenants(resolution.and_then(Resolution::tenant), legacy)
    }

    pub(crate) fn compare_tenants(&self, tenant: Option<&Tenant>, legacy: Option<&str>) -> bool {
        let found = tenant.map(|tenant| tenant.id().as_str());
        if found == legacy {
            self.inner.agreed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let number = 1 + self.inner.disagreed.fetch_add(1, Ordering::Relaxed);
        if self.may_log() {
            // What the application calls a tenant may come from the client.
            let legacy = legacy.map(|legacy| legacy.escape_debug().take(64).collect::<String>());
            tracing::warn!(target: "tenancy::rollout", found, legacy, number, "the application finds another tenant");
        }
        if let Some(listener) = &self.inner.listener {
            listener.on_event(&Event::LegacyDisagrees {
                tenant: tenant.cloned(),
            });
        }
        false
    }

    /// Once a second.
    fn may_log(&self) -> bool {
        let now = u64::try_from(self.inner.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let last = self.inner.logged_at.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last - 1) >= 1_000;
        due && self
            .inner
            .logged_at
            .compare_exchange(last, now.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(crate) fn count(&self, reason: RejectionReason) {
        self.inner.would_refuse[reason as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(listener) = &self.inner.listener {
            listener.on_event(&Event::WouldRefuse { reason });
        }
    }

    pub(crate) fn count_held_by_maintenance(&self) {
        self.inner.held_by_maintenance.fetch_add(1, Ordering::Relaxed);
    }

    /// What has been seen since the stack was built.
    pub fn report(&self) -> RolloutReport {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counted = RejectionReason::ALL
            .into_iter()
            .zip(self.inner.would_refuse.iter().map(load));
        RolloutReport {
            observing: Stage::every().filter(|stage| self.observes(*stage)).collect(),
            reasons: counted.filter(|(_, count)| *count > 0).collect(),
            held_by_maintenance: load(&self.inner.held_by_maintenance),
            agreed: load(&self.inner.agreed),
            disagreed: load(&self.inner.disagreed),
        }
    }
}

impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollout")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

/// What a stack has observed, at one moment. `Display` prints it for people, a figure a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RolloutReport {
    /// The stages that only watch now.
    #[serde(serialize_with = "names_of_stages")]
    pub observing: Vec<Stage>,
    /// How many requests would have been refused, by reason; reasons without any are left out.
    #[serde(rename = "would_refuse", serialize_with = "by_reason")]
    pub reasons: Vec<(RejectionReason, u64)>,
    /// How many requests would have been answered with a maintenance page.
    pub held_by_maintenance: u64,
    /// How often [`Rollout::compare`] found the same tenant.
    pub agreed: u64,
    /// How often it found another.
    pub disagreed: u64,
}

impl RolloutReport {
    /// How many requests would have been refused, for whatever reason.
    pub fn would_refuse(&self) -> u64 {
        self.reasons.iter().map(|(_, count)| count).sum()
    }
}

fn names_of_stages<S: Serializer>(stages: &[Stage], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(stages.iter().map(|stage| stage.as_str()))
}

fn by_reason<S: Serializer>(reasons: &[(RejectionReason, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(reasons.len()))?;
    for (reason, count) in reasons {
        map.serialize_entry(reason.as_str(), count)?;
    }
    map.end()
}

impl fmt::Display for RolloutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.observing.iter().map(|stage| stage.as_str()).collect();
        writeln!(
            f,
            "observing: {}",
            if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            }
        )?;
        for (reason, count) in &self.reasons {
            writeln!(f, "would refuse, {reason}: {count}")?;
        }
        writeln!(f, "held by maintenance: {}", self.held_by_maintenance)?;
        write!(
            f,
            "same tenant as before: {}, another: {}",
            self.agreed, self.disagreed
        )
    }
}
