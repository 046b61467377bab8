//! The handle on a built stack.

use std::{convert::Infallible, fmt, sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
};
use http::{Request, Response};
use tenancy_core::{TenantId, TenantStatus, TenantStore};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    builder::TenancyBuilder,
    composite::{Piece, TenancyService},
    layer::StageLayer,
    mistake::{ConfigError, ConfigMistake},
    order::Stage,
    phase::{Phase, Segment, SegmentShared},
};
use crate::{
    Tenant, TenantRef,
    cache::{CentralCache, Hub, Recipe, TenantCache, TenantWarmed, Warming, Whom, Why},
    gate::{GatePolicy, GlobalMaintenance},
    resolve::{Chain, Explanation, FirstLook, Resolver, Trust},
    rollout::Rollout,
    routes::{Routes, TenancyApp},
};

/// The stack, and the handle by which an application steers it. Clones share everything.
///
/// As a tower [`Layer`] it wraps any infallible service of requests; [`wrap`](Self::wrap) and
/// [`routes`](Self::routes) put it around whole routers, which is what you want. See the [module](super).
#[derive(Clone)]
pub struct Tenancy {
    inner: Arc<Inner>,
}

struct Inner {
    parts: TenancyParts,
    pieces: Vec<Piece>,
    empty: Arc<Segment>,
    order: OrderInForce,
    track_routes: bool,
}

pub(crate) struct TenancyParts {
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) gate: GatePolicy,
    pub(crate) maintenance: GlobalMaintenance,
    pub(crate) body_limit: u64,
    pub(crate) deadline: Duration,
    pub(crate) shared: Arc<SegmentShared>,
    #[cfg(feature = "memory")]
    pub(crate) memory: Arc<crate::memory::Keeper>,
}

impl TenancyParts {
    pub(crate) fn phase(&self, stage: Stage) -> Phase {
        match stage {
            Stage::PanicCatch => Phase::PanicCatch,
            Stage::Maintenance if self.resolver.exempts_acme => {
                Phase::MaintenanceExceptAcme(self.maintenance.clone())
            }
            Stage::Maintenance => Phase::Maintenance(self.maintenance.clone()),
            Stage::Resolve if self.resolver.exempts_acme => {
                Phase::ResolveExceptAcme(Arc::clone(&self.resolver))
            }
            Stage::Resolve => Phase::Resolve(Arc::clone(&self.resolver)),
            Stage::Gate => Phase::Gate(self.gate),
            Stage::BodyLimit => Phase::BodyLimit(self.body_limit),
            Stage::Deadline => Phase::Deadline(self.deadline),
            Stage::CacheScope => Phase::CacheScope,
            #[cfg(feature = "memory")]
            Stage::Memory => Phase::Memory(Arc::clone(&self.memory)),
        }
    }

    pub(crate) fn empty_segment(&self) -> Arc<Segment> {
        Arc::new(Segment {
            phases: Box::new([]),
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Tenancy {
    /// The stack with its defaults. Starts to follow the store if a tokio runtime is there; else the first request does.
    ///
    /// An empty [`Chain`] makes every request one without a tenant, and a [`Claim`](crate::resolve::Claim) makes every request
    /// refused; [`builder`](Self::builder) refuses to build either.
    pub fn new(identifiers: impl Into<Chain>, store: impl TenantStore) -> Self {
        Self::builder(identifiers, store).build_default()
    }

    /// A stack with settings of your own.
    pub fn builder(identifiers: impl Into<Chain>, store: impl TenantStore) -> TenancyBuilder {
        TenancyBuilder::new(identifiers, store)
    }

    pub(crate) fn from_parts(
        parts: TenancyParts,
        pieces: Vec<Piece>,
        order: OrderInForce,
        track_routes: bool,
    ) -> Self {
        let empty = parts.empty_segment();
        Self {
            inner: Arc::new(Inner {
                parts,
                pieces,
                empty,
                order,
                track_routes,
            }),
        }
    }

    /// Puts the stack around a router whose every route belongs to tenants. Requests for central hosts get 404.
    ///
    /// The router must have its state already (`with_state`). The result is a service that `axum::serve` takes.
    pub fn wrap(&self, router: Router) -> TenancyApp {
        self.routes().all_tenant(router)
    }

    /// Puts the stack around separate routers for tenants, for central hosts and for both.
    pub fn routes(&self) -> Routes {
        Routes::new(self.clone())
    }

    /// One stage as a plain tower layer, with this stack's settings. See [`StageLayer`].
    pub fn stage(&self, stage: Stage) -> StageLayer {
        let parts = &self.inner.parts;
        #[cfg_attr(not(feature = "memory"), expect(unused_mut, reason = "nothing follows it"))]
        let mut phases = vec![parts.phase(stage)];
        // Either may stand further in.
        #[cfg(feature = "memory")]
        if matches!(stage, Stage::Resolve | Stage::Memory) {
            phases.extend(Phase::memory_budget(&parts.memory));
        }
        StageLayer::new(phases, Arc::clone(&parts.shared))
    }

    /// The stages in the order in which a request passes them.
    pub fn order(&self) -> &OrderInForce {
        &self.inner.order
    }

    /// The switch of the maintenance stage.
    pub fn maintenance(&self) -> &GlobalMaintenance {
        &self.inner.parts.maintenance
    }

    /// The tenant's part of the cache, outside of requests: in jobs and scripts.
    pub fn cache_of(&self, tenant: &Tenant) -> TenantCache {
        TenantCache::of(tenant)
    }

    /// Tenants whose part of the cache was used in this process within some minutes, in no order.
    pub fn cached_tenants(&self) -> Vec<Tenant> {
        self.inner.parts.shared.home.cache.get().tenants_in_use()
    }

    /// The part of the cache that is no tenant's, outside of requests.
    pub fn central_cache(&self) -> CentralCache {
        CentralCache::of(&self.inner.parts.shared.home)
    }

    /// Runs every [recipe](crate::cache::Recipe) for one tenant, and waits for their end. Who asks while another one warms the tenant
    /// gets what comes of that. A tenant that is not active is left alone.
    ///
    /// Dropping the future ends it; what recipes have begun to load goes on.
    pub async fn warm(&self, tenant: &Tenant) -> TenantWarmed {
        self.cache_hub().warm(tenant, Why::Asked).await
    }

    /// Begins to warm every active tenant of the complete list, those first that were used most: after a deploy, for instance.
    /// Waits until the list is read.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn warm_all(&self) -> Warming {
        Warming::begin(self.clone(), Whom::All)
    }

    /// As [`warm_all`](Self::warm_all), for so many of those that were used most. By the shared level, which keeps that of 1,000, by
    /// what this process has seen, and then by the order of their ids.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn warm_hottest(&self, most: usize) -> Warming {
        Warming::begin(self.clone(), Whom::Hottest(most))
    }

    /// As [`warm_all`](Self::warm_all), for these tenants.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn warm_these(&self, tenants: impl IntoIterator<Item = Tenant>) -> Warming {
        Warming::begin(self.clone(), Whom::These(tenants.into_iter().collect()))
    }

    /// Adds a recipe, as [`TenancyBuilder::warm`], for one that needs something that is made of the stack, such as the databases of
    /// tenants. Before anybody uses the cache.
    ///
    /// A recipe that keeps a handle on the stack keeps the stack until the process ends.
    ///
    /// # Errors
    /// When its name is not allowed or taken, or the cache was used before.
    pub fn add_recipe(&self, recipe: Recipe) -> Result<(), ConfigError> {
        let mistakes = self.inner.parts.shared.home.cache.add_recipe(recipe);
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ConfigError::new(
            mistakes.into_iter().map(ConfigMistake::Cache).collect(),
        ))
    }

    /// The recipes by which tenants are warmed, in the order in which they run.
    pub fn recipes(&self) -> &[Recipe] {
        &self.inner.parts.shared.home.cache.get().warmer.recipes
    }

    /// Whether processes have a second level of the cache in common.
    pub fn shares_cache(&self) -> bool {
        self.inner.parts.shared.home.cache.get().link.is_some()
    }

    /// Whether the shared level of the cache is left alone, because it did not answer.
    pub(crate) fn shared_cache_is_away(&self) -> bool {
        self.inner.parts.shared.home.cache.get().is_cut_off()
    }

    pub(crate) fn cache_hub(&self) -> Arc<Hub> {
        Arc::clone(self.inner.parts.shared.home.cache.get())
    }

    pub(crate) async fn all_tenants(&self) -> Vec<Tenant> {
        self.ready().await;
        self.tenants()
    }

    /// What all requests have used that the memory stage has seen.
    ///
    /// # Errors
    /// When the meter is not this program's allocator.
    #[cfg(feature = "memory")]
    pub fn memory(&self) -> Result<crate::memory::MemoryTotals, crate::memory::MemoryUnavailable> {
        self.inner.parts.memory.totals()
    }

    /// The same for each route, in the order of their names. Allocates the list.
    ///
    /// # Errors
    /// As [`memory`](Self::memory).
    #[cfg(feature = "memory")]
    pub fn memory_by_route(
        &self,
    ) -> Result<Vec<crate::memory::RouteMemory>, crate::memory::MemoryUnavailable> {
        self.inner.parts.memory.by_route()
    }

    /// Which stages only observe, what they have seen, and the switches.
    pub fn rollout(&self) -> &Rollout {
        &self.inner.parts.shared.home.rollout
    }

    /// Waits until the list of tenants is complete. Returns at once for stores that can not be watched.
    ///
    /// Serving may begin before: until then, requests wait a moment for the list, and then look their key up in the store.
    pub async fn ready(&self) {
        self.inner.parts.resolver.lookup.ready().await;
    }

    /// A tenant by its id, for code outside of requests: a worker, a script, a test. Asks the store unless the tenant is known.
    ///
    /// Run code for it with [`scope::run`](crate::scope::run).
    ///
    /// # Errors
    /// When there is no such tenant, it is not active (maintenance does not count), or the store could not tell.
    pub async fn enter(&self, id: &TenantId) -> Result<Tenant, EnterError> {
        let tenant = self.look_up(id).await?;
        only_served(tenant)
    }

    /// The tenant that a reference stands for: [`enter`](Self::enter) for the payload of a job, a session or a token.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), and when the tenant of that id is not the one that the reference was made of, but
    /// one that was created later under the same name
    /// ([`is_another_incarnation`](EnterError::is_another_incarnation)).
    pub async fn enter_ref(&self, reference: &TenantRef) -> Result<Tenant, EnterError> {
        let tenant = self.look_up(reference.id()).await?;
        if tenant.incarnation() == reference.incarnation() {
            only_served(tenant)
        } else {
            Err(EnterError::new(
                reference.id(),
                EnterErrorKind::AnotherIncarnation,
            ))
        }
    }

    /// Every tenant of the complete list as it is known now, whatever its status, in the order of their ids.
    ///
    /// Empty for stores that do not list their tenants, and until the list was read once: await
    /// [`ready`](Self::ready) before. Copies a pointer for each tenant and sorts them; does not wait.
    pub fn tenants(&self) -> Vec<Tenant> {
        let mut tenants = self.inner.parts.resolver.lookup.directory.tenants();
        tenants.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        tenants
    }

    async fn look_up(&self, id: &TenantId) -> Result<Tenant, EnterError> {
        let found = self.inner.parts.resolver.lookup.by_id(id).await;
        found
            .map_err(|error| EnterError::new(id, EnterErrorKind::Unavailable(error.to_string())))?
            .ok_or_else(|| EnterError::new(id, EnterErrorKind::Unknown))
    }

    /// Forgets what is known of a tenant, for stores that do not say what changed: the next request asks the store.
    /// A store that is watched needs no such hint.
    /// Look-ups that are under way are not remembered.
    pub fn forget(&self, id: &TenantId) {
        self.inner.parts.resolver.lookup.forget(id);
    }

    /// Why a request would get the tenant it gets, step by step. Nothing is served; the store may be asked.
    ///
    /// Looks at the request at once: the future keeps nothing of it.
    pub fn explain<B>(&self, request: &Request<B>) -> impl Future<Output = Explanation> + Send + use<B> {
        let gate = self.inner.order.contains(Stage::Gate);
        let gate = gate.then_some(self.inner.parts.gate);
        FirstLook::at(&self.inner.parts.resolver, gate, request).explain()
    }

    /// How the stack is doing.
    pub fn status(&self) -> TenancyStatus {
        let lookup = &self.inner.parts.resolver.lookup;
        TenancyStatus {
            catalogue: match lookup.trust() {
                _ if lookup.signal.is_none() => CatalogueState::AskedOnDemand,
                Trust::Fresh => CatalogueState::Followed,
                Trust::Stale => CatalogueState::Stale,
                Trust::None => CatalogueState::Loading,
            },
            tenants: lookup.directory.len(),
            change_number: lookup.change_number.load(Ordering::Acquire),
            unverified_for: lookup.unverified_for(),
        }
    }

    pub(crate) fn resolver(&self) -> &Arc<Resolver> {
        &self.inner.parts.resolver
    }

    pub(crate) fn shared(&self) -> &Arc<SegmentShared> {
        &self.inner.parts.shared
    }

    pub(crate) fn tracks_routes(&self) -> bool {
        self.inner.track_routes
    }
}

impl<S, B> Layer<S> for Tenancy
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Service = TenancyService<S>;

    fn layer(&self, inner: S) -> TenancyService<S> {
        TenancyService::build(&self.inner.pieces, &self.inner.empty, inner)
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenancy")
            .field("order", &self.inner.order.to_string())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// The stages of a built stack, outside in, with the places of the application's own layers.
///
/// `Display` prints it in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderInForce {
    stages: Vec<Option<Stage>>,
}

impl OrderInForce {
    pub(crate) fn new(stages: Vec<Option<Stage>>) -> Self {
        Self { stages }
    }

    /// The stages, outside in; `None` for a layer of the application's own.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = Option<Stage>> + '_ {
        self.stages.iter().copied()
    }

    /// Whether the stage runs.
    pub fn contains(&self, stage: Stage) -> bool {
        self.stages.contains(&Some(stage))
    }
}

impl fmt::Display for OrderInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            write!(f, "{} · ", stage.map_or("(layer)", Stage::as_str))?;
        }
        f.write_str("your router")
    }
}

/// How a stack is doing, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TenancyStatus {
    /// How well the list of tenants is known.
    pub catalogue: CatalogueState,
    /// How many tenants are held in memory as part of the complete list.
    pub tenants: usize,
    /// The last change that they have.
    pub change_number: u64,
    /// For how long the list could not be compared with the store.
    pub unverified_for: Duration,
}

/// How well the list of tenants is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CatalogueState {
    /// The store can not be watched: each key is asked for, and kept for a while.
    AskedOnDemand,
    /// The list is not read yet.
    Loading,
    /// The list is complete and follows the store.
    Followed,
    /// The list was complete; the store does not answer now.
    Stale,
}

/// A tenant could not be entered.
#[derive(Clone, Debug)]
pub struct EnterError {
    id: TenantId,
    kind: EnterErrorKind,
}

#[derive(Clone, Debug)]
enum EnterErrorKind {
    Unknown,
    NotServed(TenantStatus),
    AnotherIncarnation,
    Unavailable(String),
}

fn only_served(tenant: Tenant) -> Result<Tenant, EnterError> {
    if tenant.is_served() {
        return Ok(tenant);
    }
    let kind = EnterErrorKind::NotServed(tenant.status());
    Err(EnterError::new(tenant.id(), kind))
}

impl EnterError {
    fn new(id: &TenantId, kind: EnterErrorKind) -> Self {
        Self { id: id.clone(), kind }
    }

    /// Whether there is no such tenant.
    pub fn is_unknown(&self) -> bool {
        matches!(self.kind, EnterErrorKind::Unknown)
    }

    /// Whether the tenant is there and not active.
    pub fn is_not_served(&self) -> bool {
        matches!(self.kind, EnterErrorKind::NotServed(_))
    }

    /// Whether the reference was made of an earlier tenant of this name, which is no more.
    pub fn is_another_incarnation(&self) -> bool {
        matches!(self.kind, EnterErrorKind::AnotherIncarnation)
    }

    /// Whether the store could not tell. Trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, EnterErrorKind::Unavailable(_))
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EnterErrorKind::Unknown => write!(f, "there is no tenant {}", self.id),
            EnterErrorKind::NotServed(status) => write!(f, "tenant {} is {status}", self.id),
            EnterErrorKind::AnotherIncarnation => {
                write!(
                    f,
                    "what is meant is an earlier tenant {}, which is no more",
                    self.id
                )
            }
            EnterErrorKind::Unavailable(detail) => {
                write!(f, "tenant {} could not be looked up: {detail}", self.id)
            }
        }
    }
}

impl std::error::Error for EnterError {}
