//! Whether the process works: checks in the background, probes that read what they found, and tenants that are not well.
//!
//! * Each [`Check`] runs in a task of its own, one run at a time. One that panics, hangs or blocks its thread has failed,
//!   and holds no other up. A result that is too old counts as a failure.
//! * Probes start no check, wait for nothing and do no I/O: the answers are made when something changes.
//! * `/livez` is about this process alone: whether its runtime runs tasks. `/startupz` is 503 until each [`StartupStep`] is
//!   done. `/readyz` is 503 before that, while a critical check of the group [`READINESS`] is down, and from
//!   [`Health::drain`] on. `/health` says `healthy`, `degraded` (200) or `unhealthy` (503).
//!   With `?verbose`, to whom sees details, `/readyz` says `starting` and which steps are left, or `draining`.
//! * To a client that names it, `application/health+json` is sent, with `pass`, `warn` or `fail`.
//! * Everybody sees the status and nothing else; [`Health::admin_routes`], and whom
//!   [`details_for`](HealthBuilder::details_for) lets, see each check with its last error.
//! * A check that goes down or comes up is logged once.
//! * [`TenantHealth`] tells tenants that are not well from those that are. It never makes the process unready.
//!
//! **Where it stands.** Outside of the stack: a probe names no tenant, and is to be answered while the catalogue is away. As a layer
//! around the whole application, [`Health`] costs other requests a comparison of their path; [`Health::routes`] is a router.
//!
//! **Caveats.** Before its first results, a check counts as down. Whatever is critical takes `/health` to 503; only what
//! [`readiness`](HealthBuilder::readiness) names takes the process out of a load balancer: a database that all processes share takes
//! all of them out at once. Checks run on the runtime that the health was built in; when that ends, their results become too old.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use std::convert::Infallible;
//! use tenancy::{MemoryStore, Tenancy, health::{Check, Health, StartupStep}, resolve::Subdomain};
//! use tower::{Layer, ServiceExt};
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let migrations = StartupStep::new("migrations");
//! let health = Health::builder()
//!     .check(Check::new("mail", || async { Ok::<_, Infallible>(()) }).degrades())
//!     .startup_step(&migrations)
//!     .build()?;
//! let app = health.layer(tenancy.wrap(Router::new().route("/", get(|| async { "hello" }))));
//!
//! let ready = |app: tenancy::health::HealthService<_>| app.oneshot(Request::get("/readyz").body(Body::empty()).unwrap());
//! assert_eq!(ready(app.clone()).await?.status(), 503);
//! migrations.done();
//! assert_eq!(ready(app.clone()).await?.status(), 200, "without a host of any tenant");
//! health.drain();
//! assert_eq!(ready(app).await?.status(), 503);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tenancy::{MemoryStore, Tenancy, health::{Health, TenantHealth, checks}, resolve::Subdomain, stack::Stage};
//!
//! let tenants = TenantHealth::new();
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .insert_after(Stage::Gate, tenants.layer())
//!     .build()?;
//! let health = Health::builder()
//!     .check(checks::tenancy(&tenancy, "acme".parse()?))
//!     .check(checks::memory(checks::DEFAULT_MEMORY_LIMIT, checks::resident_memory))
//!     .event_loop(Duration::from_millis(500))
//!     .tenants(&tenants)
//!     .build()?;
//!
//! // For everybody, and for a listener that only operators reach.
//! let (public, admin) = (health.routes(), health.admin_routes());
//! # let _: (axum::Router, axum::Router) = (public, admin);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod board;
mod builder;
mod check;
pub mod checks;
mod control_group;
mod report;
mod routes;
mod run;
mod startup;
mod tenants;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle};

pub(crate) use self::tenants::Vitals;
use self::{board::Board, builder::Guard};
pub use self::{
    builder::{HealthBuilder, HealthConfigError, HealthMistake},
    check::{Check, Criticality, Finding},
    report::{CheckReport, CheckStatus, HealthReport, HealthStatus},
    routes::{HealthFuture, HealthService},
    startup::StartupStep,
    tenants::{
        TenantHealth, TenantHealthFuture, TenantHealthLayer, TenantHealthService, TenantReport, TenantState,
    },
};

/// The group of checks that `/readyz` asks.
pub const READINESS: &str = "readiness";

/// The registry of checks, and what they have found. Clones are the same one. See the [module](self).
///
/// When the last one is dropped, with the routes and layers that were made of it, its checks end.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    board: Arc<Board>,
    steps: Vec<StartupStep>,
    is_draining: AtomicBool,
    most_silence: Duration,
    guard: Option<Guard>,
    tenants: Option<TenantHealth>,
    is_running: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Whether the process is to be sent requests, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It is.
    Ready,
    /// A step of the start is not done.
    Starting,
    /// It is about to end.
    Draining,
    /// A critical check that readiness depends on is down.
    Unready,
}

impl Readiness {
    /// Whether it is.
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Unready => "unready",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Ready => r#"{"status":"ready"}"#,
            Self::Starting => r#"{"status":"starting"}"#,
            Self::Draining => r#"{"status":"draining"}"#,
            Self::Unready => r#"{"status":"unready"}"#,
        }
    }
}

impl Health {
    /// A registry to which checks are added.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::new()
    }

    fn assemble(
        board: Board,
        steps: Vec<StartupStep>,
        most_silence: Duration,
        guard: Option<Guard>,
        tenants: Option<TenantHealth>,
    ) -> Self {
        let inner = Inner {
            board: Arc::new(board),
            steps,
            is_draining: AtomicBool::new(false),
            most_silence,
            guard,
            tenants,
            is_running: AtomicBool::new(false),
            tasks: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Begins to check, if that was not done and there is a runtime.
    #[inline]
    fn begin(&self) {
        if !self.inner.is_running.load(Ordering::Relaxed) {
            self.spawn_tasks();
        }
    }

    #[cold]
    fn spawn_tasks(&self) {
        let inner = &self.inner;
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if inner.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        inner.board.beat(Duration::ZERO);
        let mut tasks = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(runtime.spawn(run::beat(Arc::clone(&inner.board))).abort_handle());
        for at in 0..inner.board.checks.len() {
            let checking = run::keep_checking(Arc::clone(&inner.board), at);
            tasks.push(runtime.spawn(checking).abort_handle());
        }
        if let Some(probing) = inner.tenants.as_ref().and_then(TenantHealth::probing) {
            tasks.push(runtime.spawn(probing).abort_handle());
        }
    }

    /// From now on `/readyz` is 503, for good: a load balancer sends requests to others. What comes is served as before.
    ///
    /// The first thing to do when the process is told to end, some seconds before it stops to accept connections.
    pub fn drain(&self) {
        if !self.inner.is_draining.swap(true, Ordering::AcqRel) {
            tracing::info!("not ready any more: the process is about to end");
        }
    }

    /// Whether the process is to be sent requests: what `/readyz` says. Does not wait.
    pub fn readiness(&self) -> Readiness {
        if self.inner.is_draining.load(Ordering::Acquire) {
            Readiness::Draining
        } else if !self.is_started() {
            Readiness::Starting
        } else if self.inner.board.snapshot().readiness() == HealthStatus::Unhealthy {
            Readiness::Unready
        } else {
            Readiness::Ready
        }
    }

    /// Whether each step of the start is done.
    pub fn is_started(&self) -> bool {
        self.inner.steps.iter().all(StartupStep::is_done)
    }

    /// How the whole is doing: what `/health` says.
    pub fn status(&self) -> HealthStatus {
        self.inner.board.snapshot().report.status
    }

    /// What is known of each check, for metrics, alerts and dashboards. Copies a pointer.
    pub fn report(&self) -> Arc<HealthReport> {
        Arc::clone(&self.inner.board.snapshot().report)
    }

    /// Whether the runtime gives tasks their turn: what `/livez` says.
    pub fn is_alive(&self) -> bool {
        let inner = &self.inner;
        !inner.is_running.load(Ordering::Acquire) || inner.board.silence() <= inner.most_silence
    }
}

impl Drop for Inner {
    /// Not by themselves: a check may wait for ever.
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("status", &self.status())
            .field("readiness", &self.readiness())
            .finish_non_exhaustive()
    }
}
