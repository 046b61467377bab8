use std::{fmt, sync::Arc};

use tenancy_core::TenantId;

use crate::isolation::{Identifier, SettingName};

/// How far a connection may go from one tenant to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// It belongs to one tenant for ever.
    Never,
    /// It may serve other tenants of the same database. The server keeps memory for each tenant that it served, so that
    /// it is closed after a bounded number of them.
    Schemas,
    /// It may serve any number of tenants of the same database.
    Rows,
}

/// What makes a connection one tenant's for the time of a transaction or a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// Nothing: whatever the connection leads to is the tenant's.
    Own,
    SearchPath {
        schema: Identifier,
        extra: Arc<[Identifier]>,
    },
    Setting {
        name: SettingName,
        tenant: TenantId,
    },
    /// Nothing can: each statement has to.
    Guarded(TenantId),
}

/// Where the connections of one tenant lead. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Arc<Place>);

#[derive(PartialEq, Eq, Hash)]
struct Place {
    database: Box<str>,
    /// What tells the tenants of one database apart: a schema, a role.
    inside: Option<Box<str>>,
    sharing: Sharing,
    session: Session,
}

impl Target {
    /// A database, or a file, of the tenant's own.
    pub fn database(name: &str) -> Self {
        Self::new(name, None, Sharing::Never, Session::Own)
    }

    /// A schema of a database, on connections that go from tenant to tenant. The path has the schema and then `extra`.
    pub fn schema(database: &str, schema: Identifier, extra: Arc<[Identifier]>) -> Self {
        Self::of_schema(database, schema, extra, Sharing::Schemas)
    }

    /// A schema of a database, on connections that serve no other tenant.
    pub fn pinned_schema(database: &str, schema: Identifier, extra: Arc<[Identifier]>) -> Self {
        Self::of_schema(database, schema, extra, Sharing::Never)
    }

    fn of_schema(database: &str, schema: Identifier, extra: Arc<[Identifier]>, sharing: Sharing) -> Self {
        let inside = Some(schema.as_str().into());
        Self::new(database, inside, sharing, Session::SearchPath { schema, extra })
    }

    /// The rows of tables that policies leave to a tenant, whose id is the value of a setting.
    pub fn rows(database: &str, setting: SettingName, tenant: TenantId) -> Self {
        let inside = Some(tenant.as_str().into());
        let session = Session::Setting {
            name: setting,
            tenant,
        };
        Self::new(database, inside, Sharing::Rows, session)
    }

    /// The rows of tables that statements with the tenant in them see.
    pub fn guarded(database: &str, tenant: TenantId) -> Self {
        let inside = Some(tenant.as_str().into());
        Self::new(database, inside, Sharing::Rows, Session::Guarded(tenant))
    }

    /// A part of a database that others have parts of, too.
    pub fn part(database: &str, inside: &str, sharing: Sharing) -> Self {
        Self::new(database, Some(inside.into()), sharing, Session::Own)
    }

    fn new(database: &str, inside: Option<Box<str>>, sharing: Sharing, session: Session) -> Self {
        Self(Arc::new(Place {
            database: database.into(),
            inside,
            sharing,
            session,
        }))
    }

    /// The database or file that its connections lead to.
    pub fn database_name(&self) -> &str {
        &self.0.database
    }

    /// The schema of the tenant's own, where it is that which keeps it apart.
    pub fn schema_name(&self) -> Option<&Identifier> {
        match &self.0.session {
            Session::SearchPath { schema, .. } => Some(schema),
            Session::Own | Session::Setting { .. } | Session::Guarded(_) => None,
        }
    }

    /// Whether tables there are shared by tenants, so that only rows are a tenant's own.
    pub fn is_shared_database(&self) -> bool {
        matches!(self.0.session, Session::Setting { .. } | Session::Guarded(_))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.0.session
    }

    /// Whether two tenants that are led here would see each other.
    pub(crate) fn is_of_one_tenant(&self) -> bool {
        matches!(self.0.session, Session::Own | Session::SearchPath { .. })
    }

    /// Where it leads, whatever connections do on the way.
    pub(crate) fn place(&self) -> (&str, Option<&str>) {
        (&self.0.database, self.0.inside.as_deref())
    }

    pub(super) fn sharing(&self) -> Sharing {
        self.0.sharing
    }

    /// Whether a connection that was opened for the other may serve this.
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        self.0.sharing != Sharing::Never
            && self.0.sharing == other.0.sharing
            && self.0.database == other.0.database
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            database,
            inside,
            sharing,
            session: _,
        } = &*self.0;
        f.debug_struct("Target")
            .field("database", database)
            .field("inside", inside)
            .field("sharing", sharing)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_inside_one_database_and_one_kind_only() {
        let acme = Target::part("app", "acme", Sharing::Schemas);
        for (other, shared) in [
            (Target::part("app", "bolt", Sharing::Schemas), true),
            (Target::part("other", "bolt", Sharing::Schemas), false),
            (Target::part("app", "bolt", Sharing::Rows), false),
            (Target::part("app", "bolt", Sharing::Never), false),
            (Target::database("app"), false),
        ] {
            assert_eq!(acme.shares_with(&other), shared, "{other:?}");
            assert_eq!(other.shares_with(&acme), shared, "{other:?}");
        }
        assert!(!Target::database("app").shares_with(&Target::database("app")));
    }
}
