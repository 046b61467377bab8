//! Settings of the stack, checked when it is built.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{body::Body, response::IntoResponse};
use http::{Request, Response};
use tenancy_core::{Clock, Host, SystemClock, TenantId, TenantStore};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    composite::{BoxedService, Piece, UserLayer, erase_layer},
    mistake::{ConfigError, ConfigMistake},
    order::{Order, Stage},
    phase::{Phase, Segment, SegmentShared},
    tenancy::{OrderInForce, Tenancy, TenancyParts},
};
#[cfg(feature = "memory")]
use crate::memory::MemorySettings;
use crate::{
    cache::{CacheSettings, LazyHub, Recipe, WarmingSettings},
    event::TenancyListener,
    gate::{BypassSettings, GatePolicy, GlobalMaintenance},
    home::Home,
    rejection::{Rejection, RejectionResponder},
    resolve::{
        CentralHosts, Chain, DevTenant, Lookup, ResolveSettings, Resolver, TrustedProxies,
        room_for_extensions,
    },
    resource::Resources,
    rollout::Rollout,
    store::ErasedStore,
    tenant::PublicUrl,
};

/// Collects the settings of a stack. Every setter consumes and returns the builder; [`build`](Self::build) checks.
pub struct TenancyBuilder {
    chain: Chain,
    store: Arc<dyn ErasedStore>,
    order: Order,
    user_layers: Vec<(Place, UserLayer)>,
    central_hosts: Vec<String>,
    proxies: Option<TrustedProxies>,
    resolve: ResolveSettings,
    gate: GatePolicy,
    bypass: BypassSettings,
    maintenance: Option<GlobalMaintenance>,
    body_limit: u64,
    deadline: Duration,
    responder: Option<Arc<RejectionResponder>>,
    listener: Option<Arc<dyn TenancyListener>>,
    clock: Option<Arc<dyn Clock>>,
    always_https: bool,
    track_routes: bool,
    observing: Vec<Stage>,
    dev_tenant: Option<DevTenantSetting>,
    auth_stands_outside: bool,
    public_url: Option<String>,
    max_resources: u64,
    cache: CacheSettings,
    recipes: Vec<Recipe>,
    warming: WarmingSettings,
    exempts_acme: bool,
    #[cfg(feature = "memory")]
    memory: MemorySettings,
}

struct DevTenantSetting {
    id: String,
    even_in_release: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before(Stage),
    After(Stage),
}

impl Place {
    fn stage(self) -> Stage {
        match self {
            Self::Before(stage) | Self::After(stage) => stage,
        }
    }
}

impl TenancyBuilder {
    pub(crate) fn new(identifiers: impl Into<Chain>, store: impl TenantStore) -> Self {
        Self {
            chain: identifiers.into(),
            store: Arc::new(store),
            order: Order::default(),
            user_layers: Vec::new(),
            central_hosts: Vec::new(),
            proxies: None,
            resolve: ResolveSettings::default(),
            gate: GatePolicy::default(),
            bypass: BypassSettings::default(),
            maintenance: None,
            body_limit: 2 * 1024 * 1024,
            deadline: Duration::from_secs(30),
            responder: None,
            listener: None,
            clock: None,
            always_https: false,
            track_routes: false,
            observing: Vec::new(),
            dev_tenant: None,
            auth_stands_outside: false,
            public_url: None,
            max_resources: 1_024,
            cache: CacheSettings::new(),
            recipes: Vec::new(),
            warming: WarmingSettings::new(),
            exempts_acme: false,
            #[cfg(feature = "memory")]
            memory: MemorySettings::new(),
        }
    }

    /// Which stages there are and in which order. Default: [`Stage::ALL`].
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Leaves a stage out.
    ///
    /// Without `Gate`, suspended, pending and deleted tenants are served. Without `Resolve`, nothing is.
    #[must_use]
    pub fn disable(mut self, stage: Stage) -> Self {
        self.order.remove(stage);
        self
    }

    /// Puts a layer of your own right inside of a stage. Several after one stage run in the order they were added.
    #[must_use]
    pub fn insert_after<L>(mut self, stage: Stage, layer: L) -> Self
    where
        L: Layer<BoxedService> + Send + Sync + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.user_layers.push((Place::After(stage), erase_layer(layer)));
        self
    }

    /// Puts a layer of your own right outside of a stage. Several before one stage run in the order they were added.
    #[must_use]
    pub fn insert_before<L>(mut self, stage: Stage, layer: L) -> Self
    where
        L: Layer<BoxedService> + Send + Sync + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.user_layers.push((Place::Before(stage), erase_layer(layer)));
        self
    }

    /// Hosts that belong to no tenant, such as `example.com` and `www.example.com`. A host that is not named here and
    /// leads to no tenant is 404. Default: none.
    #[must_use]
    pub fn central_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.central_hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// The proxies whose word on the original host counts. Default: none.
    #[must_use]
    pub fn trust_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Whether every client speaks TLS, to a proxy in front for instance: cookies are `Secure` then, whatever the
    /// request says. Default: only requests that say so.
    #[must_use]
    pub fn always_https(mut self, always: bool) -> Self {
        self.always_https = always;
        self
    }

    /// How look-ups behave.
    #[must_use]
    pub fn resolve_settings(mut self, settings: ResolveSettings) -> Self {
        self.resolve = settings;
        self
    }

    /// How tenants that are not served are answered.
    #[must_use]
    pub fn gate(mut self, policy: GatePolicy) -> Self {
        self.gate = policy;
        self
    }

    /// How the bypass of a tenant's maintenance works.
    #[must_use]
    pub fn bypass(mut self, settings: BypassSettings) -> Self {
        self.bypass = settings;
        self
    }

    /// The switch of the maintenance stage. Default: one of its own; see [`Tenancy::maintenance`].
    #[must_use]
    pub fn maintenance(mut self, switch: GlobalMaintenance) -> Self {
        self.maintenance = Some(switch);
        self
    }

    /// The largest body, in bytes. Default: 2 MiB.
    ///
    /// axum's extractors have a limit of their own of 2 MB: to let them read more, raise `DefaultBodyLimit` on the router too.
    #[must_use]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long an answer may take to begin. Default: 30 s.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = after;
        self
    }

    /// Replaces the answer to what is refused: by a stage, by an extractor such as `Tenant` on a central host, by
    /// [`credential`](crate::credential) and by [`handoff`](crate::handoff). Maintenance has pages of its own.
    /// `Cache-Control: no-store`, the reference and `Retry-After` are added to whatever it returns. It must not name a tenant
    /// or repeat what the client sent.
    #[must_use]
    pub fn on_rejection(
        mut self,
        respond: impl Fn(&Rejection) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        self.responder = Some(Arc::new(respond));
        self
    }

    /// Is told what happens; see [`event`](crate::event). Default: nobody.
    #[must_use]
    pub fn listener(mut self, listener: impl TenancyListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Where time comes from. Default: the machine.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Carries the matched route of every request to reports on values that outlive their request, by one
    /// `route_layer`. Without it, the route is known where a handler extracts `Tenant`, `Central` or `Resolution`.
    /// Default: off, for it costs some 1,000 instructions a request.
    #[must_use]
    pub fn track_routes(mut self, track: bool) -> Self {
        self.track_routes = track;
        self
    }

    /// Makes every stage count and log what it would refuse, and refuse nothing: the first step into an application that
    /// runs. See [`rollout`](crate::rollout). Default: every stage refuses.
    #[must_use]
    pub fn observe(self) -> Self {
        self.observe_stages(Stage::every())
    }

    /// As [`observe`](Self::observe), for some stages.
    #[must_use]
    pub fn observe_stages(mut self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.observing.extend(stages);
        self
    }

    /// For local development: requests of this machine that name no tenant are the tenant's with this id, so that
    /// <http://127.0.0.1:8000> shows something. Default: none; they are 404.
    ///
    /// All of this must hold, else the request is treated as if there were no dev tenant:
    ///
    /// * No identifier is present, not even an invalid one, and the host is not central.
    /// * The peer's address is known and a loopback address: serve with
    ///   `into_make_service_with_connect_info::<SocketAddr>()`.
    /// * The host is `localhost` or a loopback address. A page of elsewhere whose name was made to lead to this
    ///   machine has another.
    /// * No header says that the request was forwarded: what comes through a proxy or a tunnel on this machine is not
    ///   of this machine.
    ///
    /// Building logs a warning, and is refused where `tenancy` was compiled without debug assertions, as in release
    /// builds; see [`dev_tenant_even_in_release`](Self::dev_tenant_even_in_release).
    #[must_use]
    pub fn dev_tenant(mut self, id: impl Into<String>) -> Self {
        self.dev_tenant = Some(DevTenantSetting {
            id: id.into(),
            even_in_release: false,
        });
        self
    }

    /// As [`dev_tenant`](Self::dev_tenant), in release builds too: for those who develop with them. Never for what others can reach.
    #[must_use]
    pub fn dev_tenant_even_in_release(mut self, id: impl Into<String>) -> Self {
        self.dev_tenant = Some(DevTenantSetting {
            id: id.into(),
            even_in_release: true,
        });
        self
    }

    /// Says that your authentication wraps the whole stack, so that identifiers that read what it leaves in the
    /// request, such as [`Claim`](crate::resolve::Claim), are allowed without a layer of yours before the resolve stage.
    /// Not checked: where it is not so, no request has a claim.
    #[must_use]
    pub fn auth_stands_outside(mut self) -> Self {
        self.auth_stands_outside = true;
        self
    }

    /// Where tenants are on the web: scheme, base domain and port, such as `https://example.com` or
    /// `http://localhost:8000`. [`Tenant::url`](crate::Tenant::url) makes addresses of it. Default: none.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(url.into());
        self
    }

    /// Makes challenges of a certificate authority central, whatever their host: no identifier is asked, and neither
    /// maintenance nor a tenant's status stands in the way. Serve them on the central router. Default: off.
    ///
    /// Meant is `GET` or `HEAD` of `/.well-known/acme-challenge/` and one token of the letters that RFC 8555 allows
    /// (`A-Z`, `a-z`, `0-9`, `-`, `_`; up to 256). Every other path, however it is written, goes the usual way. The host must
    /// be a valid one; which one, your route has to look at if it matters to it.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, extract::Path, routing::get};
    /// use tenancy::{MemoryStore, Tenancy, resolve::DomainOrSubdomain};
    ///
    /// let tenancy = Tenancy::builder(DomainOrSubdomain::of("example.com")?, MemoryStore::new())
    ///     .acme_challenge(true)
    ///     .build()?;
    /// let answer = |Path(token): Path<String>| async move { format!("{token}.thumbprint") };
    /// let app = tenancy
    ///     .routes()
    ///     .central(Router::new().route("/.well-known/acme-challenge/{token}", get(answer)))
    ///     .build();
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn acme_challenge(mut self, exempt: bool) -> Self {
        self.exempts_acme = exempt;
        self
    }

    /// Counts the memory of requests with these settings; see [`memory`](crate::memory). Adds the stage outside of all others, unless the
    /// order has it. Say the order first. Default: the stage is not there.
    #[cfg(feature = "memory")]
    #[must_use]
    pub fn memory(mut self, settings: MemorySettings) -> Self {
        self.order.add_outermost(Stage::Memory);
        self.memory = settings;
        self
    }

    /// How many objects of all tenants together are kept; see [`resource`](crate::resource). Default: 1,024.
    #[must_use]
    pub fn max_resources(mut self, limit: u64) -> Self {
        self.max_resources = limit;
        self
    }

    /// How the tenants' [`cache`](crate::cache) works. Default: [`CacheSettings::new`], in this process alone. Nothing of it is
    /// allocated before the cache is used.
    #[must_use]
    pub fn cache(mut self, settings: CacheSettings) -> Self {
        self.cache = settings;
        self
    }

    /// Changes how the cache works, from what was said before.
    #[must_use]
    pub fn map_cache(mut self, change: impl FnOnce(CacheSettings) -> CacheSettings) -> Self {
        self.cache = change(self.cache);
        self
    }

    /// Adds a recipe: what a tenant will ask for, loaded when it begins to be used, after a flush of all it has, and by
    /// [`Tenancy::warm_all`]. They run in the order they were added. Default: none.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tenancy::{
    ///     MemoryStore, Tenancy, Tenant,
    ///     cache::{EntryOptions, Keys, LoadError, Recipe, TenantCache},
    ///     resolve::Subdomain,
    /// };
    ///
    /// const COUNT: Keys<(), u64> = Keys::new("count", 1);
    ///
    /// async fn count(cache: &TenantCache) -> Result<u64, LoadError> {
    ///     let load = async || Ok::<_, std::convert::Infallible>(17);
    ///     Ok(*cache.remember(&COUNT.key(()), &EntryOptions::new(), load).await?)
    /// }
    ///
    /// let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
    ///     .warm(Recipe::new("count", async |_: Tenant, cache: TenantCache| count(&cache).await.map(drop)))
    ///     .build()?;
    /// let acme = tenancy.enter(&"acme".parse()?).await?;
    /// assert!(tenancy.warm(&acme).await.is_warm());
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn warm(mut self, recipe: Recipe) -> Self {
        self.recipes.push(recipe);
        self
    }

    /// What warming may take. Default: [`WarmingSettings::new`].
    #[must_use]
    pub fn warming(mut self, settings: WarmingSettings) -> Self {
        self.warming = settings;
        self
    }

    /// Builds the stack. Starts to follow the store if a tokio runtime is there; else the first request does.
    ///
    /// # Errors
    /// When settings are impossible. All mistakes are named at once.
    pub fn build(self) -> Result<Tenancy, ConfigError> {
        let mut mistakes = Vec::new();
        if let Err(error) = self.order.check() {
            mistakes.extend(error.mistakes().iter().cloned().map(ConfigMistake::Order));
        }
        for (place, _) in &self.user_layers {
            if !self.order.contains(place.stage()) {
                mistakes.push(ConfigMistake::LayerWithoutStage { stage: place.stage() });
            }
        }
        let of_cache = self.cache.mistakes().into_iter();
        let of_warming = Recipe::mistakes(&self.recipes)
            .into_iter()
            .chain(self.warming.mistakes());
        mistakes.extend(of_cache.chain(of_warming).map(ConfigMistake::Cache));
        let mut central_hosts = Vec::new();
        for host in &self.central_hosts {
            match canonical_host(host) {
                Ok(host) => central_hosts.push(host),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if self.order.contains(Stage::Deadline) && self.deadline.is_zero() {
            mistakes.push(ConfigMistake::ZeroDeadline);
        }
        if self.chain.identifiers().next().is_none() {
            mistakes.push(ConfigMistake::NoIdentifier);
        }
        let dev_tenant = match self.checked_dev_tenant(cfg!(debug_assertions)) {
            Ok(dev_tenant) => dev_tenant,
            Err(mistake) => {
                mistakes.push(mistake);
                None
            }
        };
        if !self.may_read_claims() {
            mistakes.extend(
                self.chain
                    .readers_of_extensions()
                    .map(|name| ConfigMistake::ClaimBeforeAuth {
                        identifier: name.to_owned(),
                    }),
            );
        }
        if self.max_resources == 0 {
            mistakes.push(ConfigMistake::NoResources);
        }
        #[cfg(feature = "memory")]
        if self.memory.tenant_budget.is_some() {
            if !crate::memory::are_owners_kept() {
                mistakes.push(ConfigMistake::MemoryBudgetWithoutOwners);
            }
            if !self.order.contains(Stage::Memory) {
                mistakes.push(ConfigMistake::MemoryBudgetWithoutStage);
            }
        }
        let public_url = match self.public_url.as_deref().map(parse_public_url).transpose() {
            Ok(public_url) => public_url,
            Err(mistake) => {
                mistakes.push(mistake);
                None
            }
        };
        if mistakes.is_empty() {
            Ok(self.assemble(central_hosts, dev_tenant, public_url))
        } else {
            Err(ConfigError::new(mistakes))
        }
    }

    /// Builds a stack of which nothing was set that could be wrong.
    pub(crate) fn build_default(mut self) -> Tenancy {
        self.chain.refuse_claims();
        self.assemble(Vec::new(), None, None)
    }

    /// Whether a layer can have left something in the request by the time the resolve stage looks.
    fn may_read_claims(&self) -> bool {
        let place_of = |stage| self.order.stages().position(|present| present == stage);
        let Some(resolve) = place_of(Stage::Resolve) else {
            return true;
        };
        let stands_before = |place: &Place| match *place {
            Place::Before(stage) => place_of(stage).is_some_and(|at| at <= resolve),
            Place::After(stage) => place_of(stage).is_some_and(|at| at < resolve),
        };
        self.auth_stands_outside || self.user_layers.iter().any(|(place, _)| stands_before(place))
    }

    fn checked_dev_tenant(&self, is_debug_build: bool) -> Result<Option<TenantId>, ConfigMistake> {
        let Some(DevTenantSetting { id, even_in_release }) = &self.dev_tenant else {
            return Ok(None);
        };
        if !is_debug_build && !even_in_release {
            return Err(ConfigMistake::DevTenantInRelease);
        }
        let checked = TenantId::new(id).map(Some);
        checked.map_err(|invalid| ConfigMistake::DevTenant {
            id: invalid.name().to_owned(),
            reason: invalid.reason(),
        })
    }

    fn assemble(
        self,
        central_hosts: Vec<Box<str>>,
        dev_tenant: Option<TenantId>,
        public_url: Option<PublicUrl>,
    ) -> Tenancy {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let mut identifiers: Vec<Arc<str>> = self
            .chain
            .identifiers()
            .map(|(_, name, _)| Arc::clone(name))
            .collect();
        let dev_tenant = dev_tenant.map(|id| {
            tracing::warn!(
                tenant = %id,
                "requests of this machine that name no tenant are served as this one's: for development only"
            );
            // A chain has 16 at most.
            let position = u8::try_from(identifiers.len()).unwrap_or(u8::MAX);
            identifiers.push(DevTenant::NAME.into());
            DevTenant::new(id, position)
        });
        let home = Arc::new(Home {
            responder: self.responder,
            public_url,
            resources: Resources::at_most(self.max_resources),
            lookup: OnceLock::new(),
            #[cfg(feature = "memory")]
            owner_search: crate::memory::OwnerSearch::default(),
            rollout: Rollout::new(self.observing, Arc::clone(&clock), self.listener.clone()),
            cache: LazyHub::new(self.cache, Arc::clone(&clock)).warmed_by(self.recipes, self.warming),
            clock,
            listener: self.listener,
            bypass: self.bypass,
            identifiers: identifiers.into(),
        });
        let lookup = Arc::new(Lookup::new(Arc::clone(&home), self.store, self.resolve));
        // The home is new: nobody has set it.
        let _ = home.lookup.set(Arc::downgrade(&lookup));
        let resolver = Arc::new(Resolver {
            lookup: Arc::clone(&lookup),
            vary: self.chain.vary().map(Arc::new),
            chain: self.chain,
            central_hosts: CentralHosts::new(central_hosts),
            proxies: self.proxies,
            dev_tenant,
            exempts_acme: self.exempts_acme,
            room: room_for_extensions(),
        });
        let shared = Arc::new(SegmentShared {
            home: Arc::clone(&home),
            proxies: resolver.proxies.clone(),
            always_https: self.always_https,
        });
        let parts = TenancyParts {
            resolver,
            gate: self.gate,
            maintenance: self.maintenance.unwrap_or_default(),
            body_limit: self.body_limit,
            deadline: self.deadline,
            shared,
            #[cfg(feature = "memory")]
            memory: Arc::new(crate::memory::Keeper::new(self.memory, home)),
        };
        let (pieces, order) = arrange(&self.order, &self.user_layers, &parts);
        lookup.follow();
        Tenancy::from_parts(parts, pieces, order, self.track_routes)
    }
}

impl fmt::Debug for TenancyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenancyBuilder")
            .field("identifiers", &self.chain)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

fn parse_public_url(url: &str) -> Result<PublicUrl, ConfigMistake> {
    PublicUrl::parse(url).map_err(|reason| ConfigMistake::PublicUrl {
        url: url.chars().take(64).collect(),
        reason,
    })
}

/// Checks a URL as [`TenancyBuilder::public_url`] does, for those who read it from settings and can say where it stands.
///
/// ```
/// use tenancy::stack::check_public_url;
///
/// assert!(check_public_url("https://example.com").is_ok());
/// assert!(check_public_url("example.com/app").is_err());
/// ```
///
/// # Errors
/// When it is more or less than scheme, base domain and port.
pub fn check_public_url(url: &str) -> Result<(), ConfigMistake> {
    parse_public_url(url).map(drop)
}

fn canonical_host(host: &str) -> Result<Box<str>, ConfigMistake> {
    let mistake = |reason: &'static str| ConfigMistake::CentralHost {
        host: host.chars().take(64).collect(),
        reason,
    };
    let parsed = Host::parse(host.as_bytes()).map_err(|invalid| mistake(invalid.reason()))?;
    if parsed.port().is_some() {
        return Err(mistake(
            "ports play no part in who a request is for; leave it out",
        ));
    }
    Ok(parsed.name().into())
}

/// Groups the stages between the user's layers, outside in.
fn arrange(order: &Order, layers: &[(Place, UserLayer)], parts: &TenancyParts) -> (Vec<Piece>, OrderInForce) {
    let mut pieces = Vec::new();
    let mut names = Vec::new();
    let mut phases = Vec::new();
    // Whether a scope is open by now, and in it the cache scope.
    let mut reopen = None;
    let mut put_layers =
        |place: Place, phases: &mut Vec<Phase>, names: &mut Vec<Option<Stage>>, reopen: Option<bool>| {
            for (_, layer) in layers.iter().filter(|(at, _)| *at == place) {
                flush(phases, parts, &mut pieces);
                pieces.push(Piece::User(Arc::clone(layer)));
                names.push(None);
                phases.extend(reopen.map(|cache_scope| Phase::Reopen { cache_scope }));
            }
        };
    for stage in order.stages() {
        put_layers(Place::Before(stage), &mut phases, &mut names, reopen);
        phases.push(parts.phase(stage));
        names.push(Some(stage));
        #[cfg(feature = "memory")]
        if stage == Stage::Resolve {
            phases.extend(Phase::memory_budget(&parts.memory));
        }
        match stage {
            Stage::Resolve => reopen = Some(false),
            Stage::CacheScope => reopen = Some(true),
            _ => {}
        }
        put_layers(Place::After(stage), &mut phases, &mut names, reopen);
    }
    flush(&mut phases, parts, &mut pieces);
    if pieces.is_empty() {
        pieces.push(Piece::Stages(parts.empty_segment()));
    }
    (pieces, OrderInForce::new(names))
}

fn flush(phases: &mut Vec<Phase>, parts: &TenancyParts, pieces: &mut Vec<Piece>) {
    if !phases.is_empty() {
        pieces.push(Piece::Stages(Arc::new(Segment {
            phases: std::mem::take(phases).into(),
            shared: Arc::clone(&parts.shared),
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, resolve::Subdomain};

    fn builder() -> TenancyBuilder {
        Tenancy::builder(Subdomain::of("app.test").unwrap(), MemoryStore::new())
    }

    #[test]
    fn a_release_build_has_a_dev_tenant_only_if_it_is_named_as_such() {
        let id = |checked: Result<Option<TenantId>, ConfigMistake>| checked.map(|id| id.unwrap().to_string());
        for (builder, in_debug, in_release) in [
            (
                builder().dev_tenant("acme"),
                Ok("acme"),
                Err(ConfigMistake::DevTenantInRelease),
            ),
            (
                builder().dev_tenant_even_in_release("acme"),
                Ok("acme"),
                Ok("acme"),
            ),
        ] {
            assert_eq!(id(builder.checked_dev_tenant(true)), in_debug.map(str::to_owned));
            assert_eq!(
                id(builder.checked_dev_tenant(false)),
                in_release.map(str::to_owned)
            );
        }
        assert_eq!(builder().checked_dev_tenant(false), Ok(None));
        assert_eq!(
            builder().dev_tenant("acme").build().is_ok(),
            cfg!(debug_assertions),
            "building asks for the build that it is in"
        );
        assert!(builder().dev_tenant_even_in_release("acme").build().is_ok());
    }
}
