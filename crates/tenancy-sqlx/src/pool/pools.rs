use std::{collections::HashMap, fmt, sync::Arc};

use sqlx::Connection;
use tenancy::Tenant;
use tenancy_core::{Clock, SystemClock, TenantId, TenantRecord, TenantStatus};
use tokio::runtime::Handle;

use super::{
    DatabaseError, Lease, PoolFigures, PoolSettings, Target, TenantFigures,
    core::{Ask, Version},
    server::ServerPool,
};
use crate::engine::{Options, TenantEngine};

type Place = dyn Fn(&TenantRecord) -> Target + Send + Sync;

/// The connections of all tenants, on all servers. See the [module](crate::pool). Cloning copies a pointer.
pub struct TenantPools<DB: TenantEngine>(Arc<Pools<DB>>);

struct Pools<DB: TenantEngine> {
    servers: HashMap<Box<str>, Arc<ServerPool<DB>>>,
    default_server: Box<str>,
    place: Box<Place>,
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
        if tenant.status() == TenantStatus::Deleted {
            return Err(DatabaseError::deleted());
        }
        let record = tenant.record();
        let target = (self.0.place)(&record);
        let ask = Ask {
            tenant: tenant.id(),
            version: version_of(&record),
            target: &target,
        };
        self.server_of(&record)?.acquire(ask).await
    }

    /// Ends all use of where the tenant was: what is idle is closed, what is in use is closed when it is given back, and
    /// who waits is refused. Needless for requests, which come with the newest record; for before a database is moved or
    /// dropped.
    pub fn forget(&self, tenant: &Tenant) {
        let record = tenant.record();
        for server in self.0.servers.values() {
            server.retire(tenant.id(), version_of(&record));
        }
    }

    /// Gives the pool of a server another budget. A smaller one closes idle connections at once, and others when they
    /// are given back. Returns whether there is such a server.
    pub fn set_budget(&self, server: &str, budget: usize) -> bool {
        let server = self.0.servers.get(server);
        if let Some(server) = server {
            server.set_budget(budget);
        }
        server.is_some()
    }

    /// What the pool of a server has and did; `None` if there is no such server.
    pub fn figures(&self, server: &str) -> Option<PoolFigures> {
        self.0.servers.get(server).map(|server| server.figures())
    }

    /// What a tenant has on a server; `None` if the pool knows nothing of it.
    pub fn figures_of(&self, server: &str, tenant: &TenantId) -> Option<TenantFigures> {
        self.0.servers.get(server)?.figures_of(tenant)
    }

    /// Refuses everybody from now on, and waits until every connection is given back and closed.
    pub async fn close(&self) {
        for server in self.0.servers.values() {
            server.close().await;
        }
    }

    fn server_of(&self, record: &TenantRecord) -> Result<&Arc<ServerPool<DB>>, DatabaseError> {
        let named = record.placement.as_ref().map(|placement| &placement.server);
        let name = named
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.0.default_server);
        self.0.servers.get(name).ok_or_else(DatabaseError::unknown_server)
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
        f.debug_list().entries(self.0.servers.values()).finish()
    }
}

/// Sets up [`TenantPools`].
pub struct TenantPoolsBuilder<DB: TenantEngine> {
    servers: Vec<(Box<str>, Options<DB>, PoolSettings)>,
    clock: Arc<dyn Clock>,
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

    /// Opens nothing yet.
    ///
    /// # Panics
    /// Outside of a tokio runtime: connections are opened and cleaned by its tasks, for as long as it lives.
    pub fn build(self) -> TenantPools<DB> {
        let runtime = Handle::current();
        let default_server = self
            .servers
            .first()
            .map(|(name, ..)| name.clone())
            .unwrap_or_default();
        let servers = self.servers.into_iter().map(|(name, options, settings)| {
            let pool = ServerPool::new(&name, options, settings, Arc::clone(&self.clock), runtime.clone());
            (name, pool)
        });
        TenantPools(Arc::new(Pools {
            servers: servers.collect(),
            default_server,
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
