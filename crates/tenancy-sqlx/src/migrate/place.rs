use std::fmt;

use sqlx::Connection;

use crate::engine::{Options, TenantEngine};

/// Where the migrations of a tenant run, and as whom: the owner of its tables, not the application's role.
///
/// The server must be reached directly: behind a pooler that hands a session on with each transaction, the tenant's lock
/// protects nothing.
pub struct MigrationPlace<DB: TenantEngine> {
    pub(super) options: Options<DB>,
    /// The tenant's schema first. Empty: what the role's own settings say.
    pub(super) search_path: Vec<Box<str>>,
}

impl<DB: TenantEngine> MigrationPlace<DB> {
    /// A database, or a file, of the tenant's own. It must be there.
    pub fn database(options: <DB::Connection as Connection>::Options) -> Self {
        Self {
            options,
            search_path: Vec::new(),
        }
    }
}

#[cfg(feature = "postgres")]
impl MigrationPlace<sqlx::Postgres> {
    /// A schema of the tenant's own, taken verbatim. It must be there.
    pub fn schema(options: sqlx::postgres::PgConnectOptions, schema: &str) -> Self {
        Self {
            options,
            search_path: vec![schema.into()],
        }
    }

    /// Another schema, where the migrations find what tenants share: `extensions`. Nothing is created there by a name
    /// without a schema.
    #[must_use]
    pub fn with_path(mut self, schema: &str) -> Self {
        self.search_path.push(schema.into());
        self
    }
}

impl<DB: TenantEngine> fmt::Debug for MigrationPlace<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may hold passwords.
        f.debug_struct("MigrationPlace")
            .field("search_path", &self.search_path)
            .finish_non_exhaustive()
    }
}
