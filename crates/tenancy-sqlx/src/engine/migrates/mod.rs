//! What differs between databases for a connection that migrates.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::time::Duration;

use sqlx::{Database, migrate::Migrate};

use crate::isolation::Identifier;

/// What differs between databases in what is text and what is not.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// `\'` inside of quotes, `` ` `` around names, `#` before comments: MySQL and MariaDB.
    pub(crate) is_mysql: bool,
}

/// What a failed statement means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something stood in the way that goes by itself: a lock, a server that starts.
    Passing,
    /// What the statement makes is there, or what it drops is not.
    DoneBefore,
    /// The database, file or schema is not there.
    Missing,
    Other,
}

/// Not reachable from outside: it seals [`TenantEngine`](crate::TenantEngine).
pub trait Migrates: Database<Connection: Migrate> {
    const GRAMMAR: Grammar;

    /// Whether a migration and its row of the ledger are one transaction, unless it says otherwise.
    const IS_ATOMIC: bool;

    /// Whether nothing but its own file is changed, by whoever holds it.
    const IS_ONE_FILE: bool;

    /// Points a new connection at a schema. Whether the schema is there.
    fn point(
        connection: &mut Self::Connection,
        search_path: &[Identifier],
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// How long statements wait for the locks of others; `None` for as long as they like.
    fn limit_lock_waits(
        connection: &mut Self::Connection,
        limit: Option<Duration>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Takes the tenant's lock, which ends with the connection. Whether nobody else has it.
    fn try_lock(
        connection: &mut Self::Connection,
        search_path: &[Identifier],
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Runs text that was made of numbers, checksums and the application's migrations.
    fn run_made(
        connection: &mut Self::Connection,
        text: String,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The first column of each row, which must be text.
    fn ask_made(
        connection: &mut Self::Connection,
        text: String,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// Takes away what a statement left that was broken off, or failed.
    fn clear_after(
        connection: &mut Self::Connection,
        statement: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    fn fault_of(error: &sqlx::Error) -> Fault;
}

/// Of errors that are no answer of a database.
fn fault_of_connection(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Fault::Passing,
        _ => Fault::Other,
    }
}
