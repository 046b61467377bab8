use std::{collections::HashMap, fmt, sync::Arc};

use sqlx::Connection;
use tenancy::Tenant;
use tenancy_core::{Clock, SystemClock, TenantId, TenantRecord, TenantStatus};
use tokio::runtime::Handle;

use super::{
    BudgetShares, DatabaseError, Lease, PoolFigures, PoolSettings, Target, TenantFigures,
    core::{Ask, Version},
    server::ServerPool,
};
use crate::engine::{Options, TenantEngine};

type Place = dyn Fn(&TenantRecord) -> Target + Send + Sync;

/// The connections of all tenants, on all servers. See the [module](crate::pool). Cloning copies a pointer.
pub struct TenantPools<DB: TenantEngine>(Arc<Pools<DB>>);

struct Pools<DB: TenantEngine> {
    servers: Servers<DB>,
    place: Box<Place>,
}

/// The pools by the names of their servers, whoever says where on them a tenant lives.
pub(crate) struct Servers<DB: TenantEngine> {
    by_name: HashMap<Box<str>, Arc<ServerPool<DB>>>,
    default_server: Box<str>,
}

impl<DB: TenantEngine> Servers<DB> {
    /// Opens nothing yet. The first one is where tenants live whose placement names none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(
        servers: impl IntoIterator<Item = (Box<str>, Options<DB>, PoolSettings)>,
        clock: &Arc<dyn Clock>,
        shares: Option<&BudgetShares>,
    ) -> Self {
        let runtime = Handle::current();
        let mut default_server = None;
        let by_name = servers
            .into_iter()
            .map(|(name, options, settings)| {
                default_server.get_or_insert_with(|| name.clone());
                let clock = Arc::clone(clock);
                let pool = ServerPool::new(&name, options, settings, clock, runtime.clone(), shares);
                (name, pool)
            })
            .collect();
        Self {
            by_name,
            default_server: default_server.unwrap_or_default(),
        }
    }

    /// A connection to a target on the server that the record names.
    pub(crate) async fn acquire(
        &self,
        tenant: &Tenant,
        record: &TenantRecord,
        target: &Target,
    ) -> Result<Lease<DB>, DatabaseError> {
        if tenant.status() == TenantStatus::Deleted {
            return Err(DatabaseError::deleted());
        }
        let ask = Ask {
            tenant: tenant.id(),
            version: version_of(record),
            target,
        };
        let server = self.by_name.get(self.name_of(record));
        server
            .ok_or_else(DatabaseError::unknown_server)?
            .acquire(ask)
            .await
    }

    /// The name of the server that the record leads to, whether or not it exists.
    pub(crate) fn name_of<'a>(&'a self, record: &'a TenantRecord) -> &'a str {
        let named = record.placement.as_ref().map(|placement| &*placement.server);
        named
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.default_server)
    }

    pub(crate) fn has(&self, server: &str) -> bool {
        self.by_name.contains_key(server)
    }

    pub(crate) fn forget(&self, tenant: &Tenant) {
        self.forget_record(&tenant.record());
    }

    pub(crate) fn forget_record(&self, record: &TenantRecord) {
        let version = version_of(record);
        for server in self.by_name.values() {
            server.retire(&record.id, version);
        }
    }

    pub(crate) fn set_budget(&self, server: &str, budget: usize) -> bool {
        let server = self.by_name.get(server);
        if let Some(server) = server {
            server.set_budget(budget);
        }
        server.is_some()
    }

    pub(crate) fn figures(&self, server: &str) -> Option<PoolFigures> {
        self.by_name.get(server).map(|server| server.figures())
    }

    pub(crate) fn figures_of(&self, server: &str, tenant: &TenantId) -> Option<TenantFigures> {
        self.by_name.get(server)?.figures_of(tenant)
    }

    pub(crate) async fn close(&self) {
        for server in self.by_name.values() {
            server.close().await;
        }
    }
}

impl<DB: TenantEngine> fmt::Debug for Servers<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.values()).finish()
    }
}

impl<DB: TenantEngine> TenantPools<DB> {
    /// Begins to set up pools. `place` says in which database, file or part of one a tenant lives; it is asked with the
    /// tenant's newest record each time that a connection is wanted, and must not block.
    pub fn builder(
        place: impl Fn(&TenantRecord) -> Target + Send + Sync + 'static,
    ) -> TenantPoolsBuilder<DB> {
        TenantPoolsBuilder {
            servers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            shares: None,
            place: Box::new(place),
        }
    }

    /// A connection to the tenant's database.
    ///
    /// One that is idle is had without waiting. Awaits otherwise, for as long as the timeouts of the server's
    /// [`PoolSettings`] allow. The future may be dropped at any time: what was on its way goes to somebody else.
    ///
    /// # Errors
    /// When there is none in time, when none can be opened, and when the tenant is deleted.
    ///
    /// A name is no proof of scope:
    ///
    /// ```compile_fail,E0308
    /// # use tenancy_core::TenantId;
    /// # use tenancy_sqlx::{TenantEngine, pool::TenantPools};
    /// async fn any<DB: TenantEngine>(pools: &TenantPools<DB>, id: &TenantId) {
    ///     pools.acquire(id).await;
    /// }
    /// ```
    pub async fn acquire(&self, tenant: &Tenant) -> Result<Lease<DB>, DatabaseError> {
        match self.acquire_once(tenant).await {
            // Its record was replaced while this waited. The newest one leads to where it is now.
            Err(error) if error.is_moved() => self.acquire_once(tenant).await,
            answer => answer,
        }
    }

    async fn acquire_once(&self, tenant: &Tenant) -> Result<Lease<DB>, DatabaseError> {
        let record = tenant.record();
        let target = (self.0.place)(&record);
        self.0.servers.acquire(tenant, &record, &target).await
    }

    /// Ends all use of where the tenant was: what is idle is closed, what is in use is closed when it is given back, and
    /// who waits is refused. Needless for requests, which come with the newest record; for before a database is moved or
    /// dropped.
    pub fn forget(&self, tenant: &Tenant) {
        self.0.servers.forget(tenant);
    }

    /// Gives the pool of a server another budget; where processes share it, that is the budget of all. A smaller one closes idle connections at once, and others when they
    /// are given back. Returns whether there is such a server.
    pub fn set_budget(&self, server: &str, budget: usize) -> bool {
        self.0.servers.set_budget(server, budget)
    }

    /// What the pool of a server has and did; `None` if there is no such server.
    pub fn figures(&self, server: &str) -> Option<PoolFigures> {
        self.0.servers.figures(server)
    }

    /// What a tenant has on a server; `None` if the pool knows nothing of it.
    pub fn figures_of(&self, server: &str, tenant: &TenantId) -> Option<TenantFigures> {
        self.0.servers.figures_of(server, tenant)
    }

    /// Refuses everybody from now on, and waits until every connection is given back and closed.
    pub async fn close(&self) {
        self.0.servers.close().await;
    }
}

fn version_of(record: &TenantRecord) -> Version {
    Version {
        incarnation: record.incarnation,
        epoch: record.epoch,
    }
}

impl<DB: TenantEngine> Clone for TenantPools<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantPools<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.servers.fmt(f)
    }
}

/// Sets up [`TenantPools`].
pub struct TenantPoolsBuilder<DB: TenantEngine> {
    servers: Vec<(Box<str>, Options<DB>, PoolSettings)>,
    clock: Arc<dyn Clock>,
    shares: Option<BudgetShares>,
    place: Box<Place>,
}

impl<DB: TenantEngine> TenantPoolsBuilder<DB> {
    /// Adds a server. The first one is where tenants live whose placement names none. A later one of the same name
    /// replaces an earlier one.
    ///
    /// The database or file that `options` name is replaced by each tenant's.
    #[must_use]
    pub fn server(
        mut self,
        name: &str,
        options: <DB::Connection as Connection>::Options,
        settings: PoolSettings,
    ) -> Self {
        self.servers.push((name.into(), options, settings));
        self
    }

    /// What ages and breakers are judged by. The machine's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Shares the budgets of all servers with other processes. Nothing is open before the first share was granted; who
    /// asks earlier waits. [`close`](TenantPools::close) gives the shares back; without it others have them when the lease
    /// is over.
    #[must_use]
    pub fn share_budgets(mut self, shares: &BudgetShares) -> Self {
        self.shares = Some(shares.clone());
        self
    }

    /// Opens nothing yet.
    ///
    /// # Panics
    /// Outside of a tokio runtime: connections are opened and cleaned by its tasks, for as long as it lives.
    pub fn build(self) -> TenantPools<DB> {
        TenantPools(Arc::new(Pools {
            servers: Servers::new(self.servers, &self.clock, self.shares.as_ref()),
            place: self.place,
        }))
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantPoolsBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may hold passwords.
        let names = self.servers.iter().map(|(name, ..)| name);
        f.debug_list().entries(names).finish()
    }
}
