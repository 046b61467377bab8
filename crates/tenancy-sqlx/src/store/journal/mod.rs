//! The journal of migrations: tables beside the catalogue's, in its database.

mod homes;
mod look;
mod moves;
mod runs;
mod tables;
mod tenants;
mod work;

use std::{pin::Pin, time::Duration};

use tenancy_core::{Clock, TenantId, TenantRecord};

use super::{SqlStore, StoreKind, open, unix_ms};
use crate::{
    CatalogueError,
    central::{Connection, Dialect, Pool, Statement, sql},
};

pub(crate) use homes::{Home, HomePlace, HomeStage};
pub(crate) use moves::Leaving;
pub(crate) use runs::{Begun, NewRun, RunState, StopRule};
pub(crate) use tenants::Wanted;
pub(crate) use work::{Claim, Claimed};

/// How often a transaction is tried again that another one stood in the way of.
const TRIES: u32 = 8;

/// What is migrated, by whom, and how far. Clones share connections.
#[derive(Clone)]
pub(crate) struct MigrationJournal {
    store: SqlStore,
    pool: Pool,
    /// Tells this process, and this opening, from others.
    worker: Box<str>,
}

/// Which state of its schema a tenant is to be brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) version: i64,
    pub(crate) checksum: Box<str>,
}

impl SqlStore {
    pub(crate) async fn migration_journal(&self) -> Result<MigrationJournal, CatalogueError> {
        if self.kind() == StoreKind::ReadOnly {
            return Err(CatalogueError::read_only(
                "migrations are journaled beside the catalogue: open it without `read_only`",
            ));
        }
        let pool = open::open_beside(&self.inner.options, tables::tables).await?;
        let worker = format!("{:016x}", super::random_stamp()?).into();
        Ok(MigrationJournal {
            store: self.clone(),
            pool,
            worker,
        })
    }
}

impl MigrationJournal {
    pub(crate) fn store(&self) -> &SqlStore {
        &self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.store.inner.options.clock
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    fn now_ms(&self) -> i64 {
        unix_ms(self.clock())
    }

    fn wait(&self) -> Duration {
        self.store.inner.options.wait
    }

    async fn begin(&self) -> Result<Connection, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.begin_write(self.wait()).await?;
        Ok(connection)
    }

    async fn fetch_all(&self, statement: Statement) -> Result<Vec<crate::central::Row>, CatalogueError> {
        let mut connection = self.pool.acquire().await.map_err(CatalogueError::from_sqlx)?;
        connection
            .fetch_all(statement)
            .await
            .map_err(CatalogueError::from_sqlx)
    }

    /// Notes that a tenant is in a state of its schema.
    pub(crate) async fn note(&self, record: &TenantRecord, goal: &Goal) -> Result<(), CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.pool.acquire().await?;
                let note = note_of(connection.dialect(), record, goal, self.now_ms());
                connection.execute(note).await.map(drop)
            })
        })
        .await
    }

    /// Forgets what is known of a tenant's schema, so that the next run looks at it.
    pub(crate) async fn forget(&self, tenant: &TenantId) -> Result<(), CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.pool.acquire().await?;
                let forget = sql("DELETE FROM tenancy_migrations WHERE tenant_id = ?").bind(tenant.as_str());
                connection.execute(forget).await.map(drop)
            })
        })
        .await
    }

    /// Whether the journal says that the tenant, where it is now, is in that state.
    pub(crate) async fn is_at(&self, record: &TenantRecord, goal: &Goal) -> Result<bool, CatalogueError> {
        let (server, place, isolation) = place_of(record);
        let known = sql(
            "SELECT count(*) AS answer FROM tenancy_migrations WHERE tenant_id = ? AND incarnation = ?
                 AND server = ? AND place = ? AND isolation = ? AND checksum = ?",
        )
        .bind(record.id.as_str())
        .bind(record.incarnation.cast_signed())
        .bind(server)
        .bind(place)
        .bind(isolation)
        .bind(&*goal.checksum);
        let rows = self.fetch_all(known).await?;
        let known = rows.first().map_or(Ok(0), |row| row.int("answer"));
        Ok(known.map_err(CatalogueError::from_sqlx)? > 0)
    }

    /// Tries again where another transaction stood in the way: it is gone soon.
    async fn repeat<'a, T>(
        &self,
        attempt: impl Fn() -> Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'a>> + Send + Sync,
    ) -> Result<T, CatalogueError> {
        let mut tries = 0;
        loop {
            match attempt().await {
                Err(error) if tries < TRIES && stood_in_the_way(&error) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(5 << tries.min(6))).await;
                }
                outcome => return outcome.map_err(CatalogueError::from_sqlx),
            }
        }
    }
}

/// Writes that a tenant is in a state of its schema, in place of what was known of it.
fn note_of(dialect: Dialect, record: &TenantRecord, goal: &Goal, now_ms: i64) -> Statement {
    let (server, place, isolation) = place_of(record);
    let mut note = sql(
        "INSERT INTO tenancy_migrations (tenant_id, incarnation, server, place, isolation, version, checksum, at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(record.id.as_str())
    .bind(record.incarnation.cast_signed())
    .bind(server)
    .bind(place)
    .bind(isolation)
    .bind(goal.version)
    .bind(&*goal.checksum)
    .bind(now_ms);
    note.push(match dialect {
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            " ON DUPLICATE KEY UPDATE incarnation = VALUES(incarnation), server = VALUES(server), place = VALUES(place),
                 isolation = VALUES(isolation), version = VALUES(version), checksum = VALUES(checksum),
                 at_ms = VALUES(at_ms)"
        }
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        _ => {
            " ON CONFLICT (tenant_id) DO UPDATE SET incarnation = excluded.incarnation, server = excluded.server,
                 place = excluded.place, isolation = excluded.isolation, version = excluded.version,
                 checksum = excluded.checksum, at_ms = excluded.at_ms"
        }
    });
    note
}

fn place_of(record: &TenantRecord) -> (&str, &str, &str) {
    record.placement.as_ref().map_or(("", "", ""), |placement| {
        (&placement.server, &placement.database, &placement.isolation)
    })
}

/// What a row is locked with until the transaction ends, passing over those that another one has. A transaction that
/// writes to SQLite is alone.
fn lock_clause(dialect: Dialect) -> &'static str {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => "",
        #[cfg(any(feature = "postgres", feature = "mysql"))]
        _ => " FOR UPDATE SKIP LOCKED",
    }
}

pub(super) fn stood_in_the_way(error: &sqlx::Error) -> bool {
    let Some(cause) = error.as_database_error() else {
        return false;
    };
    if cause.is_unique_violation() {
        return true;
    }
    #[cfg(feature = "mysql")]
    if let Some(cause) = cause.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_CHECKREAD
        return matches!(cause.number(), 1205 | 1213 | 1020);
    }
    match cause.code().as_deref() {
        // Serialisation failure, deadlock, lock not available.
        Some("40001" | "40P01" | "55P03") => true,
        // `SQLITE_BUSY` and `SQLITE_LOCKED`, with or without an extension in the upper bytes.
        Some(code) => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
        None => false,
    }
}
