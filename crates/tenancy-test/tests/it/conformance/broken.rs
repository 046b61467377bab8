//! A right store in memory, and what can be wrong with one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tenancy::MemoryStore;
use tenancy_core::{
    BoxError, ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantEntry, TenantId, TenantKey,
    TenantPage, TenantRecord, TenantStatus, TenantStore,
};
use tenancy_test::conformance::{Commit, Offered, StoreHarness};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    ForgetsIds,
    ForgetsPlans,
    ErrorForUnknown,
    FindsByPrefix,
    FindsByWildcard,
    MixesKinds,
    HidesSuspended,
    CallsEverybodyActive,
    KeepsOldKeys,
    AbsenceForTrouble,
    EmptyListForTrouble,
    ListsActiveOnly,
    ListsWithoutKeys,
    ListsBackwards,
    ListsTooMany,
    ListsOnePage,
    ListsTheLastAgain,
    PagesByPosition,
    NothingNewForStrangers,
    MarkThatIsNowhere,
    TellsPresentKeysOnly,
    TellsNoPurges,
    TellsOldState,
    MarksBeyondWhatIsTold,
    SaysNoMoreTooEarly,
    EpochsStandStill,
    SignalsNever,
    SignalsBeforeTheCommit,
    WaitsForNobody,
    KeepsTheIncarnation,
    FindsThePurged,
    IgnoresStamps,
    SkipsTheUncommitted,
    ShowsTheUncommitted,
}

/// Each fault, and the check that is there for it.
pub(super) const FAULTS: [(Fault, &str); 34] = [
    (Fault::ForgetsIds, "every_key_finds_its_tenant"),
    (Fault::ForgetsPlans, "every_key_finds_its_tenant"),
    (Fault::ErrorForUnknown, "unknown_keys_find_nothing"),
    (Fault::FindsByPrefix, "unknown_keys_find_nothing"),
    (Fault::FindsByWildcard, "unknown_keys_find_nothing"),
    (Fault::MixesKinds, "kinds_of_keys_do_not_meet"),
    (Fault::HidesSuspended, "every_status_is_found"),
    (Fault::CallsEverybodyActive, "every_status_is_found"),
    (Fault::KeepsOldKeys, "a_key_that_was_taken_away_leads_nowhere"),
    (Fault::AbsenceForTrouble, "trouble_is_never_absence"),
    (Fault::EmptyListForTrouble, "trouble_is_never_absence"),
    (Fault::ListsActiveOnly, "the_list_is_complete_and_in_order"),
    (Fault::ListsWithoutKeys, "the_list_is_complete_and_in_order"),
    (Fault::ListsBackwards, "the_list_is_complete_and_in_order"),
    (Fault::ListsTooMany, "the_list_is_complete_and_in_order"),
    (Fault::ListsOnePage, "the_list_is_complete_and_in_order"),
    (Fault::ListsTheLastAgain, "the_list_is_complete_and_in_order"),
    (
        Fault::PagesByPosition,
        "a_list_read_while_tenants_change_misses_none",
    ),
    (
        Fault::NothingNewForStrangers,
        "a_place_that_is_not_in_the_log_reloads",
    ),
    (Fault::MarkThatIsNowhere, "a_place_that_is_not_in_the_log_reloads"),
    (
        Fault::TellsPresentKeysOnly,
        "a_change_tells_every_key_and_the_present_state",
    ),
    (
        Fault::TellsNoPurges,
        "a_change_tells_every_key_and_the_present_state",
    ),
    (
        Fault::TellsOldState,
        "a_change_tells_every_key_and_the_present_state",
    ),
    (Fault::MarksBeyondWhatIsTold, "changes_in_portions_lose_nothing"),
    (Fault::SaysNoMoreTooEarly, "changes_in_portions_lose_nothing"),
    (Fault::EpochsStandStill, "numbers_grow_with_every_change"),
    (
        Fault::SignalsNever,
        "a_write_wakes_the_readers_and_waits_for_them",
    ),
    (
        Fault::SignalsBeforeTheCommit,
        "a_write_wakes_the_readers_and_waits_for_them",
    ),
    (
        Fault::WaitsForNobody,
        "a_write_wakes_the_readers_and_waits_for_them",
    ),
    (
        Fault::KeepsTheIncarnation,
        "a_purged_tenant_is_gone_and_its_id_is_another",
    ),
    (
        Fault::FindsThePurged,
        "a_purged_tenant_is_gone_and_its_id_is_another",
    ),
    (Fault::IgnoresStamps, "a_restored_backup_is_not_taken_for_growth"),
    (Fault::SkipsTheUncommitted, "an_uncommitted_change_is_not_skipped"),
    (Fault::ShowsTheUncommitted, "an_uncommitted_change_is_not_skipped"),
];

/// A store in memory with one fault.
#[derive(Debug)]
pub(super) struct Broken {
    fault: Fault,
    inner: MemoryStore,
    /// Of its own, where the fault is in the signal.
    signal: ChangeSignal,
    is_down: AtomicBool,
    /// Where a list stands that goes by position.
    position: AtomicUsize,
    memory: Mutex<Memory>,
}

/// What only faults need.
#[derive(Debug, Default)]
struct Memory {
    /// Who was once found by a key.
    once: HashMap<TenantKey<'static>, TenantRecord>,
    purged: BTreeMap<TenantId, TenantRecord>,
    recreated: BTreeMap<TenantId, TenantRecord>,
    marks: HashMap<u64, ChangeMark>,
    untold: Vec<TenantId>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            inner: MemoryStore::new(),
            signal: ChangeSignal::new(),
            is_down: AtomicBool::new(false),
            position: AtomicUsize::new(0),
            memory: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn trouble<T>(&self) -> Result<(), Result<T, StoreError>> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Err(StoreError::unavailable("the test has taken it away")));
        }
        Ok(())
    }

    async fn all(&self) -> Vec<TenantEntry> {
        self.inner.list(None, usize::MAX).await.unwrap().entries
    }

    /// Finds wrongly, or as the fault has it.
    async fn find_wrongly(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        let found = self.inner.find(key).await?;
        let text = key.value().to_owned();
        Ok(match self.fault {
            Fault::ForgetsIds if key.kind().as_str() == "id" => None,
            Fault::ErrorForUnknown if found.is_none() => return Err(StoreError::unavailable("no rows")),
            Fault::FindsByPrefix if found.is_none() => {
                let is_it = |entry: &TenantEntry| entry.record.id.as_str().starts_with(&text);
                self.all().await.into_iter().find(is_it).map(|entry| entry.record)
            }
            Fault::FindsByWildcard if found.is_none() => {
                let is_it = |entry: &TenantEntry| {
                    let id = entry.record.id.as_str();
                    id.len() == text.len() && id.chars().zip(text.chars()).all(|(a, b)| a == b || b == '_')
                };
                self.all().await.into_iter().find(is_it).map(|entry| entry.record)
            }
            Fault::MixesKinds if found.is_none() => {
                let slug = TenantKey::slug(text.clone());
                let domain = TenantKey::domain(text);
                for key in [slug, domain].into_iter().flatten() {
                    if let Some(found) = self.inner.find(&key).await? {
                        return Ok(Some(found));
                    }
                }
                None
            }
            Fault::KeepsOldKeys if found.is_none() => self
                .memory
                .lock()
                .unwrap()
                .once
                .get(&key.clone().into_owned())
                .cloned(),
            Fault::FindsThePurged if found.is_none() => {
                self.memory.lock().unwrap().purged.get(key.value()).cloned()
            }
            Fault::KeepsTheIncarnation if found.is_none() => {
                self.memory.lock().unwrap().recreated.get(key.value()).cloned()
            }
            _ => found,
        })
    }

    fn distort(&self, mut record: TenantRecord) -> Option<TenantRecord> {
        match self.fault {
            Fault::ForgetsPlans => record.plan = None,
            Fault::HidesSuspended if record.status == TenantStatus::Suspended => return None,
            Fault::CallsEverybodyActive => record.status = TenantStatus::Active,
            Fault::EpochsStandStill => record.epoch = record.incarnation,
            _ => {}
        }
        Some(record)
    }

    async fn newest(&self) -> ChangeMark {
        match self.inner.changes(ChangeMark::NONE, 1).await.unwrap() {
            ChangeBatch::Reload { mark } => mark,
            other => panic!("{other:?}"),
        }
    }
}

impl TenantStore for Broken {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        if let Err(trouble) = self.trouble() {
            return if self.is(Fault::AbsenceForTrouble) {
                Ok(None)
            } else {
                trouble
            };
        }
        let found = self
            .find_wrongly(key)
            .await?
            .and_then(|record| self.distort(record));
        if let Some(record) = &found {
            let mut memory = self.memory.lock().unwrap();
            memory.once.insert(key.clone().into_owned(), record.clone());
        }
        Ok(found)
    }

    fn signal(&self) -> Option<ChangeSignal> {
        match self.fault {
            Fault::SignalsNever | Fault::SignalsBeforeTheCommit | Fault::WaitsForNobody => {
                Some(self.signal.clone())
            }
            _ => self.inner.signal(),
        }
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        if let Err(trouble) = self.trouble() {
            let nothing = Ok(TenantPage::default());
            return if self.is(Fault::EmptyListForTrouble) {
                nothing
            } else {
                trouble
            };
        }
        let mut page = self.inner.list(after, limit).await?;
        match self.fault {
            Fault::ListsActiveOnly => page
                .entries
                .retain(|entry| entry.record.status == TenantStatus::Active),
            Fault::ListsWithoutKeys => page.entries.iter_mut().for_each(|entry| entry.keys.clear()),
            Fault::ListsBackwards => page.entries.reverse(),
            Fault::ListsTooMany => page = self.inner.list(after, limit + 1).await?,
            Fault::ListsOnePage => page.next = None,
            Fault::ListsTheLastAgain => {
                let last = self
                    .all()
                    .await
                    .into_iter()
                    .find(|entry| Some(&entry.record.id) == after);
                page.entries.splice(0..0, last);
                page.entries.truncate(limit.max(2));
            }
            Fault::PagesByPosition => {
                let from = after.map_or(0, |_| self.position.load(Ordering::SeqCst));
                let all = self.all().await;
                let total = all.len();
                page.entries = all.into_iter().skip(from).take(limit).collect();
                let position = from + page.entries.len();
                self.position.store(position, Ordering::SeqCst);
                let last = page.entries.last().map(|entry| entry.record.id.clone());
                page.next = last.filter(|_| position < total);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        if let Err(trouble) = self.trouble() {
            return trouble;
        }
        let newest = self.newest().await;
        let known = self.memory.lock().unwrap().marks.get(&since.number).copied();
        let since = match known {
            Some(known) if self.is(Fault::IgnoresStamps) => known,
            _ => since,
        };
        let (mut mark, mut changes, mut more) = match self.inner.changes(since, limit).await? {
            ChangeBatch::Changes { mark, changes, more } => (mark, changes, more),
            ChangeBatch::Reload { mark } if self.is(Fault::MarkThatIsNowhere) => {
                let stamp = mark.stamp ^ 1;
                return Ok(ChangeBatch::Reload {
                    mark: ChangeMark { stamp, ..mark },
                });
            }
            ChangeBatch::Reload { .. }
                if self.is(Fault::NothingNewForStrangers) && since != ChangeMark::NONE =>
            {
                (since, Vec::new(), false)
            }
            reload => return Ok(reload),
        };
        match self.fault {
            Fault::TellsPresentKeysOnly => {
                for change in &mut changes {
                    change.keys_touched = change
                        .current
                        .iter()
                        .flat_map(|entry| entry.keys.clone())
                        .collect();
                }
            }
            Fault::TellsNoPurges => changes.retain(|change| change.current.is_some()),
            Fault::TellsOldState => {
                for entry in changes.iter_mut().filter_map(|change| change.current.as_mut()) {
                    entry.record.plan = None;
                }
            }
            Fault::MarksBeyondWhatIsTold => (mark, more) = (newest, false),
            Fault::SaysNoMoreTooEarly => more = false,
            Fault::SkipsTheUncommitted => {
                let untold = self.memory.lock().unwrap().untold.clone();
                changes.retain(|change| !untold.contains(&change.id));
            }
            _ => {}
        }
        Ok(ChangeBatch::Changes { mark, changes, more })
    }
}

/// Makes and changes a store with one fault, and offers everything.
pub(super) struct Workshop {
    store: Broken,
    backup: Vec<TenantEntry>,
    /// Held by whoever writes.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Workshop {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            store: Broken::new(fault),
            backup: Vec::new(),
            writing: Arc::default(),
        }
    }

    async fn write(&self, entry: TenantEntry) -> Result<(), BoxError> {
        let id = entry.record.id.clone();
        let purged = self.store.memory.lock().unwrap().purged.get(&id).cloned();
        if let Some(old) = purged
            && self.store.is(Fault::KeepsTheIncarnation)
        {
            self.store.memory.lock().unwrap().recreated.insert(id, old);
            return Ok(());
        }
        if self.store.is(Fault::SignalsBeforeTheCommit) {
            self.store.signal.wake(self.store.newest().await.number + 1);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        self.store.inner.upsert(entry.clone()).await?;
        let mark = self.store.newest().await;
        self.store.memory.lock().unwrap().marks.insert(mark.number, mark);
        if self.store.is(Fault::WaitsForNobody) {
            self.store.signal.wake(mark.number);
        }
        for key in entry.keys.iter().chain(
            [&TenantKey::slug(entry.record.slug().to_owned())]
                .into_iter()
                .flatten(),
        ) {
            // For faults that remember.
            let _ = self.store.find(key).await;
        }
        Ok(())
    }
}

impl StoreHarness for Workshop {
    type Store = Broken;

    fn store(&self) -> &Broken {
        &self.store
    }

    async fn put(&self, entry: TenantEntry) -> Result<(), BoxError> {
        let _writing = self.writing.lock().await;
        self.write(entry).await
    }

    async fn purge(&self, id: &TenantId) -> Result<(), BoxError> {
        let last = self.store.inner.remove(id).await?;
        self.store.memory.lock().unwrap().purged.insert(id.clone(), last);
        Ok(())
    }

    async fn break_down(&mut self) -> Result<Offered, BoxError> {
        self.store.is_down.store(true, Ordering::SeqCst);
        Ok(Offered::Yes)
    }

    async fn back_up(&mut self) -> Result<Offered, BoxError> {
        self.backup = self.store.all().await;
        Ok(Offered::Yes)
    }

    async fn restore(&mut self) -> Result<(), BoxError> {
        self.store = Broken::new(self.store.fault);
        for entry in std::mem::take(&mut self.backup) {
            self.put(entry).await?;
        }
        Ok(())
    }

    async fn put_held_open(&self, entry: TenantEntry) -> Result<Option<Commit>, BoxError> {
        let store = self.store.inner.clone();
        match self.store.fault {
            Fault::ShowsTheUncommitted => {
                store.upsert(entry).await?;
                Ok(Some(Box::pin(async { Ok(()) })))
            }
            // Its number is below those that are told meanwhile.
            Fault::SkipsTheUncommitted => {
                self.store
                    .memory
                    .lock()
                    .unwrap()
                    .untold
                    .push(entry.record.id.clone());
                Ok(Some(Box::pin(
                    async move { Ok(store.upsert(entry).await.map(drop)?) },
                )))
            }
            _ => {
                let writing = Arc::clone(&self.writing).lock_owned().await;
                Ok(Some(Box::pin(async move {
                    store.upsert(entry).await?;
                    drop(writing);
                    Ok(())
                })))
            }
        }
    }
}
