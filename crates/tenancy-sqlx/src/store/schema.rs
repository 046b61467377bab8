//! Migrations: embedded, additive, run in one transaction.
//!
//! Each names the oldest reader version that still understands the file after it. A binary refuses a file only
//! if that is above its own newest version, so an older binary keeps working on a newer additive schema.

use sqlx::{Row as _, SqliteConnection};
use tenancy_core::Clock;

use super::random_stamp;
use crate::CatalogueError;

struct Migration {
    version: u32,
    oldest_reader: u32,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        oldest_reader: 1,
        sql: include_str!("0001_catalogue.sql"),
    },
    Migration {
        version: 2,
        oldest_reader: 1,
        sql: include_str!("0002_domain_claims.sql"),
    },
];

/// The newest schema version that this binary knows.
const NEWEST: u32 = 2;

/// The oldest that has all that is read of tenants.
const OLDEST_READ: u32 = 1;

/// Where a file's schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaState {
    pub(super) version: u32,
    pub(super) oldest_reader: u32,
}

/// Brings the file to the newest version, or leaves a newer one as it is. Safe when several processes start at
/// once: the write lock is taken before the version is read.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    clock: &dyn Clock,
) -> Result<(), CatalogueError> {
    if has_schema(connection).await? && read(connection).await?.version >= NEWEST {
        return Ok(());
    }
    let mut transaction = sqlx::Connection::begin_with(connection, "BEGIN IMMEDIATE")
        .await
        .map_err(CatalogueError::from_sqlx)?;
    apply_missing(&mut transaction, clock).await?;
    transaction.commit().await.map_err(CatalogueError::from_sqlx)
}

async fn apply_missing(connection: &mut SqliteConnection, clock: &dyn Clock) -> Result<(), CatalogueError> {
    let now_ms = super::unix_ms(clock);
    run(
        connection,
        "CREATE TABLE IF NOT EXISTS tenancy_schema (
             version INTEGER PRIMARY KEY NOT NULL, oldest_reader INTEGER NOT NULL, applied_at_ms INTEGER NOT NULL)",
    )
    .await?;
    let state = read(connection).await?;
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > state.version)
    {
        run(connection, migration.sql).await?;
        sqlx::query("INSERT INTO tenancy_schema (version, oldest_reader, applied_at_ms) VALUES (?, ?, ?)")
            .bind(migration.version)
            .bind(migration.oldest_reader)
            .bind(now_ms)
            .execute(&mut *connection)
            .await
            .map_err(CatalogueError::from_sqlx)?;
    }
    if state.version == 0 {
        begin_log(connection, now_ms).await?;
    }
    Ok(())
}

/// The log begins with a row of its own, so that every place a reader can stand at has a stamp.
async fn begin_log(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), CatalogueError> {
    sqlx::query(
        "INSERT INTO tenancy_changes (number, stamp, kind, keys, at_ms) VALUES (1, ?, 'init', '[]', ?)",
    )
    .bind(random_stamp()?.cast_signed())
    .bind(now_ms)
    .execute(&mut *connection)
    .await
    .map_err(CatalogueError::from_sqlx)?;
    run(
        connection,
        "INSERT INTO tenancy_change_head (only_row, number, floor) VALUES (1, 1, 1)",
    )
    .await
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), CatalogueError> {
    sqlx::raw_sql(sql)
        .execute(connection)
        .await
        .map(drop)
        .map_err(CatalogueError::from_sqlx)
}

async fn has_schema(connection: &mut SqliteConnection) -> Result<bool, CatalogueError> {
    sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tenancy_schema'")
        .fetch_optional(connection)
        .await
        .map(|row| row.is_some())
        .map_err(CatalogueError::from_sqlx)
}

/// For a store that may not migrate.
pub(super) async fn check_can_be_read(connection: &mut SqliteConnection) -> Result<(), CatalogueError> {
    let state = read(connection).await?;
    if state.version < OLDEST_READ {
        return Err(CatalogueError::wrong_shape(format!(
            "the file has schema version {}, and this program reads from version {OLDEST_READ} on: open it once without `read_only` \
             to bring it up to date",
            state.version
        )));
    }
    Ok(())
}

/// Reads the file's version, and refuses one that this binary cannot read.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<SchemaState, CatalogueError> {
    let row =
        sqlx::query("SELECT coalesce(max(version), 0), coalesce(max(oldest_reader), 0) FROM tenancy_schema")
            .fetch_one(connection)
            .await
            .map_err(CatalogueError::from_sqlx)?;
    let state = SchemaState {
        version: row.try_get(0).map_err(CatalogueError::from_sqlx)?,
        oldest_reader: row.try_get(1).map_err(CatalogueError::from_sqlx)?,
    };
    if state.oldest_reader > NEWEST {
        return Err(CatalogueError::too_new(format!(
            "the file has schema version {} and asks for a program that knows version {} or newer; this one knows \
             version {NEWEST}: start the newer program, or restore a backup made before the upgrade",
            state.version, state.oldest_reader
        )));
    }
    Ok(state)
}
