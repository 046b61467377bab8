//! What an entry was loaded under.

use std::sync::Arc;

use super::super::shared::SLOTS;

/// How many slots a stamp has room for in place: an entry's own and those of three tags.
const INLINE: usize = 4;

/// Versions are below this, so that Redis can hold them as floating-point numbers.
pub(super) const NUMBER_LIMIT: u64 = 1 << 53;

/// The numbers under which an entry was loaded: of its scope's base, of its own slot and of its tags' slots.
///
/// 56 bytes. Cloning never allocates. Equal stamps have equal slots and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    base: u64,
    slots: StampedSlots,
}

/// Sorted by slot, each slot once; on the heap exactly if there are more than [`INLINE`]. Unused places are 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum StampedSlots {
    Inline {
        count: u8,
        slots: [u16; INLINE],
        numbers: [u64; INLINE],
    },
    Heap(Arc<[(u16, u64)]>),
}

impl Stamp {
    /// Reads the number of each of `slots` by `number_of`. Allocates for more than four slots.
    pub(super) fn read(base: u64, slots: &[u16], number_of: impl Fn(u16) -> u64) -> Self {
        let mut in_place = [0_u16; INLINE];
        let mut on_heap = Vec::new();
        let sorted: &mut [u16] = match in_place.get_mut(..slots.len()) {
            Some(in_place) => in_place,
            None => {
                on_heap.resize(slots.len(), 0);
                &mut on_heap
            }
        };
        sorted.copy_from_slice(slots);
        sorted.sort_unstable();
        let sorted: &[u16] = sorted;
        let is_first = |&place: &usize| place == 0 || sorted[place - 1] != sorted[place];
        let distinct = (0..sorted.len()).filter(is_first).map(|place| sorted[place]);
        Self::of_sorted(base, distinct.map(|slot| (slot, number_of(slot))))
    }

    /// From an envelope. `None` for what [`slots`](Self::slots) never gives: slots that do not exist, that are not in
    /// ascending order, or numbers that no version has.
    pub(crate) fn from_parts(base: u64, slots: &[(u16, u64)]) -> Option<Self> {
        let ascending = slots.is_sorted_by(|a, b| a.0 < b.0);
        let possible = |&(slot, number): &(u16, u64)| slot < SLOTS && number < NUMBER_LIMIT;
        (ascending && base < NUMBER_LIMIT && slots.iter().all(possible))
            .then(|| Self::of_sorted(base, slots.iter().copied()))
    }

    /// The same with another number for one slot: what a put is kept under, which raised its own slot just now.
    pub(crate) fn with_slot(&self, slot: u16, number: u64) -> Self {
        let (before, after) = (
            self.slots().filter(|other| other.0 < slot),
            self.slots().filter(|other| other.0 > slot),
        );
        Self::of_sorted(self.base, before.chain([(slot, number)]).chain(after))
    }

    /// The number of the scope's base.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Its slots, ascending, each once, with their numbers.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u16, u64)> + Clone {
        self.in_place().chain(self.on_heap())
    }

    /// Those of its slots that are in it: all, or none.
    #[inline]
    pub(super) fn in_place(&self) -> impl Iterator<Item = (u16, u64)> + Clone {
        let (slots, numbers): (&[u16], &[u64]) = match &self.slots {
            StampedSlots::Inline {
                count,
                slots,
                numbers,
            } => {
                let count = usize::from(*count).min(INLINE);
                (&slots[..count], &numbers[..count])
            }
            StampedSlots::Heap(_) => (&[], &[]),
        };
        slots.iter().copied().zip(numbers.iter().copied())
    }

    /// And the others.
    #[inline]
    pub(super) fn on_heap(&self) -> impl Iterator<Item = (u16, u64)> + Clone {
        let pairs: &[(u16, u64)] = match &self.slots {
            StampedSlots::Inline { .. } => &[],
            StampedSlots::Heap(pairs) => pairs,
        };
        pairs.iter().copied()
    }

    fn of_sorted(base: u64, sorted: impl Iterator<Item = (u16, u64)> + Clone) -> Self {
        let mut slots = [0; INLINE];
        let mut numbers = [0; INLINE];
        let mut count = 0;
        for (slot, number) in sorted.clone() {
            if count == INLINE {
                return Self {
                    base,
                    slots: StampedSlots::Heap(sorted.collect()),
                };
            }
            (slots[count], numbers[count]) = (slot, number);
            count += 1;
        }
        let slots = StampedSlots::Inline {
            count: count as u8,
            slots,
            numbers,
        };
        Self { base, slots }
    }
}
