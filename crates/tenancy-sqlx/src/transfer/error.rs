use std::{error::Error, fmt, io, path::Path};

use tenancy_core::BoxError;

use crate::database::DatabaseError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Placement,
    Server,
    Files,
    Damaged,
    Mismatch,
    NotEmpty,
    Unsupported,
    Migrating,
}

/// Why a tenant's data was not exported or imported. Nothing was changed then, unless a method says otherwise.
///
/// Opaque; ask with the `is_*` methods. For operators: the `Display` form names tables, files and what to do. The cause, if
/// there is one, is kept as [`source`](Error::source).
pub struct TransferError {
    kind: Kind,
    text: Box<str>,
    source: Option<BoxError>,
}

impl TransferError {
    fn new(kind: Kind, text: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            text: text.into(),
            source: None,
        }
    }

    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn placement(error: DatabaseError) -> Self {
        Self::new(Kind::Placement, "there is no way to the tenant's home").caused_by(error)
    }

    pub(super) fn server(doing: impl fmt::Display, error: sqlx::Error) -> Self {
        Self::new(Kind::Server, format!("the database failed to {doing}")).caused_by(error)
    }

    pub(super) fn file(doing: &str, path: &Path, error: io::Error) -> Self {
        Self::new(Kind::Files, format!("could not {doing} {}", path.display())).caused_by(error)
    }

    pub(super) fn directory(text: String) -> Self {
        Self::new(Kind::Files, text)
    }

    /// The export is not what an export is. `text` says what, and quotes what stands there only escaped.
    pub(super) fn damaged(text: impl fmt::Display) -> Self {
        Self::new(Kind::Damaged, format!("this is no whole export: {text}"))
    }

    pub(super) fn mismatch(text: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Mismatch, text)
    }

    pub(super) fn not_empty(table: &str) -> Self {
        Self::new(
            Kind::NotEmpty,
            format!(
                "the table {table:?} of the home is not empty: import into a new home, or ask to replace"
            ),
        )
    }

    pub(super) fn unsupported(text: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Unsupported, text)
    }

    pub(super) fn migrating() -> Self {
        Self::new(
            Kind::Migrating,
            "the home is migrated, or imported into, at the same time: try again when that has ended",
        )
    }

    /// Whether the record leads nowhere, or its server has no owner's URL. The source is a [`DatabaseError`].
    pub fn is_placement(&self) -> bool {
        self.kind == Kind::Placement
    }

    /// Whether the database refused or failed. After an import whose last step failed so, whether it lasts is not known.
    pub fn is_server(&self) -> bool {
        self.kind == Kind::Server
    }

    /// Whether files or directories could not be read or written, or the directory is not free.
    pub fn is_files(&self) -> bool {
        self.kind == Kind::Files
    }

    /// Whether the directory holds no whole export: something is missing, was changed, or should not be there.
    pub fn is_damaged(&self) -> bool {
        self.kind == Kind::Damaged
    }

    /// Whether the export is of other migrations, tables or another engine than the home.
    pub fn is_mismatch(&self) -> bool {
        self.kind == Kind::Mismatch
    }

    /// Whether there are rows in the home, and it was not said that they may be [replaced](super::Import::replace).
    pub fn is_not_empty(&self) -> bool {
        self.kind == Kind::NotEmpty
    }

    /// Whether this can not be done for tenants that are kept apart like this, or for tables like these.
    pub fn is_unsupported(&self) -> bool {
        self.kind == Kind::Unsupported
    }

    /// Whether somebody migrated the home meanwhile, or imports into it: another try may help.
    pub fn is_migrating(&self) -> bool {
        self.kind == Kind::Migrating
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferError")
            .field("kind", &self.kind)
            .field("text", &self.text)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for TransferError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
