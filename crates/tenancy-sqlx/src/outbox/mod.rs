//! Flushes of the cache that are as sure as the transaction they belong to.
//!
//! A process that ends between the commit of a change and the flush of what was cached of it leaves old values behind, for as
//! long as they live. [`CacheOutbox`] writes the flush down in the transaction, in a table of the tenant's own database:
//!
//! * [`commit`](CacheOutbox::commit) writes it down, commits, flushes, and then forgets what it wrote. It goes on when its future is
//!   dropped after the commit has begun.
//! * What a process left behind is flushed by [`deliver`](CacheOutbox::deliver), or by
//!   [`deliver_regularly`](CacheOutbox::deliver_regularly) in any process that serves the tenant.
//! * A transaction that is rolled back flushes nothing. A flush that is done twice only costs misses.
//! * While the shared cache level is away, flushes stay in the table until it has heard of them.
//! * A commit whose answer was lost counts as done: what it changed is flushed, and the error returned.
//!
//! The table is part of the tenant's schema. Add [`table`](CacheOutbox::table) to the migrations, and let the application `SELECT`,
//! `INSERT` and `DELETE` there; where tenants share tables it needs the same policy as the others
//! ([`isolation`](crate::isolation)).
//!
//! **Caveats.** Let deliveries run in every process that serves: without them nobody looks for what another process left behind. Each
//! round opens a transaction for every tenant whose cache was used lately. It costs a round trip before the commit, and a short transaction in the background after it. What was left behind
//! by a process that ended is seen by the next delivery, not before: within its interval where the tenant is served, else when the
//! tenant is served again.
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # mod example {
//! use sqlx::Postgres;
//! use tenancy::cache::FlushPlan;
//! use tenancy_sqlx::{
//!     database::{DatabaseError, TenantDb},
//!     outbox::CacheOutbox,
//! };
//!
//! async fn rename(db: TenantDb<Postgres>, outbox: CacheOutbox<Postgres>) -> Result<(), DatabaseError> {
//!     let mut transaction = db.begin().await?;
//!     sqlx::query("UPDATE notes SET text = 'milk'")
//!         .execute(&mut *transaction)
//!         .await?;
//!     outbox.commit(transaction, FlushPlan::tags(["notes"])).await?;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! Where the application starts:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # fn example(tenancy: &tenancy::Tenancy, databases: &tenancy_sqlx::database::TenantDatabases<sqlx::Postgres>) {
//! use std::time::Duration;
//! use tenancy_sqlx::outbox::CacheOutbox;
//!
//! let outbox = CacheOutbox::new(tenancy, databases);
//! // For as long as this is held.
//! let deliveries = outbox.deliver_regularly(Duration::from_secs(60));
//! # drop(deliveries);
//! # }
//! ```

mod table;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tenancy::{
    Tenancy, Tenant,
    cache::{FlushPlan, FlushReceipt},
    scope,
};
use tenancy_core::TenantId;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::table::Note;
use crate::{
    database::{DatabaseError, GuardedTransaction, TenantDatabases, TenantTransaction},
    engine::TenantEngine,
    isolation::EngineKind,
};

/// Tenants whose table is read at the same time.
const TENANTS_AT_ONCE: usize = 4;

/// See the [module](self). Cloning copies a pointer.
pub struct CacheOutbox<DB: TenantEngine>(Arc<Shared<DB>>);

struct Shared<DB: TenantEngine> {
    tenancy: Tenancy,
    databases: TenantDatabases<DB>,
    /// Tenants in whose table this process left something: at most one mark each.
    left: Mutex<HashMap<TenantId, Tenant>>,
}

impl<DB: TenantEngine> CacheOutbox<DB> {
    /// For the tenants of this stack. Asks nothing.
    pub fn new(tenancy: &Tenancy, databases: &TenantDatabases<DB>) -> Self {
        Self(Arc::new(Shared {
            tenancy: tenancy.clone(),
            databases: databases.clone(),
            left: Mutex::default(),
        }))
    }

    /// The statement that makes its table, `tenancy_cache_flushes`, for a migration.
    pub const fn table(engine: EngineKind) -> &'static str {
        table::statement(engine)
    }

    /// Commits a transaction, and flushes what it has changed.
    ///
    /// Once the commit has begun, dropping the future stops nothing. With an empty plan it only commits.
    ///
    /// # Errors
    /// When the flush can not be written down, because of a missing table for example: then nothing is committed. When the
    /// commit fails, as [`TenantTransaction::commit`]: the flush is done then, too, since it may have been done.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn commit(
        &self,
        mut transaction: TenantTransaction<DB>,
        plan: FlushPlan,
    ) -> Result<FlushReceipt, DatabaseError> {
        let tenant = transaction.tenant().clone();
        let note = match plan.is_empty() {
            true => None,
            false => Some(Note::write::<DB>(&mut transaction, tenant.id(), &plan).await?),
        };
        let outbox = self.clone();
        let in_scope = scope::run(&tenant.clone(), async move {
            if let Err(error) = transaction.commit().await {
                outbox.flush_in_doubt(&tenant, &plan).await;
                return Err(error);
            }
            Ok(outbox.flush(&tenant, &plan, note).await)
        });
        tokio::spawn(in_scope)
            .await
            .unwrap_or_else(|_| Err(DatabaseError::abandoned()))
    }

    /// As [`commit`](Self::commit), for tables that tenants share without policies.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn commit_guarded(
        &self,
        transaction: GuardedTransaction<DB>,
        plan: FlushPlan,
    ) -> Result<FlushReceipt, DatabaseError> {
        self.commit(transaction.into_transaction(), plan).await
    }

    /// The answer to a commit may be what was lost. A flush too many costs some loads.
    async fn flush_in_doubt(&self, tenant: &Tenant, plan: &FlushPlan) {
        if !plan.is_empty() {
            self.0.tenancy.cache_of(tenant).flush_planned(plan).await;
            self.0.leave(tenant);
        }
    }

    async fn flush(&self, tenant: &Tenant, plan: &FlushPlan, note: Option<Note>) -> FlushReceipt {
        let receipt = self.0.tenancy.cache_of(tenant).flush_planned(plan).await;
        let Some(note) = note else {
            return receipt;
        };
        if receipt.is_pending() {
            // This process tells of it as soon as it can. The note stays, in case it does not come to it.
            if self.0.leave(tenant) {
                self.deliver_once_told(tenant.clone(), receipt.clone());
            }
            return receipt;
        }
        let (outbox, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            if let Err(error) = outbox.forget(&tenant, &[note]).await {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(tenant = %tenant.id(), error, "a flush that is done stays in the outbox for now");
                outbox.0.leave(&tenant);
            }
        });
        receipt
    }

    /// One task for each tenant at most, however many flushes wait.
    fn deliver_once_told(&self, tenant: Tenant, receipt: FlushReceipt) {
        let outbox = self.clone();
        tokio::spawn(async move {
            if receipt.everywhere().await.is_ok() {
                outbox.deliver_and_log(&tenant).await;
            }
        });
    }

    /// Flushes what is written down for a tenant, and returns how many flushes that were.
    ///
    /// While the shared cache level is away they stay written down. May be dropped at any time.
    ///
    /// # Errors
    /// When there is no connection, and when the database refuses, because the table is missing for example, or lets nobody delete.
    pub async fn deliver(&self, tenant: &Tenant) -> Result<usize, DatabaseError> {
        // Before reading: what is left from now on is not in what is read.
        let was_left = self.0.left().remove(tenant.id()).is_some();
        let mut mark = Mark {
            outbox: self,
            tenant,
            is_left: was_left,
        };
        let mut delivered = 0;
        let mut undeleted = Vec::new();
        loop {
            let notes = self.notes(tenant).await?;
            if notes.iter().any(|note| undeleted.contains(&note.id)) {
                return Err(table::not_deleted().into());
            }
            if !self.flush_all(tenant, &notes).await {
                mark.is_left = true;
                return Ok(delivered);
            }
            let deleted = self.forget(tenant, &notes).await?;
            delivered += notes.len();
            // Others may have been quicker, or nobody may delete.
            undeleted = match deleted {
                0 => notes.iter().map(|note| note.id.clone()).collect(),
                _ => Vec::new(),
            };
            if notes.len() < table::PAGE && undeleted.is_empty() {
                mark.is_left = false;
                return Ok(delivered);
            }
        }
    }

    /// Whether the shared level has heard of all.
    async fn flush_all(&self, tenant: &Tenant, notes: &[Note]) -> bool {
        let cache = self.0.tenancy.cache_of(tenant);
        for plan in merged(notes) {
            if cache.flush_planned(&plan).await.is_pending() {
                return false;
            }
        }
        true
    }

    /// Delivers for all tenants whose cache was used in this process lately, and where this process left something, again and
    /// again, until what is returned is dropped.
    ///
    /// What fails, or takes longer than 30 s, is logged and tried again the next time. From 100 ms to a day; less and more count as
    /// these.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn deliver_regularly(&self, every: Duration) -> Deliveries {
        let outbox = self.clone();
        Deliveries(tokio::spawn(async move {
            loop {
                // Processes that were started together need not ask together.
                let every = every.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
                sleep(every.mul_f64(0.9 + 0.1 * fastrand::f64())).await;
                outbox.deliver_all().await;
            }
        }))
    }

    async fn deliver_all(&self) {
        let used = self.0.tenancy.cached_tenants();
        let mut tenants: HashMap<_, _> = used
            .into_iter()
            .map(|tenant| (tenant.id().clone(), tenant))
            .collect();
        tenants.extend(self.0.left().clone());
        stream::iter(tenants.into_values())
            .for_each_concurrent(TENANTS_AT_ONCE, async |tenant| {
                self.deliver_and_log(&tenant).await;
            })
            .await;
    }

    async fn deliver_and_log(&self, tenant: &Tenant) {
        let delivery = scope::run(tenant, self.deliver(tenant));
        match timeout(LONGEST_DELIVERY, delivery).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.note_failure(tenant, &error),
            Err(_) => {
                let tenant = tenant.id();
                tracing::warn!(%tenant, "the flushes of an outbox were not delivered in time; they will be");
            }
        }
    }

    fn note_failure(&self, tenant: &Tenant, error: &DatabaseError) {
        if error.is_deleted() {
            // Another incarnation has a mark of its own.
            let mut left = self.0.left();
            if left
                .get(tenant.id())
                .is_some_and(|left| left.incarnation() == tenant.incarnation())
            {
                left.remove(tenant.id());
            }
            return;
        }
        let error: &dyn std::error::Error = error;
        tracing::warn!(tenant = %tenant.id(), error, "the flushes of an outbox could not be delivered; they will be");
    }

    async fn notes(&self, tenant: &Tenant) -> Result<Vec<Note>, DatabaseError> {
        let mut transaction = self.transaction(tenant).await?;
        let notes = Note::read::<DB>(&mut transaction, tenant.id()).await?;
        transaction.commit().await?;
        Ok(notes)
    }

    /// How many were there.
    async fn forget(&self, tenant: &Tenant, notes: &[Note]) -> Result<u64, DatabaseError> {
        if notes.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.transaction(tenant).await?;
        let deleted = Note::forget::<DB>(&mut transaction, tenant.id(), notes).await?;
        transaction.commit().await?;
        Ok(deleted)
    }

    async fn transaction(&self, tenant: &Tenant) -> Result<TenantTransaction<DB>, DatabaseError> {
        let db = self.0.databases.of(tenant);
        // Takes every strategy; the statements have the tenant in them.
        Ok(db.guarded().await?.into_transaction())
    }
}

/// Marks a tenant again where its notes were not all delivered, also when the delivery was dropped.
struct Mark<'o, DB: TenantEngine> {
    outbox: &'o CacheOutbox<DB>,
    tenant: &'o Tenant,
    is_left: bool,
}

impl<DB: TenantEngine> Drop for Mark<'_, DB> {
    fn drop(&mut self) {
        if self.is_left {
            self.outbox.0.leave(self.tenant);
        }
    }
}

const LONGEST_DELIVERY: Duration = Duration::from_secs(30);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Few flushes for many: one for each mode.
fn merged(notes: &[Note]) -> impl Iterator<Item = FlushPlan> {
    let (hard, soft): (Vec<_>, Vec<_>) = notes.iter().map(Note::plan).partition(FlushPlan::is_hard);
    [hard, soft]
        .into_iter()
        .filter_map(|plans| plans.into_iter().reduce(FlushPlan::and))
}

impl<DB: TenantEngine> Shared<DB> {
    /// Something of this tenant is still in its table. Whether that is new.
    fn leave(&self, tenant: &Tenant) -> bool {
        self.left().insert(tenant.id().clone(), tenant.clone()).is_none()
    }

    fn left(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: TenantEngine> Clone for CacheOutbox<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for CacheOutbox<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheOutbox").finish_non_exhaustive()
    }
}

/// Deliveries that go on until this is dropped.
#[derive(Debug)]
#[must_use = "deliveries end when this is dropped"]
pub struct Deliveries(JoinHandle<()>);

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.0.abort();
    }
}
