//! What differs between PostgreSQL, MySQL or MariaDB, and SQLite for a pool of connections.

mod fences;
mod homes;
mod migrates;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use sqlx::{Connection, Database, IntoArguments, error::BoxDynError, query::Query};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use sqlx_core::transaction::TransactionManager;

use crate::{
    audit::Seen,
    isolation::{Audited, EngineKind},
    pool::{breaker::FaultKind, target::Session},
    transfer::Transfers,
};

pub(crate) use fences::{FenceError, Fences, Patience};
pub(crate) use homes::{MakesHomes, Plot};
pub(crate) use migrates::{Fault, Grammar, Migrates};

/// A database that tenants can live in: `sqlx::Postgres`, `sqlx::MySql` and `sqlx::Sqlite`, each with the feature of
/// its name. Sealed.
pub trait TenantEngine: Engine + Migrates + MakesHomes + Transfers + Fences {}

impl<DB: Engine + Migrates + MakesHomes + Transfers + Fences> TenantEngine for DB {}

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

/// How a transaction begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    pub is_read_only: bool,
    /// Whether the session that answers is another one in each transaction.
    pub is_pooled: bool,
}

/// Not reachable from outside: it seals [`TenantEngine`].
pub trait Engine: Database<Arguments: IntoArguments<Self>> {
    /// Who the server says the session is, and how it was when nobody had used it.
    type Session: Send + Sync + 'static;

    const KIND: EngineKind;

    /// Whether a statement is cancelled through another connection.
    const CANCELS_BY_CONTROL: bool;

    /// The same server and login, another database or file.
    fn at(options: &Options<Self>, database: &str) -> Options<Self>;

    /// The database that the options name; on SQLite, the directory.
    fn home(options: &Options<Self>) -> String;

    /// The same, for a server behind a pooler: nothing is kept in a session from one transaction to the next.
    fn pooled(options: Options<Self>) -> Options<Self>;

    /// What begins a transaction in a tenant's part of a database. `None`: the plain statement does.
    fn begin(session: &Session, access: Access) -> Option<String>;

    /// What makes a connection a tenant's until it is reset. `None`: it is so already.
    fn enter(session: &Session) -> Option<String>;

    /// Whether a statement failed because what sqlx remembers of it is no longer true.
    fn is_stale(error: &sqlx::Error) -> bool;

    /// Runs a statement that asks for nothing.
    fn run(
        connection: &mut Self::Connection,
        sql: String,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Binds a text as the next value.
    fn bind_text(arguments: &mut Self::Arguments, text: &str) -> Result<(), BoxDynError>;

    /// A column that is text and not null.
    fn text_of(row: &Self::Row, column: usize) -> Result<String, sqlx::Error>;

    /// Runs a query for what it does.
    fn execute(
        connection: &mut Self::Connection,
        query: Query<'_, Self, Self::Arguments>,
    ) -> impl Future<Output = Result<Self::QueryResult, sqlx::Error>> + Send;

    /// How many rows a query has changed.
    fn rows_affected(done: &Self::QueryResult) -> u64;

    /// Runs a query for its rows.
    fn fetch_all(
        connection: &mut Self::Connection,
        query: Query<'_, Self, Self::Arguments>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;

    /// Drops what sqlx remembers of statements.
    fn forget_statements(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Opens a connection and asks who it is. Dropping the future closes the socket.
    fn open(
        options: &Options<Self>,
        is_pooled: bool,
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

    /// Which of the sessions the server still counts, in their order. `control` is another connection of the same user.
    fn are_there(
        control: &mut Self::Connection,
        sessions: &[Arc<Self::Session>],
    ) -> impl Future<Output = Result<Vec<bool>, sqlx::Error>> + Send;

    /// Ends sessions, whatever they do. `control` is another connection of the same user.
    fn end(
        control: &mut Self::Connection,
        sessions: &[Arc<Self::Session>],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Looks at a server before tenants are served from it.
    fn audit<'a>(
        options: &'a Options<Self>,
        audited: &'a [Audited<'a>],
        is_pooled: bool,
    ) -> impl Future<Output = Result<Seen, sqlx::Error>> + Send + 'a;

    /// Whom a failed connect concerns.
    fn classify(error: &sqlx::Error) -> FaultKind;
}

/// How many abandoned answers, each with an error, may stand before the answer to a reset.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const ABANDONED_ANSWERS: u64 = 8;

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
