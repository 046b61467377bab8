//! The numbers of one scope: which cell was raised last by what, and which numbers were given last.

use std::collections::{BTreeMap, VecDeque};

use tenancy::cache::shared::{Answer, Cell, FlushMode, Level, REMEMBERED, SLOTS};

/// The number of the last flush of a cell, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Flushed {
    soft: u64,
    hard: u64,
}

impl Flushed {
    fn any(self) -> u64 {
        self.soft.max(self.hard)
    }
}

/// The number that follows all that is stored, known and past; its last ten bits say who gave it.
pub(super) fn next_number(stored: u64, known: u64, time_ms: u64, node: u64) -> u64 {
    (stored / 1024).max(known / 1024).max(time_ms).saturating_add(1) * 1024 + node
}

#[derive(Clone, Debug)]
pub(super) struct Numbers {
    cells: BTreeMap<Cell, Flushed>,
    /// Newest first; never empty.
    given: VecDeque<u64>,
}

/// What a teaching lifts, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lifted {
    pub(super) soft: Vec<Cell>,
    pub(super) hard: Vec<Cell>,
}

impl Numbers {
    /// Of a scope that was not there: whatever was kept for it under other numbers is dead.
    pub(super) fn fresh(number: u64) -> Self {
        let mut fresh = Self {
            cells: BTreeMap::new(),
            given: VecDeque::new(),
        };
        fresh.raise(&[Cell::Base], FlushMode::Hard, number);
        fresh
    }

    pub(super) fn newest(&self) -> u64 {
        self.given.front().copied().unwrap_or_default()
    }

    pub(super) fn answer(&self, seen: u64) -> Answer {
        if seen == self.newest() {
            return Answer::Same;
        }
        if self.given.contains(&seen) {
            return Answer::Changed {
                number: self.newest(),
                levels: self.levels_above(seen),
            };
        }
        if seen == 0 { self.whole() } else { Answer::Behind }
    }

    pub(super) fn whole(&self) -> Answer {
        Answer::Whole {
            number: self.newest(),
            levels: self.levels_above(0),
        }
    }

    pub(super) fn levels_above(&self, seen: u64) -> Vec<Level> {
        let above = self.cells.iter().filter(|(_, flushed)| flushed.any() > seen);
        above
            .map(|(&cell, flushed)| Level {
                cell,
                any: flushed.any(),
                hard: flushed.hard,
            })
            .collect()
    }

    /// Gives these cells this number, which must be above the newest.
    pub(super) fn raise(&mut self, cells: &[Cell], mode: FlushMode, number: u64) {
        self.set(cells, mode, number);
        self.remember(number);
    }

    /// What of `known` is higher than here.
    pub(super) fn lifted_by(&self, known: &[Level]) -> Lifted {
        let mut lifted = Lifted::default();
        for level in known {
            check_cell(level.cell);
            let here = self.cells.get(&level.cell).copied().unwrap_or_default();
            if level.hard > here.hard {
                lifted.hard.push(level.cell);
            } else if level.any > here.any() {
                lifted.soft.push(level.cell);
            }
        }
        lifted
    }

    /// Gives all these cells this one number.
    pub(super) fn lift(&mut self, lifted: &Lifted, number: u64) {
        self.set(&lifted.soft, FlushMode::Soft, number);
        self.set(&lifted.hard, FlushMode::Hard, number);
        self.remember(number);
    }

    fn set(&mut self, cells: &[Cell], mode: FlushMode, number: u64) {
        for &cell in cells {
            check_cell(cell);
            let flushed = self.cells.entry(cell).or_default();
            match mode {
                FlushMode::Soft => flushed.soft = number,
                FlushMode::Hard => flushed.hard = number,
            }
        }
    }

    fn remember(&mut self, number: u64) {
        debug_assert!(number > self.newest(), "numbers only grow");
        self.given.push_front(number);
        self.given.truncate(REMEMBERED);
    }
}

fn check_cell(cell: Cell) {
    if let Cell::Slot(slot) = cell {
        assert!(
            slot < SLOTS,
            "a scope has {SLOTS} slots, and none of them is {slot}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(cell: Cell, any: u64, hard: u64) -> Level {
        Level { cell, any, hard }
    }

    #[test]
    fn a_number_is_above_all_that_was_and_says_who_gave_it() {
        for (stored, known, time_ms) in [(9_000, 5_000, 2), (5_000, 9_000, 2), (0, 0, 8)] {
            let number = next_number(stored, known, time_ms, 7);
            assert_eq!(number % 1024, 7);
            assert!(number > stored && number > known && number / 1024 > time_ms);
        }
    }

    #[test]
    fn exactly_the_last_128_numbers_are_remembered() {
        let mut numbers = Numbers::fresh(1);
        for number in 2..=128 {
            numbers.raise(&[Cell::Slot(0)], FlushMode::Hard, number);
        }
        assert!(matches!(numbers.answer(1), Answer::Changed { number: 128, .. }));
        numbers.raise(&[Cell::Slot(0)], FlushMode::Hard, 129);
        assert_eq!(numbers.answer(1), Answer::Behind);
        assert!(matches!(numbers.answer(2), Answer::Changed { number: 129, .. }));
        assert_eq!(numbers.answer(129), Answer::Same);
    }

    #[test]
    fn a_soft_flush_leaves_the_hard_number() {
        let mut numbers = Numbers::fresh(1);
        numbers.raise(&[Cell::Base], FlushMode::Soft, 2);
        numbers.raise(&[Cell::Slot(3)], FlushMode::Soft, 3);
        let levels = vec![level(Cell::Base, 2, 1), level(Cell::Slot(3), 3, 0)];
        assert_eq!(numbers.answer(1), Answer::Changed { number: 3, levels });
    }

    #[test]
    fn what_is_known_under_the_other_kind_is_not_lifted() {
        let mut numbers = Numbers::fresh(1);
        numbers.raise(&[Cell::Slot(1)], FlushMode::Hard, 5);
        let known = [
            level(Cell::Slot(1), 5, 5),
            level(Cell::Slot(1), 5, 0),
            level(Cell::Base, 1, 1),
        ];
        assert_eq!(numbers.lifted_by(&known), Lifted::default());
        let unknown = [
            level(Cell::Slot(1), 6, 5),
            level(Cell::Slot(2), 6, 6),
            level(Cell::Base, 1, 0),
        ];
        let lifted = numbers.lifted_by(&unknown);
        assert_eq!(lifted.soft, [Cell::Slot(1)]);
        assert_eq!(lifted.hard, [Cell::Slot(2)]);
        numbers.lift(&lifted, 9);
        let levels = vec![level(Cell::Slot(1), 9, 5), level(Cell::Slot(2), 9, 9)];
        assert_eq!(numbers.answer(5), Answer::Changed { number: 9, levels });
    }
}
