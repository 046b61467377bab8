//! From settings to where tenants are.

use std::time::Duration;

use tenancy_sqlx::{
    TenantEngine,
    database::{Server, TenantHomes, TenantHomesBuilder},
    isolation::{Isolation, SchemaPerTenant},
    pool::PoolSettings,
};

use super::model::{DatabasesSettings, IsolationName, Settings};

/// What the server of tenants speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseKind {
    /// SQLite files: no server.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

/// The name of the server that the settings are of, in placements.
const SERVER: &str = "main";

impl Settings {
    /// What the server of tenants speaks, by the scheme of its URL.
    pub fn database_kind(&self) -> DatabaseKind {
        let url = self.databases.url.as_ref().map_or("", |url| url.as_str());
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => DatabaseKind::Postgres,
            Some("mysql" | "mariadb") => DatabaseKind::MySql,
            _ => DatabaseKind::Sqlite,
        }
    }

    /// Where tenants are, as section `databases` says, on the server `main`. `DB` must be that of
    /// [`database_kind`](Self::database_kind). Add what settings can not say, then build it.
    ///
    /// # Errors
    /// When a name of `extra_path` is not valid.
    pub fn homes<DB: TenantEngine>(&self) -> Result<TenantHomesBuilder<DB>, String> {
        let databases = &self.databases;
        let url = match &databases.url {
            Some(url) => of_sqlx(url.as_str()),
            None => format!("sqlite://{}", self.catalogue.data_dir.join("tenants").display()),
        };
        let mut server = Server::at(url).settings(databases.pool());
        if let Some(owner) = &databases.owner_url {
            server = server.owner(of_sqlx(owner.as_str()));
        }
        if let Some(replica) = &databases.replica_url {
            server = server.replica(of_sqlx(replica.as_str()));
        }
        if databases.behind_transaction_pooler {
            server = server.behind_transaction_pooler();
        }
        let mut homes = TenantHomes::builder()
            .server(SERVER, server)
            .reserve(databases.reserved.iter().map(String::as_str));
        if let Some(isolation) = databases.isolation()? {
            homes = homes.isolation(isolation);
        }
        Ok(homes)
    }
}

impl DatabasesSettings {
    fn isolation(&self) -> Result<Option<Isolation>, String> {
        let Some(name) = self.isolation else {
            return Ok(None);
        };
        Ok(Some(match name {
            IsolationName::Database => Isolation::database(),
            IsolationName::Schema => {
                let schemas = SchemaPerTenant::new().extra_path(&self.extra_path);
                Isolation::of(schemas.map_err(|error| format!("databases.extra_path: {error}"))?)
            }
            IsolationName::Rows => Isolation::rows(),
            IsolationName::File => Isolation::file(),
            IsolationName::Guarded => Isolation::guarded(),
        }))
    }

    fn pool(&self) -> PoolSettings {
        let pool = PoolSettings::new(self.budget)
            .max_tenants(self.max_tenants)
            .max_waiting(self.max_waiting)
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .wait_timeout(Duration::from_millis(self.wait_timeout_ms))
            .idle_timeout(Duration::from_millis(self.idle_timeout_ms))
            .max_lifetime(Duration::from_millis(self.max_lifetime_ms))
            .heartbeat(Duration::from_millis(self.heartbeat_ms));
        match self.max_per_tenant {
            Some(connections) => pool.max_per_tenant(connections),
            None => pool,
        }
    }
}

/// sqlx knows MariaDB by the older name.
fn of_sqlx(url: &str) -> String {
    match url.strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}"),
        None => url.to_owned(),
    }
}
