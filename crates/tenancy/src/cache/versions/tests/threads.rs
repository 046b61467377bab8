//! The cells once more, with a checker's atomics, in all the orders that the checker finds.

#[expect(clippy::duplicate_mod, reason = "the same code on other atomics")]
#[path = "../cells.rs"]
#[allow(dead_code, reason = "only what threads do at once is tried here")]
mod cells;

mod atomics {
    pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};
}

use shuttle::{check_random, sync::Arc, thread};

use self::cells::{Cells, LastCheck};
use super::{super::Judgement, SLOT};
use crate::cache::shared::Cell;

#[test]
fn a_hard_flush_is_never_taken_for_a_soft_one_by_who_looks_meanwhile() {
    let schedule = || {
        let cells = Arc::new(Cells::default());
        cells.at(SLOT).raise(100, 100);
        let flushed = Arc::clone(&cells);
        let flusher = thread::spawn(move || flushed.at(SLOT).raise(200, 200));
        assert_ne!(cells.judge_slot(7, 100), Judgement::Stale);
        flusher.join().unwrap();
        assert_eq!(cells.judge_slot(7, 100), Judgement::Dead);
    };
    check_random(schedule, 200);
}

#[test]
fn of_two_flushes_at_once_the_higher_number_stays() {
    let schedule = || {
        let cells = Arc::new(Cells::default());
        cells.at(SLOT).raise(100, 100);
        let flushers = [200, 300].map(|number| {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.at(SLOT).raise(number, number))
        });
        for flusher in flushers {
            flusher.join().unwrap();
        }
        assert_eq!((cells.any(SLOT), cells.hard(SLOT)), (300, 300));
    };
    check_random(schedule, 200);
}

#[test]
fn what_was_found_fresh_while_it_was_flushed_is_not_fresh_afterwards() {
    let schedule = || {
        let cells = Arc::new(Cells::default());
        cells.raise(SLOT, 100, 100);
        let last = Arc::new(LastCheck::never());
        let reader = {
            let (cells, last) = (Arc::clone(&cells), Arc::clone(&last));
            thread::spawn(move || cells.is_fresh(&last, || cells.judge_slot(7, 100)))
        };
        let other = Arc::clone(&cells);
        // Of another cell: what is counted meanwhile need not be what is judged.
        let noise = thread::spawn(move || other.raise(Cell::Slot(8), 150, 150));
        cells.raise(SLOT, 200, 200);
        assert!(!cells.is_fresh(&last, || cells.judge_slot(7, 100)));
        reader.join().unwrap();
        noise.join().unwrap();
        assert!(!cells.is_fresh(&last, || cells.judge_slot(7, 100)));
    };
    check_random(schedule, 1_000);
}
