//! The memory stage alone, as a tower layer.

use std::{fmt, sync::Arc};

use tenancy_memory::are_owners_kept;
use tower_layer::Layer;

use super::{
    account::Keeper,
    settings::MemorySettings,
    totals::{MemoryTotals, RouteMemory},
};
use crate::{
    home::Home,
    stack::{StageLayer, StageService},
};

/// Counts the memory of each request that passes, around any service of requests: in a `ServiceBuilder`, or by `Router::layer`, where it knows the
/// route of every request.
///
/// Inside of the stack it also knows the tenant. The stack's own stage, [`TenancyBuilder::memory`](crate::stack::TenancyBuilder::memory), counts what
/// the stack does, too. One of both is enough: of two, the inner one has the account. Clones share their sums.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tenancy::memory::{MemoryLayer, MemorySettings};
/// use tower::ServiceExt;
///
/// let memory = MemoryLayer::new(MemorySettings::new());
/// let app = Router::<()>::new().route("/", get(|| async { "hello" })).layer(memory.clone());
/// assert_eq!(app.oneshot(Request::get("/").body(Body::empty())?).await?.status(), 200);
/// // This program has not installed the meter.
/// assert!(memory.totals().is_err());
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryLayer {
    keeper: Arc<Keeper>,
    stage: StageLayer,
}

impl MemoryLayer {
    /// With these settings. A [`tenant_budget`](MemorySettings::tenant_budget) is looked at where the layer stands inside of what finds the tenant,
    /// and the allocator keeps owners; without owners a line in the log says that nobody is refused.
    pub fn new(settings: MemorySettings) -> Self {
        if settings.tenant_budget.is_some() && !are_owners_kept() {
            tracing::warn!(
                "tenants have a budget of memory that is not looked at: the allocator is not `Metered<Owned<…>>`"
            );
        }
        Self::at_home(settings, Arc::new(Home::of_no_stack(0)))
    }

    pub(crate) fn at_home(settings: MemorySettings, home: Arc<Home>) -> Self {
        let keeper = Arc::new(Keeper::new(settings, home));
        Self {
            stage: StageLayer::memory(&keeper),
            keeper,
        }
    }

    /// What all requests have used.
    ///
    /// # Errors
    /// When the meter is not this program's allocator.
    pub fn totals(&self) -> Result<MemoryTotals, super::MemoryUnavailable> {
        self.keeper.totals()
    }

    /// What the requests of each route have used, in the order of their names. Allocates the list.
    ///
    /// # Errors
    /// As [`totals`](Self::totals).
    pub fn routes(&self) -> Result<Vec<RouteMemory>, super::MemoryUnavailable> {
        self.keeper.by_route()
    }
}

impl<S> Layer<S> for MemoryLayer {
    type Service = StageService<S>;

    fn layer(&self, inner: S) -> StageService<S> {
        self.stage.layer(inner)
    }
}

impl fmt::Debug for MemoryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLayer")
            .field("keeper", &self.keeper)
            .finish_non_exhaustive()
    }
}
