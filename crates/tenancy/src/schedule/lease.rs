//! One lock that is held, renewed and let go.

use std::{pin::Pin, sync::Arc, time::Duration};

use tenancy_core::{Clock, LockStore, StoreError};
use tokio::time::timeout;

use super::error::Fault;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin of [`LockStore`].
pub(super) trait ErasedLocks: Send + Sync + 'static {
    fn try_acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    fn renew<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
}

impl<L: LockStore> ErasedLocks for L {
    fn try_acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(LockStore::try_acquire(self, name, holder, ttl))
    }

    fn renew<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(LockStore::renew(self, name, holder, ttl))
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(LockStore::release(self, name, holder))
    }
}

/// A lock that this run holds. Let go when it is dropped, in a task of its own.
pub(super) struct Lease {
    locks: Arc<dyn ErasedLocks>,
    name: Box<str>,
    holder: Box<str>,
    ttl: Duration,
    /// Before the store was asked: it cannot have given more than from then on.
    held_since: Duration,
    let_go: bool,
}

impl Lease {
    pub(super) async fn acquire(
        locks: &Arc<dyn ErasedLocks>,
        name: Box<str>,
        ttl: Duration,
        clock: &dyn Clock,
    ) -> Result<Self, Fault> {
        let mut lease = Self {
            locks: Arc::clone(locks),
            name,
            // New for each run: two runs of one process exclude each other as those of two do.
            holder: format!("{:032x}", fastrand::u128(..)).into(),
            ttl,
            held_since: clock.monotonic(),
            // A store that answers late may have locked it all the same.
            let_go: false,
        };
        let asked = lease.locks.try_acquire(&lease.name, &lease.holder, ttl);
        match timeout(ttl / 3, asked).await {
            Ok(Ok(true)) => Ok(lease),
            Ok(Ok(false)) => {
                lease.let_go = true;
                Err(Fault::HeldElsewhere)
            }
            Ok(Err(error)) => Err(Fault::LockUnavailable(error)),
            Err(elapsed) => Err(Fault::LockUnavailable(StoreError::unavailable(elapsed))),
        }
    }

    /// Renews for as long as it is polled. Completes when the lease is lost, or could be soon.
    pub(super) async fn keep(&self, clock: &dyn Clock) -> Fault {
        let step = self.ttl / 3;
        let mut held_since = self.held_since;
        loop {
            tokio::time::sleep(step).await;
            let asked_at = clock.monotonic();
            let asked = self.locks.renew(&self.name, &self.holder, self.ttl);
            match timeout(step, asked).await {
                Ok(Ok(true)) => held_since = asked_at,
                Ok(Ok(false)) => return Fault::LeaseLost,
                // Could not tell: there may be time for another try.
                Ok(Err(_)) | Err(_) => {}
            }
            // The next answer may take a sleep and a time-out more.
            if clock.monotonic().saturating_sub(held_since) + step >= self.ttl {
                return Fault::LeaseLost;
            }
        }
    }

    pub(super) async fn release(mut self) {
        let released = timeout(self.ttl / 3, self.locks.release(&self.name, &self.holder)).await;
        // Else the drop tries once more.
        self.let_go = matches!(released, Ok(Ok(())));
    }

    /// Leaves it locked for so long, with nobody who renews it.
    pub(super) async fn leave_for(mut self, rest: Duration) {
        self.let_go = true;
        let left = timeout(self.ttl / 3, self.locks.renew(&self.name, &self.holder, rest)).await;
        if !matches!(left, Ok(Ok(true))) {
            tracing::warn!(lock = %self.name, "a job's lock could not be kept: another process may run it again");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.let_go {
            return;
        }
        // Without a runtime, it is free when its time is over.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let locks = Arc::clone(&self.locks);
        let (name, holder) = (std::mem::take(&mut self.name), std::mem::take(&mut self.holder));
        runtime.spawn(async move { locks.release(&name, &holder).await });
    }
}
