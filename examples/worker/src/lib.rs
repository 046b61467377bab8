//! Jobs of tenants on a durable queue (apalis, in a SQLite file), and cron with a lock for each tenant.
//!
//! The payload says whose job it is; the worker enters that tenant before it does anything, and a job whose tenant is
//! gone, suspended or another one by now is put aside for good.

mod mailer;

use std::{sync::Arc, time::Duration};

use apalis::prelude::{
    AbortError, BackendExt, BoxDynError, Data, TaskBuilder, TaskSink, WorkerBuilder, WorkerError,
};
use apalis_sqlite::SqliteStorage;
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use tenancy::{
    Tenancy, Tenant, TenantRef,
    core::LockStore,
    schedule::{JobOutcome, TenantJob},
    scope,
};

pub use self::mailer::Mailer;

/// How often a job is tried before it is left for people.
const TRIES: u32 = 5;

/// How often the queue is looked at.
const POLL: Duration = Duration::from_millis(100);

/// What is kept in the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendInvoice {
    tenant: TenantRef,
    number: u32,
    tries: u32,
}

/// The queue of invoices, in a SQLite file that several processes share.
#[derive(Clone, Debug)]
pub struct Invoices {
    queue: SqliteStorage<SendInvoice>,
}

impl Invoices {
    /// Makes the queue's tables if they are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn on(pool: &SqlitePool) -> Result<Self, BoxDynError> {
        SqliteStorage::setup(pool).await?;
        Ok(Self {
            queue: SqliteStorage::new(pool),
        })
    }

    /// Puts an invoice into the queue. In a handler, `tenant` is the request's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn send_later(&self, tenant: &Tenant, number: u32) -> Result<(), BoxDynError> {
        let job = SendInvoice {
            tenant: tenant.reference(),
            number,
            tries: 0,
        };
        self.push(job, Duration::ZERO).await
    }

    /// The queue itself would try what failed again at once. A later try is a job of its own, kept as safely as the
    /// first one, and of the same tenant.
    async fn try_later(&self, mut job: SendInvoice) -> Result<(), BoxDynError> {
        job.tries += 1;
        let pause = Duration::from_secs(2 << job.tries.min(10));
        self.push(job, pause).await
    }

    async fn push(&self, job: SendInvoice, pause: Duration) -> Result<(), BoxDynError> {
        let task = TaskBuilder::new(job).max_attempts(1).run_after(pause).build();
        self.queue.clone().push_task(task).await?;
        Ok(())
    }

    /// Works through the queue until the future is dropped. `worker` is a name that no other process has.
    ///
    /// # Errors
    /// When the queue can not be read any more.
    pub async fn work(&self, worker: &str, tenancy: Tenancy, mailer: Arc<Mailer>) -> Result<(), WorkerError> {
        WorkerBuilder::new(worker)
            .backend(self.queue.clone().poll_with_interval(POLL))
            .data(self.clone())
            .data(tenancy)
            .data(mailer)
            .build(send_invoice)
            .run()
            .await
    }
}

/// The job. Whatever it calls finds the tenant in the scope, as in a request.
async fn send_invoice(
    job: SendInvoice,
    invoices: Data<Invoices>,
    tenancy: Data<Tenancy>,
    mailer: Data<Arc<Mailer>>,
) -> Result<(), BoxDynError> {
    let error: BoxDynError = match tenancy.enter_ref(&job.tenant).await {
        Ok(tenant) => match scope::run(&tenant, async { mailer.send(job.number) }).await {
            Ok(()) => return Ok(()),
            Err(error) => error.into(),
        },
        // The catalogue could not tell. Trying again may help.
        Err(error) if error.is_unavailable() => error.into(),
        // Gone, not served, or another one that has its name.
        Err(error) => {
            // `Killed` in the queue's table: kept, and not tried again.
            tracing::warn!(tenant = %job.tenant, invoice = job.number, %error, "a job is put aside unrun");
            return Err(AbortError::new(error).into());
        }
    };
    tracing::warn!(tenant = %job.tenant, invoice = job.number, tries = job.tries, error, "a job failed");
    if job.tries + 1 == TRIES {
        return Err(AbortError::new(error).into());
    }
    invoices.try_later(job).await
}

/// Puts this month's invoice of every tenant into the queue. However many processes do this at the same moment, each
/// tenant gets one.
pub async fn monthly_invoices(
    tenancy: &Tenancy,
    invoices: &Invoices,
    locks: impl LockStore,
    number: u32,
) -> Vec<JobOutcome> {
    let day = Duration::from_secs(24 * 60 * 60);
    let invoices = invoices.clone();
    TenantJob::new(format!("invoice {number}"), locks)
        .at_most_every(day)
        .run(tenancy.tenants(), move |tenant| {
            let invoices = invoices.clone();
            async move { invoices.send_later(&tenant, number).await }
        })
        .await
}
