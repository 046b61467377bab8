use std::fmt;

use crate::pool::PoolSettings;

/// A server that tenants' databases are on: its URLs, and what may be open there.
///
/// `Debug` shows no URL: they hold passwords.
#[derive(Clone)]
pub struct Server {
    pub(super) url: String,
    pub(super) owner: Option<String>,
    pub(super) replica: Option<String>,
    pub(super) settings: PoolSettings,
    pub(super) is_pooled: bool,
}

/// Connections from this process to one server, unless set.
const BUDGET: usize = 100;

impl Server {
    /// A server by the URL of the role that the application has, which must own nothing. Its database is where tenants
    /// that share one are, and no tenant's own; of SQLite, it is the directory of the files.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            owner: None,
            replica: None,
            settings: PoolSettings::new(BUDGET),
            is_pooled: false,
        }
    }

    /// The URL of the role that owns what tenants have. No request can reach a connection of it: it is for what creates,
    /// migrates and drops.
    #[must_use]
    pub fn owner(mut self, url: impl Into<String>) -> Self {
        self.owner = Some(url.into());
        self
    }

    /// The URL of a server that follows this one, for [`TenantDb::read`](super::TenantDb::read). It has a budget of its own, of the
    /// same size.
    #[must_use]
    pub fn replica(mut self, url: impl Into<String>) -> Self {
        self.replica = Some(url.into());
        self
    }

    /// How many connections may be open from this process, or from all that
    /// [share the budget](super::TenantDatabasesBuilder::share_budgets). 100 unless set. Replaces what [`settings`](Self::settings) said.
    #[must_use]
    pub fn budget(mut self, connections: usize) -> Self {
        self.settings = self.settings.with_budget(connections);
        self
    }

    /// All settings of the pool.
    #[must_use]
    pub fn settings(mut self, settings: PoolSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Says that a pooler in transaction mode stands in between, such as PgBouncer with `pool_mode = transaction`.
    ///
    /// Transactions work there, with statements that are prepared in each of them. What keeps a session does not:
    /// [`acquire`](super::TenantDb::acquire) is refused where tenants share a database. An abandoned statement can not be
    /// cancelled: its connection is closed, and the pooler's business. What a statement sets for the session, rather than
    /// with `SET LOCAL`, is seen by others. PgBouncer must not handle prepared statements itself
    /// (`max_prepared_statements = 0`), for each transaction begins with `DEALLOCATE ALL`.
    #[must_use]
    pub fn behind_transaction_pooler(mut self) -> Self {
        self.is_pooled = true;
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("has_owner", &self.owner.is_some())
            .field("has_replica", &self.replica.is_some())
            .field("settings", &self.settings)
            .field("is_pooled", &self.is_pooled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_does_not_show_its_passwords() {
        let server = Server::at("postgres://app:s3cr3t@db/app")
            .owner("postgres://owner:s3cr3t@db/app")
            .replica("postgres://app:s3cr3t@replica/app");
        assert!(!format!("{server:?}").contains("s3cr3t"));
    }
}
