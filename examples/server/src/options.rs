//! The command line of the server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tenancy::{core::TenantId, log::TenantLevels};
use tenancy_server::settings::{LoadedSettings, SettingsError, Sources};
use tenancy_sqlx::file::TenantsFile;

use crate::start::StartError;

/// An example of everything that tenancy does: three tenants under their own hosts, each with its notes in a database of its
/// own.
///
/// Nothing is needed beforehand: catalogue and tenants are SQLite files. With --database-url they are on PostgreSQL, MySQL or
/// MariaDB. Settings come from these options, from variables spelled TENANCY__SECTION__KEY, from the settings file, and from
/// defaults; the first that says something wins.
#[derive(Debug, Parser)]
#[command(name = "example-server", version, max_term_width = 100)]
pub struct Options {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Domain whose subdomains are tenants; may be given more than once [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub base_domain: Vec<String>,

    /// Directory of the catalogue and of the tenants' files; made if it is not there [default: tenancy-data]
    // A text: SQLite opens no path that is not Unicode.
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,

    /// Server and database of the catalogue and of the tenants, as the role that answers requests, which owns nothing:
    /// postgres://…, mysql://… or mariadb://…. A password is better kept in TENANCY__DATABASES__URL, for others see command
    /// lines [default: none, all is in SQLite files]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,

    /// The same as the role that owns the catalogue and what tenants have. Or TENANCY__DATABASES__OWNER_URL
    #[arg(long, value_name = "URL")]
    pub owner_url: Option<String>,

    /// What keeps tenants apart: a database for each (PostgreSQL, MySQL, MariaDB), a schema for each or policies on the rows
    /// of shared tables (PostgreSQL), or a SQLite file for each [default: database, or sqlite without --database-url]
    #[arg(long, value_name = "HOW", value_parser = ["database", "schema", "row", "sqlite"])]
    pub isolation: Option<String>,

    /// Redis that several of these servers have in common, so that each hears what another has flushed: redis://…. A password is
    /// better kept in TENANCY__CACHE__REDIS_URL [default: none, the only server caches for itself]
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,

    /// Tenants to register at start [default: acme, globex and initech]
    #[arg(long, value_name = "FILE")]
    pub tenants: Option<PathBuf>,

    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// Address or network of a proxy whose word on the original host counts; may be given more than once
    #[arg(long, value_name = "CIDR")]
    pub trust_proxy: Vec<String>,

    /// Address and port of this machine for operators alone: `GET /memory`, `POST /memory/purge` and heap profiles. Nobody is asked
    /// who they are there, so that others than this machine may not reach it; port 0 takes a free one [default: none; usual is
    /// 127.0.0.1:2113]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// Adds `/debug/alloc?bytes=N` to the routes of tenants, which allocates so much and frees it, to see what is said about it; and
    /// `/debug/wait` and `/debug/panic`. Anybody may call them
    #[arg(long)]
    pub debug_routes: bool,

    /// Tenant whose log is at level DEBUG for the first ten minutes, whatever the log's own level is
    #[arg(long, value_name = "ID")]
    pub debug_tenant: Option<TenantId>,
}

impl Options {
    /// Reads all sources of settings.
    ///
    /// # Errors
    /// When anything is unknown or impossible.
    pub fn load(&self) -> Result<LoadedSettings, SettingsError> {
        let mut sources = Sources::new().environment();
        if let Some(file) = &self.settings {
            sources = sources.file(file);
        }
        if let Some(listen) = self.listen {
            sources = sources.set("--listen", "server.listen", listen.to_string());
        }
        if let Some(listen) = self.admin_listen {
            sources = sources.set("--admin-listen", "admin.listen", listen.to_string());
        }
        if !self.base_domain.is_empty() {
            sources = sources.set("--base-domain", "tenancy.base_domains", self.base_domain.clone());
        }
        for (option, key, value) in [
            ("--data-dir", "catalogue.data_dir", &self.data_dir),
            ("--database-url", "databases.url", &self.database_url),
            ("--owner-url", "databases.owner_url", &self.owner_url),
            ("--isolation", "databases.isolation", &self.isolation),
            ("--redis-url", "cache.redis_url", &self.redis_url),
        ] {
            if let Some(value) = value {
                sources = sources.set(option, key, value.as_str());
            }
        }
        if !self.trust_proxy.is_empty() {
            sources = sources.set("--trust-proxy", "tenancy.trust_proxies", self.trust_proxy.clone());
        }
        sources.load()
    }

    /// The tenants to register.
    ///
    /// # Errors
    /// When the file can not be read or has mistakes; each is named with its line.
    pub fn tenants(&self) -> Result<TenantsFile, StartError> {
        let read = match &self.tenants {
            Some(path) => TenantsFile::read(path),
            None => TenantsFile::parse(include_str!("../tenants.toml"), "examples/server/tenants.toml"),
        };
        read.map_err(|error| StartError::new("the tenants can not be registered", &error))
    }

    /// Raises the log level of the tenant that is looked into.
    ///
    /// # Errors
    /// Never for one tenant.
    pub fn raise_level(&self, levels: &TenantLevels) -> Result<(), StartError> {
        const LASTING: Duration = Duration::from_secs(10 * 60);
        let Some(tenant) = &self.debug_tenant else {
            return Ok(());
        };
        levels
            .raise(tenant, tracing::Level::DEBUG, LASTING)
            .map_err(|error| StartError::new("the log level of a tenant can not be raised", &error))
    }
}
