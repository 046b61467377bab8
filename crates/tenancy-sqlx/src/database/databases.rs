use std::{fmt, sync::Arc};

use tenancy::{Tenancy, Tenant};
use tenancy_core::{InvalidName, TenantId, TenantRecord};

use super::{
    DatabaseError, TenantDatabasesBuilder, TenantDb, TenantHomes,
    claims::{Claims, Verdict, is_one_place},
};
use crate::{
    engine::TenantEngine,
    isolation::IsolationStrategy,
    pool::{Lease, PoolFigures, Servers, Target, TenantFigures},
};

/// The databases of all tenants. See the [module](super). Cloning copies a pointer.
pub struct TenantDatabases<DB: TenantEngine>(pub(super) Arc<Databases<DB>>);

pub(super) struct Databases<DB: TenantEngine> {
    pub(super) tenancy: Tenancy,
    pub(super) homes: TenantHomes<DB>,
    pub(super) primaries: Servers<DB>,
    pub(super) replicas: Servers<DB>,
    pub(super) reads_fall_back: bool,
    pub(super) claims: Claims,
}

impl<DB: TenantEngine> TenantDatabases<DB> {
    /// Begins to set up the databases of the tenants of a stack.
    pub fn builder(tenancy: &Tenancy) -> TenantDatabasesBuilder<DB> {
        TenantDatabasesBuilder::new(tenancy)
    }

    /// Begins to set up the databases of the tenants of a stack, where others say that they are. Servers and isolation are
    /// those of `homes`: what is said of them here is ignored.
    pub fn over(tenancy: &Tenancy, homes: &TenantHomes<DB>) -> TenantDatabasesBuilder<DB> {
        TenantDatabasesBuilder::over(tenancy, homes.clone())
    }

    /// Where tenants are: for what creates, migrates and drops them.
    pub fn homes(&self) -> &TenantHomes<DB> {
        &self.0.homes
    }

    /// The database of one tenant. Opens nothing.
    pub fn of(&self, tenant: &Tenant) -> TenantDb<DB> {
        TenantDb::new(self.clone(), tenant.clone())
    }

    /// Ends all use of where the tenant was: what is idle is closed, what is in use is closed when it is given back, and
    /// who waits is refused. For after a migration, and for before a database is moved or dropped.
    pub fn forget(&self, tenant: &Tenant) {
        self.0.primaries.forget(tenant);
        self.0.replicas.forget(tenant);
    }

    /// The same of a tenant that nobody serves here at the moment.
    pub(crate) fn forget_record(&self, record: &TenantRecord) {
        self.0.primaries.forget_record(record);
        self.0.replicas.forget_record(record);
    }

    /// Gives the pool of a server another budget; its replica's stays. Returns whether there is such a server.
    pub fn set_budget(&self, server: &str, budget: usize) -> bool {
        self.0.primaries.set_budget(server, budget)
    }

    /// What the pool of a server has and did; `None` if there is no such server.
    pub fn figures(&self, server: &str) -> Option<PoolFigures> {
        self.0.primaries.figures(server)
    }

    /// The same of the server's replica.
    pub fn replica_figures(&self, server: &str) -> Option<PoolFigures> {
        self.0.replicas.figures(server)
    }

    /// What a tenant has on a server; `None` if the pool knows nothing of it.
    pub fn figures_of(&self, server: &str, tenant: &TenantId) -> Option<TenantFigures> {
        self.0.primaries.figures_of(server, tenant)
    }

    /// Refuses everybody from now on, and waits until every connection is given back and closed.
    pub async fn close(&self) {
        self.0.primaries.close().await;
        self.0.replicas.close().await;
    }

    /// A connection to where the tenant lives, and what it is to be told.
    pub(super) async fn lease(
        &self,
        servers: &Servers<DB>,
        tenant: &Tenant,
    ) -> Result<(Lease<DB>, Target), DatabaseError> {
        match self.lease_once(servers, tenant).await {
            // Its record was replaced while this waited. The newest one leads to where it is now.
            Err(error) if error.is_moved() => self.lease_once(servers, tenant).await,
            answer => answer,
        }
    }

    async fn lease_once(
        &self,
        servers: &Servers<DB>,
        tenant: &Tenant,
    ) -> Result<(Lease<DB>, Target), DatabaseError> {
        let record = tenant.record();
        let (strategy, target) = self.0.homes.place(&record)?;
        if target.is_of_one_tenant() {
            self.claim(tenant, &record, strategy, &target).await?;
        }
        let lease = servers.acquire(tenant, &record, &target).await?;
        Ok((lease, target))
    }

    /// Refuses a place that is another tenant's.
    async fn claim(
        &self,
        tenant: &Tenant,
        record: &TenantRecord,
        strategy: &dyn IsolationStrategy,
        target: &Target,
    ) -> Result<(), DatabaseError> {
        let named = record.placement.as_ref().map(|placement| &*placement.database);
        let named = named.filter(|name| !name.is_empty());
        let derives_from = named.and_then(|name| strategy.tenant_of(name));
        let is_own_anyway = derives_from.as_ref() == Some(tenant.id());
        let server = self.0.primaries.name_of(record);
        let is_there = |other: &Tenant| self.is_led_to(other, server, target);
        let is_named = named.is_some() && !is_own_anyway;
        let verdict = self.0.claims.judge(server, target, tenant, is_named, is_there);
        match (verdict, derives_from) {
            (Verdict::Admitted, _) => return Ok(()),
            (Verdict::AdmittedIfNotDerived, None) => {}
            (Verdict::AdmittedIfNotDerived, Some(other)) => match self.0.tenancy.enter(&other).await {
                Err(error) if error.is_unknown() => {}
                Ok(other) if !self.is_led_to(&other, server, target) => {}
                // It has the better right to it, or it can not be told.
                Ok(_) | Err(_) => return Err(taken(tenant, named)),
            },
            (Verdict::Taken, _) => return Err(taken(tenant, named)),
        }
        self.0.claims.is_not_derived(server, target, tenant);
        Ok(())
    }

    fn is_led_to(&self, tenant: &Tenant, server: &str, target: &Target) -> bool {
        let record = tenant.record();
        self.0.primaries.name_of(&record) == server
            && self
                .0
                .homes
                .place(&record)
                .is_ok_and(|(_, other)| is_one_place(DB::KIND, &other, target))
    }
}

fn taken(tenant: &Tenant, named: Option<&str>) -> DatabaseError {
    tracing::error!(tenant = %tenant.id(), "the placement of a tenant leads to where another tenant lives");
    DatabaseError::misplaced(InvalidName::new(
        "placement",
        named.unwrap_or_default(),
        "another tenant lives there",
    ))
}

impl<DB: TenantEngine> Clone for TenantDatabases<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantDatabases<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantDatabases")
            .field("isolation", self.0.homes.isolation())
            .field("servers", &self.0.primaries)
            .field("replicas", &self.0.replicas)
            .finish()
    }
}
