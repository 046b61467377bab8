use std::{error::Error, fmt};

use sqlx::migrate::MigrateError;
use tenancy_core::BoxError;

use crate::{
    CatalogueError,
    engine::{Fault, Migrates},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Catalogue,
    Unreadable,
    Busy,
    NoSuchVersion,
    Tenant,
}

/// Why migrations could not be run at all, or not for the one tenant that was asked for.
///
/// Opaque; ask with the `is_*` methods. For operators: the `Display` form may name schemas and repeat what a database
/// answered. The cause, if there is one, is kept as [`source`](Error::source).
pub struct MigrationError {
    kind: Kind,
    text: Box<str>,
    source: Option<BoxError>,
}

impl MigrationError {
    fn new(kind: Kind, text: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            text: text.into(),
            source: None,
        }
    }

    pub(super) fn unreadable(error: MigrateError) -> Self {
        Self {
            source: Some(error.into()),
            ..Self::new(Kind::Unreadable, "the migrations can not be read")
        }
    }

    pub(super) fn busy() -> Self {
        Self::new(
            Kind::Busy,
            "another process migrates this fleet with other migrations: wait until it has ended",
        )
    }

    pub(super) fn no_such_version(version: i64) -> Self {
        Self::new(Kind::NoSuchVersion, format!("there is no migration {version}"))
    }

    pub(super) fn of_tenant(fault: TenantFault) -> Self {
        Self {
            text: fault.reason().into(),
            source: fault.cause.map(Into::into),
            ..Self::new(Kind::Tenant, "")
        }
    }

    pub(super) fn shut_down() -> Self {
        Self::new(Kind::Tenant, "the task that migrated was ended")
    }

    /// Whether the catalogue failed, which holds the journal. The source is a [`CatalogueError`].
    pub fn is_catalogue(&self) -> bool {
        self.kind == Kind::Catalogue
    }

    /// Whether the folder of migrations can not be read.
    pub fn is_unreadable(&self) -> bool {
        self.kind == Kind::Unreadable
    }

    /// Whether other migrations are under way in another process.
    pub fn is_busy(&self) -> bool {
        self.kind == Kind::Busy
    }

    /// Whether there is no migration of the version that was asked for.
    pub fn is_no_such_version(&self) -> bool {
        self.kind == Kind::NoSuchVersion
    }

    /// Whether the tenant's own database, schema or migrations are the cause.
    pub fn is_tenants(&self) -> bool {
        self.kind == Kind::Tenant
    }
}

impl From<CatalogueError> for MigrationError {
    fn from(error: CatalogueError) -> Self {
        Self {
            source: Some(error.into()),
            ..Self::new(Kind::Catalogue, "the journal of migrations could not be used")
        }
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationError")
            .field("kind", &self.kind)
            .field("text", &self.text)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for MigrationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Why one tenant could not be migrated.
#[derive(Debug)]
pub(super) struct TenantFault {
    text: Box<str>,
    is_passing: bool,
    cause: Option<sqlx::Error>,
}

impl TenantFault {
    pub(super) fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: text.into(),
            is_passing: false,
            cause: None,
        }
    }

    /// With all causes: what says it may be short, for clients read it.
    pub(super) fn no_place(error: &BoxError) -> Self {
        let mut text = format!("it has no place: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::new(text)
    }

    /// Another process, or one that died and whose session has not ended.
    pub(super) fn locked() -> Self {
        Self {
            is_passing: true,
            ..Self::new("another session migrates this tenant")
        }
    }

    pub(super) fn timed_out() -> Self {
        Self {
            is_passing: true,
            ..Self::new("the database did not let it connect in time")
        }
    }

    pub(super) fn connect(error: sqlx::Error) -> Self {
        Self {
            cause: Some(error),
            ..Self::new("it can not be connected to")
        }
    }

    pub(super) fn statement(version: i64, error: sqlx::Error) -> Self {
        Self {
            cause: Some(error),
            ..Self::new(format!("migration {version} failed"))
        }
    }

    pub(super) fn half_applied(version: i64) -> Self {
        Self::new(format!(
            "migration {version} is half applied, and its text is not what it was: repair the schema by hand"
        ))
    }

    pub(super) fn changed(version: i64) -> Self {
        Self::new(format!("migration {version} was changed after it was applied"))
    }

    pub(super) fn unknown(version: i64) -> Self {
        Self::new(format!(
            "migration {version} was applied and is not among these: a newer program was here"
        ))
    }

    pub(super) fn no_way_back(version: i64) -> Self {
        Self::new(format!("migration {version} has no `.down.sql`"))
    }

    pub(super) fn is_passing<DB: Migrates>(&self) -> bool {
        let cause = self.cause.as_ref().map(DB::fault_of);
        self.is_passing || cause == Some(Fault::Passing)
    }

    /// For operators: it may repeat what a database answered.
    pub(super) fn reason(&self) -> String {
        match &self.cause {
            Some(sqlx::Error::Database(cause)) => format!("{}: {}", self.text, cause.message()),
            Some(cause) => format!("{}: {cause}", self.text),
            None => self.text.clone().into(),
        }
    }
}

impl From<sqlx::Error> for TenantFault {
    fn from(error: sqlx::Error) -> Self {
        Self {
            cause: Some(error),
            ..Self::new("its database failed")
        }
    }
}

impl From<MigrateError> for TenantFault {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, version) => Self::statement(version, error),
            other => Self::new(other.to_string()),
        }
    }
}
