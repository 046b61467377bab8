use std::future::Future;

use crate::{ChangeSignal, StoreError, TenantId, TenantKey, TenantRecord};

/// The durable list of tenants: the catalogue, as requests see it.
///
/// Write [`find`](Self::find) as an `async fn` and you have a store. What it finds is kept for five minutes,
/// unknown keys for a second.
///
/// A store that can also list its tenants and say what changed should: then every tenant is known up front,
/// a request never waits for the store, an unknown host costs no query, and a change is seen within a second.
/// Such a store overrides [`signal`](Self::signal), [`list`](Self::list) and [`changes`](Self::changes), all three.
pub trait TenantStore: Send + Sync + 'static {
    /// Finds the tenant that a key leads to. Keys of all kinds come here, those of kind `id` too.
    ///
    /// `Ok(None)` says that there is no such tenant, and is answered with 404. `Err` says that the store could
    /// not tell, and is answered with 503. The future may be dropped at any await.
    ///
    /// # Errors
    /// When the store could not tell.
    fn find(
        &self,
        key: &TenantKey<'_>,
    ) -> impl Future<Output = Result<Option<TenantRecord>, StoreError>> + Send;

    /// The signal that announces changes made through this process. `Some` promises `list` and `changes`.
    fn signal(&self) -> Option<ChangeSignal> {
        None
    }

    /// At most `limit` tenants in the order of their ids, after the id `after`, with every status.
    ///
    /// # Errors
    /// When the store could not tell, or does not list.
    fn list(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> impl Future<Output = Result<TenantPage, StoreError>> + Send {
        let _ = (after, limit);
        async { Err(StoreError::unsupported("list")) }
    }

    /// What changed after `since`, oldest first, at most about `limit` tenants.
    ///
    /// A store that cannot say (it knows less than `since`, it was restored, its log was cut) answers with
    /// [`ChangeBatch::Reload`], and gets [`list`](Self::list) called.
    ///
    /// # Errors
    /// When the store could not tell, or does not watch.
    fn changes(
        &self,
        since: ChangeMark,
        limit: usize,
    ) -> impl Future<Output = Result<ChangeBatch, StoreError>> + Send {
        let _ = (since, limit);
        async { Err(StoreError::unsupported("changes")) }
    }
}

/// A place in the change log: the number of a change and the random stamp written with it.
///
/// The number alone would not tell a log that was restored and has grown again from one that just grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChangeMark {
    /// The change number. Numbers commit in order.
    pub number: u64,
    /// The stamp of that change.
    pub stamp: u64,
}

impl ChangeMark {
    /// The place before everything. Asking for changes since then is answered with a reload.
    pub const NONE: Self = Self { number: 0, stamp: 0 };
}

/// A tenant and all keys that lead to it. The id leads to it too and need not be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantEntry {
    /// The record.
    pub record: TenantRecord,
    /// Its keys, of whatever kind. The first domain is the primary one, which links to the tenant are made with.
    pub keys: Vec<TenantKey<'static>>,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct TenantPage {
    /// The tenants, in the order of their ids.
    pub entries: Vec<TenantEntry>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<TenantId>,
}

/// What became of one tenant. The state is the present one, however many changes led there.
#[derive(Clone, Debug)]
pub struct TenantChange {
    /// Which tenant.
    pub id: TenantId,
    /// Every key that any of the changes added or took away.
    pub keys_touched: Vec<TenantKey<'static>>,
    /// The tenant as it is now; `None` when it is purged.
    pub current: Option<TenantEntry>,
}

/// The answer to "what changed?".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChangeBatch {
    /// These tenants changed; the reader stands at `mark` after them, and asks again at once if `more`.
    Changes {
        /// Where the reader stands afterwards.
        mark: ChangeMark,
        /// The tenants, each at most once.
        changes: Vec<TenantChange>,
        /// Whether there are further changes already.
        more: bool,
    },
    /// The log does not go on from where the reader stands: list everything, and go on from `mark`.
    Reload {
        /// Where the log stood *before* the list is read.
        mark: ChangeMark,
    },
}
