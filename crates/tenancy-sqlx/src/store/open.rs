use std::{error::Error as _, fs, io, path::Path, sync::Arc, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tenancy_core::ChangeSignal;
use tokio::sync::RwLock;

use super::{Inner, SqlStore, SqlStoreOptions, locks, schema};
use crate::CatalogueError;

const BUSY: u32 = 5;
const CANNOT_OPEN: u32 = 14;
const NOT_A_DATABASE: u32 = 26;

impl SqlStore {
    /// Opens a file, creates it if it is missing (readable by its owner only), and brings its schema up to date.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, the file is no catalogue, or a newer program made it
    /// that this one cannot read. [`operator_detail`](CatalogueError::operator_detail) says what to do.
    pub async fn open(options: SqlStoreOptions) -> Result<Self, CatalogueError> {
        create_file(&options.path)?;
        let writer = open_writer(&options, Contents::Catalogue).await?;
        let readers = pool(&options, options.readers)
            .connect_lazy_with(connect_options(&options).pragma("query_only", "1"));
        Ok(Self {
            inner: Arc::new(Inner {
                readers,
                writer,
                signal: ChangeSignal::new(),
                options,
                running_changes: RwLock::new(()),
            }),
            actor: None,
        })
    }
}

/// What a file is opened for.
#[derive(Clone, Copy)]
enum Contents {
    Catalogue,
    Locks,
}

/// Opens a file for leases, with one connection, and makes their table.
pub(super) async fn open_locks(options: &SqlStoreOptions) -> Result<SqlitePool, CatalogueError> {
    create_file(&options.path)?;
    open_writer(options, Contents::Locks).await
}

fn pool(options: &SqlStoreOptions, connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.wait)
        // A connection to a local file does not go stale; opening one anew costs its prepared statements.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn connect_options(options: &SqlStoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&options.path)
        .foreign_keys(true)
        .busy_timeout(options.wait)
}

/// Opens the writing connection and brings the schema up to date. Where several processes open a new file at once,
/// SQLite does not let the losers of its switch to WAL wait, so they try again.
async fn open_writer(options: &SqlStoreOptions, contents: Contents) -> Result<SqlitePool, CatalogueError> {
    let attempts = async {
        loop {
            match try_open_writer(options, contents).await {
                Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(options.wait.saturating_mul(2), attempts).await {
        Ok(opened) => opened,
        Err(elapsed) => Err(CatalogueError::unavailable(
            format!("another process keeps {} locked", options.path.display()),
            elapsed,
        )),
    }
}

async fn try_open_writer(
    options: &SqlStoreOptions,
    contents: Contents,
) -> Result<SqlitePool, CatalogueError> {
    let connect = connect_options(options)
        .journal_mode(SqliteJournalMode::Wal)
        // A committed change must outlive a power cut: its id is never to be given again.
        .synchronous(SqliteSynchronous::Full);
    let writer = pool(options, 1)
        .connect_with(connect)
        .await
        .map_err(|error| explain(&options.path, error))?;
    let mut connection = writer.acquire().await.map_err(CatalogueError::from_sqlx)?;
    match contents {
        Contents::Catalogue => schema::migrate(&mut connection, &*options.clock).await?,
        Contents::Locks => {
            sqlx::query(locks::TABLE)
                .execute(&mut *connection)
                .await
                .map_err(CatalogueError::from_sqlx)?;
        }
    }
    drop(connection);
    Ok(writer)
}

fn is_busy(error: &CatalogueError) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    cause.and_then(code_of) == Some(BUSY)
}

fn code_of(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

fn explain(path: &Path, error: sqlx::Error) -> CatalogueError {
    match code_of(&error) {
        Some(CANNOT_OPEN) => CatalogueError::not_writable(
            format!(
                "{} cannot be opened: check that it is a file, and that this process may write to it and to its \
                 directory, where SQLite keeps `-wal` and `-shm` files beside it",
                path.display()
            ),
            error,
        ),
        Some(NOT_A_DATABASE) => CatalogueError::corrupt(
            format!("{} is not a SQLite file: give another path", path.display()),
            error,
        ),
        _ => CatalogueError::from_sqlx(error),
    }
}

/// Creates a missing file itself, so that its mode is right from the first moment. SQLite gives the files that it
/// keeps beside it the same mode.
fn create_file(path: &Path) -> Result<(), CatalogueError> {
    let mut open = fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(explain_io(path, error)),
    }
}

fn explain_io(path: &Path, error: io::Error) -> CatalogueError {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.display(),
        _ => Path::new(".").display(),
    };
    let what_to_do = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            format!("the directory {directory} does not exist: create it, or give another path")
        }
        io::ErrorKind::StorageFull => format!("the disk of {directory} is full: make room"),
        _ => format!(
            "the directory {directory} is not writable for this process: give it the right to write there, or give \
             another path"
        ),
    };
    CatalogueError::not_writable(
        format!("{} cannot be created: {what_to_do}", path.display()),
        error,
    )
}
