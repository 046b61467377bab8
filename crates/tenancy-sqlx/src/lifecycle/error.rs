use std::{error::Error, fmt};

use tenancy_core::BoxError;

use crate::{
    CatalogueError, database::DatabaseError, engine::FenceError, migrate::MigrationError,
    transfer::TransferError,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Catalogue,
    Server,
    Migration,
    Seed,
    Hook,
    Misplaced,
    NotOurs,
    NotEmptied,
    NoTenant,
    Busy,
    Settings,
    Ended,
    NotMovable,
    Occupied,
    Transfer,
}

/// Why a tenant, or its home, was not made, reset, moved or removed.
///
/// Opaque; ask with the `is_*` methods. The `Display` form names no tenant; the cause is kept as
/// [`source`](Error::source).
#[derive(Debug)]
pub struct LifecycleError {
    kind: Kind,
    text: &'static str,
    source: Option<BoxError>,
}

impl LifecycleError {
    fn new(kind: Kind, text: &'static str) -> Self {
        Self {
            kind,
            text,
            source: None,
        }
    }

    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn server(error: sqlx::Error) -> Self {
        Self::new(Kind::Server, "the server did not do what the tenant's home needs").caused_by(error)
    }

    pub(super) fn fence(error: FenceError) -> Self {
        match error {
            FenceError::Server(error) => Self::server(error),
            FenceError::InUse(error) => Self::new(
                Kind::Server,
                "a transaction or a lock kept the tenant's home in use for a minute: end it, then try again",
            )
            .caused_by(error),
        }
    }

    pub(super) fn seed(error: impl Into<BoxError>) -> Self {
        Self::new(Kind::Seed, "the tenant's home could not be seeded").caused_by(error)
    }

    pub(super) fn hook(error: BoxError) -> Self {
        Self::new(Kind::Hook, "a hook stopped it").caused_by(error)
    }

    pub(super) fn not_ours(why: &'static str) -> Self {
        Self::new(Kind::NotOurs, "the tenant's home is not dropped here").caused_by(why)
    }

    pub(super) fn not_emptied() -> Self {
        Self::new(
            Kind::NotEmptied,
            "nothing says which rows of the shared tables are the tenant's: give `remove_rows`",
        )
    }

    pub(super) fn no_tenant() -> Self {
        Self::new(Kind::NoTenant, "there is no such tenant")
    }

    pub(super) fn busy() -> Self {
        Self::new(
            Kind::Busy,
            "another process is at it, or was and has ended: try again later",
        )
    }

    pub(super) fn settings(why: impl Into<BoxError>) -> Self {
        Self::new(Kind::Settings, "what makes homes is not set up as it should be").caused_by(why)
    }

    pub(super) fn ended() -> Self {
        Self::new(Kind::Ended, "the runtime ended first; it is taken up again")
    }

    pub(super) fn not_movable(why: impl Into<BoxError>) -> Self {
        Self::new(Kind::NotMovable, "this tenant can not be moved so").caused_by(why)
    }

    pub(super) fn occupied() -> Self {
        Self::new(
            Kind::Occupied,
            "there is something where the tenant is to move to, or was not long ago: name another place",
        )
    }

    /// Whether the catalogue refused the tenant or failed. The source is a [`CatalogueError`].
    pub fn is_catalogue(&self) -> bool {
        self.kind == Kind::Catalogue
    }

    /// Whether the server refused or failed.
    pub fn is_server(&self) -> bool {
        self.kind == Kind::Server
    }

    /// Whether the migrations failed. The source is a [`MigrationError`].
    pub fn is_migration(&self) -> bool {
        self.kind == Kind::Migration
    }

    /// Whether a seed failed.
    pub fn is_seed(&self) -> bool {
        self.kind == Kind::Seed
    }

    /// Whether a hook before a step returned an error.
    pub fn is_hook(&self) -> bool {
        self.kind == Kind::Hook
    }

    /// Whether the tenant's placement leads nowhere that may be, or where another tenant lives. The source is a
    /// [`DatabaseError`] or says why.
    pub fn is_misplaced(&self) -> bool {
        self.kind == Kind::Misplaced
    }

    /// Whether there is no such tenant.
    pub fn is_no_tenant(&self) -> bool {
        self.kind == Kind::NoTenant
    }

    /// Whether the tenant's home was not made by a [`Lifecycle`](super::Lifecycle), or others are led there too.
    pub fn is_not_ours(&self) -> bool {
        self.kind == Kind::NotOurs
    }

    /// Whether the tenant shares tables that have no policies, and nothing was given that
    /// [removes its rows](super::LifecycleBuilder::remove_rows).
    pub fn is_not_emptied(&self) -> bool {
        self.kind == Kind::NotEmptied
    }

    /// Whether another process is at work on the same home.
    pub fn is_busy(&self) -> bool {
        self.kind == Kind::Busy
    }

    /// Whether the tenant can not be moved as it is, or not there: where tenants share tables, or where it has what an export
    /// leaves behind. The source says why.
    pub fn is_not_movable(&self) -> bool {
        self.kind == Kind::NotMovable
    }

    /// Whether there is something already where the tenant was to be moved to.
    pub fn is_occupied(&self) -> bool {
        self.kind == Kind::Occupied
    }

    /// Whether the data could not be taken from one home to the other. The source is a [`TransferError`].
    pub fn is_transfer(&self) -> bool {
        self.kind == Kind::Transfer
    }

    /// Whether the [builder](super::LifecycleBuilder) was told what can not be.
    pub fn is_settings(&self) -> bool {
        self.kind == Kind::Settings
    }
}

impl From<CatalogueError> for LifecycleError {
    fn from(error: CatalogueError) -> Self {
        Self::new(Kind::Catalogue, "the catalogue refused or failed").caused_by(error)
    }
}

impl From<MigrationError> for LifecycleError {
    fn from(error: MigrationError) -> Self {
        Self::new(Kind::Migration, "the tenant's home could not be migrated").caused_by(error)
    }
}

impl From<TransferError> for LifecycleError {
    fn from(error: TransferError) -> Self {
        Self::new(Kind::Transfer, "the tenant's data could not be moved").caused_by(error)
    }
}

impl From<DatabaseError> for LifecycleError {
    fn from(error: DatabaseError) -> Self {
        Self::misplaced(error)
    }
}

impl LifecycleError {
    pub(super) fn misplaced(why: impl Into<BoxError>) -> Self {
        Self::new(
            Kind::Misplaced,
            "the tenant's placement leads nowhere that may be",
        )
        .caused_by(why)
    }
}

impl fmt::Display for LifecycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl Error for LifecycleError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
