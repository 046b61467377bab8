//! What one account has in level 1: who its entries are, and how many bytes.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;

use super::{
    entry::{Place, Slot},
    ring::Ring,
    tiers::Tiers,
};

/// One account's part of level 1. Which entries live is decided here and nowhere else: moka says what is to be evicted,
/// and the hot tier only points.
///
/// When it is dropped its entries are gone, and count no more; [`purge`](super::Level1::purge) also frees what moka has.
pub(crate) struct Share {
    id: u64,
    /// At random: the same key of two shares is at two places, and nobody outside knows at which.
    salt: u64,
    bytes: AtomicU64,
    kept_bytes: AtomicU64,
    evicted: AtomicU64,
    /// By the clock of the caller, in seconds: written once a second at most.
    last_use: AtomicU64,
    enlisted: AtomicBool,
    roster: Mutex<Roster>,
    tiers: Arc<Tiers>,
}

#[derive(Default)]
struct Roster {
    by_key: HashTable<Arc<Slot>>,
    living: Ring,
    kept: Ring,
}

/// What became of an entry that moka gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its share is below its floor.
    Kept,
    /// It has left now.
    Dropped,
    /// It had left before.
    WasGone,
}

impl Share {
    pub(super) fn new(tiers: &Arc<Tiers>, now: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            salt: foldhash::quality::RandomState::default().hash_one(id),
            bytes: AtomicU64::new(0),
            kept_bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            last_use: AtomicU64::new(now),
            enlisted: AtomicBool::new(false),
            roster: Mutex::default(),
            tiers: Arc::clone(tiers),
        }
    }

    /// Unique in the process.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Of one of its entries, by the hash of the key, which is mixed well.
    #[inline]
    pub(crate) fn hash_of(&self, key: u64) -> u64 {
        self.salt ^ key
    }

    /// What its entries weigh, in all tiers, each once.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many of its entries had to make room, since it is there.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn has_kept(&self) -> bool {
        self.kept_bytes() != 0
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes.load(Ordering::Acquire)
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn used_at(&self, seconds: u64) {
        if self.last_use.load(Ordering::Relaxed) != seconds {
            self.last_use.store(seconds, Ordering::Relaxed);
        }
    }

    /// Whether it was not on the list of those that have something kept. It is now.
    pub(super) fn enlist(&self) -> bool {
        !self.enlisted.swap(true, Ordering::SeqCst)
    }

    pub(super) fn strike_out(&self) {
        self.enlisted.store(false, Ordering::SeqCst);
    }

    pub(super) fn count_eviction(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a new entry in. Returns the one that had its key, which is gone.
    pub(super) fn admit(&self, slot: &Arc<Slot>, key: &[u8]) -> Option<Arc<Slot>> {
        let mut roster = self.lock();
        let replaced = roster.find(self.id, key, slot.hash());
        if let Some(old) = &replaced {
            self.take_out(&mut roster, old);
        }
        roster
            .by_key
            .insert_unique(slot.hash(), Arc::clone(slot), |slot| slot.hash());
        roster.living.push(slot);
        self.bytes.fetch_add(slot.weight(), Ordering::Relaxed);
        self.tiers.bytes.fetch_add(slot.weight(), Ordering::Relaxed);
        replaced
    }

    pub(super) fn find(&self, key: &[u8], hash: u64) -> Option<Arc<Slot>> {
        self.lock().find(self.id, key, hash)
    }

    /// `None` if somebody else is at it.
    pub(super) fn try_find(&self, key: &[u8], hash: u64) -> Option<Option<Arc<Slot>>> {
        let roster = match self.roster.try_lock() {
            Ok(roster) => roster,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(roster.find(self.id, key, hash))
    }

    /// Lets go of the entry with this key, and returns it.
    pub(super) fn remove(&self, key: &[u8], hash: u64) -> Option<Arc<Slot>> {
        let mut roster = self.lock();
        let slot = roster.find(self.id, key, hash)?;
        self.take_out(&mut roster, &slot);
        Some(slot)
    }

    /// Lets go of an entry. False if it had left before.
    pub(super) fn drop_slot(&self, slot: &Arc<Slot>) -> bool {
        let mut roster = self.lock();
        self.take_out(&mut roster, slot)
    }

    /// Keeps an entry that moka gave up, if there is room for it below `floor`, or drops it. Older ones that are kept make
    /// room; they go to `left`.
    pub(super) fn keep_or_drop(&self, slot: &Arc<Slot>, floor: u64, left: &mut Vec<Arc<Slot>>) -> Verdict {
        let mut roster = self.lock();
        if slot.is_gone() {
            return Verdict::WasGone;
        }
        if slot.weight() <= floor {
            self.shrink_kept(&mut roster, floor, left);
        }
        if self.bytes() > floor {
            self.take_out(&mut roster, slot);
            return Verdict::Dropped;
        }
        roster.living.remove(slot);
        roster.kept.push(slot);
        slot.set_place(Place::Kept);
        self.kept_bytes.fetch_add(slot.weight(), Ordering::Release);
        self.tiers.kept.fetch_add(slot.weight(), Ordering::Relaxed);
        Verdict::Kept
    }

    /// Lets go of what is kept, the least used first, until all of its entries are within `floor`.
    pub(super) fn trim(&self, floor: u64, left: &mut Vec<Arc<Slot>>) {
        if self.has_kept() && self.bytes() > floor {
            self.shrink_kept(&mut self.lock(), floor, left);
        }
    }

    /// Lets go of living entries, the least used first, until they weigh `bytes` or there are none.
    pub(super) fn displace(&self, bytes: u64, left: &mut Vec<Arc<Slot>>) -> u64 {
        let mut roster = self.lock();
        let mut displaced = 0;
        while displaced < bytes
            && let Some(slot) = roster.living.least_used()
        {
            self.take_out(&mut roster, &slot);
            self.count_eviction();
            displaced += slot.weight();
            left.push(slot);
        }
        displaced
    }

    /// Lets go of all.
    pub(super) fn clear(&self) -> Vec<Arc<Slot>> {
        let mut roster = self.lock();
        let all: Vec<_> = roster.by_key.iter().map(Arc::clone).collect();
        for slot in &all {
            self.uncount(slot);
        }
        *roster = Roster::default();
        all
    }

    fn shrink_kept(&self, roster: &mut Roster, floor: u64, left: &mut Vec<Arc<Slot>>) {
        while self.bytes() > floor
            && let Some(slot) = roster.kept.least_used()
        {
            self.take_out(roster, &slot);
            self.count_eviction();
            left.push(slot);
        }
    }

    fn take_out(&self, roster: &mut Roster, slot: &Arc<Slot>) -> bool {
        let ring = match slot.place() {
            Place::Living => &mut roster.living,
            Place::Kept => &mut roster.kept,
            Place::Gone => return false,
        };
        ring.remove(slot);
        roster.forget(slot);
        self.uncount(slot);
        true
    }

    fn uncount(&self, slot: &Slot) {
        if slot.place() == Place::Kept {
            self.kept_bytes.fetch_sub(slot.weight(), Ordering::Release);
            self.tiers.kept.fetch_sub(slot.weight(), Ordering::Relaxed);
        }
        self.bytes.fetch_sub(slot.weight(), Ordering::Relaxed);
        self.tiers.bytes.fetch_sub(slot.weight(), Ordering::Relaxed);
        slot.set_place(Place::Gone);
    }

    /// Nothing of a user's is dropped and moka is not called while this is held: moka calls back.
    fn lock(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    /// It may be moka's housekeeping that had the last of it: moka is not called.
    fn drop(&mut self) {
        for slot in self.clear() {
            self.tiers.hot.forget(&slot);
        }
    }
}

impl Roster {
    fn find(&self, share_id: u64, key: &[u8], hash: u64) -> Option<Arc<Slot>> {
        self.by_key
            .find(hash, |slot| slot.has_key(share_id, key))
            .map(Arc::clone)
    }

    fn forget(&mut self, slot: &Arc<Slot>) {
        if let Ok(found) = self
            .by_key
            .find_entry(slot.hash(), |there| Arc::ptr_eq(there, slot))
        {
            // The caller has another pointer: nothing of a user's is dropped here.
            found.remove();
        }
        // What a large tenant needed once is given back.
        let needed = self.by_key.len() * 2;
        if self.by_key.capacity() > 64 && needed * 2 < self.by_key.capacity() {
            self.by_key.shrink_to(needed, |slot| slot.hash());
        }
    }
}
