//! One change: a transaction that takes numbers and writes the log.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use sqlx::{Sqlite, SqliteConnection, Transaction};
use tenancy_core::TenantId;
use tracing::Instrument as _;

use super::{SqlStore, random_stamp};
use crate::CatalogueError;

/// Longer than all waits inside of a change together; only a stalled disk takes this long.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

pub(super) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, CatalogueError>> + Send + 'c>>;

/// A write transaction. It holds SQLite's write lock from its beginning, so that what it checks stays true
/// until it commits, and no other change can take a number in between.
pub(super) struct Change {
    transaction: Transaction<'static, Sqlite>,
    head_before: i64,
    pub(super) number: i64,
    pub(super) now_ms: i64,
    pub(super) reserved: Arc<[Box<str>]>,
    actor: Option<Arc<str>>,
    /// Whether there is something to commit though no number was taken.
    is_kept_without_number: bool,
}

impl SqlStore {
    /// Runs one change to its end, in a task of its own: a dropped caller neither leaves it half-way nor
    /// keeps a committed change from being announced.
    pub(super) async fn change<T, W>(&self, work: W) -> Result<T, CatalogueError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Change) -> Work<'c, T> + Send + 'static,
    {
        let store = self.clone();
        let running = async move {
            let _running = store.inner.running_changes.read().await;
            let (result, committed) = store.change_here(work).await?;
            store.announce(committed).await;
            Ok(result)
        };
        let running = tokio::spawn(running.in_current_span());
        match tokio::time::timeout(CHANGE_LIMIT + self.inner.options.announce, running).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(CatalogueError::unavailable("the change was broken off", error)),
            Err(elapsed) => Err(CatalogueError::unavailable(
                "the change took too long; whether it is committed is not known",
                elapsed,
            )),
        }
    }

    /// Runs one change in the caller's task, and returns its last number, if it took one.
    /// The caller must not be cancellable, and must announce the number.
    pub(super) async fn change_here<T, W>(&self, work: W) -> Result<(T, Option<u64>), CatalogueError>
    where
        W: for<'c> FnOnce(&'c mut Change) -> Work<'c, T>,
    {
        let mut change = self.begin().await?;
        let result = work(&mut change).await?;
        Ok((result, change.commit().await?))
    }

    pub(super) async fn announce(&self, committed: Option<u64>) {
        let Some(number) = committed else { return };
        if !self
            .inner
            .signal
            .announce(number, self.inner.options.announce)
            .await
        {
            tracing::warn!(
                number,
                "a committed change is not yet seen by every reader of this process"
            );
        }
    }

    async fn begin(&self) -> Result<Change, CatalogueError> {
        let mut transaction = self
            .writer()?
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(CatalogueError::from_sqlx)?;
        let head: i64 = sqlx::query_scalar("SELECT number FROM tenancy_change_head")
            .fetch_one(&mut *transaction)
            .await
            .map_err(CatalogueError::from_sqlx)?;
        Ok(Change {
            transaction,
            head_before: head,
            number: head,
            now_ms: super::unix_ms(&*self.inner.options.clock),
            reserved: Arc::clone(&self.inner.options.reserved),
            actor: self.actor.clone(),
            is_kept_without_number: false,
        })
    }
}

impl Change {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Who makes the change.
    #[cfg(feature = "domains")]
    pub(super) fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Commits also if no number is taken: for what stands beside the catalogue, and no reader of it has to see.
    #[cfg(feature = "domains")]
    pub(super) fn keep_without_number(&mut self) {
        self.is_kept_without_number = true;
    }

    /// Takes the next number and logs what it stands for.
    pub(super) async fn log(
        &mut self,
        id: &TenantId,
        kind: &'static str,
        keys: &[String],
    ) -> Result<i64, CatalogueError> {
        let keys = serde_json::to_string(keys)
            .map_err(|error| CatalogueError::invalid("a key cannot be logged", error.to_string()))?;
        self.number += 1;
        sqlx::query(
            "INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, actor, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.number)
        .bind(random_stamp()?.cast_signed())
        .bind(id.as_str())
        .bind(kind)
        .bind(keys)
        .bind(self.actor.as_deref())
        .bind(self.now_ms)
        .execute(&mut *self.transaction)
        .await
        .map_err(CatalogueError::from_sqlx)?;
        Ok(self.number)
    }

    /// Commits, and returns the last number taken. A change that took none rolls back: it changed nothing.
    async fn commit(mut self) -> Result<Option<u64>, CatalogueError> {
        if self.number == self.head_before && self.is_kept_without_number {
            self.transaction
                .commit()
                .await
                .map_err(CatalogueError::from_sqlx)?;
            return Ok(None);
        }
        if self.number == self.head_before {
            self.transaction
                .rollback()
                .await
                .map_err(CatalogueError::from_sqlx)?;
            return Ok(None);
        }
        sqlx::query("UPDATE tenancy_change_head SET number = ?")
            .bind(self.number)
            .execute(&mut *self.transaction)
            .await
            .map_err(CatalogueError::from_sqlx)?;
        self.transaction
            .commit()
            .await
            .map_err(CatalogueError::from_sqlx)?;
        Ok(Some(self.number.cast_unsigned()))
    }
}
