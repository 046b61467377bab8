//! What a level takes over from those who know more.

use tenancy::cache::shared::{Cell, FlushMode, Level, ScopeName};

use super::{
    harness::LevelHarness,
    process::{Levels, Process, Told, acme, are_at_least_as_hard, every_cell, level, slots},
};
use crate::conformance::{
    Offered,
    report::{Check, CheckResult, Failure, Verdict},
};

/// What is taught and was not known gets one new number, and nothing else changes; the teacher is told all there is.
///
/// # Errors
/// When the level fails the check.
pub async fn what_is_taught_gets_one_new_number(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "what_is_taught_gets_one_new_number",
        why: "a cell that is lifted to the number it had is below what others have seen already: they never hear of it, and \
              serve what was flushed",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let mut expected = here.whole(&acme()).await?.levels;
    let kept = here.flush(&acme(), 1).await?.number;
    expected.insert(Cell::Slot(1), (kept, kept));
    let lost = kept + (1 << 21);
    let known = [
        level(1, kept, kept),
        level(2, lost, lost),
        level(3, lost + 1024, 0),
        level(4, kept - 1, kept - 1),
    ];
    let told = here.teach(&acme(), &known).await?;
    check.that(
        told.number > lost + 1024,
        format!("a number above all that is taught, {}", lost + 1024),
        told.number,
    )?;
    let number = told.number;
    expected.insert(Cell::Slot(2), (number, number));
    expected.insert(Cell::Slot(3), (number, 0));
    expected.insert(Cell::Slot(4), (number, number));
    expect_levels(&check, &told, &expected)?;
    let by_others = there.whole(&acme()).await?;
    check.that(
        by_others == told,
        format!("the same for others: {told:?}"),
        by_others,
    )?;
    Ok(Verdict::Passed)
}

fn expect_levels(check: &Check, told: &Told, expected: &Levels) -> Result<(), Failure> {
    check.that(
        are_at_least_as_hard(&told.levels, expected),
        format!("{expected:?}, or harder"),
        &told.levels,
    )
}

/// What is known already takes no number, whether it was flushed as it is taught or higher; nor does an empty teaching.
///
/// # Errors
/// When the level fails the check.
pub async fn teaching_what_is_known_takes_no_number(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "teaching_what_is_known_takes_no_number",
        why: "after a failover every process teaches every tenant: if each of them lifts what the first has taught, they flush \
              each other's entries in turn, and never come to rest",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    here.raise(&acme(), slots([1, 2]), FlushMode::Soft).await?;
    here.raise(&acme(), slots([2, 3]), FlushMode::Hard).await?;
    here.raise(&acme(), vec![Cell::Base], FlushMode::Soft).await?;
    let newest = here.raise(&acme(), slots([3]), FlushMode::Soft).await?.number;
    let whole = here.whole(&acme()).await?;
    let all = whole
        .levels
        .iter()
        .map(|(&cell, &(any, hard))| Level { cell, any, hard });
    let all: Vec<_> = all.collect();
    let lower = all.iter().map(|level| Level {
        any: level.any - 1,
        hard: level.hard.saturating_sub(1),
        ..*level
    });
    let without_hard = all.iter().map(|level| Level { hard: 0, ..*level });
    for known in [
        all.clone(),
        lower.collect(),
        without_hard.collect(),
        Vec::new(),
        vec![level(77, 0, 0)],
    ] {
        let told = there.teach(&acme(), &known).await?;
        check.that(told == whole, format!("nothing new: {whole:?}"), told)?;
    }
    here.expect_same(&acme(), newest).await?;
    Ok(Verdict::Passed)
}

/// A hard flush is taught as a hard one, also of a cell that has a soft one. A soft one may come back as hard: a message has
/// one mode, and a level may well tell of a teaching in one.
///
/// # Errors
/// When the level fails the check.
pub async fn soft_and_hard_flushes_are_taught_apart(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "soft_and_hard_flushes_are_taught_apart",
        why: "a hard flush that comes back as a soft one lets stale entries be served that must never be seen again",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let mut expected = here.whole(&acme()).await?.levels;
    let soft = here.raise(&acme(), slots([1, 2]), FlushMode::Soft).await?.number;
    let hard = here.raise(&acme(), slots([3]), FlushMode::Hard).await?.number;
    let lost = hard + (1 << 21);

    // 1: a soft flush more; 2: a hard flush that was before its last soft one; 3: a soft flush after its hard one.
    let known = [level(1, lost, 0), level(2, soft, soft - 1), level(3, lost, hard)];
    let number = there.teach(&acme(), &known).await?.number;
    expected.insert(Cell::Slot(1), (number, 0));
    expected.insert(Cell::Slot(2), (number, number));
    expected.insert(Cell::Slot(3), (number, hard));
    expect_levels(&check, &here.whole(&acme()).await?, &expected)?;
    Ok(Verdict::Passed)
}

/// Who has seen the newest number before a teaching is told by the next renewal what it lifted.
///
/// # Errors
/// When the level fails the check.
pub async fn others_are_told_what_was_taught(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "others_are_told_what_was_taught",
        why: "processes that were up to date before are those that never heard of the lost flush: unless the teaching reaches \
              them by its number, they serve what was flushed",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let lost = start + (1 << 21);
    let taught = there
        .teach(&acme(), &[level(7, lost, lost), level(8, lost + 1, 0)])
        .await?;
    let number = taught.number;
    let told = here.changed(&acme(), start).await?;
    let expected = Levels::from([(Cell::Slot(7), (number, number)), (Cell::Slot(8), (number, 0))]);
    check.that(
        told.number == number,
        format!("the teaching's number, {number}"),
        &told,
    )?;
    expect_levels(&check, &told, &expected)?;
    Ok(Verdict::Passed)
}

/// Two flushes were lost, and those who know them teach one after the other: the first is told what the second has taught,
/// although it had a lower number than what the first taught.
///
/// # Errors
/// When the level fails the check.
pub async fn a_late_teaching_is_heard(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_late_teaching_is_heard",
        why: "a level that takes over numbers as they were hides the later teaching below what the first teacher has seen: \
              after a failover it serves what the other has flushed, without an end",
    };
    let (first, second) = Process::two(&check, harness).await?;
    let start = first.whole(&acme()).await?.number;
    // Flushes that this level never saw: here a, which is lower, and there b.
    let (a, b) = (start + (1 << 21), start + (1 << 22));
    second.expect_behind(&acme(), b, "who has flushed b").await?;
    let b_taught = second.teach(&acme(), &[level(2, b, b)]).await?.number;

    first.expect_behind(&acme(), a, "who has flushed a").await?;
    let taught = first.teach(&acme(), &[level(1, a, a)]).await?;
    check.that(
        taught.number > b_taught && taught.levels.contains_key(&Cell::Slot(2)),
        format!("a number above {b_taught}, and b with it"),
        &taught,
    )?;
    let told = second.changed(&acme(), b_taught).await?;
    expect_levels(
        &check,
        &told,
        &Levels::from([(Cell::Slot(1), (taught.number, taught.number))]),
    )?;
    first.expect_same(&acme(), taught.number).await?;
    Ok(Verdict::Passed)
}

/// Of several who teach the same at once, one takes a number.
///
/// # Errors
/// When the level fails the check.
pub async fn those_who_teach_the_same_take_one_number(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "those_who_teach_the_same_take_one_number",
        why: "every process teaches after a failover, at the same time: each number that is taken without need flushes \
              entries that the others have just loaded",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let lost = start + (1 << 21);
    let (scope, known) = (acme(), [level(1, lost, lost), level(2, lost, 0)]);
    let teachings = (0..16).map(|teaching| {
        let process = if teaching % 2 == 0 { &here } else { &there };
        process.teach(&scope, &known)
    });
    let taught = futures_util::future::try_join_all(teachings).await?;
    for told in &taught {
        check.that(told == &taught[0], format!("{:?} for all", taught[0]), told)?;
    }
    here.expect_same(&acme(), taught[0].number).await?;
    Ok(Verdict::Passed)
}

/// A teaching in a scope that is not there makes it, with a base above all that is taught.
///
/// # Errors
/// When the level fails the check.
pub async fn a_teaching_makes_a_missing_scope(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_teaching_makes_a_missing_scope",
        why: "who teaches does not know all that was lost: only a base above all before makes sure that nothing of it is \
              served",
    };
    let process = Process::connect(&check, harness).await?;
    let other = ScopeName::for_tests("globex:1");
    let start = process.whole(&other).await?.number;
    for lost in [start + (1 << 21), 1024] {
        let scope = ScopeName::for_tests(&format!("acme:{lost}"));
        let told = process.teach(&scope, &[level(1, lost, lost)]).await?;
        let (_, hard) = told.levels.get(&Cell::Base).copied().unwrap_or_default();
        let slot = told.levels.get(&Cell::Slot(1)).copied().unwrap_or_default();
        check.that(
            hard > lost && slot.1 > lost && told.levels.len() == 2,
            format!("the base and slot 1, hard, above {lost}"),
            &told,
        )?;
        process.expect_same(&scope, told.number).await?;
    }
    Ok(Verdict::Passed)
}

/// All cells of a scope can be taught at once.
///
/// # Errors
/// When the level fails the check.
pub async fn all_cells_are_taught_at_once(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "all_cells_are_taught_at_once",
        why: "a busy tenant has flushed every cell once: a teaching that fails by its size never ends the asker's `Behind`, \
              and this tenant has no cache until it is restarted",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let lost = start + (1 << 21);
    let known = every_cell().into_iter().map(|cell| Level {
        cell,
        any: lost,
        hard: lost - 1,
    });
    let known: Vec<_> = known.collect();
    let taught = here.teach(&acme(), &known).await?;
    let told = there.changed(&acme(), start).await?;
    let level = (taught.number, taught.number);
    check.that(
        told.levels.len() == known.len() && told.levels.values().all(|told| *told == level),
        format!("all {} cells at {level:?}", known.len()),
        (told.number, told.levels.len()),
    )?;
    Ok(Verdict::Passed)
}

/// After a failover that lost a flush, its flusher is `Behind`, teaches, and everybody hears of it. Needs
/// [`LevelHarness::back_up`].
///
/// # Errors
/// When the level fails the check.
pub async fn a_failover_is_healed_by_teaching(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_failover_is_healed_by_teaching",
        why: "replicas lag: what was acknowledged just before a failover is lost, and without a teaching every other process \
              serves for hours what was flushed",
    };
    let (flusher, other) = Process::two(&check, harness).await?;
    flusher.whole(&acme()).await?;
    let kept = flusher.flush(&acme(), 1).await?.number;
    match check.done("backing up", harness.back_up().await)? {
        Offered::Yes => {}
        Offered::No => return Ok(Verdict::NotOffered("back_up and restore")),
    }
    let lost = flusher.flush(&acme(), 2).await?.number;
    check.done("restoring", harness.restore().await)?;

    other.expect_same(&acme(), kept).await?;
    flusher
        .expect_behind(&acme(), lost, "who has flushed what was lost")
        .await?;
    let between = other.flush(&acme(), 3).await?.number;
    flusher
        .expect_behind(&acme(), lost, "after others have gone on")
        .await?;
    let known = [level(1, kept, kept), level(2, lost, lost)];
    let taught = flusher.teach(&acme(), &known).await?.number;
    let told = other.changed(&acme(), between).await?;
    expect_levels(&check, &told, &Levels::from([(Cell::Slot(2), (taught, taught))]))?;
    let told = other.changed(&acme(), kept).await?;
    let expected = [(2, taught), (3, between)].map(|(slot, number)| (Cell::Slot(slot), (number, number)));
    expect_levels(&check, &told, &Levels::from(expected))?;
    Ok(Verdict::Passed)
}
