//! Stores with a character.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tenancy::{
    MemoryStore,
    core::{
        ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantEntry, TenantId, TenantKey, TenantPage,
        TenantRecord, TenantStatus, TenantStore,
    },
};
use tokio::sync::watch;

/// A store as another process shares it: its changes are announced to nobody here.
#[derive(Clone)]
pub(super) struct Silent {
    inner: Arc<Mutex<MemoryStore>>,
    signal: ChangeSignal,
}

impl Silent {
    pub(super) fn new(inner: MemoryStore) -> Self {
        Self {
            inner: Arc::new(Mutex::new(inner)),
            signal: ChangeSignal::new(),
        }
    }

    /// Puts another catalogue in place of this one, as a restored backup is.
    pub(super) fn restore(&self, other: MemoryStore) {
        *self.inner.lock().unwrap() = other;
    }

    fn inner(&self) -> MemoryStore {
        self.inner.lock().unwrap().clone()
    }
}

impl TenantStore for Silent {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.inner().find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        Some(self.signal.clone())
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.inner().list(after, limit).await
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.inner().changes(since, limit).await
    }
}

/// How a [`Moody`] store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Calm,
    PanicsInFind,
    PanicsInChanges,
    CannotFollow,
    /// Each page of the list says that the next one begins where it began.
    ListsInALoop,
    /// There are always more changes, and never another place in the log.
    ChangesInALoop,
    /// Whatever place a reader stands at, the log does not go on from there.
    ReloadsInALoop,
}

/// Wraps a store that can be put in a mood. Clones share it. Counts lists and questions for changes.
#[derive(Clone)]
pub(super) struct Moody<S> {
    inner: S,
    mood: Arc<Mutex<Mood>>,
    lists: Arc<AtomicU64>,
    changes: Arc<AtomicU64>,
}

impl<S> Moody<S> {
    pub(super) fn new(inner: S, mood: Mood) -> Self {
        Self {
            inner,
            mood: Arc::new(Mutex::new(mood)),
            lists: Arc::default(),
            changes: Arc::default(),
        }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn lists(&self) -> u64 {
        self.lists.load(Ordering::SeqCst)
    }

    pub(super) fn changes_asked(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }
}

impl<S: TenantStore> TenantStore for Moody<S> {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        assert!(self.mood() != Mood::PanicsInFind, "the test wants find to panic");
        self.inner.find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        self.inner.signal()
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let mut page = self.inner.list(after, limit).await?;
        if self.mood() == Mood::ListsInALoop {
            page.next = after
                .or(page.entries.first().map(|entry| &entry.record.id))
                .cloned();
        }
        Ok(page)
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let changes = Vec::new();
        match self.mood() {
            Mood::PanicsInChanges => panic!("the test wants changes to panic"),
            Mood::CannotFollow => Err(StoreError::unavailable("the test wants changes to fail")),
            Mood::ChangesInALoop if since != ChangeMark::NONE => Ok(ChangeBatch::Changes {
                mark: since,
                changes,
                more: true,
            }),
            Mood::ReloadsInALoop => Ok(ChangeBatch::Reload {
                mark: ChangeMark { number: 7, stamp: 7 },
            }),
            _ => self.inner.changes(since, limit).await,
        }
    }
}

/// Holds back the pages of the list, already read: what is changed meanwhile is not in them.
#[derive(Clone)]
pub(super) struct SlowList<S> {
    inner: S,
    open: watch::Sender<usize>,
    read: watch::Sender<usize>,
}

impl<S> SlowList<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            open: watch::Sender::new(0),
            read: watch::Sender::new(0),
        }
    }

    /// Waits until this many pages have been read.
    pub(super) async fn until_read(&self, pages: usize) {
        let mut read = self.read.subscribe();
        read.wait_for(|read| *read >= pages).await.unwrap();
    }

    /// Lets this many pages go, from the first on.
    pub(super) fn let_go(&self, pages: usize) {
        self.open.send_replace(pages);
    }
}

impl<S: TenantStore> TenantStore for SlowList<S> {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.inner.find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        self.inner.signal()
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        let page = self.inner.list(after, limit).await;
        let mut number = 0;
        self.read.send_modify(|read| {
            *read += 1;
            number = *read;
        });
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open >= number).await.unwrap();
        page
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.inner.changes(since, limit).await
    }
}

/// A tenant with keys besides its slug.
pub(super) fn entry(id: &str, keys: &[TenantKey<'static>]) -> TenantEntry {
    TenantEntry {
        record: TenantRecord::new(super::id(id)),
        keys: keys.to_vec(),
    }
}

/// `acme`, with two keys besides its slug, and `globex`.
pub(super) fn two_tenants() -> MemoryStore {
    let acme = entry(
        "acme",
        &[super::slug("acme-shop"), super::domain("shop.acme.test")],
    );
    MemoryStore::from_entries([acme, entry("globex", &[])]).unwrap()
}

pub(super) async fn suspend(store: &MemoryStore, id: &str) {
    let id = super::id(id);
    store.set_status(&id, TenantStatus::Suspended).await.unwrap();
}

pub(super) async fn resume(store: &MemoryStore, id: &str) {
    let id = super::id(id);
    store.set_status(&id, TenantStatus::Active).await.unwrap();
}
