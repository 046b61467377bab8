//! Hits that moka has not heard of yet.

use std::{
    cell::Cell,
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::cache::statistics::stripe_of_thread;

const ROOM: usize = 512;

/// As many as [`stripe_of_thread`] has numbers.
const LISTS: usize = 4;

/// Hashes of a sample of the hits of the hot tier. Whoever inserts tells moka of them, before anything is evicted for
/// it; so that no hit waits for moka's housekeeping. The oldest are overwritten if nobody inserts.
pub(super) struct Recent([List; LISTS]);

/// Of a few threads: so that they do not pass its cache lines around.
#[repr(align(64))]
struct List {
    hashes: Box<[AtomicU64]>,
    noted: AtomicUsize,
    told: Mutex<usize>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| List::new()))
    }

    pub(super) fn note(&self, hash: u64) {
        self.0[stripe_of_thread() % LISTS].note(hash);
    }

    /// Calls `tell` for at most `most` hits of each list that were noted. If somebody else is at one, leaves it.
    pub(super) fn tell(&self, most: usize, mut tell: impl FnMut(u64)) {
        for list in &self.0 {
            list.tell(most, &mut tell);
        }
    }
}

impl List {
    fn new() -> Self {
        Self {
            hashes: (0..ROOM).map(|_| AtomicU64::new(0)).collect(),
            noted: AtomicUsize::new(0),
            told: Mutex::new(0),
        }
    }

    fn note(&self, hash: u64) {
        let at = self.noted.fetch_add(1, Ordering::Relaxed);
        if let Some(cell) = self.hashes.get(at % ROOM) {
            cell.store(hash, Ordering::Relaxed);
        }
    }

    fn tell(&self, most: usize, mut tell: impl FnMut(u64)) {
        let noted = self.noted.load(Ordering::Relaxed);
        for _ in 0..most {
            // Taken for each: `tell` may run what comes back here.
            let Some(at) = self.next(noted) else {
                return;
            };
            let hash = self
                .hashes
                .get(at % ROOM)
                .map_or(0, |cell| cell.swap(0, Ordering::Relaxed));
            if hash != 0 {
                tell(hash);
            }
        }
    }

    fn next(&self, noted: usize) -> Option<usize> {
        let mut told = match self.told.try_lock() {
            Ok(told) => told,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return None,
        };
        let waiting = noted.wrapping_sub(*told);
        // A later look was quicker than this one.
        if waiting == 0 || waiting > usize::MAX / 2 {
            return None;
        }
        if waiting > ROOM {
            *told = noted.wrapping_sub(ROOM);
        }
        let at = *told;
        *told = told.wrapping_add(1);
        Some(at)
    }
}

thread_local! {
    static DICE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// True for one call of eight, by chance: a counter would meet the same keys again in a loop over them.
#[inline]
pub(super) fn one_of_eight() -> bool {
    DICE.with(|dice| {
        let next = dice.get().wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        dice.set(next);
        next >> 29 == 0
    })
}
