//! Jobs that run for every tenant: cron, with a lock for each tenant and job.
//!
//! * [`TenantJob::run`] runs a job for each served tenant, some at a time, each in its tenant's scope. One tenant's
//!   failure, panic or slowness is its own.
//! * One run of (job, tenant) at a time, in all processes that share a [`LockStore`]: a lease that is renewed while
//!   the job runs, and taken over when the process that held it died. A lock of one tenant never blocks another's.
//! * A run ends when its tenant is not served any more, and when its lease is lost, before another process can have it.
//! * When to run is yours to say: a `tokio::time::interval`, a crate that reads cron expressions, a signal.
//!
//! **Caveats.** A job is ended at one of its awaits: code that blocks its thread for longer than the lease can run
//! beside another process's. What must not be done twice needs a transaction that says so. The locks of processes on
//! several machines need a store that all of them reach; [`MemoryLocks`] is one process's.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, schedule::{MemoryLocks, TenantJob}};
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! tenancy.ready().await;
//!
//! let invoices = TenantJob::new("invoices", MemoryLocks::new());
//! let outcomes = invoices
//!     .run(tenancy.tenants(), |tenant| async move {
//!         println!("writing the invoices of {tenant}");
//!         Ok::<_, Infallible>(())
//!     })
//!     .await;
//! assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tenancy::{Tenancy, core::LockStore, schedule::TenantJob};
//!
//! /// Every hour, in each of several processes: whoever is first does it.
//! async fn every_hour(tenancy: Tenancy, locks: impl LockStore) {
//!     let hour = Duration::from_secs(60 * 60);
//!     let digest = TenantJob::new("digest", locks).at_most_every(hour - Duration::from_secs(60)).concurrency(4);
//!     let mut due = tokio::time::interval(hour);
//!     loop {
//!         due.tick().await;
//!         for outcome in digest.run(tenancy.tenants(), |tenant| async move { send_digest(tenant).await }).await {
//!             if let Err(error) = outcome.result && !error.is_held_elsewhere() {
//!                 tracing::warn!(tenant = %outcome.tenant, %error, "no digest");
//!             }
//!         }
//!     }
//! }
//! # async fn send_digest(_: tenancy::Tenant) -> Result<(), std::io::Error> { Ok(()) }
//! # Ok(())
//! # }
//! ```

mod error;
mod lease;
mod memory;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use tenancy_core::{BoxError, LockStore};

use self::{
    error::Fault,
    lease::{ErasedLocks, Lease},
};
pub use self::{error::JobError, memory::MemoryLocks};
use crate::{
    Tenant,
    scope::{TenantOutcome, run_for_many},
};

/// A job that runs for each tenant, by name. See the [module](self). Clones are the same job.
#[derive(Clone)]
pub struct TenantJob {
    name: Arc<str>,
    locks: Arc<dyn ErasedLocks>,
    concurrency: usize,
    lease: Duration,
    pause: Duration,
}

/// What became of one tenant's run.
#[derive(Debug)]
#[non_exhaustive]
pub struct JobOutcome {
    /// The tenant.
    pub tenant: Tenant,
    /// Whether the job has run to its end, and why not.
    pub result: Result<(), JobError>,
}

impl TenantJob {
    /// A job of this name. Jobs of equal names that share a lock store exclude each other, for each tenant.
    pub fn new(name: impl Into<Arc<str>>, locks: impl LockStore) -> Self {
        Self {
            name: name.into(),
            locks: Arc::new(locks),
            concurrency: 8,
            lease: Duration::from_secs(60),
            pause: Duration::ZERO,
        }
    }

    /// For how many tenants at a time. Default: 8; at least 1.
    #[must_use]
    pub fn concurrency(mut self, tenants: usize) -> Self {
        self.concurrency = tenants.max(1);
        self
    }

    /// How long the lock of a process that died is kept, and how long a store may be away before a run is ended.
    /// Renewed when a third of it is over. Default: 60 s; at least 3 ms.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(3));
        self
    }

    /// Keeps the lock after a success until this time since the run's begin has passed, so that several processes whose
    /// clocks strike together run a job once. Choose it a bit shorter than the interval. A failed run frees the lock.
    /// Default: the lock is freed after each run.
    #[must_use]
    pub fn at_most_every(mut self, period: Duration) -> Self {
        self.pause = period;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the job for each of the tenants that is served now, and waits for all. The outcomes are in the order of the
    /// tenants, without those that were not served.
    ///
    /// [`Tenancy::tenants`](crate::Tenancy::tenants) has the tenants of a store that lists them. Dropping the future
    /// drops what runs and frees its locks.
    pub async fn run<I, F, Fut, E>(&self, tenants: I, job: F) -> Vec<JobOutcome>
    where
        I: IntoIterator<Item = Tenant>,
        F: Fn(Tenant) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let served = tenants.into_iter().filter(Tenant::is_served);
        let (this, job) = (self.clone(), Arc::new(job));
        let outcomes = run_for_many(served, self.concurrency, move |tenant| {
            let (this, job) = (this.clone(), Arc::clone(&job));
            async move {
                let running = || async { job(tenant.clone()).await.map_err(|error| error.into().into()) };
                this.run_locked(&tenant, running).await
            }
        });
        let outcomes = outcomes.await.into_iter();
        outcomes.map(|outcome| self.judge(outcome)).collect()
    }

    async fn run_locked<Fut>(&self, tenant: &Tenant, job: impl FnOnce() -> Fut) -> Result<(), Fault>
    where
        Fut: Future<Output = Result<(), Arc<dyn std::error::Error + Send + Sync>>>,
    {
        let name = lock_name(tenant.id().as_str(), tenant.incarnation(), &self.name);
        let clock = &*tenant.home().clock;
        let lease = Lease::acquire(&self.locks, name, self.lease, clock).await?;
        let began_at = clock.monotonic();
        let outcome = tokio::select! {
            // First, so that a tenant which is not served any more since the list was made is not begun with.
            biased;
            status = tenant.until_not_served() => Err(Fault::NotServed(status)),
            fault = lease.keep(clock) => Err(fault),
            outcome = job() => outcome.map_err(Fault::Failed),
        };
        let rest = self
            .pause
            .saturating_sub(clock.monotonic().saturating_sub(began_at));
        if outcome.is_ok() && !rest.is_zero() {
            lease.leave_for(rest).await;
        } else {
            lease.release().await;
        }
        outcome
    }

    fn judge(&self, outcome: TenantOutcome<Result<(), Fault>>) -> JobOutcome {
        let result = match outcome.result {
            Ok(result) => result,
            Err(panicked) => Err(Fault::Panicked(panicked)),
        };
        JobOutcome {
            result: result.map_err(|fault| JobError::new(Arc::clone(&self.name), fault)),
            tenant: outcome.tenant,
        }
    }
}

impl fmt::Debug for TenantJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantJob")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Ids have no colon and incarnations are numbers, so that different (tenant, job) pairs give different names,
/// whatever the job's name is.
fn lock_name(id: &str, incarnation: u64, job: &str) -> Box<str> {
    format!("job:{id}:{incarnation}:{job}").into()
}
