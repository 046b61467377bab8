//! Waiting for a tenant to change.

use std::sync::atomic::{Ordering, fence};

use tenancy_core::TenantStatus;
use tokio::sync::watch;

use super::{ControlBlock, Tenant};

/// Who waits for a tenant. Made when somebody first does.
pub(super) struct Changes {
    sender: watch::Sender<()>,
}

impl Changes {
    fn new() -> Self {
        Self {
            sender: watch::Sender::new(()),
        }
    }
}

/// From before the new record is stored until what was made of the old one is outdated.
pub(crate) struct Changing<'b>(&'b ControlBlock);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.is_changing.store(false, Ordering::Release);
    }
}

impl ControlBlock {
    pub(crate) fn begin_change(&self) -> Changing<'_> {
        self.is_changing.store(true, Ordering::Release);
        Changing(self)
    }

    /// Whether a record is there that nothing was outdated for yet. Who has seen the new record gets `true`, or what follows.
    pub(crate) fn is_changing(&self) -> bool {
        self.is_changing.load(Ordering::Acquire)
    }

    /// Wakes whoever waits, and lets what was made for the former state be used no more. Comes after the new state
    /// is stored. Callers may hold the registry's lock.
    pub(super) fn announce_change(&self) {
        // With the fence of `subscribe`: either this sees who waits, or they see what was stored.
        fence(Ordering::SeqCst);
        let Some(extras) = self.extras.get() else { return };
        if let Some(resources) = extras.resources.get() {
            resources.outdate();
        }
        if let Some(changes) = extras.changes.get() {
            changes.sender.send_replace(());
        }
    }

    fn subscribe(&self) -> watch::Receiver<()> {
        let receiver = self.extras().changes.get_or_init(Changes::new).sender.subscribe();
        fence(Ordering::SeqCst);
        receiver
    }
}

impl Tenant {
    /// Completes at the tenant's next change after this call: its record was replaced, or it was purged.
    ///
    /// Counts from the call, not from the first poll: call it, look at the tenant, then await it, and no change is
    /// missed. Several changes before it is polled are one. It may be dropped at any time and sent anywhere; it keeps
    /// a handle on the tenant and nothing else.
    ///
    /// A change is known when this process knows it: at once for changes made here, within the poll interval for a
    /// store that is watched, and with the next look-up of the tenant for any other store. A tenant that nobody waits
    /// for pays nothing; the first wait allocates.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tenancy::{MemoryStore, Tenancy, core::TenantStatus, resolve::Subdomain};
    ///
    /// let store = MemoryStore::of(["acme"])?;
    /// let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
    /// tenancy.ready().await;
    /// let acme = tenancy.enter(&"acme".parse()?).await?;
    ///
    /// let changed = acme.changed();
    /// store.set_status(acme.id(), TenantStatus::Suspended).await?;
    /// changed.await;
    /// assert_eq!(acme.status(), TenantStatus::Suspended);
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    pub fn changed(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let tenant = self.clone();
        let mut changes = tenant.block.subscribe();
        async move {
            // An error says that the sender is gone; the tenant that this future holds has it.
            let _ = changes.changed().await;
            drop(tenant);
        }
    }

    /// Completes when the tenant is not served: at once if it is not already, else when it is suspended, deleted or
    /// purged. Returns what it is then. Maintenance does not count.
    ///
    /// What outlives its request ends with it: put it beside the loop of a socket or a stream, in a `select!`.
    /// Reached by [`changed`](Self::changed), with its costs and its delay; may be dropped at any time.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tenancy::{MemoryStore, Tenancy, core::TenantStatus, resolve::Subdomain};
    /// # let store = MemoryStore::of(["acme"])?;
    /// # let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
    /// # tenancy.ready().await;
    /// # let acme = tenancy.enter(&"acme".parse()?).await?;
    /// # store.set_status(acme.id(), TenantStatus::Suspended).await?;
    /// # let next_message = std::future::pending::<()>;
    /// let closed = acme.until_not_served();
    /// tokio::pin!(closed);
    /// loop {
    ///     tokio::select! {
    ///         status = &mut closed => {
    ///             println!("closing: the tenant is {status}");
    ///             break;
    ///         }
    ///         message = next_message() => { /* answer it */ }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    pub fn until_not_served(&self) -> impl Future<Output = TenantStatus> + Send + Sync + use<> {
        let tenant = self.clone();
        async move {
            let mut changes = tenant.block.subscribe();
            while tenant.is_served() {
                let _ = changes.changed().await;
            }
            tenant.status()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::{FutureExt, future::join_all};
    use tenancy_core::{TenantId, TenantRecord};

    use super::*;
    use crate::tenant::tests::tenant;

    fn record(epoch: u64, status: TenantStatus) -> TenantRecord {
        let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
        record.epoch = epoch;
        record.status = status;
        record
    }

    #[test]
    fn a_tenant_that_nobody_waits_for_allocates_nothing() {
        let acme = tenant("acme");
        acme.block().update(record(1, TenantStatus::Suspended));
        acme.block().retire();
        assert!(acme.block().extras.get().is_none());
    }

    #[test]
    fn a_change_between_the_check_and_the_wait_is_not_missed() {
        let acme = tenant("acme");
        let changed = acme.changed();
        assert!(acme.is_served());
        acme.block().update(record(1, TenantStatus::Suspended));
        assert_eq!(changed.now_or_never(), Some(()));
    }

    #[test]
    fn a_change_before_the_call_does_not_count() {
        let acme = tenant("acme");
        drop(acme.changed());
        acme.block().update(record(1, TenantStatus::Active));
        assert_eq!(acme.changed().now_or_never(), None);
    }

    #[test]
    fn what_changes_nothing_wakes_nobody() {
        let acme = tenant("acme");
        acme.block().update(record(5, TenantStatus::Active));
        let mut changed = Box::pin(acme.changed());
        assert!(!acme.block().update(record(5, TenantStatus::Active)));
        assert!(!acme.block().update(record(4, TenantStatus::Suspended)), "older");
        assert_eq!((&mut changed).now_or_never(), None);
        assert!(acme.block().update(record(6, TenantStatus::Active)));
        assert_eq!(changed.now_or_never(), Some(()));
    }

    #[test]
    fn an_earlier_state_of_a_restored_catalogue_is_a_change() {
        let acme = tenant("acme");
        acme.block().update(record(9, TenantStatus::Active));
        let changed = acme.changed();
        assert!(acme.block().replace(record(2, TenantStatus::Active)));
        assert_eq!(changed.now_or_never(), Some(()));
    }

    #[test]
    fn a_tenant_that_is_not_served_any_more_ends_the_wait() {
        for status in [
            TenantStatus::Pending,
            TenantStatus::Suspended,
            TenantStatus::Deleted,
        ] {
            let acme = tenant("acme");
            let mut ended = Box::pin(acme.until_not_served());
            assert_eq!((&mut ended).now_or_never(), None);
            acme.block().update(record(1, TenantStatus::Active));
            assert_eq!((&mut ended).now_or_never(), None, "a change, and still served");
            acme.block().update(record(2, status));
            assert_eq!(ended.now_or_never(), Some(status));
            assert_eq!(acme.until_not_served().now_or_never(), Some(status), "at once");
        }
    }

    #[test]
    fn a_purge_ends_the_wait() {
        let acme = tenant("acme");
        let (changed, ended) = (acme.changed(), acme.until_not_served());
        acme.block().retire();
        assert_eq!(changed.now_or_never(), Some(()));
        assert_eq!(ended.now_or_never(), Some(TenantStatus::Deleted));
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_the_others() {
        let acme = tenant("acme");
        let mut dropped = Box::pin(acme.changed());
        assert_eq!((&mut dropped).now_or_never(), None);
        let kept = acme.changed();
        drop(dropped);
        acme.block().update(record(1, TenantStatus::Active));
        assert_eq!(kept.now_or_never(), Some(()));
    }

    /// Threads that begin to wait while the tenant changes: each sees the change, in its status or by being woken.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_that_begin_to_wait_during_the_change_all_are_woken() {
        for _ in 0..200 {
            let acme = tenant("acme");
            let start = Arc::new(tokio::sync::Barrier::new(9));
            let waiting = (0..8).map(|_| {
                let (acme, start) = (acme.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    acme.until_not_served().await
                })
            });
            let waiting: Vec<_> = waiting.collect();
            start.wait().await;
            acme.block().update(record(1, TenantStatus::Suspended));
            for ended in join_all(waiting).await {
                assert_eq!(ended.unwrap(), TenantStatus::Suspended);
            }
        }
    }
}
