use std::{error::Error, fmt};

use tenancy_core::{BoxError, InvalidName};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotFound,
    Conflict,
    Invalid,
    Unavailable,
    ReadOnly,
    TooNew,
    WrongShape,
    Corrupt,
}

/// Why the catalogue refused or failed.
///
/// Opaque; ask with the `is_*` methods. The `Display` form may be shown to any client: it names no tenant and
/// repeats no input. What an operator needs beside it is in [`operator_detail`](Self::operator_detail); the
/// cause, if there is one, is kept as [`source`](Error::source).
pub struct CatalogueError {
    kind: Kind,
    text: &'static str,
    detail: Option<Box<str>>,
    source: Option<BoxError>,
}

impl CatalogueError {
    fn new(kind: Kind, text: &'static str) -> Self {
        Self {
            kind,
            text,
            detail: None,
            source: None,
        }
    }

    pub(crate) fn invalid(text: &'static str, detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Invalid, text).with_detail(detail)
    }

    pub(crate) fn invalid_name(text: &'static str, error: InvalidName) -> Self {
        Self::new(Kind::Invalid, text)
            .with_detail(error.to_string())
            .caused_by(error)
    }

    /// Whether there is no such tenant or domain.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether a name is taken, or the tenant's status does not allow the change.
    pub fn is_conflict(&self) -> bool {
        self.kind == Kind::Conflict
    }

    /// Whether a given value is not valid.
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// Whether the catalogue could not be reached or did not answer in time. Trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether the catalogue cannot be changed: by the rights of the file or its directory, or because it was opened
    /// read-only or is made of views over the application's own tables.
    pub fn is_read_only(&self) -> bool {
        self.kind == Kind::ReadOnly
    }

    /// Whether the file was made by a newer version that this one cannot read.
    pub fn is_too_new(&self) -> bool {
        self.kind == Kind::TooNew
    }

    /// Whether the file is no catalogue of the kind that was asked for, or an adopted one lacks views, columns or
    /// triggers. The [`operator_detail`](Self::operator_detail) names what is missing.
    pub fn is_wrong_shape(&self) -> bool {
        self.kind == Kind::WrongShape
    }

    /// Whether the stored data does not describe a tenant.
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }

    /// What an operator should know and a client should not: names, paths, values, and what to do.
    pub fn operator_detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    fn with_detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
impl CatalogueError {
    pub(crate) fn not_found(text: &'static str, detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::NotFound, text).with_detail(detail)
    }

    pub(crate) fn conflict(text: &'static str, detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Conflict, text).with_detail(detail)
    }

    pub(crate) fn unavailable(detail: impl Into<Box<str>>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Unavailable, "the catalogue could not be reached")
            .with_detail(detail)
            .caused_by(source)
    }

    pub(crate) fn not_writable(detail: impl Into<Box<str>>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::ReadOnly, "the catalogue cannot be written")
            .with_detail(detail)
            .caused_by(source)
    }

    /// A change that this kind of store never makes.
    pub(crate) fn read_only(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::ReadOnly, "the catalogue is read-only").with_detail(detail)
    }

    pub(crate) fn wrong_shape(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::WrongShape, "the file is not a catalogue of this kind").with_detail(detail)
    }

    pub(crate) fn too_new(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::TooNew, "the catalogue was made by a newer version").with_detail(detail)
    }

    pub(crate) fn corrupt(detail: impl Into<Box<str>>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Corrupt, "the catalogue holds a record that cannot be read")
            .with_detail(detail)
            .caused_by(source)
    }

    /// Whether the store itself failed, so that trying the next tenant is of no use.
    pub(crate) fn is_store_failure(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::ReadOnly)
    }

    /// What a request's look-up answers instead.
    pub(crate) fn into_store_error(self) -> tenancy_core::StoreError {
        if self.is_corrupt() {
            tenancy_core::StoreError::corrupt(self)
        } else {
            tenancy_core::StoreError::unavailable(self)
        }
    }

    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        if matches!(
            error,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_)
        ) {
            return Self::corrupt("a column has a value of another type", error);
        }
        match meaning(&error) {
            Meaning::ReadOnlyFile => Self::not_writable(
                "SQLite reports a read-only database: check the rights of the file and its directory, and \
                 whether the file system is mounted read-only",
                error,
            ),
            Meaning::NotAllowed => Self::not_writable(
                "the server does not let this role do that: check what it may do with the catalogue's tables, and \
                 whether the server is a read-only replica",
                error,
            ),
            Meaning::Taken => Self::new(Kind::Conflict, "a name is taken")
                .with_detail("a row was written by other means while this change ran")
                .caused_by(error),
            Meaning::Other => Self::unavailable("a query failed", error),
        }
    }

    /// The first connection to a server failed.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn not_connected(place: &impl fmt::Display, error: sqlx::Error) -> Self {
        let what_to_do = match &error {
            sqlx::Error::Database(cause) => format!("it answered: {}", cause.message()),
            sqlx::Error::PoolTimedOut => {
                "it does not answer: check host and port, and whether it runs".to_owned()
            }
            sqlx::Error::Tls(_) => "TLS does not work: see `sslmode` and sqlx's `tls-*` features".to_owned(),
            _ => "check host and port, and whether it runs".to_owned(),
        };
        Self::unavailable(format!("{place} cannot be opened: {what_to_do}"), error)
    }
}

/// What a database's own code says.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
enum Meaning {
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "for files only"))]
    ReadOnlyFile,
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        expect(dead_code, reason = "for servers only")
    )]
    NotAllowed,
    Taken,
    Other,
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
fn meaning(error: &sqlx::Error) -> Meaning {
    let Some(cause) = error.as_database_error() else {
        return Meaning::Other;
    };
    #[cfg(feature = "sqlite")]
    if cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // `SQLITE_READONLY` with or without an extension in the upper bytes.
        let code = cause.code().and_then(|code| code.parse::<u32>().ok());
        return match code.map(|code| code & 0xff) {
            Some(8) => Meaning::ReadOnlyFile,
            _ => Meaning::Other,
        };
    }
    #[cfg(feature = "postgres")]
    if let Some(cause) = cause.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        // insufficient_privilege, read_only_sql_transaction
        if matches!(cause.code(), "42501" | "25006") {
            return Meaning::NotAllowed;
        }
    }
    #[cfg(feature = "mysql")]
    if let Some(cause) = cause.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // ER_DBACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        if matches!(cause.number(), 1044 | 1142 | 1290 | 1792) {
            return Meaning::NotAllowed;
        }
    }
    if cause.is_unique_violation() {
        return Meaning::Taken;
    }
    Meaning::Other
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogueError")
            .field("kind", &self.kind)
            .field("text", &self.text)
            .field("detail", &self.detail)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for CatalogueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
