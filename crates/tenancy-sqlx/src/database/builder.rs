use std::{error::Error, fmt, sync::Arc};

use tenancy::Tenancy;
use tenancy_core::{Clock, SystemClock};

use super::{
    Server, TenantDatabases, TenantHomes, TenantHomesBuilder, claims::Claims, databases::Databases,
    homes::Site,
};
use crate::{
    audit::AuditReport,
    engine::TenantEngine,
    isolation::Isolation,
    pool::{BudgetShares, Servers},
};

/// Sets up [`TenantDatabases`].
pub struct TenantDatabasesBuilder<DB: TenantEngine> {
    tenancy: Tenancy,
    homes: Plan<DB>,
    reads_fall_back: bool,
    audits: bool,
    clock: Arc<dyn Clock>,
    shares: Option<BudgetShares>,
}

/// Where tenants are, said here or before.
enum Plan<DB: TenantEngine> {
    Said(TenantHomesBuilder<DB>),
    Given(TenantHomes<DB>),
}

impl<DB: TenantEngine> TenantDatabasesBuilder<DB> {
    pub(super) fn new(tenancy: &Tenancy) -> Self {
        Self::planned(tenancy, Plan::Said(TenantHomes::builder()))
    }

    pub(super) fn over(tenancy: &Tenancy, homes: TenantHomes<DB>) -> Self {
        Self::planned(tenancy, Plan::Given(homes))
    }

    fn planned(tenancy: &Tenancy, homes: Plan<DB>) -> Self {
        Self {
            tenancy: tenancy.clone(),
            homes,
            reads_fall_back: true,
            audits: true,
            clock: Arc::new(SystemClock::new()),
            shares: None,
        }
    }

    fn say(mut self, said: impl FnOnce(TenantHomesBuilder<DB>) -> TenantHomesBuilder<DB>) -> Self {
        self.homes = match self.homes {
            Plan::Said(homes) => Plan::Said(said(homes)),
            // Nothing is added to what others rely on.
            given @ Plan::Given(_) => given,
        };
        self
    }

    /// Adds a server. The first one is where tenants live whose placement names none.
    #[must_use]
    pub fn server(self, name: &str, server: Server) -> Self {
        self.say(|homes| homes.server(name, server))
    }

    /// What keeps tenants apart. Unless set, a database for each; on SQLite, a file.
    #[must_use]
    pub fn isolation(self, isolation: Isolation) -> Self {
        self.say(|homes| homes.isolation(isolation))
    }

    /// Databases, schemas and files that are no tenant's, such as that of the catalogue. The databases that servers come
    /// with, and those of their URLs, are none anyway.
    #[must_use]
    pub fn reserve(self, names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.say(|homes| homes.reserve(names))
    }

    /// Whether [`TenantDb::read`](super::TenantDb::read) goes to the primary when the replica can not be had. It does unless set.
    #[must_use]
    pub fn reads_fall_back(mut self, fall_back: bool) -> Self {
        self.reads_fall_back = fall_back;
        self
    }

    /// Whether [`build`](Self::build) looks at the servers. It does unless set; without, a login that sees everything is not
    /// noticed.
    #[must_use]
    pub fn audit(mut self, audits: bool) -> Self {
        self.audits = audits;
        self
    }

    /// What ages and breakers are judged by. The machine's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Shares the budgets of all servers, and of their replicas, with other processes that use the same catalogue.
    #[must_use]
    pub fn share_budgets(mut self, shares: &BudgetShares) -> Self {
        self.shares = Some(shares.clone());
        self
    }

    /// Looks at each server, with two connections that are closed again, and opens nothing else.
    ///
    /// # Errors
    /// With all mistakes in the settings, all findings of the audit, or the first server that can not be looked at.
    ///
    /// # Panics
    /// Outside of a tokio runtime: connections are opened and cleaned by its tasks, for as long as it lives.
    pub async fn build(self) -> Result<TenantDatabases<DB>, BuildError> {
        let audits = self.audits;
        let databases = self.assemble()?;
        if audits {
            let report = databases.audit().await?;
            for finding in report.warnings() {
                tracing::warn!(%finding, "found while looking at the databases of tenants");
            }
            if report.refuses() {
                return Err(BuildError(Kind::Audit(report)));
            }
        }
        Ok(databases)
    }

    fn assemble(self) -> Result<TenantDatabases<DB>, BuildError> {
        let homes = match self.homes {
            Plan::Said(homes) => homes.build()?,
            Plan::Given(homes) => homes,
        };
        let primary =
            |(name, site): (&str, &Site<DB>)| (Box::from(name), site.options.clone(), site.settings.clone());
        let replica = |(name, site): (&str, &Site<DB>)| {
            Some((Box::from(name), site.replica.clone()?, site.settings.clone()))
        };
        let shares = self.shares;
        let primaries = Servers::new(homes.sites().map(primary), &self.clock, shares.as_ref());
        let of_replicas = shares.map(BudgetShares::of_replicas);
        let replicas = Servers::new(
            homes.sites().filter_map(replica),
            &self.clock,
            of_replicas.as_ref(),
        );
        Ok(TenantDatabases(Arc::new(Databases {
            tenancy: self.tenancy,
            homes,
            primaries,
            replicas,
            reads_fall_back: self.reads_fall_back,
            claims: Claims::new(DB::KIND),
        })))
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantDatabasesBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let homes: &dyn fmt::Debug = match &self.homes {
            Plan::Said(homes) => homes,
            Plan::Given(homes) => homes,
        };
        f.debug_struct("TenantDatabasesBuilder")
            .field("homes", homes)
            .finish_non_exhaustive()
    }
}

/// Why the databases of tenants were not set up. For operators: names servers, tables and roles, and no password.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
enum Kind {
    Mistakes(Vec<String>),
    Audit(AuditReport),
    Unreachable(Box<str>, sqlx::Error),
}

impl BuildError {
    pub(super) fn mistakes(mistakes: Vec<String>) -> Self {
        Self(Kind::Mistakes(mistakes))
    }

    pub(crate) fn unreachable(server: &str, error: sqlx::Error) -> Self {
        Self(Kind::Unreachable(server.into(), error))
    }

    /// What the audit found, if that is why.
    pub fn audit(&self) -> Option<&AuditReport> {
        match &self.0 {
            Kind::Audit(report) => Some(report),
            Kind::Mistakes(_) | Kind::Unreachable(..) => None,
        }
    }

    /// Whether a server could not be looked at.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.0, Kind::Unreachable(..))
    }

    /// Whether the settings are wrong.
    pub fn is_mistake(&self) -> bool {
        matches!(self.0, Kind::Mistakes(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Mistakes(mistakes) => {
                write!(
                    f,
                    "the databases of tenants are not set up: {}",
                    mistakes.join("; ")
                )
            }
            Kind::Audit(report) => write!(f, "the databases of tenants are not safe to serve:\n{report}"),
            Kind::Unreachable(server, _) => write!(f, "the server {server:?} could not be looked at"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Unreachable(_, error) => Some(error),
            Kind::Mistakes(_) | Kind::Audit(_) => None,
        }
    }
}
