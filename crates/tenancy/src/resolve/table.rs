//! A map that is read without locks and changed by copying one small shard.

use std::{
    hash::{BuildHasher, Hasher},
    num::NonZeroU32,
    sync::Arc,
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tenancy_core::KeyKind;

use crate::Tenant;

/// Enough that a shard of three million entries stays below 20 KiB, few enough that an empty map is small.
const SHARDS: usize = 4096;

/// Anything that can be found by the bytes of a key.
pub(crate) trait Keyed: Clone + Send + Sync {
    fn matches(&self, kind: KeyKind, value: &[u8]) -> bool;
    fn key(&self) -> (KeyKind, &str);
}

/// The entry of a key that is not an id. One allocation for entry and counts, one for the text.
#[derive(Clone)]
pub(crate) struct KeyEntry(Arc<KeyEntryInner>);

struct KeyEntryInner {
    kind: PackedKind,
    value: Box<str>,
    tenant: Tenant,
}

/// `KeyKind` takes 24 bytes for the sake of the rare custom space; this takes 8.
#[derive(Clone, Copy)]
enum PackedKind {
    Id,
    Slug,
    Domain,
    Custom(&'static &'static str),
}

impl KeyEntry {
    pub(crate) fn new(kind: KeyKind, value: &str, tenant: Tenant) -> Self {
        let kind = match kind {
            KeyKind::Slug => PackedKind::Slug,
            KeyKind::Domain => PackedKind::Domain,
            KeyKind::Custom(space) => PackedKind::Custom(intern_space(space)),
            _ => PackedKind::Id,
        };
        Self(Arc::new(KeyEntryInner {
            kind,
            value: value.into(),
            tenant,
        }))
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    fn kind(&self) -> KeyKind {
        match self.0.kind {
            PackedKind::Id => KeyKind::Id,
            PackedKind::Slug => KeyKind::Slug,
            PackedKind::Domain => KeyKind::Domain,
            PackedKind::Custom(space) => KeyKind::Custom(space),
        }
    }
}

/// The names of custom spaces are literals in the application's code: a handful, kept for good.
fn intern_space(space: &'static str) -> &'static &'static str {
    use std::sync::{Mutex, PoisonError};
    static SPACES: Mutex<Vec<&'static &'static str>> = Mutex::new(Vec::new());
    let mut spaces = SPACES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = spaces.iter().find(|known| ***known == space) {
        return known;
    }
    let leaked: &'static &'static str = Box::leak(Box::new(space));
    spaces.push(leaked);
    leaked
}

impl Keyed for KeyEntry {
    #[inline]
    fn matches(&self, kind: KeyKind, value: &[u8]) -> bool {
        *self.0.value.as_bytes() == *value && self.kind() == kind
    }

    fn key(&self) -> (KeyKind, &str) {
        (self.kind(), &self.0.value)
    }
}

impl Keyed for Tenant {
    fn matches(&self, _: KeyKind, value: &[u8]) -> bool {
        self.id().as_str().as_bytes() == value
    }

    fn key(&self) -> (KeyKind, &str) {
        (KeyKind::Id, self.id().as_str())
    }
}

/// The map. Readers never wait and never allocate; writers are serialised by the caller.
pub(crate) struct ShardedTable<T> {
    shards: Box<[ArcSwap<HashTable<T>>]>,
    hasher: RandomState,
}

impl<T: Keyed> ShardedTable<T> {
    pub(crate) fn new() -> Self {
        let empty = Arc::new(HashTable::new());
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Finds an entry and reads it in place.
    pub(crate) fn with<R>(&self, kind: KeyKind, value: &str, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.with_bytes(kind, value.as_bytes(), read)
    }

    /// As [`with`](Self::with), for bytes that nobody has looked at: they lead to an entry only if they are its key.
    #[inline]
    pub(crate) fn with_bytes<R>(&self, kind: KeyKind, value: &[u8], read: impl FnOnce(&T) -> R) -> Option<R> {
        let hash = self.hash(kind, value);
        let shard = self.shard(hash).load();
        shard.find(hash, |entry| entry.matches(kind, value)).map(read)
    }

    /// Adds or replaces one entry. Copies one shard.
    pub(crate) fn insert(&self, entry: T) {
        let (kind, value) = entry.key();
        let hash = self.hash(kind, value.as_bytes());
        let slot = self.shard(hash);
        let mut shard = HashTable::clone(&slot.load());
        if let Some(present) = shard.find_mut(hash, |present| {
            let (kind, value) = entry.key();
            present.matches(kind, value.as_bytes())
        }) {
            *present = entry;
        } else {
            shard.insert_unique(hash, entry, |entry| self.hash_of(entry));
        }
        slot.store(Arc::new(shard));
    }

    /// Takes one entry out, if `condition` holds for it. Copies one shard.
    pub(crate) fn remove_if(
        &self,
        kind: KeyKind,
        value: &str,
        condition: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let hash = self.hash(kind, value.as_bytes());
        let slot = self.shard(hash);
        let present = slot.load();
        if !present
            .find(hash, |entry| entry.matches(kind, value.as_bytes()))
            .is_some_and(condition)
        {
            return None;
        }
        let mut shard = HashTable::clone(&present);
        let removed = shard
            .find_entry(hash, |entry| entry.matches(kind, value.as_bytes()))
            .ok()?
            .remove()
            .0;
        if shard.capacity() > 4 * shard.len() + 8 {
            shard.shrink_to_fit(|entry| self.hash_of(entry));
        }
        slot.store(Arc::new(shard));
        Some(removed)
    }

    /// Replaces the whole content, shard by shard; a reader sees each key as it was or as it is, never neither.
    pub(crate) fn replace_all(&self, entries: impl IntoIterator<Item = T>) {
        let mut next: Vec<HashTable<T>> = (0..SHARDS).map(|_| HashTable::new()).collect();
        for entry in entries {
            let hash = self.hash_of(&entry);
            let shard = &mut next[shard_index(hash)];
            match shard.find_mut(hash, |present| {
                let (kind, value) = entry.key();
                present.matches(kind, value.as_bytes())
            }) {
                Some(present) => *present = entry,
                None => {
                    shard.insert_unique(hash, entry, |entry| self.hash_of(entry));
                }
            }
        }
        for (slot, mut shard) in self.shards.iter().zip(next) {
            shard.shrink_to_fit(|entry| self.hash_of(entry));
            slot.store(Arc::new(shard));
        }
    }

    /// Reads every entry, shard by shard.
    pub(crate) fn for_each(&self, mut read: impl FnMut(&T)) {
        for shard in &self.shards {
            shard.load().iter().for_each(&mut read);
        }
    }

    /// A short mark of a key, enough to find its entry again among its neighbours.
    pub(crate) fn tag(&self, kind: KeyKind, value: &str) -> NonZeroU32 {
        tag_of_hash(self.hash(kind, value.as_bytes()))
    }

    /// Finds an entry by the tag of its key, and reads it in place. Looks through one shard.
    pub(crate) fn with_tagged<R>(
        &self,
        tag: NonZeroU32,
        matches: impl Fn(&T) -> bool,
        read: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let shard = self.shards[tag.get() as usize % SHARDS].load();
        let found = shard
            .iter()
            .find(|entry| matches(entry) && tag_of_hash(self.hash_of(entry)) == tag);
        found.map(read)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    /// Bytes that one change of the largest shard copies.
    #[cfg(test)]
    pub(crate) fn largest_copy_bytes(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.load().allocation_size())
            .max()
            .unwrap_or(0)
    }

    fn shard(&self, hash: u64) -> &ArcSwap<HashTable<T>> {
        &self.shards[shard_index(hash)]
    }

    fn hash_of(&self, entry: &T) -> u64 {
        let (kind, value) = entry.key();
        self.hash(kind, value.as_bytes())
    }

    #[inline]
    fn hash(&self, kind: KeyKind, value: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(value);
        match kind {
            KeyKind::Slug => hasher.write_u8(1),
            KeyKind::Domain => hasher.write_u8(2),
            KeyKind::Custom(space) => hasher.write(space.as_bytes()),
            _ => hasher.write_u8(0),
        }
        hasher.finish()
    }
}

/// The bits that name the shard and those above them, 24 together, and one more so that it is never zero.
fn tag_of_hash(hash: u64) -> NonZeroU32 {
    /// A multiple of the number of shards.
    const NEVER_ZERO: NonZeroU32 = NonZeroU32::MIN.saturating_add((1 << 24) - 1);
    NEVER_ZERO | (hash >> 40) as u32
}

/// Middle bits: the table inside uses the low bits for the place and the highest seven as a tag.
fn shard_index(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tenant::tests::tenant;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(KeyKind, String, u8),
        Remove(KeyKind, String),
        Replace(Vec<(KeyKind, String, u8)>),
    }

    fn kinds() -> impl Strategy<Value = KeyKind> + Clone {
        prop_oneof![
            Just(KeyKind::Slug),
            Just(KeyKind::Domain),
            Just(KeyKind::Custom("k"))
        ]
    }

    fn steps() -> impl Strategy<Value = Step> {
        let entry = (kinds(), "[a-c]{1,2}", 0_u8..4);
        prop_oneof![
            4 => entry.clone().prop_map(|(k, v, t)| Step::Insert(k, v, t)),
            2 => (kinds(), "[a-c]{1,2}").prop_map(|(k, v)| Step::Remove(k, v)),
            1 => proptest::collection::vec(entry, 0..8).prop_map(Step::Replace),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(steps(), 0..40)) {
            let table = ShardedTable::<KeyEntry>::new();
            let mut model = HashMap::new();
            let tenants: Vec<Tenant> = (0..4).map(|n| tenant(&format!("t{n}"))).collect();
            let entry = |k, v: &str, t: u8| KeyEntry::new(k, v, tenants[t as usize].clone());
            for step in steps {
                match step {
                    Step::Insert(k, v, t) => {
                        table.insert(entry(k, &v, t));
                        model.insert((k, v), t);
                    }
                    Step::Remove(k, v) => {
                        let removed = table.remove_if(k, &v, |_| true).is_some();
                        prop_assert_eq!(removed, model.remove(&(k, v)).is_some());
                    }
                    Step::Replace(all) => {
                        table.replace_all(all.iter().map(|(k, v, t)| entry(*k, v, *t)));
                        model = all.into_iter().map(|(k, v, t)| ((k, v), t)).collect();
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                for ((k, v), t) in &model {
                    let found = table.with(*k, v, |entry| entry.tenant().clone());
                    prop_assert_eq!(found, Some(tenants[*t as usize].clone()));
                }
            }
        }
    }

    #[test]
    fn equal_text_in_two_spaces_is_two_entries() {
        let table = ShardedTable::new();
        table.insert(KeyEntry::new(KeyKind::Slug, "acme", tenant("one")));
        table.insert(KeyEntry::new(KeyKind::Custom("k"), "acme", tenant("two")));
        let id = |kind| table.with(kind, "acme", |entry: &KeyEntry| entry.tenant().id().to_string());
        assert_eq!(id(KeyKind::Slug).as_deref(), Some("one"));
        assert_eq!(id(KeyKind::Custom("k")).as_deref(), Some("two"));
        assert_eq!(id(KeyKind::Custom("other")), None);
        assert_eq!(id(KeyKind::Domain), None);
    }

    /// How many entries the fullest shard has, without making them.
    fn fullest_shard<T: Keyed>(table: &ShardedTable<T>, kind: KeyKind, entries: u32) -> usize {
        use std::fmt::Write;
        let (mut counts, mut name) = (vec![0; SHARDS], String::new());
        for n in 0..entries {
            name.clear();
            write!(name, "tenant-{n}").unwrap();
            counts[shard_index(table.hash(kind, name.as_bytes()))] += 1;
        }
        counts.into_iter().max().unwrap()
    }

    #[test]
    fn one_change_among_a_million_tenants_copies_little() {
        let (keys, ids) = (ShardedTable::<KeyEntry>::new(), ShardedTable::<Tenant>::new());
        let of_keys = fullest_shard(&keys, KeyKind::Slug, 2_000_000);
        let of_ids = fullest_shard(&ids, KeyKind::Id, 1_000_000);

        // One such shard, filled for real.
        let one = tenant("one");
        let mut number = 0..;
        let in_first_shard = number
            .by_ref()
            .map(|n: u64| format!("tenant-{n}"))
            .filter(|name| shard_index(keys.hash(KeyKind::Slug, name.as_bytes())) == 0);
        for name in in_first_shard.take(of_keys) {
            keys.insert(KeyEntry::new(KeyKind::Slug, &name, one.clone()));
        }
        assert_eq!(keys.len(), of_keys);
        let of_id = HashTable::<Tenant>::with_capacity(of_ids).allocation_size();
        let change = 2 * keys.largest_copy_bytes() + of_id;
        assert!(change <= 64 * 1024, "a slug, a domain and the id: {change} bytes");
        assert!(keys.largest_copy_bytes() > 4_000, "something is measured");
    }

    #[test]
    fn a_table_that_was_large_gives_its_memory_back() {
        let table = ShardedTable::new();
        let one = tenant("one");
        let entry = |n: u32| KeyEntry::new(KeyKind::Slug, &format!("tenant-{n}"), one.clone());
        table.replace_all((0..300_000).map(entry));
        assert_eq!(table.len(), 300_000);
        // 73 in a shard on average: 128 or 256 places of 8 bytes, and a byte for each.
        assert!(
            table.largest_copy_bytes() <= 256 * 9 + 64,
            "{}",
            table.largest_copy_bytes()
        );
        for n in 1_000..300_000 {
            table.remove_if(KeyKind::Slug, &format!("tenant-{n}"), |_| true);
        }
        assert_eq!(table.len(), 1_000);
        assert!(
            table.largest_copy_bytes() <= 64 * 9 + 64,
            "{}",
            table.largest_copy_bytes()
        );
    }
}
