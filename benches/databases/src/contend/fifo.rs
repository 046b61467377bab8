//! A keyed pool as one would first write it: one budget, and one queue for all tenants, first come, first served.
//!
//! It evicts like the pool under measurement and is given what that has to do without: it resets nothing.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tenancy_bench::Failure;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::bed::name_of;

const CONNECTS: usize = 4;
const WAIT: Duration = Duration::from_secs(3);

pub(super) struct Fifo {
    options: PgConnectOptions,
    /// One for each open connection. Whoever waits for one stands in line.
    permits: Arc<Semaphore>,
    connects: Semaphore,
    budget: usize,
    waiting: AtomicUsize,
    /// The one that was idle for longest comes first.
    idle: Mutex<Vec<Open>>,
    opens: AtomicUsize,
}

/// An open connection.
pub(super) struct Open {
    tenant: usize,
    pub(super) connection: PgConnection,
    permit: OwnedSemaphorePermit,
}

/// Stands in line for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Found<'a> {
    Own(Open),
    Other(Open),
    Nothing(Waiting<'a>),
}

impl Fifo {
    pub(super) fn new(options: PgConnectOptions, budget: usize) -> Self {
        Self {
            options,
            permits: Arc::new(Semaphore::new(budget)),
            connects: Semaphore::new(CONNECTS),
            budget,
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            opens: AtomicUsize::new(0),
        }
    }

    pub(super) async fn acquire(&self, tenant: usize) -> Result<Open, Failure> {
        let permit = if let Some(own) = self.take_own(tenant) {
            return Ok(own);
        } else if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permit
        } else {
            match self.find(tenant) {
                Found::Own(open) => return Ok(open),
                Found::Other(open) => close(open).await,
                Found::Nothing(_waiting) => {
                    timeout(WAIT, Arc::clone(&self.permits).acquire_owned()).await??
                }
            }
        };
        let _connect = self.connects.acquire().await?;
        self.opens.fetch_add(1, Ordering::Relaxed);
        let options = self.options.clone().database(&name_of(tenant));
        Ok(Open {
            tenant,
            connection: PgConnection::connect_with(&options).await?,
            permit,
        })
    }

    fn take_own(&self, tenant: usize) -> Option<Open> {
        let mut idle = self.idle();
        let own = idle.iter().rposition(|open| open.tenant == tenant)?;
        Some(idle.remove(own))
    }

    /// Under one lock, so that nothing becomes idle unseen before this one is seen waiting.
    fn find(&self, tenant: usize) -> Found<'_> {
        let mut idle = self.idle();
        match idle.iter().rposition(|open| open.tenant == tenant) {
            Some(own) => Found::Own(idle.remove(own)),
            None if idle.is_empty() => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                Found::Nothing(Waiting(&self.waiting))
            }
            None => Found::Other(idle.remove(0)),
        }
    }

    /// The next in line is of another tenant, as good as always: the connection is of no use to it, its permit is.
    pub(super) async fn give_back(&self, open: Open) {
        let open = {
            let mut idle = self.idle();
            if self.waiting.load(Ordering::SeqCst) == 0 {
                idle.push(open);
                return;
            }
            open
        };
        drop(close(open).await);
    }

    pub(super) fn opens(&self) -> usize {
        self.opens.load(Ordering::Relaxed)
    }

    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for open in idle {
            drop(close(open).await);
        }
        let all = u32::try_from(self.budget).unwrap_or(u32::MAX);
        drop(self.permits.acquire_many(all).await);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit is free when the server has heard of it.
async fn close(open: Open) -> OwnedSemaphorePermit {
    // All that can fail is the good-bye.
    let _ = open.connection.close().await;
    open.permit
}
