//! One change: a transaction that takes numbers and writes the log.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tenancy_core::TenantId;
use tracing::Instrument as _;

use super::{SqlStore, random_stamp, statements::Grammar};
use crate::{
    CatalogueError,
    central::{Connection, Dialect, ForEach, Row, Statement, Value, sql},
};

/// Longer than all waits inside of a change together; only a stalled disk takes this long.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

pub(super) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, CatalogueError>> + Send + 'c>>;

/// A write transaction. It holds SQLite's write lock, or that of the head's row, from its beginning, so that what it
/// checks stays true until it commits, and no other change can take a number in between.
pub(super) struct Change {
    connection: Connection,
    /// Sent together, before anything else is.
    deferred: Vec<Deferred>,
    head_before: i64,
    pub(super) number: i64,
    pub(super) now_ms: i64,
    pub(super) reserved: Arc<[Box<str>]>,
    actor: Option<Arc<str>>,
    /// Whether there is something to commit though no number was taken.
    is_kept_without_number: bool,
}

enum Deferred {
    Once(Statement),
    Each(ForEach, Vec<Vec<Value>>),
}

impl Deferred {
    fn into_statements(self) -> Vec<Statement> {
        match self {
            Self::Once(statement) => vec![statement],
            Self::Each(each, items) => each.statements(items),
        }
    }
}

const LOG_ENTRIES: ForEach = ForEach {
    before: "INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, \"keys\", actor, at_ms) VALUES ",
    item: "(?, ?, ?, ?, ?, ?, ?)",
    after: "",
};

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
        match work(&mut change).await {
            Ok(result) => Ok((result, change.commit().await?)),
            Err(error) => {
                // What fails to roll back is closed, which does the same.
                let _ = change.connection.roll_back().await;
                Err(error)
            }
        }
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
        let limit = self.inner.options.wait;
        let writer = self.writer()?;
        let beginning = async {
            let lock = Grammar::of(writer.dialect()).lock_head;
            let (connection, head) = writer.begin_write_with(limit, lock).await?;
            Ok((connection, head.int("number")?))
        };
        // SQLite and PostgreSQL wait no longer than this by themselves; the other cannot be told so exactly.
        let (connection, head) = match tokio::time::timeout(limit * 2, beginning).await {
            Ok(begun) => begun.map_err(CatalogueError::from_sqlx)?,
            Err(elapsed) => {
                return Err(CatalogueError::unavailable(
                    "another change holds the catalogue, or it does not answer",
                    elapsed,
                ));
            }
        };
        Ok(Change {
            connection,
            deferred: Vec::new(),
            head_before: head,
            number: head,
            now_ms: super::unix_ms(&*self.inner.options.clock),
            reserved: Arc::clone(&self.inner.options.reserved),
            actor: self.actor.clone(),
            is_kept_without_number: false,
        })
    }
}

/// Opens the transaction, and returns the number of the last change.
pub(super) async fn lock_head(connection: &mut Connection, wait: Duration) -> Result<i64, sqlx::Error> {
    let lock = Grammar::of(connection.dialect()).lock_head;
    connection.begin_write_with(wait, lock).await?.int("number")
}

impl Change {
    pub(super) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Writes before anything else is asked or written, and together with what else waits: round trips are what a change is made
    /// of. Not for what touches a row that another one touches that waits; see [`Connection::execute_together`].
    pub(super) fn defer(&mut self, statement: Statement) {
        self.deferred.push(Deferred::Once(statement));
    }

    /// As [`defer`](Self::defer). All items of one kind are written where the first of them stands.
    pub(super) fn defer_each(&mut self, each: ForEach, item: Vec<Value>) {
        let same = self.deferred.iter_mut().find_map(|deferred| match deferred {
            Deferred::Each(other, items) if *other == each => Some(items),
            _ => None,
        });
        match same {
            Some(items) => items.push(item),
            None => self.deferred.push(Deferred::Each(each, vec![item])),
        }
    }

    async fn write_deferred(&mut self) -> Result<(), CatalogueError> {
        let deferred = std::mem::take(&mut self.deferred);
        let deferred = deferred.into_iter().flat_map(Deferred::into_statements).collect();
        self.connection
            .execute_together(deferred)
            .await
            .map_err(CatalogueError::from_sqlx)
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<(), CatalogueError> {
        self.execute_counted(statement).await.map(drop)
    }

    /// As [`execute`](Self::execute), and returns how many rows were changed.
    pub(super) async fn execute_counted(&mut self, statement: Statement) -> Result<u64, CatalogueError> {
        self.write_deferred().await?;
        self.connection
            .execute(statement)
            .await
            .map_err(CatalogueError::from_sqlx)
    }

    pub(super) async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, CatalogueError> {
        self.write_deferred().await?;
        self.connection
            .fetch_all(statement)
            .await
            .map_err(CatalogueError::from_sqlx)
    }

    pub(super) async fn find(&mut self, statement: Statement) -> Result<Option<Row>, CatalogueError> {
        self.fetch_all(statement)
            .await
            .map(|rows| rows.into_iter().next())
    }

    /// The column `answer` of the row that there may be.
    pub(super) async fn find_text(&mut self, statement: Statement) -> Result<Option<String>, CatalogueError> {
        let found = self.find(statement).await?;
        found
            .map(|row| row.text("answer").map(str::to_owned))
            .transpose()
            .map_err(CatalogueError::from_sqlx)
    }

    /// Who makes the change.
    #[cfg(feature = "domains")]
    pub(super) fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Commits also if no number is taken: for what stands beside the catalogue, and no reader of it has to see.
    #[cfg(any(feature = "domains", feature = "databases"))]
    pub(super) fn keep_without_number(&mut self) {
        self.is_kept_without_number = true;
    }

    /// Takes the next number and logs what it stands for.
    pub(super) fn log(
        &mut self,
        id: &TenantId,
        kind: &'static str,
        keys: &[String],
    ) -> Result<i64, CatalogueError> {
        let keys = serde_json::to_string(keys)
            .map_err(|error| CatalogueError::invalid("a key cannot be logged", error.to_string()))?;
        self.number += 1;
        let entry = vec![
            self.number.into(),
            random_stamp()?.cast_signed().into(),
            id.as_str().into(),
            kind.into(),
            keys.into(),
            self.actor.as_deref().into(),
            self.now_ms.into(),
        ];
        self.defer_each(LOG_ENTRIES, entry);
        Ok(self.number)
    }

    /// Commits, and returns the last number taken. A change that took none rolls back: it changed nothing.
    async fn commit(mut self) -> Result<Option<u64>, CatalogueError> {
        let has_number = self.number != self.head_before;
        if !has_number && !self.is_kept_without_number {
            self.connection
                .roll_back()
                .await
                .map_err(CatalogueError::from_sqlx)?;
            return Ok(None);
        }
        if has_number {
            self.defer(sql("UPDATE tenancy_change_head SET number = ?").bind(self.number));
            self.wake_listeners();
        }
        self.write_deferred().await?;
        self.connection
            .commit()
            .await
            .map_err(CatalogueError::from_sqlx)?;
        Ok(has_number.then_some(self.number.cast_unsigned()))
    }

    /// Those who hear it ask for changes at once; those who do not, a little later.
    fn wake_listeners(&mut self) {
        match self.dialect() {
            // A query, and so the last of what is sent together.
            #[cfg(feature = "postgres")]
            Dialect::Postgres => self.defer(sql(super::listen::NOTIFY).bind(self.number.to_string())),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => {}
        }
    }
}
