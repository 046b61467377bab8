use std::{collections::HashMap, error::Error, fmt, str::FromStr, sync::Arc};

use tenancy::Tenancy;
use tenancy_core::{Clock, SystemClock};

use super::{
    Server, TenantDatabases,
    claims::Claims,
    databases::{Databases, Site},
};
use crate::{
    audit::AuditReport,
    engine::{Options, TenantEngine},
    isolation::{EngineKind, Isolation, ServerHome},
    pool::{BudgetShares, Servers},
};

/// Sets up [`TenantDatabases`].
pub struct TenantDatabasesBuilder<DB: TenantEngine> {
    tenancy: Tenancy,
    servers: Vec<(Box<str>, Server)>,
    isolation: Option<Isolation>,
    reserved: Vec<Box<str>>,
    reads_fall_back: bool,
    audits: bool,
    clock: Arc<dyn Clock>,
    shares: Option<BudgetShares>,
    engine: std::marker::PhantomData<fn() -> DB>,
}

impl<DB: TenantEngine> TenantDatabasesBuilder<DB> {
    pub(super) fn new(tenancy: &Tenancy) -> Self {
        Self {
            tenancy: tenancy.clone(),
            servers: Vec::new(),
            isolation: None,
            reserved: Vec::new(),
            reads_fall_back: true,
            audits: true,
            clock: Arc::new(SystemClock::new()),
            shares: None,
            engine: std::marker::PhantomData,
        }
    }

    /// Adds a server. The first one is where tenants live whose placement names none.
    #[must_use]
    pub fn server(mut self, name: &str, server: Server) -> Self {
        self.servers.push((name.into(), server));
        self
    }

    /// What keeps tenants apart. Unless set, a database for each; on SQLite, a file.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Databases, schemas and files that are no tenant's, such as that of the catalogue. The databases that servers come
    /// with, and those of their URLs, are none anyway.
    #[must_use]
    pub fn reserve(mut self, names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.reserved.extend(names.into_iter().map(Into::into));
        self
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
        let isolation = self.isolation.unwrap_or_else(|| match DB::KIND {
            EngineKind::Sqlite => Isolation::file(),
            EngineKind::Postgres | EngineKind::MySql => Isolation::database(),
        });
        let mut mistakes = mistakes_of::<DB>(&isolation, &self.servers);
        let reserved: Arc<[Box<str>]> = self.reserved.into();
        let (mut sites, mut primaries, mut replicas) = (HashMap::new(), Vec::new(), Vec::new());
        for (name, server) in self.servers {
            let mut parse = |what: &str, url: &str| {
                // The error of a URL may quote the URL, and with it a password.
                let options = Options::<DB>::from_str(url).ok();
                if options.is_none() {
                    mistakes.push(format!("the {what} of server {name:?} can not be read"));
                }
                options.map(|options| {
                    if server.is_pooled {
                        DB::pooled(options)
                    } else {
                        options
                    }
                })
            };
            let Some(options) = parse("URL", &server.url) else {
                continue;
            };
            let owner = server.owner.as_ref().and_then(|url| parse("owner's URL", url));
            let replica = server
                .replica
                .as_ref()
                .and_then(|url| parse("replica's URL", url));
            let settings = server.settings.pooled(server.is_pooled);
            if let Some(replica) = replica {
                replicas.push((name.clone(), replica, settings.clone()));
            }
            let site = Site {
                home: ServerHome::new(DB::KIND, &DB::home(&options), Arc::clone(&reserved)),
                options: options.clone(),
                owner,
                is_pooled: server.is_pooled,
                connect_limit: settings.connect_limit(),
            };
            sites.insert(name.clone(), site);
            primaries.push((name, options, settings));
        }
        if !mistakes.is_empty() {
            return Err(BuildError(Kind::Mistakes(mistakes)));
        }
        Ok(TenantDatabases(Arc::new(Databases {
            tenancy: self.tenancy,
            isolation,
            sites,
            primaries: Servers::new(primaries, &self.clock, self.shares.as_ref()),
            replicas: Servers::new(
                replicas,
                &self.clock,
                self.shares.map(BudgetShares::of_replicas).as_ref(),
            ),
            reads_fall_back: self.reads_fall_back,
            claims: Claims::default(),
        })))
    }
}

fn mistakes_of<DB: TenantEngine>(isolation: &Isolation, servers: &[(Box<str>, Server)]) -> Vec<String> {
    let mut mistakes = Vec::new();
    if servers.is_empty() {
        mistakes.push("there is no server".to_owned());
    }
    for (at, (name, _)) in servers.iter().enumerate() {
        if name.is_empty() {
            mistakes.push("a server has no name".to_owned());
        }
        if servers[..at].iter().any(|(other, _)| other == name) {
            mistakes.push(format!("there are two servers of the name {name:?}"));
        }
    }
    for strategy in isolation.strategies() {
        if !strategy.works_on(DB::KIND) {
            let name = strategy.name();
            mistakes.push(format!("the strategy {name:?} does not work on {}", DB::KIND));
        }
    }
    mistakes
}

impl<DB: TenantEngine> fmt::Debug for TenantDatabasesBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantDatabasesBuilder")
            .field("servers", &self.servers)
            .field("isolation", &self.isolation)
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
