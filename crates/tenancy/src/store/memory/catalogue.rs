use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    ops::Bound,
};

use tenancy_core::{
    ChangeBatch, ChangeMark, InvalidName, KeyKind, TenantChange, TenantEntry, TenantId, TenantKey,
    TenantPage, TenantRecord,
};

use super::error::{ErrorKind, MemoryStoreError};

/// The tenants and what happened to them. Nothing here waits.
pub(super) struct Catalogue {
    tenants: BTreeMap<TenantId, Stored>,
    /// Every key but the ids themselves.
    owners: HashMap<TenantKey<'static>, TenantId>,
    /// Ids of purged tenants: what was stored under one elsewhere must not become another's.
    purged: HashSet<TenantId>,
    log: VecDeque<Logged>,
    log_limit: usize,
    /// The place before the oldest change in the log.
    log_start: ChangeMark,
    /// The place after the newest.
    mark: ChangeMark,
    stamps: RandomState,
}

struct Stored {
    record: TenantRecord,
    keys: BTreeSet<TenantKey<'static>>,
}

struct Logged {
    mark: ChangeMark,
    id: TenantId,
    keys_touched: Vec<TenantKey<'static>>,
}

impl Stored {
    fn entry(&self) -> TenantEntry {
        TenantEntry {
            record: self.record.clone(),
            keys: self.keys.iter().cloned().collect(),
        }
    }
}

impl Catalogue {
    pub(super) fn new(log_limit: usize) -> Self {
        let stamps = RandomState::new();
        let start = ChangeMark {
            number: 0,
            // Not 0: else this place could not be told from the one before everything.
            stamp: stamps.hash_one(0_u64) | 1,
        };
        Self {
            tenants: BTreeMap::new(),
            owners: HashMap::new(),
            purged: HashSet::new(),
            log: VecDeque::new(),
            log_limit,
            log_start: start,
            mark: start,
            stamps,
        }
    }

    fn owner(&self, key: &TenantKey<'_>) -> Option<&Stored> {
        match key.kind() {
            KeyKind::Id => self.tenants.get(key.value()),
            _ => self.tenants.get(self.owners.get(key)?),
        }
    }

    pub(super) fn find(&self, key: &TenantKey<'_>) -> Option<TenantRecord> {
        self.owner(key).map(|stored| stored.record.clone())
    }

    pub(super) fn newest(&self) -> ChangeMark {
        self.mark
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }

    fn get(&self, id: &TenantId) -> Result<&Stored, MemoryStoreError> {
        self.tenants
            .get(id)
            .ok_or_else(|| MemoryStoreError::not_found(id))
    }

    pub(super) fn insert(&mut self, entry: TenantEntry) -> Result<TenantRecord, MemoryStoreError> {
        if self.tenants.contains_key(&entry.record.id) {
            return Err(MemoryStoreError::conflict(&TenantKey::id(&entry.record.id)));
        }
        self.put(entry.record, entry.keys.into_iter().collect())
    }

    pub(super) fn upsert(&mut self, entry: TenantEntry) -> Result<TenantRecord, MemoryStoreError> {
        self.put(entry.record, entry.keys.into_iter().collect())
    }

    pub(super) fn update(
        &mut self,
        id: &TenantId,
        edit: impl FnOnce(&mut TenantRecord),
    ) -> Result<TenantRecord, MemoryStoreError> {
        let stored = self.get(id)?;
        let (mut record, mut keys) = (stored.record.clone(), stored.keys.clone());
        if let Some(slug) = own_slug(&record)? {
            keys.remove(&slug);
        }
        edit(&mut record);
        record.id = id.clone();
        self.put(record, keys)
    }

    pub(super) fn add_key(
        &mut self,
        id: &TenantId,
        key: TenantKey<'static>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        let stored = self.get(id)?;
        let (record, mut keys) = (stored.record.clone(), stored.keys.clone());
        keys.insert(key);
        self.put(record, keys)
    }

    pub(super) fn remove_key(
        &mut self,
        id: &TenantId,
        key: &TenantKey<'_>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        let stored = self.get(id)?;
        let key = key.clone().into_owned();
        if key == TenantKey::id(id) || own_slug(&stored.record)?.as_ref() == Some(&key) {
            return Err(MemoryStoreError::new(
                ErrorKind::Invalid,
                format!("{key} always leads to {id}"),
            ));
        }
        let (record, mut keys) = (stored.record.clone(), stored.keys.clone());
        if !keys.remove(&key) {
            return Err(MemoryStoreError::new(
                ErrorKind::NotFound,
                format!("{key} does not lead to {id}"),
            ));
        }
        self.put(record, keys)
    }

    pub(super) fn remove(&mut self, id: &TenantId) -> Result<TenantRecord, MemoryStoreError> {
        let stored = self
            .tenants
            .remove(id)
            .ok_or_else(|| MemoryStoreError::not_found(id))?;
        for key in &stored.keys {
            self.owners.remove(key);
        }
        let mark = self.next_mark();
        self.append(mark, id, stored.keys.into_iter().chain([id_key(id)]).collect());
        self.purged.insert(id.clone());
        Ok(stored.record)
    }

    /// Makes this the state of the record's tenant. Checks everything before it touches anything.
    fn put(
        &mut self,
        mut record: TenantRecord,
        mut keys: BTreeSet<TenantKey<'static>>,
    ) -> Result<TenantRecord, MemoryStoreError> {
        if self.purged.contains(&record.id) {
            return Err(MemoryStoreError::purged(&record.id));
        }
        keys.extend(own_slug(&record)?);
        keys.remove(&id_key(&record.id));
        self.check_keys_are_free(&record.id, &keys)?;

        let mark = self.next_mark();
        let mut touched: Vec<TenantKey<'static>> = Vec::new();
        record.epoch = mark.number;
        record.incarnation = mark.number;
        match self.tenants.get(&record.id) {
            None => touched.push(id_key(&record.id)),
            Some(old) => {
                record.incarnation = old.record.incarnation;
                record.epoch = old.record.epoch;
                if record == old.record && keys == old.keys {
                    return Ok(record);
                }
                record.epoch = mark.number;
                touched.extend(old.keys.difference(&keys).cloned());
            }
        }
        for gone in &touched {
            self.owners.remove(gone);
        }
        for key in &keys {
            if self.owners.insert(key.clone(), record.id.clone()).is_none() {
                touched.push(key.clone());
            }
        }
        self.append(mark, &record.id, touched);
        let stored = Stored {
            record: record.clone(),
            keys,
        };
        self.tenants.insert(record.id.clone(), stored);
        Ok(record)
    }

    fn check_keys_are_free(
        &self,
        id: &TenantId,
        keys: &BTreeSet<TenantKey<'static>>,
    ) -> Result<(), MemoryStoreError> {
        for key in keys {
            if key.kind() == KeyKind::Id {
                return Err(MemoryStoreError::new(
                    ErrorKind::Invalid,
                    format!("{key} can lead to no other tenant than its own"),
                ));
            }
            if self.owners.get(key).is_some_and(|owner| owner != id) {
                return Err(MemoryStoreError::conflict(key));
            }
        }
        Ok(())
    }

    fn next_mark(&self) -> ChangeMark {
        let number = self.mark.number + 1;
        ChangeMark {
            number,
            stamp: self.stamps.hash_one(number),
        }
    }

    fn append(&mut self, mark: ChangeMark, id: &TenantId, keys_touched: Vec<TenantKey<'static>>) {
        self.mark = mark;
        self.log.push_back(Logged {
            mark,
            id: id.clone(),
            keys_touched,
        });
        while self.log.len() > self.log_limit {
            if let Some(oldest) = self.log.pop_front() {
                self.log_start = oldest.mark;
            }
        }
    }

    pub(super) fn list(&self, after: Option<&TenantId>, limit: usize) -> TenantPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.tenants.range::<TenantId, _>((from, Bound::Unbounded));
        let entries: Vec<TenantEntry> = rest
            .by_ref()
            .take(limit)
            .map(|(_, stored)| stored.entry())
            .collect();
        let next = match rest.next() {
            Some(_) => entries.last().map(|last| last.record.id.clone()),
            None => None,
        };
        TenantPage { entries, next }
    }

    pub(super) fn changes(&self, since: ChangeMark, limit: usize) -> ChangeBatch {
        let Some(skip) = self.log_position(since) else {
            return ChangeBatch::Reload { mark: self.mark };
        };
        let mut changes: Vec<TenantChange> = Vec::new();
        let mut places: HashMap<&TenantId, usize> = HashMap::new();
        let mut mark = since;
        for logged in self.log.iter().skip(skip) {
            let place = match places.get(&logged.id) {
                Some(place) => *place,
                None if changes.len() == limit => break,
                None => {
                    places.insert(&logged.id, changes.len());
                    changes.push(self.unchanged(&logged.id));
                    changes.len() - 1
                }
            };
            if let Some(change) = changes.get_mut(place) {
                change.keys_touched.extend_from_slice(&logged.keys_touched);
            }
            mark = logged.mark;
        }
        for change in &mut changes {
            change.keys_touched.sort();
            change.keys_touched.dedup();
        }
        ChangeBatch::Changes {
            mark,
            changes,
            more: mark != self.mark,
        }
    }

    fn unchanged(&self, id: &TenantId) -> TenantChange {
        TenantChange {
            id: id.clone(),
            keys_touched: Vec::new(),
            current: self.tenants.get(id).map(Stored::entry),
        }
    }

    /// How many changes of the log a reader at `since` has seen; `None` if it stands at no place of this log.
    fn log_position(&self, since: ChangeMark) -> Option<usize> {
        let seen = since.number.checked_sub(self.log_start.number)?;
        let seen = usize::try_from(seen).ok()?;
        let place = match seen.checked_sub(1) {
            None => self.log_start,
            Some(last) => self.log.get(last)?.mark,
        };
        (place == since).then_some(seen)
    }
}

fn id_key(id: &TenantId) -> TenantKey<'static> {
    TenantKey::id(id).into_owned()
}

/// The key that a record's slug is. An id that stands in for a slug need not be one.
fn own_slug(record: &TenantRecord) -> Result<Option<TenantKey<'static>>, InvalidName> {
    match &record.slug {
        Some(slug) => TenantKey::slug(slug.to_string()).map(Some),
        None => Ok(TenantKey::slug(record.id.to_string()).ok()),
    }
}
