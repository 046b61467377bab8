use tenancy::core::{
    ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantId, TenantKey, TenantPage, TenantRecord,
    TenantStore,
};
use tenancy_sqlx::store::SqlStore;

/// The store that a command builds a stack over: the catalogue for `explain`, and none at all for `order`, which works
/// without a catalogue.
#[derive(Clone, Debug)]
pub struct CommandStore {
    catalogue: Option<SqlStore>,
}

impl CommandStore {
    pub(crate) fn catalogue(store: SqlStore) -> Self {
        Self {
            catalogue: Some(store),
        }
    }

    pub(crate) fn none() -> Self {
        Self { catalogue: None }
    }

    fn there(&self) -> Result<&SqlStore, StoreError> {
        self.catalogue
            .as_ref()
            .ok_or_else(|| StoreError::unavailable("this command has no catalogue"))
    }
}

impl TenantStore for CommandStore {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.there()?.find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        self.catalogue.as_ref().and_then(TenantStore::signal)
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.there()?.list(after, limit).await
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.there()?.changes(since, limit).await
    }
}
