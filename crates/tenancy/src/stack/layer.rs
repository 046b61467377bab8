//! Single stages as plain tower layers.

use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    phase::{Phase, Segment, SegmentShared},
    service::StageService,
};
use crate::{
    Tenant,
    gate::{GatePolicy, GlobalMaintenance},
    home::Home,
};

/// One stage as a tower layer that works alone, around any service of requests, in a `ServiceBuilder`.
///
/// Stages that need a stack's settings come from [`Tenancy::stage`](super::Tenancy::stage); the others can be made here. The whole stack
/// as one layer, [`Tenancy`](super::Tenancy), costs less than its stages one by one.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tenancy::stack::StageLayer;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let app = ServiceBuilder::new()
///     .layer(StageLayer::panic_catch())
///     .layer(StageLayer::body_limit(1024))
///     .service(Router::<()>::new().route("/", get(|| async { panic!("oh") as &str })));
/// assert_eq!(app.oneshot(Request::get("/").body(Body::empty())?).await?.status(), 500);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct StageLayer {
    segment: Arc<Segment>,
}

impl StageLayer {
    pub(crate) fn new(phases: impl Into<Box<[Phase]>>, shared: Arc<SegmentShared>) -> Self {
        Self {
            segment: Arc::new(Segment {
                phases: phases.into(),
                shared,
            }),
        }
    }

    fn alone(phase: Phase) -> Self {
        Self::at_home(phase, Arc::new(Home::of_no_stack(0)))
    }

    fn at_home(phase: Phase, home: Arc<Home>) -> Self {
        Self::new([phase], Self::shared_at(home))
    }

    fn shared_at(home: Arc<Home>) -> Arc<SegmentShared> {
        Arc::new(SegmentShared {
            home,
            proxies: None,
            always_https: false,
        })
    }

    /// Makes every request this tenant's, whatever it says and whatever its host: for tests, and for a listener that
    /// is one tenant's alone. It stands in the place of the resolve stage, and judges neither host nor status: put
    /// [`gate`](Self::gate) inside of it.
    ///
    /// Whoever has a [`Tenant`] has the proof already; this passes it on. A request that a layer further out has found
    /// to be another tenant's, or nobody's, is answered with 500.
    pub fn for_tenant(tenant: &Tenant) -> Self {
        let given = Phase::Given(Some(tenant.clone()));
        Self::at_home(given, Arc::clone(tenant.home()))
    }

    /// Makes every request central, whatever its host: for tests, and for a listener that serves administration
    /// alone. It stands in the place of the resolve stage.
    ///
    /// A request that a layer further out has found to be a tenant's is answered with 500.
    pub fn for_central() -> Self {
        Self::alone(Phase::Given(None))
    }

    /// Refuses requests for tenants that are not served. Needs the resolve stage, or [`for_tenant`](Self::for_tenant),
    /// outside of it; answers with 500 else.
    pub fn gate(policy: GatePolicy) -> Self {
        Self::alone(Phase::Gate(policy))
    }

    /// Opens the tenant's part of the cache. Needs the resolve stage, or [`for_tenant`](Self::for_tenant), outside of
    /// it; answers with 500 else.
    pub fn cache_scope() -> Self {
        Self::alone(Phase::CacheScope)
    }

    /// Turns a panic of the inner service into 500. What the panic said is in the log only.
    pub fn panic_catch() -> Self {
        Self::alone(Phase::PanicCatch)
    }

    /// Refuses bodies of more than `bytes` with 413: by `Content-Length` before the inner service is called, by
    /// count while it reads what comes without one.
    pub fn body_limit(bytes: u64) -> Self {
        Self::alone(Phase::BodyLimit(bytes))
    }

    /// Answers with 504 when the inner service has not begun its answer `after` it was called. The body may take
    /// longer. No timer is armed for an answer that is ready at once.
    pub fn deadline(after: Duration) -> Self {
        Self::alone(Phase::Deadline(after))
    }

    /// What [`MemoryLayer`](crate::memory::MemoryLayer) is made of.
    #[cfg(feature = "memory")]
    pub(crate) fn memory(keeper: &Arc<crate::memory::Keeper>) -> Self {
        let budget = Phase::memory_budget(keeper);
        let phases = std::iter::once(Phase::Memory(Arc::clone(keeper))).chain(budget);
        Self::new(
            phases.collect::<Vec<_>>(),
            Self::shared_at(Arc::clone(keeper.home())),
        )
    }

    /// Answers for everybody while the switch is on.
    pub fn maintenance(switch: GlobalMaintenance) -> Self {
        Self::alone(Phase::Maintenance(switch))
    }
}

impl<S> Layer<S> for StageLayer {
    type Service = StageService<S>;

    fn layer(&self, inner: S) -> StageService<S> {
        StageService::new(Arc::clone(&self.segment), inner)
    }
}

impl fmt::Debug for StageLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageLayer").finish_non_exhaustive()
    }
}
