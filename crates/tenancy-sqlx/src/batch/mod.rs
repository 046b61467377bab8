//! Many small operations of one tenant in few transactions.
//!
//! * Operations are grouped by tenant: ten, or those that came within 5 ms, share one connection and one transaction.
//! * Each caller gets its own result, and not before the transaction was committed: what it is told, lasts.
//! * Each operation has a savepoint. One that fails is taken back alone, and its neighbours go on.
//! * A caller that goes away before its operation began takes it along; one that goes away later does not. Its group goes on in
//!   any case.
//! * Groups of one tenant run beside each other, and wait for connections as everybody does.
//!
//! **Caveats.** A group costs two round trips for its transaction and two for each savepoint: it is worth it where operations
//! wait for connections, or for the disk at each commit. An operation that takes long makes its neighbours wait. One that
//! ends the transaction by SQL of its own fails them all.
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # mod example {
//! use sqlx::Postgres;
//! use tenancy::Tenant;
//! use tenancy_sqlx::{batch::Batcher, database::DatabaseError};
//!
//! async fn count_visit(batcher: &Batcher<Postgres>, tenant: &Tenant) -> Result<i64, DatabaseError> {
//!     batcher
//!         .run(tenant, |connection| {
//!             Box::pin(async move {
//!                 let row: (i64,) = sqlx::query_as("UPDATE visits SET n = n + 1 RETURNING n")
//!                     .fetch_one(connection)
//!                     .await?;
//!                 Ok(row.0)
//!             })
//!         })
//!         .await
//! }
//! # }
//! ```
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # fn example(databases: &tenancy_sqlx::database::TenantDatabases<sqlx::Postgres>) {
//! use std::time::Duration;
//! use tenancy_sqlx::batch::{BatchSettings, Batcher};
//!
//! let settings = BatchSettings::new().max_operations(50).max_delay(Duration::from_millis(2));
//! let batcher = Batcher::with_settings(databases.clone(), settings);
//! # drop(batcher);
//! # }
//! ```

mod group;
mod operation;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tenancy::{Tenant, scope};
use tokio::sync::{Notify, oneshot};

use self::operation::Operation;
use crate::{
    database::{DatabaseError, TenantDatabases},
    engine::TenantEngine,
};

/// How operations are grouped.
#[derive(Clone, Copy, Debug)]
pub struct BatchSettings {
    max_operations: usize,
    max_delay: Duration,
}

impl BatchSettings {
    /// Ten operations, 5 ms.
    #[expect(clippy::new_without_default, reason = "what the defaults are is said here")]
    pub fn new() -> Self {
        Self {
            max_operations: 10,
            max_delay: Duration::from_millis(5),
        }
    }

    /// After how many operations a group begins at once. At least 1.
    #[must_use]
    pub fn max_operations(mut self, operations: usize) -> Self {
        self.max_operations = operations.max(1);
        self
    }

    /// For how long the first operation of a group waits for others. It may be zero: then those that came in the same moment
    /// make a group.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }
}

/// Groups operations by tenant. See the [module](self). Cloning copies a pointer.
pub struct Batcher<DB: TenantEngine>(Arc<Shared<DB>>);

struct Shared<DB: TenantEngine> {
    databases: TenantDatabases<DB>,
    settings: BatchSettings,
    /// Groups that have not begun, at most one for each tenant: dropped when they begin.
    gathering: Mutex<HashMap<Tenant, Gathering<DB>>>,
}

struct Gathering<DB: TenantEngine> {
    operations: Vec<Box<dyn Operation<DB>>>,
    /// Told when there is no more room.
    is_full: Arc<Notify>,
    /// Tells this group from a later one of the same tenant.
    number: u64,
}

impl<DB: TenantEngine> Batcher<DB> {
    /// With the settings of [`BatchSettings::new`].
    pub fn new(databases: TenantDatabases<DB>) -> Self {
        Self::with_settings(databases, BatchSettings::new())
    }

    /// With settings of one's own.
    pub fn with_settings(databases: TenantDatabases<DB>, settings: BatchSettings) -> Self {
        Self(Arc::new(Shared {
            databases,
            settings,
            gathering: Mutex::default(),
        }))
    }

    /// Runs an operation in a group with others of the same tenant, and waits until the group is committed.
    ///
    /// `operation` runs once, in a task of its own, unless the group fails before or the future is dropped before.
    ///
    /// # Errors
    /// With the operation's own error, and whatever keeps the group from beginning or being committed. With one that [is
    /// abandoned](DatabaseError::is_abandoned) if the operation panicked.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run<T, F>(&self, tenant: &Tenant, operation: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.add(tenant, operation::operation(operation, tell));
        told.await.unwrap_or_else(|_| Err(DatabaseError::abandoned()))
    }

    fn add(&self, tenant: &Tenant, operation: Box<dyn Operation<DB>>) {
        let max = self.0.settings.max_operations;
        let mut groups = self.0.lock();
        if let Some(group) = groups
            .get_mut(tenant)
            .filter(|group| group.operations.len() < max)
        {
            group.operations.push(operation);
            if group.operations.len() >= max {
                group.is_full.notify_one();
            }
            return;
        }
        let is_full = Arc::new(Notify::new());
        let number = fastrand::u64(..);
        let group = Gathering {
            operations: vec![operation],
            is_full: Arc::clone(&is_full),
            number,
        };
        if max == 1 {
            is_full.notify_one();
        }
        // One that is full, and whose task has not come to it yet, begins now.
        let full = groups.insert(tenant.clone(), group);
        drop(groups);
        if let Some(full) = full {
            let group = group::run(self.0.databases.of(tenant), full.operations);
            tokio::spawn(scope::run(tenant, group));
        }
        let (shared, tenant) = (Arc::clone(&self.0), tenant.clone());
        tokio::spawn(async move {
            let delay = shared.settings.max_delay;
            let _ = tokio::time::timeout(delay, is_full.notified()).await;
            if let Some(operations) = shared.take(&tenant, number) {
                scope::run(&tenant, group::run(shared.databases.of(&tenant), operations)).await;
            }
        });
    }
}

impl<DB: TenantEngine> Shared<DB> {
    fn take(&self, tenant: &Tenant, number: u64) -> Option<Vec<Box<dyn Operation<DB>>>> {
        let mut groups = self.lock();
        if groups.get(tenant)?.number != number {
            return None;
        }
        groups.remove(tenant).map(|group| group.operations)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, Gathering<DB>>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: TenantEngine> Clone for Batcher<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for Batcher<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
