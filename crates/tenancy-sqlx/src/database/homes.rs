use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use tenancy_core::TenantRecord;

use super::{BuildError, DatabaseError, Server};
use crate::{
    engine::{Options, TenantEngine},
    isolation::{EngineKind, Isolation, IsolationStrategy, ServerHome},
    pool::{PoolSettings, Target},
};

/// Where the data of each tenant is, without a stack and without a pool: servers, isolation, and what is no tenant's.
///
/// What serves ([`TenantDatabases`](super::TenantDatabases)), migrates, creates and drops tenants reads it here, so that
/// they never differ. Cloning copies a pointer.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::Postgres;
/// use tenancy_core::{TenantId, TenantRecord};
/// use tenancy_sqlx::{
///     database::{Server, TenantHomes},
///     isolation::Isolation,
/// };
///
/// let homes = TenantHomes::<Postgres>::builder()
///     .server("main", Server::at("postgres://app@db/app").owner("postgres://owner@db/app"))
///     .isolation(Isolation::schema())
///     .build()?;
/// let (server, target) = homes.locate(&TenantRecord::new(TenantId::new("acme")?))?;
/// assert_eq!((server, target.database_name()), ("main", "app"));
/// assert_eq!(target.schema_name().unwrap().as_str(), "tenant_acme");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "postgres"))]
/// # fn main() {}
/// ```
pub struct TenantHomes<DB: TenantEngine>(Arc<Homes<DB>>);

struct Homes<DB: TenantEngine> {
    isolation: Isolation,
    sites: HashMap<Box<str>, Site<DB>>,
    /// In the order in which they were added: the first is where tenants are whose placement names none.
    names: Vec<Box<str>>,
}

/// A server: who may connect, and what is there.
pub(crate) struct Site<DB: TenantEngine> {
    pub(crate) home: ServerHome,
    pub(crate) options: Options<DB>,
    owner: Option<Options<DB>>,
    pub(super) replica: Option<Options<DB>>,
    pub(crate) settings: PoolSettings,
    pub(crate) is_pooled: bool,
    /// The application's and the owner's, for programs that read no options of sqlx. They hold passwords.
    pub(super) urls: (Box<str>, Option<Box<str>>),
}

impl<DB: TenantEngine> TenantHomes<DB> {
    /// Begins to say where tenants are.
    pub fn builder() -> TenantHomesBuilder<DB> {
        TenantHomesBuilder {
            servers: Vec::new(),
            isolation: None,
            reserved: Vec::new(),
            engine: std::marker::PhantomData,
        }
    }

    /// Where a tenant of this record would live: the server's name, and the place on it. Says nothing of whether another
    /// tenant lives there, or of whether it was made.
    ///
    /// # Errors
    /// When its placement leads nowhere that may be, or to a server that is not there.
    pub fn locate(&self, record: &TenantRecord) -> Result<(&str, Target), DatabaseError> {
        let (_, target) = self.place(record)?;
        let server = self.0.sites.get_key_value(self.server_of(record));
        let (server, _) = server.ok_or_else(DatabaseError::unknown_server)?;
        Ok((server, target))
    }

    /// The names of the servers, in the order in which they were added.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(|name| &**name)
    }

    pub(crate) fn isolation(&self) -> &Isolation {
        &self.0.isolation
    }

    /// In the order in which they were added.
    pub(crate) fn sites(&self) -> impl Iterator<Item = (&str, &Site<DB>)> {
        self.0.names.iter().map(|name| (&**name, &self.0.sites[name]))
    }

    /// The name of the server that the record leads to, whether or not it exists.
    pub(crate) fn server_of<'a>(&'a self, record: &'a TenantRecord) -> &'a str {
        let named = record.placement.as_ref().map(|placement| &*placement.server);
        named
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.0.names.first().map_or("", |name| name))
    }

    pub(crate) fn site_of(&self, record: &TenantRecord) -> Result<&Site<DB>, DatabaseError> {
        let site = self.0.sites.get(self.server_of(record));
        site.ok_or_else(DatabaseError::unknown_server)
    }

    pub(crate) fn place(
        &self,
        record: &TenantRecord,
    ) -> Result<(&dyn IsolationStrategy, Target), DatabaseError> {
        let home = &self.site_of(record)?.home;
        let strategy = self.0.isolation.strategy_of(record);
        let strategy = strategy.map_err(DatabaseError::misplaced)?;
        let target = strategy.target(record, home);
        Ok((strategy, target.map_err(DatabaseError::misplaced)?))
    }
}

impl<DB: TenantEngine> Site<DB> {
    /// The options of the role that owns what tenants have. For what creates, migrates and drops.
    ///
    /// # Errors
    /// When there is none: on SQLite whoever has the file owns it, on servers the application's role must not.
    pub(crate) fn owner(&self) -> Result<&Options<DB>, DatabaseError> {
        match &self.owner {
            Some(owner) => Ok(owner),
            None if DB::KIND == EngineKind::Sqlite => Ok(&self.options),
            None => Err(DatabaseError::misplaced(
                "the server has no owner's URL, which creating, migrating and dropping need (`Server::owner`)",
            )),
        }
    }
}

impl<DB: TenantEngine> Clone for TenantHomes<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantHomes<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options hold passwords.
        f.debug_struct("TenantHomes")
            .field("servers", &self.0.names)
            .field("isolation", &self.0.isolation)
            .finish_non_exhaustive()
    }
}

/// Sets up [`TenantHomes`].
pub struct TenantHomesBuilder<DB: TenantEngine> {
    servers: Vec<(Box<str>, Server)>,
    isolation: Option<Isolation>,
    reserved: Vec<Box<str>>,
    engine: std::marker::PhantomData<fn() -> DB>,
}

impl<DB: TenantEngine> TenantHomesBuilder<DB> {
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

    /// Checks all that was said. Connects to nothing.
    ///
    /// # Errors
    /// With all mistakes in the settings.
    pub fn build(self) -> Result<TenantHomes<DB>, BuildError> {
        let isolation = self.isolation.unwrap_or_else(|| match DB::KIND {
            EngineKind::Sqlite => Isolation::file(),
            EngineKind::Postgres | EngineKind::MySql => Isolation::database(),
        });
        let mut mistakes = mistakes_of::<DB>(&isolation, &self.servers);
        let reserved: Arc<[Box<str>]> = self.reserved.into();
        let names = self.servers.iter().map(|(name, _)| name.clone()).collect();
        let mut sites = HashMap::new();
        for (name, server) in self.servers {
            if let Some(site) = site_of::<DB>(&name, server, &reserved, &mut mistakes) {
                sites.insert(name, site);
            }
        }
        if !mistakes.is_empty() {
            return Err(BuildError::mistakes(mistakes));
        }
        Ok(TenantHomes(Arc::new(Homes {
            isolation,
            sites,
            names,
        })))
    }
}

fn site_of<DB: TenantEngine>(
    name: &str,
    server: Server,
    reserved: &Arc<[Box<str>]>,
    mistakes: &mut Vec<String>,
) -> Option<Site<DB>> {
    let mut parse = |what: &str, url: &str| {
        // The error of a URL may quote the URL, and with it a password.
        let options = Options::<DB>::from_str(url).ok();
        if options.is_none() {
            mistakes.push(format!("the {what} of server {name:?} can not be read"));
        }
        options
    };
    let options = parse("URL", &server.url);
    let owner = server.owner.as_ref().and_then(|url| parse("owner's URL", url));
    let replica = server
        .replica
        .as_ref()
        .and_then(|url| parse("replica's URL", url));
    let through_pooler = |options| match server.is_pooled {
        true => DB::pooled(options),
        false => options,
    };
    let options = through_pooler(options?);
    Some(Site {
        home: ServerHome::new(DB::KIND, &DB::home(&options), Arc::clone(reserved)),
        options,
        owner,
        replica: replica.map(through_pooler),
        settings: server.settings.pooled(server.is_pooled),
        is_pooled: server.is_pooled,
        urls: (server.url.into(), server.owner.map(Into::into)),
    })
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

impl<DB: TenantEngine> fmt::Debug for TenantHomesBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantHomesBuilder")
            .field("servers", &self.servers)
            .field("isolation", &self.isolation)
            .field("reserved", &self.reserved)
            .finish()
    }
}
