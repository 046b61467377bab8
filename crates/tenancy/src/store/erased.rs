//! The object-safe twin of [`TenantStore`], so that no type of the stack is generic over the user's store.

use std::{future::Future, pin::Pin};

use tenancy_core::{
    ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantId, TenantKey, TenantPage, TenantRecord,
    TenantStore,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn find<'a>(&'a self, key: &'a TenantKey<'a>) -> BoxFuture<'a, Result<Option<TenantRecord>, StoreError>>;
    fn signal(&self) -> Option<ChangeSignal>;
    fn list<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<TenantPage, StoreError>>;
    fn changes(&self, since: ChangeMark, limit: usize) -> BoxFuture<'_, Result<ChangeBatch, StoreError>>;
}

impl<S: TenantStore> ErasedStore for S {
    fn find<'a>(&'a self, key: &'a TenantKey<'a>) -> BoxFuture<'a, Result<Option<TenantRecord>, StoreError>> {
        Box::pin(TenantStore::find(self, key))
    }

    fn signal(&self) -> Option<ChangeSignal> {
        TenantStore::signal(self)
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<TenantPage, StoreError>> {
        Box::pin(TenantStore::list(self, after, limit))
    }

    fn changes(&self, since: ChangeMark, limit: usize) -> BoxFuture<'_, Result<ChangeBatch, StoreError>> {
        Box::pin(TenantStore::changes(self, since, limit))
    }
}
