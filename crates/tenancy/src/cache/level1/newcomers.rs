//! Entries that nobody has asked for before: they wait outside of moka to be asked for again.
//!
//! Most of what is put into a full cache is never asked for again. moka finds that out as well, but at several times the cost of
//! all the rest of an insert.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use super::entry::Slot;

/// They may have this part of the whole,
const PART: u64 = 64;
/// and at least so many of them have room,
const FEW: usize = 4;
/// unless they take more than this part of it.
const LARGE_PART: u64 = 16;

/// A queue of all shares' newcomers, and which keys were put in a while ago.
pub(super) struct Newcomers {
    queue: Mutex<Queue>,
    seen: Seen,
    max_bytes: u64,
}

#[derive(Default)]
struct Queue {
    slots: VecDeque<Arc<Slot>>,
    bytes: u64,
}

impl Newcomers {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            queue: Mutex::default(),
            seen: Seen::new(max_bytes),
            max_bytes,
        }
    }

    /// Whether a key with this hash was put in lately; from now on it was.
    pub(super) fn is_known(&self, hash: u64) -> bool {
        self.seen.swap(hash)
    }

    /// Takes one in, and says what all weigh. Those whose time is over go to `over`, also those that are gone.
    pub(super) fn welcome(&self, slot: &Arc<Slot>, over: &mut Vec<Arc<Slot>>) -> u64 {
        let mut queue = self.lock();
        queue.bytes += slot.weight();
        queue.slots.push_back(Arc::clone(slot));
        while self.is_too_much(&queue)
            && let Some(oldest) = queue.slots.pop_front()
        {
            queue.bytes -= oldest.weight();
            over.push(oldest);
        }
        queue.bytes
    }

    fn is_too_much(&self, queue: &Queue) -> bool {
        queue.bytes > self.max_bytes / LARGE_PART
            || (queue.bytes > self.max_bytes / PART && queue.slots.len() > FEW)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For each key that was put in, eight bits of its hash, where others of its hash have not overwritten them: about as many as a
/// few times what there is room for. One that is taken for another's costs a look of moka's.
struct Seen {
    marks: Box<[AtomicU8]>,
    mask: usize,
}

/// An entry has more bytes than this; so there is room for some times as many keys.
const BYTES_OF_A_MARK: u64 = 128;
const FEWEST: u64 = 1 << 10;
const MOST: u64 = 1 << 22;

impl Seen {
    fn new(max_bytes: u64) -> Self {
        let count = (max_bytes / BYTES_OF_A_MARK)
            .clamp(FEWEST, MOST)
            .next_power_of_two();
        let count = usize::try_from(count).unwrap_or(1 << 10);
        Self {
            marks: (0..count).map(|_| AtomicU8::new(0)).collect(),
            mask: count - 1,
        }
    }

    fn swap(&self, hash: u64) -> bool {
        // Other bits than those that tell the place; 0 is nobody's.
        let mark = (hash >> 56) as u8 | 1;
        let place = (hash >> 8) as usize & self.mask;
        self.marks
            .get(place)
            .is_some_and(|cell| cell.swap(mark, Ordering::Relaxed) == mark)
    }
}
