//! What differs between PostgreSQL, MySQL or MariaDB, and SQLite for a pool of connections.

mod migrates;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use sqlx::{Connection, Database};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use sqlx_core::transaction::TransactionManager;

use crate::pool::breaker::FaultKind;

pub(crate) use migrates::{Fault, Grammar, Migrates};

/// A database that tenants can live in: `sqlx::Postgres`, `sqlx::MySql` and `sqlx::Sqlite`, each with the feature of
/// its name. Sealed.
pub trait TenantEngine: Engine + Migrates {}

impl<DB: Engine + Migrates> TenantEngine for DB {}

/// The options that a connection is opened with.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// Whether a connection may be used by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// It carries nothing of its last use.
    Clean,
    /// It carries something that can not be taken away; the text says what.
    Stained(&'static str),
    /// The answer is not the one to this question.
    Desynchronised,
    /// Another session of the server answered: a pooler stands in between, or connections were swapped.
    OtherSession,
}

/// Not reachable from outside: it seals [`TenantEngine`].
pub trait Engine: Database {
    /// Who the server says the session is, and how it was when nobody had used it.
    type Session: Send + Sync + 'static;

    /// Whether a statement is cancelled through another connection.
    const CANCELS_BY_CONTROL: bool;

    /// The same server and login, another database or file.
    fn at(options: &Options<Self>, database: &str) -> Options<Self>;

    /// Opens a connection and asks who it is. Dropping the future closes the socket.
    fn open(
        options: &Options<Self>,
    ) -> impl Future<Output = Result<(Self::Connection, Self::Session), sqlx::Error>> + Send;

    /// Ends whatever the connection was used for. An error means that it is of no use any more.
    ///
    /// May take as long as the statement that runs.
    fn clean(
        connection: &mut Self::Connection,
        session: &Self::Session,
        nonce: u64,
    ) -> impl Future<Output = Result<Cleaned, sqlx::Error>> + Send;

    /// Ends the statement that the session runs, whoever waits for it.
    ///
    /// `control` is another connection where [`CANCELS_BY_CONTROL`](Self::CANCELS_BY_CONTROL) says so.
    fn cancel(
        control: Option<&mut Self::Connection>,
        session: &Self::Session,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Whom a failed connect concerns.
    fn classify(error: &sqlx::Error) -> FaultKind;
}

/// How many abandoned answers, each with an error, may stand before the answer to a reset.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const ABANDONED_ANSWERS: usize = 8;

/// Queues the end of transactions that sqlx knows of. What it does not know of, the reset ends.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn queue_rollbacks<DB: Database>(connection: &mut DB::Connection) {
    for _ in 0..DB::TransactionManager::get_transaction_depth(connection) {
        DB::TransactionManager::start_rollback(connection);
    }
}

/// Whether the error is one that the server answered to an earlier statement, so that the reset is worth another try.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn is_answer_of_the_server(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_))
}

/// As text, whatever the driver's error says.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn code_of(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}
