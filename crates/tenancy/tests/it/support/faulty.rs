//! A store that fails, counts and waits when it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tenancy_core::{
    ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantId, TenantKey, TenantPage, TenantRecord,
    TenantStore,
};
use tokio::sync::watch;

/// Wraps a store. Clones share the switches and the counters.
#[derive(Debug)]
pub(crate) struct FaultyStore<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    inner: S,
    failing: AtomicBool,
    blind: AtomicBool,
    finds: AtomicU64,
    lists: AtomicU64,
    changes: AtomicU64,
    gate_is_closed: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

impl<S> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> FaultyStore<S> {
    /// A store that behaves until told otherwise.
    pub(crate) fn new(inner: S) -> Self {
        Self {
            shared: Arc::new(Shared {
                inner,
                failing: AtomicBool::new(false),
                blind: AtomicBool::new(false),
                finds: AtomicU64::new(0),
                lists: AtomicU64::new(0),
                changes: AtomicU64::new(0),
                gate_is_closed: watch::Sender::new(false),
                held: watch::Sender::new(0),
            }),
        }
    }

    /// Makes it find only: no signal, no list, no changes. Set before the store is given away.
    pub(crate) fn finding_only(self) -> Self {
        self.shared.blind.store(true, Ordering::SeqCst);
        self
    }

    /// The store inside, to change tenants.
    pub(crate) fn inner(&self) -> &S {
        &self.shared.inner
    }

    /// While set, every call fails as if the store could not be reached.
    pub(crate) fn fail(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// Holds back the answers of `find`. The store inside is asked first: an answer that was held is stale.
    pub(crate) fn hold_finds(&self) {
        self.shared.gate_is_closed.send_replace(true);
    }

    /// Lets all held answers go, and later ones through.
    pub(crate) fn release_finds(&self) {
        self.shared.gate_is_closed.send_replace(false);
    }

    /// Waits until `count` answers are held.
    pub(crate) async fn until_held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        // The sender lives in `self`.
        let _ = held.wait_for(|held| *held >= count).await;
    }

    /// How many answers are held now.
    pub(crate) fn held(&self) -> usize {
        *self.shared.held.borrow()
    }

    /// How often `find` was called.
    pub(crate) fn finds(&self) -> u64 {
        self.shared.finds.load(Ordering::SeqCst)
    }

    /// How often `list` was called.
    pub(crate) fn lists(&self) -> u64 {
        self.shared.lists.load(Ordering::SeqCst)
    }

    /// How often anything was called, failures included.
    pub(crate) fn calls(&self) -> u64 {
        self.finds() + self.lists() + self.shared.changes.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.shared.failing.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the test has switched the store off"));
        }
        Ok(())
    }

    fn check_sight(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.shared.blind.load(Ordering::SeqCst) {
            return Err(StoreError::unsupported(operation));
        }
        self.check()
    }

    async fn pass_gate(&self) {
        let mut gate = self.shared.gate_is_closed.subscribe();
        if *gate.borrow() {
            let _held = Held::new(&self.shared.held);
            let _ = gate.wait_for(|closed| !*closed).await;
        }
    }
}

/// Counts an answer as held until it goes or its future is dropped.
struct Held<'a>(&'a watch::Sender<usize>);

impl<'a> Held<'a> {
    fn new(held: &'a watch::Sender<usize>) -> Self {
        held.send_modify(|held| *held += 1);
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|held| *held -= 1);
    }
}

impl<S: TenantStore> TenantStore for FaultyStore<S> {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.shared.finds.fetch_add(1, Ordering::SeqCst);
        let answer = match self.check() {
            Ok(()) => self.shared.inner.find(key).await,
            Err(error) => Err(error),
        };
        self.pass_gate().await;
        answer
    }

    fn signal(&self) -> Option<ChangeSignal> {
        if self.shared.blind.load(Ordering::SeqCst) {
            return None;
        }
        self.shared.inner.signal()
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.shared.lists.fetch_add(1, Ordering::SeqCst);
        self.check_sight("list")?;
        self.shared.inner.list(after, limit).await
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.shared.changes.fetch_add(1, Ordering::SeqCst);
        self.check_sight("changes")?;
        self.shared.inner.changes(since, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy::MemoryStore;

    fn acme() -> TenantKey<'static> {
        TenantKey::slug("acme").unwrap()
    }

    #[tokio::test]
    async fn it_fails_while_told_to_and_counts_every_call() {
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap());
        assert!(store.find(&acme()).await.unwrap().is_some());
        store.fail(true);
        assert!(store.find(&acme()).await.unwrap_err().is_unavailable());
        assert!(store.list(None, 1).await.unwrap_err().is_unavailable());
        assert!(
            store
                .changes(ChangeMark::NONE, 1)
                .await
                .unwrap_err()
                .is_unavailable()
        );
        store.fail(false);
        assert!(store.find(&acme()).await.unwrap().is_some());
        assert_eq!((store.finds(), store.lists(), store.calls()), (3, 1, 5));
    }

    #[tokio::test]
    async fn a_store_that_only_finds_neither_lists_nor_signals() {
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap());
        assert!(store.signal().is_some());
        let store = store.finding_only();
        assert!(store.signal().is_none());
        assert!(store.list(None, 1).await.unwrap_err().is_unsupported());
        assert!(store.find(&acme()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_held_answer_is_what_was_true_when_it_was_asked_for() {
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap());
        store.hold_finds();
        let asking = tokio::spawn({
            let store = store.clone();
            async move { store.find(&acme()).await }
        });
        let dropped = tokio::spawn({
            let store = store.clone();
            async move { store.find(&acme()).await }
        });
        store.until_held(2).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        assert_eq!(store.held(), 1);

        store
            .inner()
            .remove(&TenantId::new("acme").unwrap())
            .await
            .unwrap();
        store.release_finds();
        assert!(asking.await.unwrap().unwrap().is_some(), "stale");
        assert!(store.find(&acme()).await.unwrap().is_none());
        assert_eq!(store.held(), 0);
    }
}
