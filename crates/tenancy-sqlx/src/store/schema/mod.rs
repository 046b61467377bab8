//! Migrations: embedded, additive, safe when several processes start at once.
//!
//! Each names the oldest reader version that still understands the catalogue after it. A binary refuses a catalogue only
//! if that is above its own newest version, so an older binary keeps working on a newer additive schema. Versions mean
//! the same in every database; one that came to be later begins with all that there was by then.

use tenancy_core::Clock;

use super::random_stamp;
use crate::{
    CatalogueError,
    central::{Connection, Dialect, Pool, sql},
};

struct Migration {
    version: u32,
    oldest_reader: u32,
    sql: &'static str,
}

#[cfg(feature = "sqlite")]
const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        oldest_reader: 1,
        sql: include_str!("sqlite_0001_catalogue.sql"),
    },
    Migration {
        version: 2,
        oldest_reader: 1,
        sql: include_str!("sqlite_0002_domain_claims.sql"),
    },
    Migration {
        version: 3,
        oldest_reader: 1,
        sql: include_str!("sqlite_0003_isolation.sql"),
    },
];

#[cfg(feature = "postgres")]
const POSTGRES: &[Migration] = &[Migration {
    version: 3,
    oldest_reader: 1,
    sql: include_str!("postgres_0001_catalogue.sql"),
}];

/// A statement of MySQL that changes a schema commits at once: each can be run again.
#[cfg(feature = "mysql")]
const MYSQL: &[Migration] = &[Migration {
    version: 3,
    oldest_reader: 1,
    sql: include_str!("mysql_0001_catalogue.sql"),
}];

/// The newest schema version that this binary knows.
const NEWEST: u32 = 3;

/// The oldest that has all that is read of tenants.
const OLDEST_READ: u32 = 3;

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS tenancy_schema (
    version INTEGER PRIMARY KEY NOT NULL, oldest_reader INTEGER NOT NULL, applied_at_ms BIGINT NOT NULL)";

/// Where a catalogue's schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaState {
    pub(super) version: u32,
    pub(super) oldest_reader: u32,
}

fn migrations(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => SQLITE,
        #[cfg(feature = "postgres")]
        Dialect::Postgres => POSTGRES,
        #[cfg(feature = "mysql")]
        Dialect::MySql => MYSQL,
    }
}

/// Brings the catalogue to the newest version, or leaves a newer one as it is. Safe when several processes start at
/// once: a lock is taken before the version is read.
pub(super) async fn migrate(connection: &mut Connection, clock: &dyn Clock) -> Result<(), CatalogueError> {
    if has_schema(connection).await? && read(connection).await?.version >= NEWEST {
        return Ok(());
    }
    lock(connection).await.map_err(CatalogueError::from_sqlx)?;
    let applied = apply_missing(connection, clock).await;
    unlock(connection, applied.is_ok())
        .await
        .map_err(CatalogueError::from_sqlx)?;
    applied
}

/// Longer than a migration takes in another process.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Until [`unlock`]: a connection that is dropped meanwhile is closed, and every database lets go of the lock then.
async fn lock(connection: &mut Connection) -> Result<(), sqlx::Error> {
    match connection.dialect() {
        // The transaction holds the lock on the file.
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => connection.begin_write(std::time::Duration::ZERO).await,
        // In the transaction, so that it ends with it.
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            connection.begin_write(LOCK_WAIT).await?;
            connection
                .run("SELECT pg_advisory_xact_lock(hashtext('tenancy_schema'), hashtext(current_schema()))")
                .await
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            // Closed, unless it is unlocked.
            connection.hold();
            let got = connection
                .fetch_one(
                    sql("SELECT coalesce(get_lock(concat('tenancy:', sha1(database())), ?), 0) AS answer")
                        .bind(i64::try_from(LOCK_WAIT.as_secs()).unwrap_or(60)),
                )
                .await?;
            match got.int("answer")? {
                1 => Ok(()),
                _ => Err(sqlx::Error::PoolTimedOut),
            }
        }
    }
}

async fn unlock(connection: &mut Connection, is_done: bool) -> Result<(), sqlx::Error> {
    match connection.dialect() {
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            connection
                .ask_int("SELECT release_lock(concat('tenancy:', sha1(database()))) AS answer")
                .await?;
            connection.let_go();
            Ok(())
        }
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        _ if is_done => connection.commit().await,
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        _ => connection.roll_back().await,
    }
}

async fn apply_missing(connection: &mut Connection, clock: &dyn Clock) -> Result<(), CatalogueError> {
    let now_ms = super::unix_ms(clock);
    run(connection, LEDGER).await?;
    let state = read(connection).await?;
    let missing = migrations(connection.dialect())
        .iter()
        .filter(|migration| migration.version > state.version);
    for (index, migration) in missing.enumerate() {
        run(connection, migration.sql).await?;
        if state.version == 0 && index == 0 {
            begin_log(connection, now_ms).await?;
        }
        // Last: where each step is for good, one that was broken off is done again.
        let record =
            sql("INSERT INTO tenancy_schema (version, oldest_reader, applied_at_ms) VALUES (?, ?, ?)")
                .bind(i64::from(migration.version))
                .bind(i64::from(migration.oldest_reader))
                .bind(now_ms);
        connection
            .execute(record)
            .await
            .map_err(CatalogueError::from_sqlx)?;
    }
    Ok(())
}

/// The log begins with a row of its own, so that every place a reader can stand at has a stamp.
async fn begin_log(connection: &mut Connection, now_ms: i64) -> Result<(), CatalogueError> {
    let has_begun = "SELECT count(*) AS answer FROM tenancy_change_head";
    if connection
        .ask_int(has_begun)
        .await
        .map_err(CatalogueError::from_sqlx)?
        > 0
    {
        return Ok(());
    }
    run(connection, "DELETE FROM tenancy_changes").await?;
    let first = sql(
        "INSERT INTO tenancy_changes (number, stamp, kind, \"keys\", at_ms) VALUES (1, ?, 'init', '[]', ?)",
    )
    .bind(random_stamp()?.cast_signed())
    .bind(now_ms);
    connection
        .execute(first)
        .await
        .map_err(CatalogueError::from_sqlx)?;
    run(
        connection,
        "INSERT INTO tenancy_change_head (only_row, number, floor) VALUES (1, 1, 1)",
    )
    .await
}

async fn run(connection: &mut Connection, sql: &'static str) -> Result<(), CatalogueError> {
    connection.run(sql).await.map_err(CatalogueError::from_sqlx)
}

async fn has_schema(connection: &mut Connection) -> Result<bool, CatalogueError> {
    let text = match connection.dialect() {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            "SELECT count(*) AS answer FROM sqlite_schema WHERE type = 'table' AND name = 'tenancy_schema'"
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => "SELECT count(to_regclass('tenancy_schema')) AS answer",
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "SELECT count(*) AS answer FROM information_schema.tables
             WHERE table_schema = database() AND table_name = 'tenancy_schema'"
        }
    };
    let found = connection.ask_int(text).await;
    Ok(found.map_err(CatalogueError::from_sqlx)? > 0)
}

/// For a store that may not migrate.
pub(super) async fn check_can_be_read(connection: &mut Connection) -> Result<(), CatalogueError> {
    let state = read(connection).await?;
    if state.version < OLDEST_READ {
        return Err(CatalogueError::wrong_shape(format!(
            "the catalogue has schema version {}, and this program reads from version {OLDEST_READ} on: open it once \
             without `read_only` to bring it up to date",
            state.version
        )));
    }
    Ok(())
}

/// Reads the catalogue's version, and refuses one that this binary cannot read.
pub(super) async fn read(connection: &mut Connection) -> Result<SchemaState, CatalogueError> {
    let state = read_versions(connection)
        .await
        .map_err(CatalogueError::from_sqlx)?;
    if state.oldest_reader > NEWEST {
        return Err(CatalogueError::too_new(format!(
            "the catalogue has schema version {} and asks for a program that knows version {} or newer; this one knows \
             version {NEWEST}: start the newer program, or restore a backup made before the upgrade",
            state.version, state.oldest_reader
        )));
    }
    Ok(state)
}

async fn read_versions(connection: &mut Connection) -> Result<SchemaState, sqlx::Error> {
    let versions = sql(
        "SELECT coalesce(max(version), 0) AS version, coalesce(max(oldest_reader), 0) AS oldest_reader
         FROM tenancy_schema",
    );
    let row = connection.fetch_one(versions).await?;
    let version = |column| {
        let number = row.int(column)?;
        u32::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    Ok(SchemaState {
        version: version("version")?,
        oldest_reader: version("oldest_reader")?,
    })
}

/// Makes a table that may be there. Several processes that do so at once would fail on PostgreSQL without the lock.
pub(super) async fn create_table(pool: &Pool, text: &'static str) -> Result<(), CatalogueError> {
    let mut connection = pool.acquire().await.map_err(CatalogueError::from_sqlx)?;
    lock(&mut connection).await.map_err(CatalogueError::from_sqlx)?;
    let made = run(&mut connection, text).await;
    unlock(&mut connection, made.is_ok())
        .await
        .map_err(CatalogueError::from_sqlx)?;
    made
}
