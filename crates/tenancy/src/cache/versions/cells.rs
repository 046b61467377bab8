//! The numbers themselves: read without a lock on every hit, and only ever raised.

use std::{fmt, sync::OnceLock};

use super::atomics::{AtomicU64, Ordering};
use crate::cache::{
    shared::{Cell, Level, SLOTS},
    versions::Judgement,
};

const CHUNK: usize = 64;
const CHUNKS: usize = SLOTS as usize / CHUNK;

/// The level of one cell.
#[derive(Debug, Default)]
pub(super) struct CellPair {
    any: AtomicU64,
    hard: AtomicU64,
}

impl CellPair {
    /// `hard` first: whoever sees `any` raised, sees `hard` raised too, and never takes what was flushed hard for stale.
    /// Whoever looks between the two sees the old state, which is right, since the flush has not returned yet.
    ///
    /// Returns whether either was below.
    pub(super) fn raise(&self, any: u64, hard: u64) -> bool {
        let former_hard = self.hard.fetch_max(hard, Ordering::AcqRel);
        let former_any = self.any.fetch_max(any, Ordering::AcqRel);
        former_hard < hard || former_any < any
    }

    #[inline]
    pub(super) fn any(&self) -> u64 {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn hard(&self) -> u64 {
        self.hard.load(Ordering::Acquire)
    }

    /// Judges what was loaded under `number`.
    ///
    /// A number above the cell's is one that this process does not know: of a change that was lost, or that another process
    /// could not tell anybody. It can't be compared with the numbers of hard flushes here, so that it is dead.
    #[inline]
    fn judge(&self, number: u64) -> Judgement {
        judge_level(self.any(), number, || self.hard())
    }
}

#[inline]
fn judge_level(any: u64, number: u64, hard: impl FnOnce() -> u64) -> Judgement {
    if any == number {
        Judgement::Fresh
    } else if number > any || hard() > number {
        Judgement::Dead
    } else {
        Judgement::Stale
    }
}

/// After how many changes of its scope an entry was last found fresh.
#[derive(Debug)]
pub(crate) struct LastCheck(AtomicU64);

impl LastCheck {
    /// It was not looked at yet.
    pub(crate) fn never() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

type Chunk = Box<[CellPair; CHUNK]>;

/// All cells of a scope. One that was never flushed by tag or key has the base only; 65 KiB at most.
#[derive(Default)]
pub(super) struct Cells {
    base: CellPair,
    slots: OnceLock<Box<[OnceLock<Chunk>; CHUNKS]>>,
    /// How often a cell was raised.
    changes: AtomicU64,
}

impl Cells {
    /// Raises a cell, and returns whether it was below. Counted once it is raised: who sees the count, sees the number.
    pub(super) fn raise(&self, cell: Cell, any: u64, hard: u64) -> bool {
        let is_new = self.at(cell).raise(any, hard);
        if is_new {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        is_new
    }

    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether `judge` finds it fresh. As long as nothing is raised that is asked once: what was fresh after as many changes still
    /// is.
    #[inline]
    pub(super) fn is_fresh(&self, last: &LastCheck, judge: impl FnOnce() -> Judgement) -> bool {
        // Read before it is judged: what is raised after this is counted after this, whether the judgement sees it or not.
        let changes = self.changes();
        // Relaxed: it carries nothing but the number.
        if last.0.load(Ordering::Relaxed) == changes {
            return true;
        }
        let is_fresh = judge() == Judgement::Fresh;
        if is_fresh {
            last.0.store(changes, Ordering::Relaxed);
        }
        is_fresh
    }

    /// The cell, made if it was never raised. Slots that do not exist are taken for others, which costs misses.
    pub(super) fn at(&self, cell: Cell) -> &CellPair {
        let Cell::Slot(slot) = cell else {
            return &self.base;
        };
        let (chunk, place) = place_of(slot);
        let chunks = self
            .slots
            .get_or_init(|| Box::new([const { OnceLock::new() }; CHUNKS]));
        let cells = chunks[chunk].get_or_init(|| Box::new(std::array::from_fn(|_| CellPair::default())));
        &cells[place]
    }

    /// The number of the last flush of a cell.
    pub(super) fn any(&self, cell: Cell) -> u64 {
        match cell {
            Cell::Base => self.base.any(),
            Cell::Slot(slot) => self.raised_slot(slot).map_or(0, CellPair::any),
        }
    }

    /// The number of its last hard flush.
    pub(super) fn hard(&self, cell: Cell) -> u64 {
        match cell {
            Cell::Base => self.base.hard(),
            Cell::Slot(slot) => self.raised_slot(slot).map_or(0, CellPair::hard),
        }
    }

    #[inline]
    pub(super) fn judge_base(&self, number: u64) -> Judgement {
        self.base.judge(number)
    }

    #[inline]
    pub(super) fn judge_slot(&self, slot: u16, number: u64) -> Judgement {
        match self.raised_slot(slot) {
            Some(cell) => cell.judge(number),
            None => judge_level(0, number, || 0),
        }
    }

    #[inline]
    fn raised_slot(&self, slot: u16) -> Option<&CellPair> {
        let (chunk, place) = place_of(slot);
        Some(&self.slots.get()?[chunk].get()?[place])
    }

    /// All levels that are not 0, by cell; of one moment if nothing is raised meanwhile.
    pub(super) fn levels(&self) -> Vec<Level> {
        let chunks = self.slots.get().into_iter().flat_map(|chunks| chunks.iter());
        let of_slots = (0_u16..)
            .step_by(CHUNK)
            .zip(chunks)
            .filter_map(|(first, chunk)| Some((first, chunk.get()?)))
            .flat_map(|(first, cells)| (first..).map(Cell::Slot).zip(cells.iter()));
        std::iter::once((Cell::Base, &self.base))
            .chain(of_slots)
            .map(|(cell, pair)| Level {
                cell,
                any: pair.any(),
                hard: pair.hard(),
            })
            .filter(|level| level.any > 0)
            .collect()
    }
}

#[inline]
fn place_of(slot: u16) -> (usize, usize) {
    let slot = usize::from(slot) % usize::from(SLOTS);
    (slot / CHUNK, slot % CHUNK)
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.levels()).finish()
    }
}
