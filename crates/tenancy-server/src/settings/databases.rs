//! From settings to where tenants are.

use std::{path::Path, time::Duration};

use tenancy_sqlx::{
    TenantEngine,
    database::{Server, TenantHomes, TenantHomesBuilder},
    isolation::{Isolation, SchemaPerTenant},
    pool::PoolSettings,
};

use super::{
    DatabaseUrl,
    impossible::MAIN,
    model::{DatabaseServerSettings, DatabasesSettings, IsolationName, Settings},
};

impl Settings {
    /// Where tenants are, as section `databases` says, on the server `main`. `DB` must be that of
    /// [`database_kind`](Self::database_kind). Add what settings can not say, then build it.
    ///
    /// # Errors
    /// When a name of `extra_path` is not valid.
    pub fn homes<DB: TenantEngine>(&self) -> Result<TenantHomesBuilder<DB>, String> {
        let databases = &self.databases;
        let mut homes = TenantHomes::builder()
            .server(MAIN, self.main_server())
            .reserve(databases.reserved.iter().map(String::as_str));
        for (name, server) in &databases.servers {
            homes = homes.server(name, databases.further_server(name, server)?);
        }
        if let Some(isolation) = databases.isolation()? {
            homes = homes.isolation(isolation);
        }
        Ok(homes)
    }

    fn main_server(&self) -> Server {
        let databases = &self.databases;
        let server = match &databases.url {
            Some(url) => Server::at(of_sqlx(url)),
            None => Server::at(files_in(&self.catalogue.data_dir.join("tenants"))),
        };
        let urls = [&databases.owner_url, &databases.replica_url];
        let server = with_others(server, urls, databases.behind_transaction_pooler);
        server.settings(databases.pool(databases.budget))
    }
}

fn with_others(mut server: Server, urls: [&Option<DatabaseUrl>; 2], is_pooled: bool) -> Server {
    let [owner, replica] = urls;
    if let Some(owner) = owner {
        server = server.owner(of_sqlx(owner));
    }
    if let Some(replica) = replica {
        server = server.replica(of_sqlx(replica));
    }
    match is_pooled {
        true => server.behind_transaction_pooler(),
        false => server,
    }
}

impl DatabasesSettings {
    fn further_server(&self, name: &str, server: &DatabaseServerSettings) -> Result<Server, String> {
        let url = server.url.as_ref();
        let url = url.ok_or_else(|| format!("databases.servers.{name}.url: it is missing"))?;
        let urls = [&server.owner_url, &server.replica_url];
        let budget = server.budget.unwrap_or(self.budget);
        let others = with_others(Server::at(of_sqlx(url)), urls, server.behind_transaction_pooler);
        Ok(others.settings(self.pool(budget)))
    }

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

    fn pool(&self, budget: usize) -> PoolSettings {
        let pool = PoolSettings::new(budget)
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
fn of_sqlx(url: &DatabaseUrl) -> String {
    match url.as_str().strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}"),
        None => url.as_str().to_owned(),
    }
}

/// A directory as a URL, in which some letters of paths mean something else.
fn files_in(directory: &Path) -> String {
    let path = directory.display().to_string();
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

#[cfg(test)]
mod tests {
    use super::files_in;

    #[test]
    fn a_directory_may_have_letters_that_mean_something_in_a_url() {
        for (directory, url) in [
            ("tenancy-data/tenants", "sqlite://tenancy-data/tenants"),
            ("/srv/100%/a?b#c", "sqlite:///srv/100%25/a%3Fb%23c"),
        ] {
            assert_eq!(files_in(directory.as_ref()), url);
        }
    }
}
