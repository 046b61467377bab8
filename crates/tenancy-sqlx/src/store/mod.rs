//! The catalogue: in an embedded SQLite file, on PostgreSQL, or on MySQL or MariaDB.
//!
//! [`SqlStore`] is what requests look tenants up in, and what operators change them through. [`SqlLocks`] keeps leases
//! in a file, for jobs of several processes.
//!
//! * [`SqlStore::connect`] opens a file, [`SqlStoreOptions::url`] a database on a server. Both behave alike.
//! * Several processes may share a catalogue. What one changes is in [`changes`](TenantStore::changes) of the others, in the
//!   order of the change numbers: the row that holds the number is locked until the change commits. A file must be on a
//!   local disk, not on a network one.
//! * On PostgreSQL, the others are woken by `NOTIFY`; without it (another database, a connection that is lost, a pooler in
//!   between) they see a change at their next poll.
//! * A change is one transaction, runs to its end even if its future is dropped, and returns when the readers of
//!   this process have seen it, or after two seconds ([`SqlStoreOptions::announce`]).
//! * Catalogues newer than the program are read as long as their schema only grew.
//! * A server that does not answer is [unavailable](CatalogueError::is_unavailable), and never an empty list.
//! * Tested with PostgreSQL 15 and MariaDB 10.11. MariaDB must be 10.6 or newer, MySQL 8.0.21, PostgreSQL 13.
//! * A store is managed, or only reads: a managed catalogue ([`SqlStoreOptions::read_only`]), or views over the
//!   application's own tables ([`SqlStoreOptions::adopted`]). Methods that change tenants fail as
//!   [read-only](CatalogueError::is_read_only) there; changes of others are followed all the same.
//! * Who made a change stands in the log, if [`SqlStore::acting_as`] said so.
//!
//! All methods need a tokio runtime with time enabled.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy_sqlx::{NewTenant, store::SqlStore};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("catalogue.db");
//! let store = SqlStore::connect(&path).await?.acting_as("ops@example.com");
//! let acme = store.create(NewTenant::new("acme")).await?;
//!
//! store.suspend(&acme.record.id).await?;
//! store.delete(&acme.record.id).await?;
//! store.purge(&acme.record.id).await?;
//!
//! // The slug is free again, the id is not.
//! let another = store.create(NewTenant::new("acme")).await?;
//! assert_eq!(another.record.id, "acme-2");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy_core::{ChangeBatch, ChangeMark, TenantStore};
//! use tenancy_sqlx::{NewTenant, store::SqlStore};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("catalogue.db");
//! let store = SqlStore::connect(&path).await?;
//! let ChangeBatch::Reload { mark } = store.changes(ChangeMark::NONE, 100).await? else { panic!() };
//! let page = store.list(None, 100).await?;
//! assert!(page.entries.is_empty());
//!
//! store.create(NewTenant::new("acme")).await?;
//! let ChangeBatch::Changes { changes, .. } = store.changes(mark, 100).await? else { panic!() };
//! assert_eq!(changes[0].id, "acme");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod bulk;
mod change;
mod checks;
mod create;
#[cfg(feature = "domains")]
mod domains;
mod edit;
mod faults;
#[cfg(feature = "handoff")]
mod handoff;
#[cfg(feature = "databases")]
pub(crate) mod journal;
mod kind;
#[cfg(feature = "postgres")]
mod listen;
mod locks;
mod manage;
mod open;
mod options;
mod place;
mod read;
mod row;
mod schema;
mod shape;
#[cfg(feature = "databases")]
pub(crate) mod shares;
mod statements;
mod watch;

use std::{fmt, future::Future, path::Path, sync::Arc};

#[cfg(doc)]
use tenancy_core::TenantStore;
use tenancy_core::{ChangeSignal, Clock};
use tokio::sync::RwLock;

use crate::{
    CatalogueError,
    central::{Dialect, Pool, Row, Statement},
};

pub use bulk::BulkReport;
pub use faults::RowFault;
#[cfg(feature = "handoff")]
pub use handoff::SqlHandoffStore;
pub use kind::StoreKind;
pub use locks::SqlLocks;
pub use options::SqlStoreOptions;
pub use read::{CatalogueStatus, CreationOrder, ListFilter, LoggedChange, TenantList};

pub(crate) use place::Place;
use statements::Statements;

/// A catalogue of tenants. See the [module](self).
///
/// Cloning copies a pointer; clones share connections and the change signal.
#[derive(Clone)]
pub struct SqlStore {
    inner: Arc<Inner>,
    actor: Option<Arc<str>>,
}

struct Inner {
    kind: StoreKind,
    readers: Pool,
    /// One connection: changes take turns anyway, and waiting here is cheaper than for a lock in the database, where
    /// those who wait would take the readers' connections. `None` in a store that only reads.
    writer: Option<Pool>,
    /// The file is read without locks, since nothing can be written beside it: only while nobody else has it open.
    is_read_alone: bool,
    signal: ChangeSignal,
    options: SqlStoreOptions,
    /// Hears of changes of other processes; ends with the store.
    #[cfg(feature = "postgres")]
    listener: Option<listen::Listener>,
    /// Held shared by each running change, so that `close` can wait for them.
    running_changes: RwLock<()>,
}

impl SqlStore {
    /// Opens a file with the default options, and creates it if it is missing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, CatalogueError> {
        Self::open(SqlStoreOptions::new(path)).await
    }

    /// The same store, writing `actor` into the change log: who acts, for the audit. Cut to 200 characters.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            actor: Some(actor.chars().take(200).collect::<String>().into()),
        }
    }

    /// Waits for the changes that run, and closes all connections. Changes and reads after it fail as
    /// unavailable. Clones are closed too.
    pub async fn close(&self) {
        let _no_change_runs = self.inner.running_changes.write().await;
        #[cfg(feature = "postgres")]
        if let Some(listener) = &self.inner.listener {
            listener.stop();
        }
        if let Some(writer) = &self.inner.writer {
            writer.close().await;
        }
        self.inner.readers.close().await;
    }

    /// What the store was opened on, and whether it may change it.
    pub fn kind(&self) -> StoreKind {
        self.inner.kind
    }

    fn dialect(&self) -> Dialect {
        self.inner.readers.dialect()
    }

    fn statements(&self) -> &'static Statements {
        Statements::of(self.dialect(), self.inner.kind)
    }

    /// The connection for changes.
    fn writer(&self) -> Result<&Pool, CatalogueError> {
        self.inner.writer.as_ref().ok_or_else(|| {
            CatalogueError::read_only(match self.inner.kind {
                StoreKind::Adopted => {
                    "this catalogue is made of views over your own tables: change the tenant there, in your \
                     application or by SQL"
                }
                StoreKind::Managed | StoreKind::ReadOnly => {
                    "this catalogue was opened read-only: open it without `read_only` to change it"
                }
            })
        })
    }

    pub(crate) fn check_is_writable(&self) -> Result<(), CatalogueError> {
        self.writer().map(drop)
    }

    /// Runs a read within the time limit. The connection of one that takes longer is closed.
    async fn read<T>(
        &self,
        query: impl Future<Output = Result<T, sqlx::Error>> + Send,
    ) -> Result<T, CatalogueError> {
        self.check_is_still_alone()?;
        match tokio::time::timeout(self.inner.options.wait, query).await {
            Ok(answer) => answer.map_err(CatalogueError::from_sqlx),
            Err(elapsed) => Err(CatalogueError::unavailable("a read took too long", elapsed)),
        }
    }

    async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, CatalogueError> {
        let readers = &self.inner.readers;
        self.read(async { readers.ask(statement).await.map(|(_, rows)| rows) })
            .await
    }

    async fn fetch_one(&self, statement: Statement) -> Result<Row, CatalogueError> {
        let rows = self.fetch_all(statement).await?;
        let only = rows.into_iter().next().ok_or(sqlx::Error::RowNotFound);
        only.map_err(CatalogueError::from_sqlx)
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("place", &self.inner.options.place)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

pub(crate) fn random_stamp() -> Result<u64, CatalogueError> {
    getrandom::u64().map_err(|error| CatalogueError::unavailable("the system gave no random number", error))
}

fn unix_ms(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.unix_time().as_millis()).unwrap_or(i64::MAX)
}
