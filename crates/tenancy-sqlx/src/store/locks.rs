use std::{fmt, path::Path, sync::Arc, time::Duration};

use sqlx::SqlitePool;
use tenancy_core::{Clock, LockStore, StoreError};

use super::{SqlStoreOptions, open, unix_ms};
use crate::CatalogueError;

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS tenancy_locks (
    name TEXT PRIMARY KEY NOT NULL, holder TEXT NOT NULL, expires_at_ms INTEGER NOT NULL) WITHOUT ROWID";

/// Leases in a SQLite file: locks that all processes of one machine agree on.
///
/// The table `tenancy_locks` is made if it is missing, in a file of its own or in one that has other tables: the
/// catalogue's too. What has expired is deleted when the file is opened. Time is the machine's; one that is set back
/// makes leases last longer, never shorter. Clones share one connection.
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
    pool: SqlitePool,
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

    /// Opens a file and creates it if it is missing, readable by its owner only. Of the options, path, wait and clock
    /// count.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, or the file is not SQLite's.
    pub async fn open(options: SqlStoreOptions) -> Result<Self, CatalogueError> {
        let pool = open::open_locks(&options).await?;
        let locks = Self {
            pool,
            clock: options.clock,
        };
        sqlx::query("DELETE FROM tenancy_locks WHERE expires_at_ms <= ?")
            .bind(locks.now_ms())
            .execute(&locks.pool)
            .await
            .map_err(CatalogueError::from_sqlx)?;
        Ok(locks)
    }

    /// Closes the connection, of clones too.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn now_ms(&self) -> i64 {
        unix_ms(&*self.clock)
    }

    fn expiry_ms(&self, ttl: Duration) -> i64 {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.now_ms().saturating_add(ttl)
    }
}

fn could_not_tell(error: sqlx::Error) -> StoreError {
    CatalogueError::from_sqlx(error).into_store_error()
}

/// Each is one statement, and so is whole or not at all, in any number of processes.
impl LockStore for SqlLocks {
    async fn try_acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO tenancy_locks (name, holder, expires_at_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
             WHERE tenancy_locks.expires_at_ms <= ?4 OR tenancy_locks.holder = excluded.holder",
        )
        .bind(name)
        .bind(holder)
        .bind(self.expiry_ms(ttl))
        .bind(self.now_ms())
        .execute(&self.pool)
        .await
        .map_err(could_not_tell)?;
        Ok(taken.rows_affected() == 1)
    }

    async fn renew(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let kept = sqlx::query(
            "UPDATE tenancy_locks SET expires_at_ms = ? WHERE name = ? AND holder = ? AND expires_at_ms > ?",
        )
        .bind(self.expiry_ms(ttl))
        .bind(name)
        .bind(holder)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await
        .map_err(could_not_tell)?;
        Ok(kept.rows_affected() == 1)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tenancy_locks WHERE name = ? AND holder = ?")
            .bind(name)
            .bind(holder)
            .execute(&self.pool)
            .await
            .map_err(could_not_tell)?;
        Ok(())
    }
}

impl fmt::Debug for SqlLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLocks").finish_non_exhaustive()
    }
}
