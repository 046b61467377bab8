//! Caches in memory, as the rounds drive them.

use std::{fmt, hash::BuildHasher, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tenancy::{
    bench::MemoryLevel,
    cache::{CacheKey, CacheSettings, EntryOptions, Keys, TenantCache},
    core::{Clock, SystemClock},
};
use tenancy_bench::Failure;
use tokio::runtime::Runtime;

use crate::stack::cache_of_one;

/// What is cached: so large that it is behind a pointer, and so small that copying it is not what is measured.
pub type Value = Arc<Vec<u8>>;

/// A cache with a value for each of a few numbered keys.
///
/// What calls in a loop is made for each implementation, so that the loop calls it directly.
pub trait Memory: Send + Sync {
    /// Whether it has the key's value, which it hands out.
    fn get(&self, key: u32) -> bool;

    /// Puts the key's value in.
    fn put(&self, key: u32);

    /// Does what it has put off.
    fn settle(&self) {}

    /// How many of these it has.
    fn hits(&self, order: &[u32]) -> usize {
        order.iter().filter(|key| self.get(**key)).count()
    }

    /// How many of these it has, while those that it does not have are put in.
    fn get_or_put(&self, order: &[u32]) -> usize {
        let mut hits = 0;
        for &key in order {
            if self.get(key) {
                hits += 1;
            } else {
                self.put(key);
            }
        }
        hits
    }
}

/// For what a cache is made.
#[derive(Clone)]
pub struct Bed {
    /// The keys by their numbers.
    pub keys: Arc<Vec<String>>,
    /// How many entries there is room for.
    pub capacity: u32,
    values: Arc<Vec<Value>>,
}

impl Bed {
    /// For so many keys, with room for so many entries.
    pub fn new(keys: usize, capacity: u32) -> Self {
        Self {
            keys: Arc::new(crate::trace::keys(keys)),
            capacity,
            values: Arc::new((0..keys).map(|_| Arc::new(vec![1; 256])).collect()),
        }
    }

    /// The name of a key.
    #[inline]
    pub fn key(&self, key: u32) -> &str {
        &self.keys[key as usize]
    }

    /// What is under a key. Each has its own: threads would take turns at counting the owners of one.
    pub fn value(&self, key: u32) -> Value {
        Arc::clone(&self.values[key as usize])
    }
}

impl fmt::Debug for Bed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bed")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// A cache, or why it could not be made.
pub type Made = Result<Box<dyn Memory>, Failure>;

/// A cache that is compared, by its name and how it is made.
pub struct Contender {
    /// With its version.
    pub name: &'static str,
    /// Makes an empty one.
    pub make: fn(&Bed) -> Made,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}

/// What tenants use, with level 1 alone.
struct OfTenant {
    cache: TenantCache,
    keys: Vec<CacheKey<Vec<u8>>>,
    options: EntryOptions,
    runtime: Runtime,
}

const BY_NAME: Keys<&str, Vec<u8>> = Keys::new("notes", 1);
const BY_NUMBER: Keys<(u32, &str), Vec<u8>> = Keys::new("notes", 2);

impl OfTenant {
    fn new(bed: &Bed) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let cache = runtime.block_on(cache_of_one(CacheSettings::new()))?;
        Ok(Self {
            keys: bed.keys.iter().map(|key| BY_NAME.key(key)).collect(),
            cache,
            options: EntryOptions::new().tag("notes").tag("note:17"),
            runtime,
        })
    }

    fn key(&self, key: u32) -> &CacheKey<Vec<u8>> {
        &self.keys[key as usize]
    }

    fn load(&self, key: &CacheKey<Vec<u8>>) {
        let value = vec![1; 256];
        let loaded = self
            .cache
            .remember(key, &self.options, || async { Ok::<_, std::io::Error>(value) });
        assert!(self.runtime.block_on(loaded).is_ok(), "a load can not fail");
    }
}

/// [`get`](tenancy::cache::Cache::get) with a key that is at hand.
struct TenantGet(OfTenant);
/// The same with a key that is made for each call.
struct TenantGetByNumber(OfTenant);
/// [`remember`](tenancy::cache::Cache::remember), where there is nothing to load.
struct TenantRemember(OfTenant);

pub(crate) fn tenant_get(bed: &Bed) -> Made {
    Ok(Box::new(TenantGet(OfTenant::new(bed)?)))
}

pub(crate) fn tenant_get_by_number(bed: &Bed) -> Made {
    Ok(Box::new(TenantGetByNumber(OfTenant::new(bed)?)))
}

pub(crate) fn tenant_remember(bed: &Bed) -> Made {
    Ok(Box::new(TenantRemember(OfTenant::new(bed)?)))
}

impl Memory for TenantGet {
    #[inline]
    fn get(&self, key: u32) -> bool {
        matches!(self.0.cache.get(self.0.key(key)).now_or_never(), Some(Some(_)))
    }

    fn put(&self, key: u32) {
        self.0.load(self.0.key(key));
    }
}

impl Memory for TenantGetByNumber {
    #[inline]
    fn get(&self, key: u32) -> bool {
        let key = BY_NUMBER.key((key, "list:open"));
        matches!(self.0.cache.get(&key).now_or_never(), Some(Some(_)))
    }

    fn put(&self, key: u32) {
        self.0.load(&BY_NUMBER.key((key, "list:open")));
    }
}

impl Memory for TenantRemember {
    #[inline]
    fn get(&self, key: u32) -> bool {
        let load = || async { Ok::<_, std::io::Error>(vec![1; 256]) };
        let remembered = self.0.cache.remember(self.0.key(key), &self.0.options, load);
        matches!(remembered.now_or_never(), Some(Ok(_)))
    }

    fn put(&self, key: u32) {
        self.0.load(self.0.key(key));
    }
}

/// What each entry weighs.
const ENTRY: u32 = 1000;

/// Level 1 by itself: what is put in needs no load, as with the others.
struct Level1 {
    bed: Bed,
    level: MemoryLevel,
    now: Duration,
}

impl Memory for Level1 {
    #[inline]
    fn get(&self, key: u32) -> bool {
        let found = self.level.get::<Vec<u8>>(self.bed.key(key).as_bytes(), self.now);
        found.is_some()
    }

    fn put(&self, key: u32) {
        let value = self.bed.value(key);
        self.level.put(self.bed.key(key).as_bytes(), value, ENTRY);
    }
}

pub(crate) fn level1(bed: &Bed) -> Made {
    Ok(Box::new(Level1 {
        bed: bed.clone(),
        level: MemoryLevel::new(bed.capacity.into(), ENTRY, 4096),
        now: SystemClock::new().monotonic(),
    }))
}

type Moka<S> = moka::sync::Cache<String, Value, S>;

struct OfMoka<S> {
    bed: Bed,
    cache: Moka<S>,
}

impl<S: BuildHasher + Clone + Send + Sync + 'static> Memory for OfMoka<S> {
    #[inline]
    fn get(&self, key: u32) -> bool {
        self.cache.get(self.bed.key(key)).is_some()
    }

    fn put(&self, key: u32) {
        let value = self.bed.value(key);
        self.cache.insert(self.bed.key(key).to_owned(), value);
    }

    fn settle(&self) {
        self.cache.run_pending_tasks();
    }
}

/// As fast as it gets: entries are counted, and the hash is that of tenancy.
pub(crate) fn moka(bed: &Bed) -> Made {
    let cache = moka::sync::Cache::builder()
        .max_capacity(bed.capacity.into())
        .build_with_hasher(foldhash::quality::RandomState::default());
    let bed = bed.clone();
    Ok(Box::new(OfMoka { bed, cache }))
}

/// Bounded by bytes, as tenancy is.
pub(crate) fn moka_of_bytes(bed: &Bed) -> Made {
    let cache = moka::sync::Cache::builder()
        .max_capacity(u64::from(bed.capacity) * u64::from(ENTRY))
        .weigher(|_, _| ENTRY)
        .build_with_hasher(foldhash::quality::RandomState::default());
    let bed = bed.clone();
    Ok(Box::new(OfMoka { bed, cache }))
}
