use std::fmt;

use sqlx::Connection;
use tenancy_core::TenantRecord;

use crate::{
    database::{DatabaseError, TenantHomes},
    engine::{Options, TenantEngine},
    isolation::Identifier,
    pool::target::Session,
};

/// Where the migrations of a tenant run, and as whom: the owner of its tables, not the application's role.
///
/// The server must be reached directly: behind a pooler that hands a session on with each transaction, the tenant's lock
/// protects nothing.
pub struct MigrationPlace<DB: TenantEngine> {
    pub(super) options: Options<DB>,
    /// The tenant's schema first. Empty: what the role's own settings say.
    pub(super) search_path: Vec<Identifier>,
    /// What all tenants have that live there together: it is migrated once for all of them.
    pub(super) shared: Option<Box<str>>,
}

impl<DB: TenantEngine> MigrationPlace<DB> {
    /// A database, or a file, of the tenant's own. It must be there.
    pub fn database(options: <DB::Connection as Connection>::Options) -> Self {
        Self {
            options,
            search_path: Vec::new(),
            shared: None,
        }
    }

    /// A database whose tables tenants share. Of all tenants whose places have this name, the first one brings it to the
    /// version, and the others find it there.
    pub fn shared(name: &str, options: <DB::Connection as Connection>::Options) -> Self {
        Self {
            options,
            search_path: Vec::new(),
            shared: Some(name.into()),
        }
    }

    /// Where a tenant of this record is, as the owner of what it has.
    ///
    /// # Errors
    /// When its placement leads nowhere that may be, or its server has no owner's URL.
    pub fn of(homes: &TenantHomes<DB>, record: &TenantRecord) -> Result<Self, DatabaseError> {
        let (server, target) = homes.locate(record)?;
        let owner = homes.site_of(record)?.owner()?;
        let options = DB::at(owner, target.database_name());
        Ok(match target.session() {
            Session::Own => Self::database(options),
            Session::SearchPath { schema, extra } => Self {
                options,
                search_path: std::iter::once(schema).chain(&**extra).cloned().collect(),
                shared: None,
            },
            Session::Setting { .. } | Session::Guarded(_) => Self::shared(server, options),
        })
    }
}

#[cfg(feature = "postgres")]
impl MigrationPlace<sqlx::Postgres> {
    /// A schema of the tenant's own, taken verbatim. It must be there.
    pub fn schema(options: sqlx::postgres::PgConnectOptions, schema: Identifier) -> Self {
        Self {
            options,
            search_path: vec![schema],
            shared: None,
        }
    }

    /// Another schema, where the migrations find what tenants share: `extensions`. Nothing is created there by a name
    /// without a schema.
    #[must_use]
    pub fn with_path(mut self, schema: Identifier) -> Self {
        self.search_path.push(schema);
        self
    }
}

impl<DB: TenantEngine> fmt::Debug for MigrationPlace<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may hold passwords.
        f.debug_struct("MigrationPlace")
            .field("search_path", &self.search_path)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
