//! The hot tier: pointers to the entries that are asked for most, found without a lock and without moka.
//!
//! It owns nothing that counts: a slot that is gone is not served from here, and is let go of as soon as it is.

use std::sync::{
    Arc, Mutex, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwapOption, Guard};

use super::entry::Slot;

const WAYS: usize = 4;

/// One cache line: the hashes tell which pointer is worth following.
#[repr(align(64))]
struct Set {
    hashes: [AtomicU64; WAYS],
    slots: [ArcSwapOption<Slot>; WAYS],
}

impl Set {
    fn empty() -> Self {
        Self {
            hashes: [const { AtomicU64::new(0) }; WAYS],
            slots: [const { ArcSwapOption::const_empty() }; WAYS],
        }
    }

    #[inline]
    fn ways(&self) -> impl Iterator<Item = (&AtomicU64, &ArcSwapOption<Slot>)> {
        self.hashes.iter().zip(&self.slots)
    }
}

pub(super) struct Hot {
    sets: Box<[Set]>,
    mask: usize,
    /// Held by who promotes. Two at one place could leave the pointer of one there under the hash of the other, so that nobody
    /// would find it to let go of it.
    promoting: Mutex<()>,
}

impl Hot {
    /// Room for `entries`, rounded up to a power of two; none for 0.
    pub(super) fn new(entries: usize) -> Self {
        let count = match entries {
            0 => 0,
            some => some.div_ceil(WAYS).next_power_of_two(),
        };
        Self {
            sets: (0..count).map(|_| Set::empty()).collect(),
            mask: count.saturating_sub(1),
            promoting: Mutex::new(()),
        }
    }

    /// The slot that serves this key; no allocation, no lock, and nothing is written that others read.
    #[inline]
    pub(super) fn find(&self, share_id: u64, key: &[u8], hash: u64) -> Option<Guard<Option<Arc<Slot>>>> {
        for (known, cell) in self.set_of(hash)?.ways() {
            if known.load(Ordering::Relaxed) == hash {
                let found = cell.load();
                if found.as_ref().is_some_and(|slot| slot.serves(share_id, key)) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Puts a slot in the place of one that was not asked for lately. If all were, they have lost their mark now, and
    /// the next comer finds a place. If somebody else is at it, does nothing: what is asked for often comes again.
    pub(super) fn promote(&self, slot: &Arc<Slot>) {
        // A user's value may go with it: not under the lock.
        drop(self.put_in_place(slot));
        // It may have gone since it was found: who made it go then looked here too early.
        if slot.is_gone() {
            self.forget(slot);
        }
    }

    /// Returns what was in its place.
    fn put_in_place(&self, slot: &Arc<Slot>) -> Option<Arc<Slot>> {
        let set = self.set_of(slot.hash())?;
        // Nobody ever waits for it.
        let _alone = match self.promoting.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        let (known, cell) = set
            .ways()
            .find(|(known, cell)| is_to_spare(known.load(Ordering::Relaxed), cell, slot))?;
        let replaced = cell.swap(Some(Arc::clone(slot)));
        known.store(slot.hash(), Ordering::SeqCst);
        replaced
    }

    /// Lets go of a slot that is gone.
    pub(super) fn forget(&self, slot: &Arc<Slot>) {
        let Some(set) = self.set_of(slot.hash()) else {
            return;
        };
        for (known, cell) in set.ways() {
            if known.load(Ordering::SeqCst) == slot.hash() {
                let found = cell.load();
                if found.as_ref().is_some_and(|there| Arc::ptr_eq(there, slot)) {
                    cell.compare_and_swap(&*found, None);
                }
            }
        }
    }

    #[inline]
    fn set_of(&self, hash: u64) -> Option<&Set> {
        // The lower bits are moka's.
        let index = (hash >> 32) as usize;
        self.sets.get(index & self.mask)
    }

    /// Nothing gets hot while this is held.
    #[cfg(test)]
    pub(super) fn hold_promotions(&self) -> std::sync::MutexGuard<'_, ()> {
        self.promoting.lock().unwrap()
    }

    #[cfg(test)]
    pub(super) fn holds(&self, slot: &Arc<Slot>) -> bool {
        self.set_of(slot.hash()).is_some_and(|set| {
            set.ways()
                .any(|(_, cell)| cell.load().as_ref().is_some_and(|there| Arc::ptr_eq(there, slot)))
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets
            .iter()
            .flat_map(Set::ways)
            .filter(|(_, cell)| cell.load().is_some())
            .count()
    }
}

fn is_to_spare(known: u64, cell: &ArcSwapOption<Slot>, newcomer: &Arc<Slot>) -> bool {
    match &*cell.load() {
        None => true,
        // What had this key before, or shares its hash.
        Some(_) if known == newcomer.hash() => true,
        Some(there) => there.is_gone() || !there.take_hot_mark(),
    }
}
