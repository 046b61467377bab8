use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use tenancy::stack::Stage;

use super::{DatabaseKind, DatabaseUrl};

/// All settings. Each section and each key has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen.
    pub server: ServerSettings,
    /// The stack of layers.
    pub tenancy: StackSettings,
    /// Where tenants are kept.
    pub catalogue: CatalogueSettings,
    /// Where the data of tenants is.
    pub databases: DatabasesSettings,
    /// The cache of tenants.
    pub cache: TenantCacheSettings,
    /// The memory of the process and of requests.
    pub memory: MemorySettings,
    /// What is for operators alone.
    pub admin: AdminSettings,
    /// The log.
    pub log: LogSettings,
}

impl Settings {
    /// What the servers of tenants speak, by the scheme of `databases.url`.
    pub fn database_kind(&self) -> DatabaseKind {
        let url = self.databases.url.as_ref();
        url.and_then(DatabaseUrl::kind).unwrap_or(DatabaseKind::Sqlite)
    }

    /// The database of the catalogue where it is on a server: `catalogue.url`, or else that of `databases.owner_url`, unless
    /// `catalogue.database` names a file. `None`: it is [a file](CatalogueSettings::file).
    ///
    /// Beside tenants, the catalogue is the owner's: nothing that requests run can touch it.
    pub fn catalogue_url(&self) -> Option<&DatabaseUrl> {
        match (&self.catalogue.url, &self.catalogue.database) {
            (Some(url), _) => Some(url),
            (None, Some(_)) => None,
            (None, None) => self.databases.owner_url.as_ref(),
        }
    }
}

/// Section `server`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Address and port. Port 0 takes a free one. Default: `127.0.0.1:8000`.
    pub listen: SocketAddr,
    /// How long running requests may take to end after Ctrl-C or SIGTERM, in milliseconds. Default: 10,000.
    pub grace_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            grace_ms: 10_000,
        }
    }
}

/// Section `tenancy`: the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StackSettings {
    /// Domains whose subdomains are tenants. Default: `localhost`.
    pub base_domains: Vec<String>,
    /// Hosts that belong to no tenant. Default: the base domains themselves.
    pub central_hosts: Option<Vec<String>>,
    /// Addresses and networks of proxies whose word on the original host counts. Default: none.
    pub trust_proxies: Vec<String>,
    /// The stages, outside in. Default: all, in the default order.
    pub order: Vec<String>,
    /// Stages that count and log what they would refuse, and refuse nothing. Default: none.
    pub observe: Vec<String>,
    /// Where tenants are on the web, for links: scheme, base domain and port, such as `https://example.com`. Default: none.
    pub public_url: Option<String>,
    /// For development: id of the tenant whose requests are those of this machine that name none. Refused in release
    /// builds; see [`TenancyBuilder::dev_tenant`](tenancy::stack::TenancyBuilder::dev_tenant). Default: none.
    pub dev_tenant: Option<String>,
    /// Whether there may be a dev tenant in release builds, too. Never where others can reach the server. Default: no.
    pub dev_tenant_even_in_release: bool,
    /// How many objects of all tenants together are kept; see [`tenancy::resource`]. Default: 1,024.
    pub max_resources: u64,
    /// The largest request body, in bytes. Default: 2,097,152.
    pub body_limit_bytes: u64,
    /// How long an answer may take to begin, in milliseconds. Default: 30,000.
    pub deadline_ms: u64,
    /// Whether suspended tenants are answered like unknown ones. Default: no.
    pub hide_suspended: bool,
    /// Whether every client speaks TLS, to a proxy in front for instance. Default: no.
    pub always_https: bool,
    /// Whether challenges of ACME (`/.well-known/acme-challenge/` and a token) are central, whatever their host. Default: no.
    pub acme_challenge: bool,
    /// How many look-ups of unknown keys reach the catalogue each second. Default: 100.
    pub misses_per_second: u32,
    /// How long known tenants are served after the catalogue stopped answering, in milliseconds. Default: 3,600,000.
    pub max_stale_ms: u64,
}

impl Default for StackSettings {
    fn default() -> Self {
        Self {
            base_domains: vec!["localhost".to_owned()],
            central_hosts: None,
            trust_proxies: Vec::new(),
            order: Stage::ALL.iter().map(ToString::to_string).collect(),
            observe: Vec::new(),
            public_url: None,
            dev_tenant: None,
            dev_tenant_even_in_release: false,
            max_resources: 1_024,
            body_limit_bytes: 2 * 1024 * 1024,
            deadline_ms: 30_000,
            hide_suspended: false,
            always_https: false,
            acme_challenge: false,
            misses_per_second: 100,
            max_stale_ms: 3_600_000,
        }
    }
}

/// Section `catalogue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CatalogueSettings {
    /// Directory of the catalogue and all else that is kept. Made if it is not there. Default: `tenancy-data`.
    pub data_dir: PathBuf,
    /// The SQLite file of the catalogue, where it is not in `data_dir`: that of the application, whose tables were
    /// adopted. Default: none.
    pub database: Option<PathBuf>,
    /// The database of the catalogue where it is on a server: `postgres://…`, `mysql://…` or `mariadb://…`; `sqlite:…` is a
    /// file. Best given as `TENANCY__CATALOGUE__URL`: it may hold a password, and is left out where settings are written.
    /// Default: none.
    #[serde(skip_serializing)]
    pub url: Option<DatabaseUrl>,
    /// How many connections to the server of `url` are kept open. Default: 5.
    pub pool_min: u32,
    /// How many connections to the server of `url` there may be, from 2. Default: 20.
    pub pool_max: u32,
    /// How long opening a connection to the server of `url` may take, in milliseconds. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// How long a question to the catalogue may wait for a connection and for its answer, in milliseconds. Default: 3,000.
    pub wait_timeout_ms: u64,
}

impl CatalogueSettings {
    /// The catalogue's SQLite file, where there is no `url`: `database`, or `catalogue.sqlite` in `data_dir`.
    pub fn file(&self) -> PathBuf {
        match &self.database {
            Some(database) => database.clone(),
            None => self.data_dir.join("catalogue.sqlite"),
        }
    }

    /// The file of known tenants for a start while the catalogue is away.
    pub fn snapshot_file(&self) -> PathBuf {
        self.data_dir.join("tenants.snapshot")
    }
}

impl Default for CatalogueSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("tenancy-data"),
            database: None,
            url: None,
            pool_min: 5,
            pool_max: 20,
            connect_timeout_ms: 10_000,
            wait_timeout_ms: 3_000,
        }
    }
}

/// Section `databases`: where the data of tenants is, and what may be open there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DatabasesSettings {
    /// The server that tenants are on, as the role that serves them, which must own nothing: `postgres://…`, `mysql://…` or
    /// `mariadb://…`. Best given as `TENANCY__DATABASES__URL`: it may hold a password, and is left out where settings are
    /// written. Default: none, so that each tenant has an SQLite file below `catalogue.data_dir`.
    #[serde(skip_serializing)]
    pub url: Option<DatabaseUrl>,
    /// The same server as the role that owns what tenants have: for what makes, migrates and drops. Default: none.
    #[serde(skip_serializing)]
    pub owner_url: Option<DatabaseUrl>,
    /// A server that follows that one, to read from. Default: none.
    #[serde(skip_serializing)]
    pub replica_url: Option<DatabaseUrl>,
    /// What keeps tenants apart whose placement says nothing. Default: `database` on servers, `file` on SQLite.
    pub isolation: Option<IsolationName>,
    /// Schemas behind each tenant's own on the path, with `isolation = "schema"`. Default: none.
    pub extra_path: Vec<String>,
    /// Databases, schemas and files that are no tenant's. Default: none; those of servers and URLs are none anyway.
    pub reserved: Vec<String>,
    /// Whether a pooler in transaction mode stands in between. Default: no.
    pub behind_transaction_pooler: bool,
    /// How many connections may be open. Default: 100.
    pub budget: usize,
    /// How many tenants may have open connections at a time. Default: 100.
    pub max_tenants: usize,
    /// How many connections one tenant may have; a third of it while connections are short. Default: a quarter of the
    /// budget, from 1 to 20.
    pub max_per_tenant: Option<usize>,
    /// How many requests of one tenant may wait for a connection. Default: 1,000.
    pub max_waiting: usize,
    /// How long opening a connection may take, in milliseconds. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// How long a request may wait for a connection, in milliseconds. Default: 3,000.
    pub wait_timeout_ms: u64,
    /// After how long without use a connection is closed, in milliseconds. Default: 60,000.
    pub idle_timeout_ms: u64,
    /// How old a connection may become, in milliseconds. Default: 1,800,000.
    pub max_lifetime_ms: u64,
    /// After how long without use a connection is asked whether it lives, in milliseconds. Default: 30,000.
    pub heartbeat_ms: u64,
    /// The folder of migrations of tenants. Default: none.
    pub migrations: Option<PathBuf>,
    /// The folder of SQL files that fill a new tenant. Default: none.
    pub seeds: Option<PathBuf>,
    /// Further servers, by the name that placements of tenants have: sections `databases.servers.NAME`, and in the
    /// environment `TENANCY__DATABASES__SERVERS__NAME__URL` and so on. All that this section says of connections holds for
    /// each of them. Default: none.
    pub servers: BTreeMap<String, DatabaseServerSettings>,
}

impl Default for DatabasesSettings {
    fn default() -> Self {
        Self {
            url: None,
            owner_url: None,
            replica_url: None,
            isolation: None,
            extra_path: Vec::new(),
            reserved: Vec::new(),
            behind_transaction_pooler: false,
            budget: 100,
            max_tenants: 100,
            max_per_tenant: None,
            max_waiting: 1_000,
            connect_timeout_ms: 10_000,
            wait_timeout_ms: 3_000,
            idle_timeout_ms: 60_000,
            max_lifetime_ms: 1_800_000,
            heartbeat_ms: 30_000,
            migrations: None,
            seeds: None,
            servers: BTreeMap::new(),
        }
    }
}

/// Section `databases.servers.NAME`: a server besides that of `databases.url`, of the same kind.
///
/// A name is of `a-z`, `0-9`, `-` and `_`, 32 at most, and not `main`, which is the server of `databases.url`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DatabaseServerSettings {
    /// The server as the role that serves tenants; of SQLite, the directory of their files. Needed. Left out where settings
    /// are written, as the other URLs are.
    #[serde(skip_serializing)]
    pub url: Option<DatabaseUrl>,
    /// The same server as the role that owns what tenants have. Default: none.
    #[serde(skip_serializing)]
    pub owner_url: Option<DatabaseUrl>,
    /// A server that follows that one, to read from. Default: none.
    #[serde(skip_serializing)]
    pub replica_url: Option<DatabaseUrl>,
    /// How many connections may be open there. Default: as `databases.budget`.
    pub budget: Option<usize>,
    /// Whether a pooler in transaction mode stands in between. Default: no.
    pub behind_transaction_pooler: bool,
}

/// What keeps tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IsolationName {
    /// A database for each. PostgreSQL, MySQL, MariaDB.
    Database,
    /// A schema for each. PostgreSQL.
    Schema,
    /// Policies on shared tables. PostgreSQL.
    #[serde(alias = "row")]
    Rows,
    /// A file for each. SQLite.
    #[serde(alias = "sqlite")]
    File,
    /// Shared tables that take only guarded statements.
    Guarded,
}

/// Section `cache`: what is kept of tenants' data for a while, see [`tenancy::cache`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TenantCacheSettings {
    /// The Redis that all processes of a service have in common: `redis://…`, or `rediss://…` where the program has TLS. Best given
    /// as `TENANCY__CACHE__REDIS_URL`: it may hold a password, and is left out where settings are written. Default: none, so that
    /// each process knows of its own flushes only.
    #[serde(skip_serializing)]
    pub redis_url: Option<DatabaseUrl>,
    /// How many bytes of all tenants one process keeps; at least 1,048,576. Default: 67,108,864.
    pub max_bytes: u64,
    /// After how long a flush is in effect in every process, in milliseconds, from 100 to 3,600,000. Default: 2,000.
    pub staleness_bound_ms: u64,
}

impl Default for TenantCacheSettings {
    fn default() -> Self {
        Self {
            redis_url: None,
            max_bytes: 64 << 20,
            staleness_bound_ms: 2_000,
        }
    }
}

/// Section `memory`: what is metered, logged and given back. Needs a program that is built with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MemorySettings {
    /// Whether a request that needs more than `warn_over_bytes` is logged. Default: yes.
    pub log_memory: bool,
    /// Whether what a purge gave back is logged at INFO, and not at DEBUG; and at DEBUG, what each request freed and left. Default: yes.
    pub log_cleanup: bool,
    /// Whether values that a request was to have for itself are looked after, and logged where they outlive it. Default: no.
    pub track_survivors: bool,
    /// How much a request may need before it is logged, in bytes. Default: 1,048,576.
    pub warn_over_bytes: u64,
    /// How often the memory of the process is looked at, in milliseconds; at least 10. Default: 10,000.
    pub sample_every_ms: u64,
    /// How many requests fill caches and open pools before growth is measured. Default: 1,000.
    pub warm_up_requests: u64,
    /// How much may be resident beyond what is live before free memory is given back, in bytes. 0: any amount. Default: 67,108,864.
    pub purge_over_bytes: u64,
    /// After how many requests free memory is given back. 0: after no number of them. Default: 0.
    pub purge_after_requests: u64,
    /// The least time between two purges that nobody asked for, in milliseconds. Default: 60,000.
    pub purge_min_interval_ms: u64,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            log_memory: true,
            log_cleanup: true,
            track_survivors: false,
            warn_over_bytes: 1 << 20,
            sample_every_ms: 10_000,
            warm_up_requests: 1_000,
            purge_over_bytes: 64 << 20,
            purge_after_requests: 0,
            purge_min_interval_ms: 60_000,
        }
    }
}

/// Section `admin`: what is for operators alone, on an address of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdminSettings {
    /// Address and port of this machine, such as `127.0.0.1:2113`. Who reaches it sees figures of all tenants, and nobody is asked who
    /// they are: an address that others reach is refused. From elsewhere through an ssh tunnel,
    /// `ssh -L 2113:127.0.0.1:2113 HOST`. Default: none.
    pub listen: Option<SocketAddr>,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogSettings {
    /// What is logged: a level, or directives such as `info,tenancy=debug`. Default: `info`.
    pub filter: String,
    /// How. Default: `text`.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
