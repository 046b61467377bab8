//! A store in memory: for tests, for examples, and for services whose tenants are fixed when they start.

mod catalogue;
mod error;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tenancy_core::{
    ChangeBatch, ChangeMark, ChangeSignal, InvalidName, StoreError, TenantEntry, TenantId, TenantKey,
    TenantPage, TenantRecord, TenantStatus, TenantStore,
};

use catalogue::Catalogue;
pub use error::MemoryStoreError;

/// How long a change waits for the readers in this process, and how many changes the log keeps.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(2);
const LOG_LIMIT: usize = 1024;

/// A store that keeps its tenants in memory, lists them, and tells what changed.
///
/// Clones share the tenants. What a change makes of a tenant is kept nowhere else: it is gone with the process.
///
/// Every method that changes something takes effect when its future is first polled, whole or not at all. Then
/// it waits until all readers in this process have seen the change, two seconds at most: the request after it finds
/// the new state. Dropping the future loses only that wait. A change that changes nothing is no change.
/// They run on a tokio runtime with time enabled.
///
/// Besides its id and its keys, a tenant's [slug](TenantRecord::slug) leads to it, if it is one by the rules of
/// [`TenantKey::slug`] (an id with an underscore is none). A key leads to one tenant only. The keys of a purged
/// tenant are free again, its id is not: no tenant gets it as long as the store lives.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy::MemoryStore;
/// use tenancy_core::{TenantId, TenantKey, TenantStatus, TenantStore};
///
/// let store = MemoryStore::of(["acme", "globex"])?;
/// let acme = TenantId::new("acme")?;
/// store.add_key(&acme, TenantKey::domain("shop.acme.com")?).await?;
/// store.set_status(&acme, TenantStatus::Suspended).await?;
///
/// let found = store.find(&TenantKey::domain("shop.acme.com")?).await?;
/// assert_eq!(found.map(|record| record.status), Some(TenantStatus::Suspended));
/// assert!(store.find(&TenantKey::slug("initech")?).await?.is_none());
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    catalogue: Mutex<Catalogue>,
    signal: ChangeSignal,
}

impl MemoryStore {
    /// A store without tenants.
    pub fn new() -> Self {
        Self::with_log_limit(LOG_LIMIT)
    }

    /// A store without tenants that remembers the last `changes` changes; 1024 unless set. A reader that is further
    /// behind is told to list everything.
    pub fn with_log_limit(changes: usize) -> Self {
        Catalogue::new(changes).into()
    }

    /// A store with an active tenant of each of these ids.
    ///
    /// # Errors
    /// When one is no tenant id, or comes twice.
    pub fn of<I>(ids: I) -> Result<Self, MemoryStoreError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let entries = ids.into_iter().map(|id| {
            Ok(TenantEntry {
                record: TenantRecord::new(TenantId::new(id.as_ref())?),
                keys: Vec::new(),
            })
        });
        Self::from_entries(entries.collect::<Result<Vec<_>, InvalidName>>()?)
    }

    /// A store with these tenants. Their epochs and incarnations are the store's own.
    ///
    /// # Errors
    /// When an id or a key comes twice, or a slug is none.
    pub fn from_entries(entries: impl IntoIterator<Item = TenantEntry>) -> Result<Self, MemoryStoreError> {
        let mut catalogue = Catalogue::new(LOG_LIMIT);
        for entry in entries {
            catalogue.insert(entry)?;
        }
        Ok(catalogue.into())
    }

    /// Adds a tenant, and returns its record with epoch and incarnation.
    ///
    /// # Errors
    /// When there is or was a tenant of this id, when a key leads to another tenant, or when the slug is none.
    pub async fn insert(&self, entry: TenantEntry) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.insert(entry)).await
    }

    /// Adds a tenant, or replaces the record and all keys of the one of this id. That one keeps its incarnation.
    ///
    /// # Errors
    /// When a key leads to another tenant, when the id was a purged tenant's, or when the slug is none.
    pub async fn upsert(&self, entry: TenantEntry) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.upsert(entry)).await
    }

    /// Changes a tenant's record. What `edit` does to the id, the epoch and the incarnation is undone; a new slug
    /// takes the place of the old one. `edit` runs while the store is locked.
    ///
    /// # Errors
    /// When there is no such tenant, or when the new slug is none or leads to another tenant.
    pub async fn update(
        &self,
        id: &TenantId,
        edit: impl FnOnce(&mut TenantRecord),
    ) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.update(id, edit)).await
    }

    /// Sets a tenant's status.
    ///
    /// # Errors
    /// When there is no such tenant.
    pub async fn set_status(
        &self,
        id: &TenantId,
        status: TenantStatus,
    ) -> Result<TenantRecord, MemoryStoreError> {
        self.update(id, |record| record.status = status).await
    }

    /// Lets a further key lead to a tenant.
    ///
    /// # Errors
    /// When there is no such tenant, or when the key leads to another.
    pub async fn add_key(
        &self,
        id: &TenantId,
        key: TenantKey<'static>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.add_key(id, key)).await
    }

    /// Lets a key lead nowhere again.
    ///
    /// # Errors
    /// When there is no such tenant, when the key does not lead to it, or when it is its id or its slug.
    pub async fn remove_key(
        &self,
        id: &TenantId,
        key: &TenantKey<'_>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.remove_key(id, key)).await
    }

    /// Purges a tenant: nothing leads to it any more, its keys are free, its id is used up. Returns its last record.
    ///
    /// # Errors
    /// When there is no such tenant.
    pub async fn remove(&self, id: &TenantId) -> Result<TenantRecord, MemoryStoreError> {
        self.change(|catalogue| catalogue.remove(id)).await
    }

    async fn change(
        &self,
        apply: impl FnOnce(&mut Catalogue) -> Result<TenantRecord, MemoryStoreError>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        let (record, before, after) = {
            let mut catalogue = self.lock();
            let before = catalogue.newest();
            (apply(&mut catalogue)?, before, catalogue.newest())
        };
        if before != after {
            // A reader that is late will be in time for a later request; the change itself stands.
            let _ = self.shared.signal.announce(after.number, ANNOUNCE_LIMIT).await;
        }
        Ok(record)
    }

    fn lock(&self) -> MutexGuard<'_, Catalogue> {
        // An `edit` that panicked has worked on a copy: what is here is whole.
        self.shared
            .catalogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Catalogue> for MemoryStore {
    fn from(catalogue: Catalogue) -> Self {
        let signal = ChangeSignal::new();
        signal.wake(catalogue.newest().number);
        Self {
            shared: Arc::new(Shared {
                catalogue: Mutex::new(catalogue),
                signal,
            }),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let catalogue = self.lock();
        f.debug_struct("MemoryStore")
            .field("tenants", &catalogue.len())
            .field("changes", &catalogue.newest().number)
            .finish()
    }
}

impl TenantStore for MemoryStore {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        Ok(self.lock().find(key))
    }

    fn signal(&self) -> Option<ChangeSignal> {
        Some(self.shared.signal.clone())
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        Ok(self.lock().list(after, limit.max(1)))
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        Ok(self.lock().changes(since, limit.max(1)))
    }
}
