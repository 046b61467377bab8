//! Entries in a circle, and a hand that goes round it: one that was used since the hand came by stays.

use std::sync::Arc;

use super::entry::Slot;

/// How many the hand passes by for one that it takes: it must end, also if all are in use.
const PATIENCE: usize = 32;

/// A slot knows its position: it leaves at once, wherever it stands.
#[derive(Default)]
pub(super) struct Ring {
    slots: Vec<Arc<Slot>>,
    hand: usize,
}

impl Ring {
    pub(super) fn push(&mut self, slot: &Arc<Slot>) {
        slot.set_position(self.slots.len());
        self.slots.push(Arc::clone(slot));
    }

    pub(super) fn remove(&mut self, slot: &Arc<Slot>) {
        let position = slot.position();
        if !self
            .slots
            .get(position)
            .is_some_and(|there| Arc::ptr_eq(there, slot))
        {
            debug_assert!(false, "a slot that stands elsewhere");
            return;
        }
        self.slots.swap_remove(position);
        if let Some(moved) = self.slots.get(position) {
            moved.set_position(position);
        }
        if self.slots.capacity() > 64 && self.slots.len() * 4 < self.slots.capacity() {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }

    /// The next that was not used since the hand last came by. It stays in the ring.
    pub(super) fn least_used(&mut self) -> Option<Arc<Slot>> {
        for _ in 0..PATIENCE {
            let slot = self.under_hand()?;
            if !slot.take_share_mark() {
                return Some(Arc::clone(slot));
            }
            self.hand += 1;
        }
        self.under_hand().map(Arc::clone)
    }

    fn under_hand(&mut self) -> Option<&Arc<Slot>> {
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        self.slots.get(self.hand)
    }
}
