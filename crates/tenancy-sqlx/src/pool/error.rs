use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use tenancy_core::BoxError;

use super::{breaker::FaultKind, core::Refusal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    QueueFull,
    WaitTimeout,
    Missing,
    Refused,
    Crowded,
    Unavailable,
    Moved,
    UnknownServer,
    Deleted,
    ShutDown,
    Misplaced,
    BehindPooler,
    Guarded,
    Failed,
    Abandoned,
}

/// Why there is no connection to a tenant's database, or why a statement failed there.
///
/// Opaque; ask with the `is_*` methods. The `Display` form may be shown to any client: it names no tenant and no server.
/// The cause, if there is one, is kept as [`source`](Error::source).
#[derive(Clone)]
pub struct DatabaseError {
    kind: Kind,
    retry_after: Option<Duration>,
    cause: Option<Arc<BoxError>>,
}

impl DatabaseError {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            retry_after: None,
            cause: None,
        }
    }

    pub(super) fn wait_timeout(waited: Duration) -> Self {
        Self {
            retry_after: Some(waited),
            ..Self::new(Kind::WaitTimeout)
        }
    }

    pub(crate) fn unknown_server() -> Self {
        Self::new(Kind::UnknownServer)
    }

    pub(super) fn deleted() -> Self {
        Self::new(Kind::Deleted)
    }

    /// The tenant's placement leads nowhere that may be.
    pub(crate) fn misplaced(cause: impl Into<BoxError>) -> Self {
        Self {
            cause: Some(Arc::new(cause.into())),
            ..Self::new(Kind::Misplaced)
        }
    }

    pub(crate) fn behind_pooler() -> Self {
        Self::new(Kind::BehindPooler)
    }

    pub(crate) fn guarded() -> Self {
        Self::new(Kind::Guarded)
    }

    pub(crate) fn abandoned() -> Self {
        Self::new(Kind::Abandoned)
    }

    /// There is a server, and nothing of the tenant's.
    pub(crate) fn missing(cause: impl Into<BoxError>) -> Self {
        Self {
            cause: Some(Arc::new(cause.into())),
            ..Self::new(Kind::Missing)
        }
    }

    /// A connection outside of the pool could not be opened.
    pub(crate) fn not_connected(fault: FaultKind, error: sqlx::Error) -> Self {
        Self {
            cause: Some(Arc::new(error.into())),
            ..Self::new(kind_of(fault))
        }
    }

    /// The same, for it took too long.
    pub(crate) fn not_in_time() -> Self {
        Self {
            cause: Some(Arc::new(ConnectTimeout.into())),
            ..Self::new(Kind::Unavailable)
        }
    }

    pub(super) fn refused(refusal: Refusal, wait: Duration) -> Self {
        match refusal {
            Refusal::QueueFull => Self {
                retry_after: Some(wait),
                ..Self::new(Kind::QueueFull)
            },
            Refusal::Moved => Self::new(Kind::Moved),
            Refusal::ShutDown => Self::new(Kind::ShutDown),
            Refusal::Failed { fault, retry_after } => Self {
                kind: kind_of(fault.kind),
                retry_after: Some(retry_after),
                cause: fault.cause,
            },
        }
    }

    /// Whether all connections that the tenant may have are in use, and too many requests wait, or waited for too long.
    pub fn is_busy(&self) -> bool {
        matches!(self.kind, Kind::QueueFull | Kind::WaitTimeout | Kind::Crowded)
    }

    /// Whether it waited for a connection for as long as [`PoolSettings::wait_timeout`](super::PoolSettings::wait_timeout)
    /// allows.
    pub fn is_wait_timeout(&self) -> bool {
        self.kind == Kind::WaitTimeout
    }

    /// Whether the server could not be reached, or did not answer in time.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether opening took longer than [`PoolSettings::connect_timeout`](super::PoolSettings::connect_timeout) allows.
    pub fn is_connect_timeout(&self) -> bool {
        self.cause
            .as_ref()
            .is_some_and(|cause| cause.is::<ConnectTimeout>())
    }

    /// Whether the tenant's database does not exist.
    pub fn is_missing_database(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// Whether the server did not let the login in, or not into this database.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Whether the tenant's record was replaced meanwhile and leads elsewhere: asking anew, with the newest one, helps.
    pub fn is_moved(&self) -> bool {
        self.kind == Kind::Moved
    }

    /// Whether the tenant's record names a server that the settings do not.
    pub fn is_unknown_server(&self) -> bool {
        self.kind == Kind::UnknownServer
    }

    /// Whether the tenant is deleted.
    pub fn is_deleted(&self) -> bool {
        self.kind == Kind::Deleted
    }

    /// Whether the tenant's placement leads where it may not: to a database of the server's or the application's own, to
    /// another tenant's, out of a directory, or to a strategy that is not there. The [source](Error::source) says which.
    pub fn is_misplaced(&self) -> bool {
        self.kind == Kind::Misplaced
    }

    /// Whether the session would have to keep something from one transaction to the next, and a pooler in transaction mode
    /// stands in between. A transaction works there.
    pub fn is_behind_pooler(&self) -> bool {
        self.kind == Kind::BehindPooler
    }

    /// Whether the tenant shares tables that no policy guards, so that only guarded statements are taken.
    pub fn is_guarded(&self) -> bool {
        self.kind == Kind::Guarded
    }

    /// Whether the database refused a statement. The [source](Error::source) is sqlx's error.
    pub fn is_failed(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// Whether an operation of a [batch](crate::batch) panicked, or its group ended without it.
    pub fn is_abandoned(&self) -> bool {
        self.kind == Kind::Abandoned
    }

    /// sqlx's error, if that is the cause.
    pub fn as_sqlx(&self) -> Option<&sqlx::Error> {
        self.cause.as_ref()?.downcast_ref()
    }

    /// Whether the pool was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.kind == Kind::ShutDown
    }

    /// After how long it may be worth trying again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

fn kind_of(fault: FaultKind) -> Kind {
    match fault {
        FaultKind::Missing => Kind::Missing,
        FaultKind::Refused => Kind::Refused,
        FaultKind::Crowded => Kind::Crowded,
        FaultKind::Unreachable | FaultKind::Abandoned => Kind::Unavailable,
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::QueueFull | Kind::WaitTimeout | Kind::Crowded => "all database connections are in use",
            Kind::Missing
            | Kind::Refused
            | Kind::Unavailable
            | Kind::UnknownServer
            | Kind::Deleted
            | Kind::Misplaced => "the database is not available",
            Kind::BehindPooler => "a pooler stands in between that keeps no session: use a transaction",
            Kind::Guarded => "only guarded statements are taken",
            Kind::Failed => "a statement failed",
            Kind::Abandoned => "the operation ended without a result",
            Kind::Moved => "the database was moved",
            Kind::ShutDown => "the service is shutting down",
        })
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseError")
            .field("kind", &self.kind)
            .field("retry_after", &self.retry_after)
            .field("cause", &self.cause)
            .finish()
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &***cause as &(dyn Error + 'static))
    }
}

/// What a statement said. One that could not be asked at all is a database that is [away](DatabaseError::is_unavailable).
impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        // The server ends the session: it shuts down, or was told to.
        let ends = |code: Cow<'_, str>| code.starts_with("57P") || code.starts_with("08");
        let kind = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => Kind::Unavailable,
            sqlx::Error::Database(error) if error.code().is_some_and(ends) => Kind::Unavailable,
            _ => Kind::Failed,
        };
        Self {
            cause: Some(Arc::new(Box::new(error))),
            ..Self::new(kind)
        }
    }
}

/// The cause where nothing else failed.
#[derive(Debug)]
pub(super) struct ConnectTimeout;

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server did not answer in time")
    }
}

impl Error for ConnectTimeout {}
