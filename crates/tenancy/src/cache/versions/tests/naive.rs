//! The numbers against a map of numbers, in any order of changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::*, LEASE, at, whole};

#[derive(Clone, Debug)]
enum Step {
    Hear {
        previous: u64,
        number: u64,
        cells: Vec<Cell>,
        mode: FlushMode,
    },
    Stamp(Vec<u16>),
    Changed {
        number: u64,
        levels: Vec<(Cell, u64, FlushMode)>,
    },
}

fn any_cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Base),
        (0_u16..6).prop_map(|slot| Cell::Slot(slot * 700))
    ]
}

fn any_mode() -> impl Strategy<Value = FlushMode> {
    prop_oneof![Just(FlushMode::Hard), Just(FlushMode::Soft)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let cells = prop::collection::vec(any_cell(), 1..4);
    let levels = prop::collection::vec((any_cell(), 1_u64..500, any_mode()), 0..4);
    let slots = prop::collection::vec((0_u16..6).prop_map(|slot| slot * 700), 0..7);
    prop_oneof![
        (0_u64..500, 1_u64..500, cells, any_mode()).prop_map(|(previous, number, cells, mode)| Step::Hear {
            previous,
            number,
            cells,
            mode
        }),
        slots.prop_map(Step::Stamp),
        (1_u64..500, levels).prop_map(|(number, levels)| Step::Changed { number, levels }),
    ]
}

/// What a scope's numbers are, without a thought for threads or memory.
#[derive(Default)]
struct Naive(BTreeMap<Cell, (u64, u64)>);

impl Naive {
    fn raise(&mut self, cell: Cell, number: u64, mode: FlushMode) {
        let level = self.0.entry(cell).or_default();
        level.0 = level.0.max(number);
        if mode == FlushMode::Hard {
            level.1 = level.1.max(number);
        }
    }

    fn judge(&self, stamp: &BTreeMap<Cell, u64>) -> Judgement {
        let level = |cell| self.0.get(cell).copied().unwrap_or_default();
        if stamp.iter().all(|(cell, number)| level(cell).0 == *number) {
            Judgement::Fresh
        } else if stamp.iter().all(|(cell, number)| level(cell).1 <= *number) {
            Judgement::Stale
        } else {
            Judgement::Dead
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_and_judgements_are_those_of_a_map(steps in prop::collection::vec(any_step(), 1..60)) {
        let (versions, mut naive, mut stamps) = (ScopeVersions::shared(), Naive::default(), Vec::new());
        for step in steps {
            match step {
                Step::Hear { previous, number, cells, mode } => {
                    versions.hear(previous, number, &cells, mode);
                    cells.iter().for_each(|cell| naive.raise(*cell, number, mode));
                }
                Step::Stamp(slots) => {
                    let cells = slots.iter().map(|slot| Cell::Slot(*slot)).chain([Cell::Base]);
                    let number = |cell| naive.0.get(&cell).copied().unwrap_or_default().0;
                    let expected: BTreeMap<_, _> = cells.map(|cell| (cell, number(cell))).collect();
                    stamps.push((versions.stamp(&slots), expected));
                }
                Step::Changed { number, levels } => {
                    let level = |(cell, number, mode): &(Cell, u64, FlushMode)| {
                        let hard = if *mode == FlushMode::Hard { *number } else { 0 };
                        Level { cell: *cell, any: *number, hard }
                    };
                    let answer = whole(number, &levels.iter().map(level).collect::<Vec<_>>());
                    let _ = versions.apply(&versions.ask(), at(0), LEASE, &answer);
                    levels.iter().for_each(|(cell, number, mode)| naive.raise(*cell, *number, *mode));
                }
            }
            for (stamp, expected) in &stamps {
                prop_assert_eq!(versions.judge(stamp), naive.judge(expected));
            }
        }
        let known = versions.known().iter().map(|level| (level.cell, (level.any, level.hard))).collect();
        prop_assert_eq!(naive.0, known);
    }
}
