mod naive;
mod own;
mod snapshots;
mod stamps;
mod threads;

use std::time::Duration;

use super::*;
use crate::cache::shared::ScopeName;

const LEASE: Duration = Duration::from_secs(2);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hard(cell: Cell, number: u64) -> Level {
    Level {
        cell,
        any: number,
        hard: number,
    }
}

fn whole(number: u64, levels: &[Level]) -> Answer {
    Answer::Whole {
        number,
        levels: levels.to_vec(),
    }
}

fn changed(number: u64, levels: &[Level]) -> Answer {
    Answer::Changed {
        number,
        levels: levels.to_vec(),
    }
}

/// Knows the base at 100, seen 100, with a lease from second 0 to second 2.
fn current() -> ScopeVersions {
    let versions = ScopeVersions::shared();
    let ask = versions.ask();
    assert_eq!(
        versions.apply(&ask, at(0), LEASE, &whole(100, &[hard(Cell::Base, 100)])),
        Applied::Current
    );
    versions
}

fn raise(cells: &[Cell], mode: FlushMode, known: u64) -> Raise {
    Raise {
        scope: ScopeName::central(),
        cells: cells.to_vec(),
        mode,
        known,
    }
}

const SLOT: Cell = Cell::Slot(7);
const OTHER: Cell = Cell::Slot(8);

#[test]
fn a_hard_flush_kills_and_a_soft_one_leaves_stale() {
    for (mode, expected) in [
        (FlushMode::Hard, Judgement::Dead),
        (FlushMode::Soft, Judgement::Stale),
    ] {
        for cell in [Cell::Base, SLOT] {
            let versions = current();
            let stamp = versions.stamp(&[7, 9]);
            assert_eq!(versions.judge(&stamp), Judgement::Fresh);
            versions.hear(100, 200, &[cell], mode);
            assert_eq!(versions.judge(&stamp), expected, "{cell:?}");
            assert_eq!(versions.judge(&versions.stamp(&[7, 9])), Judgement::Fresh);
        }
    }
}

#[test]
fn a_soft_flush_after_a_hard_one_makes_nothing_alive() {
    let versions = current();
    let stamp = versions.stamp(&[7]);
    versions.hear(100, 200, &[SLOT], FlushMode::Hard);
    let between = versions.stamp(&[7]);
    versions.hear(200, 300, &[SLOT], FlushMode::Soft);
    assert_eq!(versions.judge(&stamp), Judgement::Dead);
    assert_eq!(versions.judge(&between), Judgement::Stale);
}

#[test]
fn a_flush_of_another_slot_changes_nothing() {
    let versions = current();
    let stamp = versions.stamp(&[7]);
    versions.hear(100, 200, &[OTHER], FlushMode::Hard);
    assert_eq!(versions.judge(&stamp), Judgement::Fresh);
}

#[test]
fn a_stamp_with_numbers_that_nobody_here_knows_is_dead() {
    let versions = current();
    for unknown in [Stamp::from_parts(101, &[]), Stamp::from_parts(100, &[(7, 1)])] {
        assert_eq!(versions.judge(&unknown.unwrap()), Judgement::Dead);
    }
}

#[test]
fn numbers_never_go_down() {
    let versions = current();
    versions.hear(100, 300, &[SLOT], FlushMode::Hard);
    let stamp = versions.stamp(&[7]);
    versions.hear(300, 200, &[SLOT, Cell::Base], FlushMode::Hard);
    assert_eq!(
        versions.judge(&stamp),
        Judgement::Dead,
        "the base went from 100 to 200"
    );
    assert_eq!(versions.known(), [hard(Cell::Base, 200), hard(SLOT, 300)]);
}

#[test]
fn a_lease_lasts_from_the_sending_of_the_ask() {
    let versions = ScopeVersions::shared();
    assert!(!versions.holds_lease(at(0)));
    assert_eq!(versions.lease_ended_for(at(9)), None);
    let ask = versions.ask();
    let answer = whole(100, &[hard(Cell::Base, 100)]);
    assert_eq!(versions.apply(&ask, at(10), LEASE, &answer), Applied::Current);
    assert!(versions.holds_lease(at(11)));
    assert_eq!(versions.lease_ended_for(at(11)), Some(at(0)));
    assert!(!versions.holds_lease(at(12)));
    assert_eq!(versions.lease_ended_for(at(15)), Some(at(3)));
}

#[test]
fn an_older_answer_takes_no_lease_away() {
    let versions = current();
    let (first, second) = (versions.ask(), versions.ask());
    let _ = versions.apply(&second, at(5), LEASE, &Answer::Same);
    let _ = versions.apply(&first, at(4), LEASE, &Answer::Same);
    assert!(versions.holds_lease(Duration::from_millis(6_900)));
    assert_eq!(versions.lease_ended_for(at(8)), Some(at(1)));
}

#[test]
fn an_answer_to_what_was_asked_before_a_revocation_gives_no_lease() {
    let versions = current();
    let ask = versions.ask();
    versions.revoke();
    assert!(!versions.holds_lease(at(0)));
    let answer = changed(200, &[hard(SLOT, 200)]);
    assert_eq!(versions.apply(&ask, at(1), LEASE, &answer), Applied::Current);
    assert!(!versions.holds_lease(at(1)));
    assert_eq!(
        versions.stamp(&[7]).slots().next(),
        Some((7, 200)),
        "what it says is taken over"
    );
    let ask = versions.ask();
    let _ = versions.apply(&ask, at(1), LEASE, &Answer::Same);
    assert!(versions.holds_lease(at(1)));
}

#[test]
fn a_lease_that_was_taken_away_ended_when_it_was_asked_for() {
    let versions = current();
    let ask = versions.ask();
    let _ = versions.apply(&ask, at(5), LEASE, &Answer::Same);
    versions.revoke();
    versions.revoke();
    assert_eq!(versions.lease_ended_for(at(6)), Some(at(1)));
}

#[test]
fn who_knows_nothing_takes_only_everything_for_an_answer() {
    for answer in [
        Answer::Same,
        changed(100, &[hard(Cell::Base, 100)]),
        Answer::Behind,
    ] {
        let versions = ScopeVersions::shared();
        let ask = versions.ask();
        assert_eq!(versions.apply(&ask, at(0), LEASE, &answer), Applied::MustTeach);
        assert!(!versions.holds_lease(at(0)));
        assert_eq!(versions.ask().seen(), 0);
    }
}

#[test]
fn a_message_in_sequence_moves_on_and_one_out_of_sequence_does_not() {
    let versions = current();
    versions.hear(100, 200, &[SLOT], FlushMode::Hard);
    assert_eq!(versions.ask().seen(), 200);
    versions.hear(300, 400, &[SLOT], FlushMode::Hard);
    assert_eq!(versions.ask().seen(), 200);
    assert_eq!(versions.stamp(&[7]).slots().next(), Some((7, 400)));
    // Twice, and late.
    versions.hear(100, 200, &[SLOT], FlushMode::Hard);
    assert_eq!(versions.ask().seen(), 200);
    versions.hear(200, 300, &[SLOT], FlushMode::Hard);
    assert_eq!(versions.ask().seen(), 300);
}

#[test]
fn a_message_tells_who_knows_nothing_of_no_beginning() {
    let versions = ScopeVersions::shared();
    versions.hear(0, 100, &[SLOT], FlushMode::Hard);
    assert_eq!(versions.ask().seen(), 0, "the base was made with it");
}

#[test]
fn an_own_flush_works_before_and_after_its_message() {
    let stamped = |versions: &ScopeVersions| versions.stamp(&[7]).slots().next();
    let flush = raise(&[SLOT], FlushMode::Hard, 100);
    let acknowledged = Raised {
        number: 200,
        previous: 100,
    };
    for message_first in [true, false] {
        let versions = current();
        if message_first {
            versions.hear(100, 200, &[SLOT], FlushMode::Hard);
        }
        versions.raised(&flush, &acknowledged);
        assert_eq!((versions.ask().seen(), stamped(&versions)), (200, Some((7, 200))));
        versions.hear(100, 200, &[SLOT], FlushMode::Hard);
        assert_eq!((versions.ask().seen(), stamped(&versions)), (200, Some((7, 200))));
    }
}

#[test]
fn an_old_answer_after_a_newer_message_takes_nothing_back() {
    let versions = current();
    let ask = versions.ask();
    versions.hear(100, 200, &[SLOT], FlushMode::Hard);
    versions.hear(200, 300, &[SLOT], FlushMode::Hard);
    let answer = changed(200, &[hard(SLOT, 200)]);
    assert_eq!(versions.apply(&ask, at(1), LEASE, &answer), Applied::Current);
    assert_eq!(versions.ask().seen(), 300);
    assert_eq!(versions.known(), [hard(Cell::Base, 100), hard(SLOT, 300)]);
}

#[test]
fn of_two_answers_to_the_same_ask_the_first_says_where_it_is() {
    let versions = current();
    let (first, second) = (versions.ask(), versions.ask());
    let _ = versions.apply(&first, at(1), LEASE, &changed(200, &[hard(SLOT, 200)]));
    let _ = versions.apply(
        &second,
        at(1),
        LEASE,
        &changed(300, &[hard(SLOT, 200), hard(OTHER, 300)]),
    );
    assert_eq!(versions.ask().seen(), 200, "the second may be of another history");
    assert_eq!(
        versions.known(),
        [hard(Cell::Base, 100), hard(SLOT, 200), hard(OTHER, 300)]
    );

    // It was, and that history was lost in a failover: the next answer does not hold what the second said.
    assert_eq!(
        versions.apply(&versions.ask(), at(1), LEASE, &Answer::Same),
        Applied::MustTeach
    );
}

#[test]
fn a_teaching_sets_where_it_is_even_to_a_lower_number() {
    let versions = current();
    versions.hear(100, 900, &[SLOT], FlushMode::Hard);
    let ask = versions.ask();
    assert_eq!(
        versions.apply(&ask, at(1), LEASE, &Answer::Behind),
        Applied::MustTeach
    );
    let (ask, known) = versions.teaching();
    assert_eq!(known, [hard(Cell::Base, 100), hard(SLOT, 900)]);
    let answer = whole(500, &[hard(Cell::Base, 400), hard(SLOT, 500)]);
    assert_eq!(versions.apply(&ask, at(1), LEASE, &answer), Applied::Current);
    assert_eq!(versions.ask().seen(), 500);
    assert_eq!(
        versions.known(),
        [hard(Cell::Base, 400), hard(SLOT, 900)],
        "nothing goes down"
    );
}

#[test]
fn what_was_heard_during_a_teaching_is_taught_by_the_next() {
    let versions = current();
    versions.hear(100, 200, &[SLOT], FlushMode::Hard);
    let (ask, _) = versions.teaching();
    // Late, of the history that was lost: in sequence, or not.
    versions.hear(200, 300, &[OTHER], FlushMode::Hard);
    let _ = versions.apply(
        &ask,
        at(1),
        LEASE,
        &whole(400, &[hard(Cell::Base, 100), hard(SLOT, 400)]),
    );
    assert_eq!(
        versions.ask().seen(),
        300,
        "which the shared level does not have: it answers that it is behind"
    );
}

#[test]
fn a_number_that_was_heard_out_of_sequence_must_be_in_the_next_answer() {
    let heard = || {
        let versions = current();
        versions.hear(150, 200, &[SLOT], FlushMode::Hard);
        versions
    };
    let versions = heard();
    let answer = changed(200, &[hard(OTHER, 150), hard(SLOT, 200)]);
    assert_eq!(
        versions.apply(&versions.ask(), at(1), LEASE, &answer),
        Applied::Current
    );

    for answer in [
        Answer::Same,
        changed(300, &[hard(OTHER, 300)]),
        changed(150, &[hard(SLOT, 150)]),
    ] {
        let versions = heard();
        versions.revoke();
        assert_eq!(
            versions.apply(&versions.ask(), at(1), LEASE, &answer),
            Applied::MustTeach
        );
        assert!(!versions.holds_lease(at(1)), "{answer:?}");
        let (ask, known) = versions.teaching();
        assert!(known.contains(&hard(SLOT, 200)), "{answer:?}");
        let answer = whole(400, &[hard(Cell::Base, 100), hard(SLOT, 400)]);
        assert_eq!(versions.apply(&ask, at(1), LEASE, &answer), Applied::Current);
        assert!(versions.holds_lease(at(1)));
    }
}

#[test]
fn a_hard_flush_must_be_answered_as_one() {
    let versions = current();
    versions.hear(150, 200, &[SLOT], FlushMode::Hard);
    versions.hear(250, 300, &[SLOT], FlushMode::Soft);
    let soft = Level {
        cell: SLOT,
        any: 300,
        hard: 0,
    };
    let answer = changed(300, &[soft]);
    assert_eq!(
        versions.apply(&versions.ask(), at(1), LEASE, &answer),
        Applied::MustTeach
    );
}

#[test]
fn a_number_that_was_heard_after_the_ask_need_not_be_in_the_answer() {
    let versions = current();
    let ask = versions.ask();
    versions.hear(150, 200, &[SLOT], FlushMode::Hard);
    assert_eq!(
        versions.apply(&ask, at(1), LEASE, &Answer::Same),
        Applied::Current
    );
    let ask = versions.ask();
    assert_eq!(
        versions.apply(&ask, at(1), LEASE, &Answer::Same),
        Applied::MustTeach
    );
}

#[test]
fn without_a_shared_level_the_lease_is_for_ever_and_numbers_are_own() {
    let versions = ScopeVersions::alone(42);
    versions.revoke();
    assert!(versions.holds_lease(Duration::from_secs(1 << 33)));
    let stamp = versions.stamp(&[1, 2, 3]);
    versions.raise_alone(&[Cell::Slot(2)], FlushMode::Soft);
    assert_eq!(versions.judge(&stamp), Judgement::Stale);
    versions.raise_alone(&[Cell::Base], FlushMode::Hard);
    assert_eq!(versions.judge(&stamp), Judgement::Dead);
    assert!(versions.progress().is_settled(), "nobody is to be told");
}

#[test]
fn the_bound_has_room_for_clocks() {
    assert_eq!(lease_length(Duration::from_secs(2)), Duration::from_millis(1_930));
    assert_eq!(lease_length(Duration::from_millis(40)), Duration::ZERO);
}
