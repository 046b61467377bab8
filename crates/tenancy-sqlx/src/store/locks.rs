use std::{fmt, path::Path, sync::Arc, time::Duration};

use tenancy_core::{Clock, LockStore, StoreError};

use super::{SqlStoreOptions, open, unix_ms};
use crate::{
    CatalogueError,
    central::{Dialect, Pool, Statement, sql},
};

pub(super) fn table(dialect: Dialect) -> &'static str {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS tenancy_locks (
                 name TEXT PRIMARY KEY NOT NULL, holder TEXT NOT NULL, expires_at_ms INTEGER NOT NULL) WITHOUT ROWID"
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS tenancy_locks (
                 name text COLLATE \"C\" PRIMARY KEY, holder text COLLATE \"C\" NOT NULL, expires_at_ms bigint NOT NULL)"
        }
        // Binary: other texts are equal with and without spaces at the end.
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "CREATE TABLE IF NOT EXISTS tenancy_locks (
                 name VARBINARY(512) PRIMARY KEY NOT NULL, holder VARBINARY(512) NOT NULL,
                 expires_at_ms BIGINT NOT NULL) ENGINE = InnoDB"
        }
    }
}

/// Leases in a SQLite file or on a server: locks that all processes agree on that open it.
///
/// The table `tenancy_locks` is made if it is missing, in a file or database of its own or in one that has
/// other tables: the catalogue's too. What has expired is deleted when it is opened. Time is the machine's: one that is
/// set back makes leases last longer, never shorter, and machines that share a server must have the same time. Clones
/// share one connection.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tenancy_core::LockStore;
/// use tenancy_sqlx::store::SqlLocks;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("locks.db");
/// let locks = SqlLocks::connect(&path).await?;
/// assert!(locks.try_acquire("nightly", "first", Duration::from_secs(60)).await?);
/// assert!(!locks.try_acquire("nightly", "second", Duration::from_secs(60)).await?);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct SqlLocks {
    pool: Pool,
    wait: Duration,
    clock: Arc<dyn Clock>,
}

impl SqlLocks {
    /// Opens a file with the default options, and creates it if it is missing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, CatalogueError> {
        Self::open(SqlStoreOptions::new(path)).await
    }

    /// Opens a file and creates it if it is missing, readable by its owner only. Of the options, path
    /// or URL, timeouts and clock count.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, or the file is not SQLite's; when a server
    /// cannot be reached, or the role may not make the table.
    pub async fn open(options: SqlStoreOptions) -> Result<Self, CatalogueError> {
        let pool = open::open_locks(&options).await?;
        let locks = Self {
            pool,
            wait: options.wait,
            clock: options.clock,
        };
        let expired = sql("DELETE FROM tenancy_locks WHERE expires_at_ms <= ?").bind(locks.now_ms());
        locks.execute(expired).await?;
        Ok(locks)
    }

    /// Closes the connection, of clones too.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn execute(&self, statement: Statement) -> Result<u64, CatalogueError> {
        self.pool.execute_within(self.wait * 2, statement).await
    }

    fn now_ms(&self) -> i64 {
        unix_ms(&*self.clock)
    }

    fn expiry_ms(&self, ttl: Duration) -> i64 {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.now_ms().saturating_add(ttl)
    }
}

/// Each is decided by one statement, and so is whole or not at all, in any number of processes.
impl LockStore for SqlLocks {
    async fn try_acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let taken = self.take(name, holder, ttl).await;
        Ok(taken.map_err(CatalogueError::into_store_error)? == 1)
    }

    async fn renew(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let kept = sql(
            "UPDATE tenancy_locks SET expires_at_ms = ? WHERE name = ? AND holder = ? AND expires_at_ms > ?",
        )
        .bind(self.expiry_ms(ttl))
        .bind(name)
        .bind(holder)
        .bind(self.now_ms());
        let kept = self.execute(kept).await;
        Ok(kept.map_err(CatalogueError::into_store_error)? == 1)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let released = sql("DELETE FROM tenancy_locks WHERE name = ? AND holder = ?")
            .bind(name)
            .bind(holder);
        self.execute(released)
            .await
            .map(drop)
            .map_err(CatalogueError::into_store_error)
    }
}

impl SqlLocks {
    /// How many rows were taken: 1 or 0.
    async fn take(&self, name: &str, holder: &str, ttl: Duration) -> Result<u64, CatalogueError> {
        match self.pool.dialect() {
            #[cfg(feature = "mysql")]
            Dialect::MySql => {
                // It does not tell an update from one that changed nothing: so first a row that has expired long ago.
                let there = sql(
                    "INSERT INTO tenancy_locks (name, holder, expires_at_ms) VALUES (?, '', 0)
                     ON DUPLICATE KEY UPDATE name = name",
                );
                self.execute(there.bind(name)).await?;
                let taken = sql("UPDATE tenancy_locks SET holder = ?, expires_at_ms = ?
                     WHERE name = ? AND (expires_at_ms <= ? OR holder = ?)")
                .bind(holder)
                .bind(self.expiry_ms(ttl))
                .bind(name)
                .bind(self.now_ms())
                .bind(holder);
                self.execute(taken).await
            }
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            _ => {
                let taken = sql("INSERT INTO tenancy_locks (name, holder, expires_at_ms) VALUES (?, ?, ?)
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
                     WHERE tenancy_locks.expires_at_ms <= ? OR tenancy_locks.holder = excluded.holder")
                .bind(name)
                .bind(holder)
                .bind(self.expiry_ms(ttl))
                .bind(self.now_ms());
                self.execute(taken).await
            }
        }
    }
}

impl fmt::Debug for SqlLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLocks").finish_non_exhaustive()
    }
}
