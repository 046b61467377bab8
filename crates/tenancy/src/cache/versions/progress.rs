//! How far a process knows a scope's history, and what of its knowledge the shared level may not have.
//!
//! All of it is behind one lock, since it is touched when something changes or is asked, never by a hit.

use std::collections::BTreeMap;

use super::{
    super::shared::{Cell, FlushMode, Level},
    PendingAsk,
    cells::Cells,
};

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The newest number up to which everything is known; 0 if nothing is.
    seen: u64,
    /// How often the lease was taken away.
    revocations: u64,
    /// The highest number of all cells, and of all that was given here.
    highest: u64,
    /// How many strays there have been: the age of a stray, as compared with that of an ask.
    heard: u64,
    /// What was heard out of sequence, until an answer holds it. One that an answer should hold and does not was lost
    /// by the shared level, which has to be taught it.
    strays: BTreeMap<Cell, Stray>,
    /// The cells whose number is this process's own, until they get one from the shared level that is above it.
    own: BTreeMap<Cell, Own>,
}

#[derive(Clone, Copy, Debug)]
struct Stray {
    any: u64,
    hard: u64,
    /// The count of strays when it was heard.
    heard: u64,
}

/// A cell under a number of this process's own.
///
/// It can't be compared with the shared level's: a flush elsewhere may have a lower one and still be the later, or a
/// higher one and be the earlier. So that whatever is new from the shared level raises the cell again, by another own number.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// The cell's present number.
    number: u64,
    /// The numbers that the last soft and the last hard flush here got, if the shared level has yet to acknowledge it.
    /// Until then a higher number of the shared level may be of an earlier flush, and what was loaded under it older than
    /// the flush here.
    pending_soft: Option<u64>,
    pending_hard: Option<u64>,
    /// What is known of the cell's shared numbers.
    shared_any: u64,
    shared_hard: u64,
}

impl Own {
    fn is_pending(&self) -> bool {
        self.pending_soft.is_some() || self.pending_hard.is_some()
    }
}

impl Progress {
    pub(super) fn starting_at(highest: u64) -> Self {
        Self {
            highest,
            ..Self::default()
        }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn ask(&self) -> PendingAsk {
        PendingAsk {
            seen: self.seen,
            revocations: self.revocations,
            heard: self.heard,
        }
    }

    pub(super) fn revoke(&mut self) {
        self.revocations += 1;
    }

    pub(super) fn is_revoked_since(&self, ask: &PendingAsk) -> bool {
        self.revocations != ask.revocations
    }

    /// A change that was heard of: in sequence if it comes right after what is known.
    pub(super) fn learn(
        &mut self,
        cells: &Cells,
        previous: u64,
        number: u64,
        raised: &[Cell],
        mode: FlushMode,
    ) {
        // Who knows nothing has no sequence, whatever the change says that it follows.
        let in_sequence = previous != 0 && previous == self.seen && number > previous;
        let hard = hard_number(number, mode);
        for &cell in raised {
            let level = Level {
                cell,
                any: number,
                hard,
            };
            if self.merge(cells, level) && !in_sequence {
                self.keep_stray(level);
            }
        }
        if in_sequence {
            self.seen = number;
        }
    }

    fn keep_stray(&mut self, level: Level) {
        self.heard += 1;
        let heard = self.heard;
        let stray = self.strays.entry(level.cell).or_insert(Stray {
            any: 0,
            hard: 0,
            heard,
        });
        *stray = Stray {
            any: stray.any.max(level.any),
            hard: stray.hard.max(level.hard),
            heard,
        };
    }

    /// An answer: all that has changed since `ask`, up to `number`. Returns whether it lacks what was known here when it was
    /// asked for, which the shared level has lost then.
    ///
    /// If `seen` has moved since, by messages or by another answer, then this one may be of a history before or after a
    /// failover. So `seen` stays, and what is new is as if it had been heard: the next answer says whether both are in its
    /// history. Otherwise it is where the answer says, even if that is lower: a failover to a server whose clock is behind
    /// gives lower numbers. The cells stay up, and the shared level was taught them.
    pub(super) fn take_answer(
        &mut self,
        cells: &Cells,
        ask: &PendingAsk,
        number: u64,
        levels: &[Level],
    ) -> bool {
        let follows = self.seen == ask.seen;
        let answered: BTreeMap<_, _> = levels.iter().map(|level| (level.cell, level)).collect();
        let is_covered = |cell: &Cell, stray: &Stray| {
            let level = answered.get(cell);
            level.is_some_and(|level| stray.any <= level.any && stray.hard <= level.hard)
        };
        let mut strays = self.strays.iter();
        let is_lacking = strays.any(|(cell, stray)| stray.heard <= ask.heard && !is_covered(cell, stray));
        if follows {
            self.strays.retain(|cell, stray| !is_covered(cell, stray));
            self.seen = number;
        }
        for &level in levels {
            if self.merge(cells, level) && !follows {
                self.keep_stray(level);
            }
        }
        is_lacking
    }

    /// Whether there are own numbers that only a teaching brings below shared ones. Those of flushes that still have to
    /// be acknowledged are not among them.
    pub(super) fn has_own_numbers(&self) -> bool {
        self.own.values().any(|own| !own.is_pending())
    }

    /// Whether the shared level has all that is known here.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.strays.is_empty() && self.own.is_empty()
    }

    /// Takes over what the shared level says of a cell. Returns whether it was new.
    fn merge(&mut self, cells: &Cells, level: Level) -> bool {
        self.highest = self.highest.max(level.any);
        let Some(mut own) = self.own.get(&level.cell).copied() else {
            return cells.raise(level.cell, level.any, level.hard);
        };
        let new_hard = level.hard > own.shared_hard;
        if level.any <= own.shared_any && !new_hard {
            return false;
        }
        own.shared_any = own.shared_any.max(level.any);
        own.shared_hard = own.shared_hard.max(level.hard);
        if !own.is_pending() && level.any > own.number {
            // What was loaded under the own number may be older than a hard flush with a lower one.
            let hard = if new_hard {
                level.hard.max(own.number + 1)
            } else {
                level.hard
            };
            self.own.remove(&level.cell);
            return cells.raise(level.cell, level.any, hard);
        }
        own.number = self.next_own_number();
        let hard = if new_hard || own.pending_hard.is_some() {
            own.number
        } else {
            0
        };
        self.own.insert(level.cell, own);
        cells.raise(level.cell, own.number, hard)
    }

    /// Raises by a number of this process's own, without a shared level that could give a higher one.
    pub(super) fn raise_alone(&mut self, cells: &Cells, number: u64, raised: &[Cell], mode: FlushMode) {
        for &cell in raised {
            cells.raise(cell, number, hard_number(number, mode));
        }
    }

    /// Raises by a number of this process's own, which the shared level is to hear of later.
    pub(super) fn raise_pending(&mut self, cells: &Cells, number: u64, raised: &[Cell], mode: FlushMode) {
        for &cell in raised {
            let own = self.own.entry(cell).or_insert_with(|| Own {
                number,
                pending_soft: None,
                pending_hard: None,
                shared_any: cells.any(cell),
                shared_hard: cells.hard(cell),
            });
            own.number = number;
            match mode {
                FlushMode::Soft => own.pending_soft = Some(number),
                FlushMode::Hard => own.pending_hard = Some(number),
            }
        }
        self.raise_alone(cells, number, raised, mode);
    }

    /// The shared level has a flush that was sent when `known` was the highest number here: so it was sent after all
    /// flushes of the same cells that got no higher one.
    pub(super) fn acknowledge(&mut self, raised: &[Cell], mode: FlushMode, known: u64) {
        for cell in raised {
            let Some(own) = self.own.get_mut(cell) else {
                continue;
            };
            own.pending_soft = own.pending_soft.filter(|flushed| *flushed > known);
            if mode == FlushMode::Hard {
                own.pending_hard = own.pending_hard.filter(|flushed| *flushed > known);
            }
        }
    }

    /// A number of this process's own: just above all that are known, so that the shared level's next one is above it as
    /// soon as it is sent the highest. Without a time in it: a wrong clock here must not drive the numbers of all ahead.
    pub(super) fn next_own_number(&mut self) -> u64 {
        self.highest += 1;
        self.highest
    }

    /// Whether a flush of this cell has yet to be acknowledged by the shared level.
    pub(super) fn is_pending(&self, cell: Cell) -> bool {
        self.own.get(&cell).is_some_and(Own::is_pending)
    }

    /// Whether this is a cell under a number of this process's own.
    pub(super) fn is_own(&self, cell: Cell) -> bool {
        self.own.contains_key(&cell)
    }
}

fn hard_number(number: u64, mode: FlushMode) -> u64 {
    match mode {
        FlushMode::Hard => number,
        FlushMode::Soft => 0,
    }
}
