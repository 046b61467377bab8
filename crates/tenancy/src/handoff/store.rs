use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tenancy_core::StoreError;

use super::{Grant, TokenHash};

/// Keeps the grants of tokens that were given out and not used yet.
///
/// It holds hashes, never tokens. All processes that give out or redeem tokens share one.
pub trait HandoffStore: Send + Sync + 'static {
    /// Keeps a grant. May drop those that expired before `now_ms`, in milliseconds since 1970.
    fn put(
        &self,
        token: TokenHash,
        grant: &Grant,
        now_ms: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes a grant out: of any number of calls for one token, in all processes, exactly one gets it.
    ///
    /// One statement that deletes and returns is such a take; a read and a delete are not. If the future is dropped,
    /// the grant may be lost, and must not come back.
    fn take(&self, token: TokenHash) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send;
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin.
pub(super) trait ErasedHandoffStore: Send + Sync + 'static {
    fn put_boxed<'a>(
        &'a self,
        token: TokenHash,
        grant: &'a Grant,
        now_ms: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    fn take_boxed(&self, token: TokenHash) -> BoxFuture<'_, Result<Option<Grant>, StoreError>>;
}

impl<S: HandoffStore> ErasedHandoffStore for S {
    fn put_boxed<'a>(
        &'a self,
        token: TokenHash,
        grant: &'a Grant,
        now_ms: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(HandoffStore::put(self, token, grant, now_ms))
    }

    fn take_boxed(&self, token: TokenHash) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        Box::pin(HandoffStore::take(self, token))
    }
}

/// Grants in memory, for one process and for tests. Clones share them.
///
/// Holds so many at most, 10,000 unless set; expired ones make room. When it is full of tokens that still live, new ones
/// are refused as unavailable: none that was given out is taken away.
#[derive(Clone)]
pub struct MemoryHandoffStore {
    kept: Arc<Mutex<Kept>>,
    limit: usize,
}

#[derive(Default)]
struct Kept {
    grants: HashMap<TokenHash, Grant>,
    by_expiry: BTreeSet<(u64, TokenHash)>,
}

impl MemoryHandoffStore {
    /// An empty store for 10,000 tokens.
    pub fn new() -> Self {
        Self::with_limit(10_000)
    }

    /// An empty store for so many tokens.
    pub fn with_limit(tokens: usize) -> Self {
        Self {
            kept: Arc::default(),
            limit: tokens,
        }
    }

    fn keep(&self, token: TokenHash, grant: &Grant, now_ms: u64) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { grants, by_expiry } = &mut *kept;
        while let Some(&(expires_at_ms, expired)) = by_expiry.first()
            && expires_at_ms <= now_ms
        {
            by_expiry.pop_first();
            grants.remove(&expired);
        }
        if grants.len() >= self.limit {
            return Err(StoreError::unavailable(
                "as many tokens as may be are waiting to be used",
            ));
        }
        by_expiry.insert((grant.expires_at_ms(), token));
        grants.insert(token, grant.clone());
        Ok(())
    }
}

impl Default for MemoryHandoffStore {
    fn default() -> Self {
        Self::new()
    }
}

impl HandoffStore for MemoryHandoffStore {
    async fn put(&self, token: TokenHash, grant: &Grant, now_ms: u64) -> Result<(), StoreError> {
        self.keep(token, grant, now_ms)
    }

    async fn take(&self, token: TokenHash) -> Result<Option<Grant>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = kept.grants.remove(&token);
        if let Some(grant) = &grant {
            kept.by_expiry.remove(&(grant.expires_at_ms(), token));
        }
        Ok(grant)
    }
}

impl fmt::Debug for MemoryHandoffStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHandoffStore")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{HandoffToken, Purpose},
        *,
    };

    fn grant(expires_at_ms: u64) -> Grant {
        Grant {
            tenant: "acme.1".parse().unwrap(),
            purpose: Purpose::IMPERSONATION,
            user: "7".into(),
            issued_by: "ops".into(),
            expires_at_ms,
            return_to: None,
            browser: None,
        }
    }

    fn hash() -> TokenHash {
        HandoffToken::random().unwrap().1
    }

    #[tokio::test]
    async fn a_full_store_refuses_until_something_expires_and_loses_nothing() {
        let store = MemoryHandoffStore::with_limit(2);
        let (first, second, third) = (hash(), hash(), hash());
        store.put(first, &grant(100), 0).await.unwrap();
        store.put(second, &grant(200), 0).await.unwrap();
        assert!(
            store
                .put(third, &grant(300), 99)
                .await
                .unwrap_err()
                .is_unavailable()
        );
        store.put(third, &grant(300), 100).await.unwrap();
        assert_eq!(store.take(first).await.unwrap(), None, "it had expired");
        assert_eq!(store.take(second).await.unwrap(), Some(grant(200)));
        assert_eq!(store.take(second).await.unwrap(), None);
        store.put(first, &grant(400), 100).await.unwrap();
        let kept = store.kept.lock().unwrap();
        assert_eq!((kept.grants.len(), kept.by_expiry.len()), (2, 2));
    }

    #[test]
    fn a_grant_with_a_condition_that_is_not_known_is_not_read() {
        let text = serde_json::to_string(&grant(7)).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant(7));
        let more = text.replace("{\"tenant\"", "{\"only_from\":\"::1\",\"tenant\"");
        assert!(serde_json::from_str::<Grant>(&more).is_err());
    }
}
