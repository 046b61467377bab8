//! Numbers of a process's own, for flushes that the shared level has not acknowledged.

use super::{super::*, LEASE, SLOT, at, changed, current, hard, raise, whole};

fn level(any: u64, hard: u64) -> Level {
    Level {
        cell: SLOT,
        any,
        hard,
    }
}

fn answered(versions: &ScopeVersions, answer: &Answer) -> Applied {
    versions.apply(&versions.ask(), at(1), LEASE, answer)
}

fn of_slot(number: u64) -> Stamp {
    Stamp::from_parts(100, &[(7, number)]).unwrap()
}

/// Has flushed softly by itself, sent that, and learned of another flush before the acknowledgement, whose number is lower.
fn overtaken() -> ScopeVersions {
    let versions = current();
    versions.raise_alone(&[SLOT], FlushMode::Soft);
    let flush = raise(&[SLOT], FlushMode::Soft, versions.highest());
    assert_eq!(
        answered(&versions, &changed(900_000, &[level(900_000, 0)])),
        Applied::Current
    );
    versions.raised(
        &flush,
        &Raised {
            number: 899_000,
            previous: 100,
        },
    );
    versions
}

#[test]
fn it_works_at_once_and_is_above_all_others() {
    let versions = current();
    let stamp = versions.stamp(&[7]);
    let number = versions.raise_alone(&[SLOT], FlushMode::Hard);
    assert!(number > 100);
    assert_eq!(versions.judge(&stamp), Judgement::Dead);
    assert_eq!(versions.highest(), number);
    assert!(versions.raise_alone(&[SLOT], FlushMode::Hard) > number);
}

#[test]
fn a_flush_elsewhere_with_a_lower_number_works() {
    for (hard, expected) in [(101, Judgement::Dead), (0, Judgement::Stale)] {
        let versions = current();
        for _ in 0..3 {
            versions.raise_alone(&[SLOT], FlushMode::Soft);
        }
        let stamp = versions.stamp(&[7]);
        let answer = changed(101, &[level(101, hard)]);
        let _ = answered(&versions, &answer);
        assert_eq!(versions.judge(&stamp), expected);
        let after = versions.stamp(&[7]);
        let _ = answered(&versions, &answer);
        assert_eq!(versions.judge(&after), Judgement::Fresh, "it is no news");
    }
}

#[test]
fn a_flush_elsewhere_with_the_same_number_works() {
    let versions = current();
    let own = versions.raise_alone(&[SLOT], FlushMode::Soft);
    let stamp = versions.stamp(&[7]);
    let _ = answered(&versions, &changed(own, &[level(own, own)]));
    assert_eq!(versions.judge(&stamp), Judgement::Dead);
}

#[test]
fn a_higher_number_elsewhere_revives_nothing_while_the_flush_is_not_acknowledged() {
    for (mode, expected) in [
        (FlushMode::Hard, Judgement::Dead),
        (FlushMode::Soft, Judgement::Stale),
    ] {
        let versions = current();
        versions.raise_alone(&[SLOT], mode);
        let _ = answered(&versions, &changed(900_000, &[level(900_000, 0)]));
        assert_eq!(
            versions.judge(&of_slot(900_000)),
            expected,
            "it may be of an earlier flush"
        );

        let flush = raise(&[SLOT], mode, versions.highest());
        let number = flush.known + 1024;
        versions.raised(
            &flush,
            &Raised {
                number,
                previous: 900_000,
            },
        );
        assert_eq!(versions.judge(&of_slot(number)), Judgement::Fresh);
        assert!(versions.progress().is_settled());
    }
}

#[test]
fn the_message_of_the_flush_itself_may_come_before_its_acknowledgement() {
    let versions = current();
    versions.raise_alone(&[SLOT], FlushMode::Soft);
    let flush = raise(&[SLOT], FlushMode::Soft, versions.highest());
    versions.hear(100, 2_000, &[SLOT], FlushMode::Soft);
    versions.raised(
        &flush,
        &Raised {
            number: 2_000,
            previous: 100,
        },
    );
    assert_eq!(versions.judge(&of_slot(2_000)), Judgement::Fresh);
    assert!(versions.progress().is_settled());
    assert_eq!(versions.ask().seen(), 2_000);
}

#[test]
fn the_acknowledgement_of_an_earlier_flush_does_not_count_for_a_later_one() {
    for (mode, expected) in [
        (FlushMode::Hard, Judgement::Dead),
        (FlushMode::Soft, Judgement::Stale),
    ] {
        let versions = current();
        let earlier = raise(&[SLOT], mode, versions.highest());
        versions.raise_alone(&[SLOT], mode);
        versions.raised(
            &earlier,
            &Raised {
                number: 900_000,
                previous: 100,
            },
        );
        assert_eq!(versions.judge(&of_slot(900_000)), expected);
    }
}

#[test]
fn the_acknowledgement_of_a_soft_flush_does_not_count_for_a_hard_one() {
    let versions = current();
    versions.raise_alone(&[SLOT], FlushMode::Hard);
    versions.raise_alone(&[SLOT], FlushMode::Soft);
    let soft = raise(&[SLOT], FlushMode::Soft, versions.highest());
    versions.raised(
        &soft,
        &Raised {
            number: 2_000,
            previous: 100,
        },
    );
    assert!(!versions.progress().is_settled());
    assert_eq!(
        versions.judge(&of_slot(2_000)),
        Judgement::Dead,
        "for others it is not hard yet"
    );

    let hard = raise(&[SLOT], FlushMode::Hard, versions.highest());
    versions.raised(
        &hard,
        &Raised {
            number: 4_000,
            previous: 2_000,
        },
    );
    assert!(versions.progress().is_settled());
}

#[test]
fn one_that_no_acknowledgement_replaced_is_taught() {
    let versions = overtaken();
    assert_eq!(answered(&versions, &Answer::Same), Applied::MustTeach);
    assert!(versions.holds_lease(at(1)), "nothing is unknown");
    let (ask, known) = versions.teaching();
    assert!(known.contains(&level(versions.highest(), 0)));
    let number = versions.highest() + 1024;
    let answer = whole(number, &[hard(Cell::Base, 100), level(number, number)]);
    assert_eq!(versions.apply(&ask, at(1), LEASE, &answer), Applied::Current);
    assert!(versions.progress().is_settled());
}

#[test]
fn a_hard_flush_that_it_hid_kills_when_it_comes_to_light() {
    let versions = overtaken();
    let own = versions.stamp(&[7]);
    let _ = answered(&versions, &changed(950_000, &[level(950_000, 899_500)]));
    assert_eq!(versions.judge(&own), Judgement::Dead, "{own:?}");
    assert_eq!(versions.judge(&of_slot(950_000)), Judgement::Fresh);
}

#[test]
fn what_was_loaded_under_it_is_kept_from_others() {
    let versions = current();
    assert!(versions.may_share(&versions.stamp(&[7])));
    versions.raise_alone(&[SLOT], FlushMode::Soft);
    let (own, other) = (versions.stamp(&[7]), versions.stamp(&[8]));
    assert!(!versions.may_share(&own));
    assert!(versions.may_share(&other));
    let flush = raise(&[SLOT], FlushMode::Soft, versions.highest());
    versions.raised(
        &flush,
        &Raised {
            number: 2_000,
            previous: 100,
        },
    );
    assert!(!versions.may_share(&own), "it is not fresh any more");
    assert!(versions.may_share(&versions.stamp(&[7])));
    versions.raise_alone(&[Cell::Base], FlushMode::Soft);
    assert!(!versions.may_share(&versions.stamp(&[8])));
}
