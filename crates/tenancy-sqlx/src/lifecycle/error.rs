use std::{error::Error, fmt};

use tenancy_core::BoxError;

use crate::{CatalogueError, migrate::MigrationError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Catalogue,
    Server,
    Migration,
    Seed,
    NotOurs,
    NoTenant,
    Ended,
}

/// Why a tenant was not made or removed.
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
        Self::new(Kind::Server, "the server did not make or drop the tenant's home").caused_by(error)
    }

    pub(super) fn seed(error: BoxError) -> Self {
        Self::new(Kind::Seed, "the tenant's home could not be seeded").caused_by(error)
    }

    pub(super) fn not_ours() -> Self {
        Self::new(
            Kind::NotOurs,
            "the tenant's home was not made here, so that it is not dropped here",
        )
    }

    pub(super) fn no_tenant() -> Self {
        Self::new(Kind::NoTenant, "there is no such tenant")
    }

    pub(super) fn ended() -> Self {
        Self::new(Kind::Ended, "the runtime ended first; it is taken up again")
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

    /// Whether the application's own seed failed.
    pub fn is_seed(&self) -> bool {
        self.kind == Kind::Seed
    }

    /// Whether there is no such tenant.
    pub fn is_no_tenant(&self) -> bool {
        self.kind == Kind::NoTenant
    }

    /// Whether the tenant's home was not made by a [`Lifecycle`](super::Lifecycle).
    pub fn is_not_ours(&self) -> bool {
        self.kind == Kind::NotOurs
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
