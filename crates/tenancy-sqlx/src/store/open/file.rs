//! Opening a SQLite file.

use std::{error::Error as _, fs, io, path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Opened, Tables, checked_kind};
use crate::{
    CatalogueError,
    central::Pool,
    store::{SqlStoreOptions, StoreKind, schema, shape},
};

const BUSY: u32 = 5;
const READ_ONLY: u32 = 8;
const CANNOT_OPEN: u32 = 14;
const NOT_A_DATABASE: u32 = 26;

pub(super) async fn open_to_manage(path: &Path, options: &SqlStoreOptions) -> Result<Opened, CatalogueError> {
    if create_file(path)? == Created::Before {
        check_is_not_adopted(path, options).await?;
    }
    let writer = open_writer(path, options, Contents::Catalogue).await?;
    let readers = pool(options, options.readers).connect_lazy_with(reader_options(path, options));
    Ok(Opened {
        kind: StoreKind::Managed,
        readers: Pool::Sqlite(readers),
        writer: Some(writer),
        is_read_alone: false,
    })
}

pub(super) async fn open_to_read(path: &Path, options: &SqlStoreOptions) -> Result<Opened, CatalogueError> {
    let (readers, is_read_alone) = open_readers(path, options).await?;
    let readers = Pool::Sqlite(readers);
    let mut connection = readers
        .acquire()
        .await
        .map_err(|error| explain_read(path, error))?;
    let found = shape::kind_of(&mut connection)
        .await
        .map_err(|error| explain_not_sqlite(path, error))?;
    let kind = checked_kind(found, options)?;
    match kind {
        StoreKind::Adopted => shape::check(&mut connection).await?,
        StoreKind::Managed | StoreKind::ReadOnly => schema::check_can_be_read(&mut connection).await?,
    }
    drop(connection);
    Ok(Opened {
        kind,
        readers,
        writer: None,
        is_read_alone,
    })
}

/// Without locks a read is right only while nobody writes. SQLite puts its log beside a file that is in use.
pub(super) fn check_is_still_alone(path: &Path) -> Result<(), CatalogueError> {
    if has_log(path) {
        return Err(CatalogueError::unavailable(
            format!(
                "another process has opened {} meanwhile: open it again",
                path.display()
            ),
            "the file was opened while nobody else had it open",
        ));
    }
    Ok(())
}

fn reader_options(path: &Path, options: &SqlStoreOptions) -> SqliteConnectOptions {
    connect_options(path, options).pragma("query_only", "1")
}

/// Connections that write nothing, whatever they may. A file in WAL mode that nobody has open cannot be read in a
/// directory that cannot be written: SQLite wants to make its log there. It is read as one that does not change then.
async fn open_readers(path: &Path, options: &SqlStoreOptions) -> Result<(SqlitePool, bool), CatalogueError> {
    let first = pool(options, options.readers)
        .connect_with(reader_options(path, options))
        .await;
    // SQLite opens lazily: the first statement tells.
    let tried = match first {
        Ok(readers) => try_read(&readers).await.map(|()| readers),
        Err(error) => Err(error),
    };
    match tried {
        Ok(readers) => Ok((readers, false)),
        Err(error) if is_denied(&error) && path.is_file() && !has_log(path) => {
            let alone = reader_options(path, options).read_only(true).immutable(true);
            let readers = pool(options, options.readers)
                // A connection that takes the file for one that never changes must not be kept.
                .after_release(|_, _| Box::pin(async { Ok(false) }))
                .connect_with(alone)
                .await
                .map_err(|error| explain_read(path, error))?;
            Ok((readers, true))
        }
        Err(error) => Err(explain_read(path, error)),
    }
}

async fn try_read(readers: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT count(*) FROM sqlite_schema")
        .fetch_one(readers)
        .await
        .map(drop)
}

fn is_denied(error: &sqlx::Error) -> bool {
    matches!(code_of(error), Some(CANNOT_OPEN | READ_ONLY))
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).exists()
}

/// Before anything is written: the file is the application's.
async fn check_is_not_adopted(path: &Path, options: &SqlStoreOptions) -> Result<(), CatalogueError> {
    let looking = Pool::Sqlite(pool(options, 1).connect_lazy_with(reader_options(path, options)));
    let mut connection = looking.acquire().await.map_err(|error| explain(path, error))?;
    let found = shape::kind_of(&mut connection)
        .await
        .map_err(|error| explain_not_sqlite(path, error));
    drop(connection);
    looking.close().await;
    super::refuse_adopted(found?, options)
}

fn explain_read(path: &Path, error: sqlx::Error) -> CatalogueError {
    match code_of(&error) {
        Some(CANNOT_OPEN) => CatalogueError::unavailable(
            format!(
                "{} cannot be opened: check that it is there and can be read",
                path.display()
            ),
            error,
        ),
        _ => explain(path, error),
    }
}

/// SQLite looks at the file no sooner than at the first statement.
fn explain_not_sqlite(path: &Path, error: CatalogueError) -> CatalogueError {
    if sqlite_code(&error) != Some(NOT_A_DATABASE) {
        return error;
    }
    CatalogueError::corrupt(
        format!("{} is not a SQLite file: give another path", path.display()),
        error,
    )
}

/// What a file is opened for.
#[derive(Clone, Copy)]
enum Contents {
    Catalogue,
    Beside(Tables),
}

/// Opens a file with one connection, for tables beside the catalogue's.
pub(super) async fn open_beside(
    path: &Path,
    options: &SqlStoreOptions,
    tables: Tables,
) -> Result<Pool, CatalogueError> {
    create_file(path)?;
    open_writer(path, options, Contents::Beside(tables)).await
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

fn connect_options(path: &Path, options: &SqlStoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(options.wait)
}

/// Opens the writing connection and brings the schema up to date. Where several processes open a new file at once,
/// SQLite does not let the losers of its switch to WAL wait, so they try again.
async fn open_writer(
    path: &Path,
    options: &SqlStoreOptions,
    contents: Contents,
) -> Result<Pool, CatalogueError> {
    let attempts = async {
        loop {
            match try_open_writer(path, options, contents).await {
                Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(options.wait.saturating_mul(2), attempts).await {
        Ok(opened) => opened,
        Err(elapsed) => Err(CatalogueError::unavailable(
            format!("another process keeps {} locked", path.display()),
            elapsed,
        )),
    }
}

async fn try_open_writer(
    path: &Path,
    options: &SqlStoreOptions,
    contents: Contents,
) -> Result<Pool, CatalogueError> {
    let connect = connect_options(path, options)
        .journal_mode(SqliteJournalMode::Wal)
        // A committed change must outlive a power cut: its id is never to be given again.
        .synchronous(SqliteSynchronous::Full);
    let writer = pool(options, 1)
        .connect_with(connect)
        .await
        .map_err(|error| explain(path, error))?;
    let writer = Pool::Sqlite(writer);
    match contents {
        Contents::Catalogue => {
            let mut connection = writer.acquire().await.map_err(CatalogueError::from_sqlx)?;
            schema::migrate(&mut connection, &*options.clock).await?;
        }
        Contents::Beside(tables) => schema::create_table(&writer, tables(writer.dialect())).await?,
    }
    Ok(writer)
}

fn is_busy(error: &CatalogueError) -> bool {
    sqlite_code(error) == Some(BUSY)
}

fn sqlite_code(error: &CatalogueError) -> Option<u32> {
    let cause = error.source()?.downcast_ref::<sqlx::Error>()?;
    code_of(cause)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Created {
    Now,
    Before,
}

/// Creates a missing file itself, so that its mode is right from the first moment. SQLite gives the files that it
/// keeps beside it the same mode.
fn create_file(path: &Path) -> Result<Created, CatalogueError> {
    let mut open = fs::OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open.open(path) {
        Ok(_) => Ok(Created::Now),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Before),
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
