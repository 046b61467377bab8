//! Stores that hold nothing themselves, and stores that count and wait.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy::core::{
    ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantChange, TenantEntry, TenantId, TenantKey,
    TenantPage, TenantRecord, TenantStore,
};
use tokio::sync::watch;

use crate::Failure;

/// Tenants made while they are listed: `t0000000`, `t0000001`, … Clones share the changes.
///
/// Memory that a process has with it is the stack's own, for the store keeps none.
#[derive(Clone)]
pub(crate) struct GeneratedStore {
    count: usize,
    with_domains: bool,
    shared: Arc<GeneratedShared>,
}

struct GeneratedShared {
    signal: ChangeSignal,
    newest: Mutex<Option<(u64, TenantEntry)>>,
}

impl GeneratedStore {
    /// `count` tenants, each with its id as slug, and a domain beside it if asked for.
    pub(crate) fn new(count: usize, with_domains: bool) -> Self {
        Self {
            count,
            with_domains,
            shared: Arc::new(GeneratedShared {
                signal: ChangeSignal::new(),
                newest: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn id(number: usize) -> String {
        format!("t{number:07}")
    }

    /// Bytes of a tenant's own text: its id and its keys.
    pub(crate) fn own_text(&self) -> usize {
        let id = Self::id(0).len();
        let domain = if self.with_domains {
            domain(&Self::id(0)).len()
        } else {
            0
        };
        id + id + domain
    }

    fn entry(&self, number: usize) -> Result<TenantEntry, StoreError> {
        let id = Self::id(number);
        let mut keys = vec![TenantKey::slug(id.clone()).map_err(StoreError::corrupt)?];
        if self.with_domains {
            keys.push(TenantKey::domain(domain(&id)).map_err(StoreError::corrupt)?);
        }
        Ok(TenantEntry {
            record: TenantRecord::new(TenantId::new(&id).map_err(StoreError::corrupt)?),
            keys,
        })
    }

    /// Gives a tenant one more key, as the change `change` (1, 2, …), and waits until the stack has it.
    pub(crate) async fn add_key(&self, number: usize, change: u64) -> Result<(), Failure> {
        let mut entry = self.entry(number)?;
        entry.record.epoch = change;
        entry
            .keys
            .push(TenantKey::domain(format!("new-{change}.example.org"))?);
        *self.newest() = Some((change, entry));
        let applied = self
            .shared
            .signal
            .announce(mark(change).number, Duration::from_secs(10))
            .await;
        applied
            .then_some(())
            .ok_or_else(|| "the change was not applied".into())
    }

    fn newest(&self) -> MutexGuard<'_, Option<(u64, TenantEntry)>> {
        self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn domain(id: &str) -> String {
    format!("{id}.example.org")
}

/// Change numbers begin behind it, so that it can not be taken for the place before everything.
const LISTED: u64 = 1_000_000;

fn mark(change: u64) -> ChangeMark {
    ChangeMark {
        number: LISTED + change,
        stamp: 1,
    }
}

impl TenantStore for GeneratedStore {
    async fn find(&self, _: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        Err(StoreError::unsupported("find"))
    }

    fn signal(&self) -> Option<ChangeSignal> {
        Some(self.shared.signal.clone())
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        let first = match after {
            Some(id) => id.as_str()[1..].parse::<usize>().map_err(StoreError::corrupt)? + 1,
            None => 0,
        };
        let end = self.count.min(first + limit);
        let entries: Vec<TenantEntry> = (first..end)
            .map(|number| self.entry(number))
            .collect::<Result<_, _>>()?;
        let next = (end < self.count)
            .then(|| entries.last().map(|last| last.record.id.clone()))
            .flatten();
        Ok(TenantPage { entries, next })
    }

    async fn changes(&self, since: ChangeMark, _: usize) -> Result<ChangeBatch, StoreError> {
        let newest = self.newest().clone();
        let change = newest.as_ref().map_or(0, |(change, _)| *change);
        if since.number < LISTED {
            return Ok(ChangeBatch::Reload { mark: mark(change) });
        }
        let changes = newest
            .filter(|_| since.number < mark(change).number)
            .map(|(_, entry)| TenantChange {
                id: entry.record.id.clone(),
                keys_touched: entry.keys.last().cloned().into_iter().collect(),
                current: Some(entry),
            });
        Ok(ChangeBatch::Changes {
            mark: mark(change),
            changes: changes.into_iter().collect(),
            more: false,
        })
    }
}

/// Counts look-ups and lists. Clones share the counters. Polls of `changes` are not counted: they come by the clock.
#[derive(Clone)]
pub(crate) struct CountingStore<S> {
    inner: S,
    finds_only: bool,
    calls: Arc<AtomicU64>,
    held: Arc<watch::Sender<bool>>,
}

impl<S> CountingStore<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            finds_only: false,
            calls: Arc::default(),
            held: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Takes away `signal`, `list` and `changes`: every unknown key is asked for.
    pub(crate) fn finding_only(mut self) -> Self {
        self.finds_only = true;
        self
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// While held, no look-up is answered.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl<S: TenantStore> TenantStore for CountingStore<S> {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // The sender lives in `self`.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        self.inner.find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        if self.finds_only {
            None
        } else {
            self.inner.signal()
        }
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.list(after, limit).await
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.inner.changes(since, limit).await
    }
}

#[cfg(test)]
mod tests {
    use tenancy::{Tenancy, resolve::Subdomain};

    use super::*;

    #[tokio::test]
    async fn all_generated_tenants_are_listed_once_and_a_change_arrives() {
        let store = GeneratedStore::new(12_345, true);
        let tenancy = Tenancy::new(Subdomain::of("localhost").unwrap(), store.clone());
        tenancy.ready().await;
        assert_eq!(tenancy.status().tenants, 12_345);
        assert_eq!(store.own_text(), 8 + 8 + 20);

        store.add_key(7, 1).await.unwrap();
        store.add_key(8, 2).await.unwrap();
        assert_eq!(tenancy.status().tenants, 12_345);
        assert_eq!(tenancy.status().change_number, LISTED + 2);
    }
}
