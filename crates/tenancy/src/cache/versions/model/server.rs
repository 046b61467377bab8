//! A shared level of one scope, in memory: what `tenancy-redis` does with a sorted set and a list.

use std::collections::{BTreeMap, VecDeque};

use crate::cache::shared::{Answer, Cell, FlushMode, Level, Raised};

/// A real one keeps 128; a short one is more often too short.
const HISTORY: usize = 6;

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) previous: u64,
    pub(super) number: u64,
    pub(super) cells: Vec<Cell>,
    pub(super) mode: FlushMode,
}

/// The members of one cell: `a` and `h`.
#[derive(Clone, Copy, Debug, Default)]
struct Members {
    any: u64,
    hard: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    cells: BTreeMap<Cell, Members>,
    /// The newest first.
    history: VecDeque<u64>,
    /// How many numbers were given: for their last bits, which are drawn at random in a real one. A failover to a server
    /// whose clock is behind would otherwise give the same number twice now and then, which nothing here could notice.
    given: u64,
}

impl Server {
    pub(super) fn answer(&mut self, unix_ms: u64, seen: u64) -> Answer {
        self.make(unix_ms);
        let number = self.newest();
        if seen == number {
            Answer::Same
        } else if self.history.contains(&seen) {
            let levels = self.levels_above(seen);
            Answer::Changed { number, levels }
        } else if seen == 0 {
            self.whole()
        } else {
            Answer::Behind
        }
    }

    pub(super) fn raise(
        &mut self,
        unix_ms: u64,
        known: u64,
        cells: &[Cell],
        mode: FlushMode,
    ) -> (Raised, Message) {
        let was_made = self.make(unix_ms);
        let previous = if was_made { 0 } else { self.newest() };
        let number = self.new_number(unix_ms, known);
        for cell in cells {
            let members = self.cells.entry(*cell).or_default();
            match mode {
                FlushMode::Hard => members.hard = number,
                FlushMode::Soft => members.any = number,
            }
        }
        let message = Message {
            previous,
            number,
            cells: cells.to_vec(),
            mode,
        };
        (Raised { number, previous }, message)
    }

    /// What was lost is taught as if it had been flushed hard: a server whose clock is behind may have given lower numbers
    /// to later flushes meanwhile, and what was loaded in between is not to be told from what was loaded after.
    pub(super) fn teach(&mut self, unix_ms: u64, known: &[Level]) -> (Answer, Option<Message>) {
        self.make(unix_ms);
        let is_missing = |level: &&Level| {
            let members = self.cells.get(&level.cell).copied().unwrap_or_default();
            members.hard < level.hard || members.any.max(members.hard) < level.any
        };
        let cells: Vec<_> = known.iter().filter(is_missing).map(|level| level.cell).collect();
        if cells.is_empty() {
            return (self.whole(), None);
        }
        let highest = known.iter().map(|level| level.any).max().unwrap_or(0);
        let (_, message) = self.raise(unix_ms, highest, &cells, FlushMode::Hard);
        (self.whole(), Some(message))
    }

    /// A failover to an earlier state.
    pub(super) fn becomes(&mut self, earlier: Self) {
        let given = self.given;
        *self = Self { given, ..earlier };
    }

    /// Whether a flush with this number, or what came after it, is known here.
    pub(super) fn holds(&self, cell: Cell, number: u64, mode: FlushMode) -> bool {
        let members = self.cells.get(&cell).copied().unwrap_or_default();
        members.hard >= number || mode == FlushMode::Soft && members.any >= number
    }

    pub(super) fn any_levels(&self) -> Vec<(Cell, u64)> {
        let any = |(cell, members): (&Cell, &Members)| (*cell, members.any.max(members.hard));
        self.cells.iter().map(any).collect()
    }

    fn make(&mut self, unix_ms: u64) -> bool {
        let is_missing = !self.cells.contains_key(&Cell::Base) || self.history.is_empty();
        if is_missing {
            let hard = self.new_number(unix_ms, 0);
            self.cells.insert(Cell::Base, Members { any: 0, hard });
        }
        is_missing
    }

    fn new_number(&mut self, unix_ms: u64, known: u64) -> u64 {
        let number = ((self.newest() / 1024).max(known / 1024).max(unix_ms) + 1) * 1024 + self.given % 1024;
        self.given += 1;
        self.history.push_front(number);
        self.history.truncate(HISTORY);
        number
    }

    fn newest(&self) -> u64 {
        self.history.front().copied().unwrap_or(0)
    }

    fn whole(&self) -> Answer {
        Answer::Whole {
            number: self.newest(),
            levels: self.levels_above(0),
        }
    }

    /// Only the members above: of a cell that was flushed softly since, the last hard flush is not told again.
    fn levels_above(&self, seen: u64) -> Vec<Level> {
        let above = |number: u64| if number > seen { number } else { 0 };
        let level = |(cell, members): (&Cell, &Members)| {
            let (any, hard) = (above(members.any), above(members.hard));
            Level {
                cell: *cell,
                any: any.max(hard),
                hard,
            }
        };
        self.cells
            .iter()
            .map(level)
            .filter(|level| level.any > 0)
            .collect()
    }
}
