//! The numbers that flushes get.

use futures_util::future::try_join_all;
use tenancy::cache::shared::{Cell, FlushMode, Raise, SLOTS};

use super::{
    harness::LevelHarness,
    process::{Process, acme, every_cell, give_up_after, slots},
};
use crate::conformance::report::{Check, CheckResult, Verdict};

/// Each flush has a number of its own above all before, and says which was the newest before it.
///
/// # Errors
/// When the level fails the check.
pub async fn a_later_flush_has_a_higher_number(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_later_flush_has_a_higher_number",
        why: "an entry is alive if its numbers are those of now: a number that is given again brings dead entries back, and a \
              wrong `previous` lets a process think that it has heard everything",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let mut newest = here.whole(&acme()).await?.number;
    for round in 0..20 {
        let process = if round % 3 == 0 { &there } else { &here };
        let mode = if round % 2 == 0 {
            FlushMode::Hard
        } else {
            FlushMode::Soft
        };
        let raised = process.raise(&acme(), slots([round % 4]), mode).await?;
        check.that(raised.previous == newest, format!("previous {newest}"), raised)?;
        newest = raised.number;
    }
    here.expect_same(&acme(), newest).await?;
    Ok(Verdict::Passed)
}

/// Flushes at the same time get numbers that differ, and their `previous` make one chain.
///
/// # Errors
/// When the level fails the check.
pub async fn flushes_at_once_make_one_chain(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "flushes_at_once_make_one_chain",
        why: "two flushes with one number are one to whoever has seen the first: the other is lost for that process. Read \
              the number and write the next in one script",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let scope = acme();
    let flushes = (0..64).map(|flush| {
        let process = if flush % 2 == 0 { &here } else { &there };
        process.flush(&scope, flush % 8)
    });
    let mut raised = try_join_all(flushes).await?;
    raised.sort_by_key(|raised| raised.number);
    let mut newest = start;
    for raised in &raised {
        check.that(
            raised.previous == newest && raised.number > newest,
            format!("the flush after {newest} to name it as the previous one"),
            raised,
        )?;
        newest = raised.number;
    }
    here.expect_same(&acme(), newest).await?;
    Ok(Verdict::Passed)
}

/// A flush is above the highest number that its caller knows, also in a scope that has only lower ones; and so is all that
/// follows.
///
/// # Errors
/// When the level fails the check.
pub async fn a_flush_is_above_what_its_caller_knows(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_flush_is_above_what_its_caller_knows",
        why: "after a failover the level is behind its callers: a number below what they know is ignored by all of them, and \
              the flush never happened. Scripts of Redis count in doubles: numbers stay below 2^53 to be exact",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let far = [start + 1, start + (1 << 30), 1 << 52, (1 << 52) + 3 * 1024 + 1023];
    for known in far {
        let raised = here
            .raise_above(&acme(), slots([1]), FlushMode::Hard, known)
            .await?;
        let next = there.flush(&acme(), 2).await?;
        check.that(
            next.previous == raised.number,
            format!("the flush after number {} to name it exactly", raised.number),
            next,
        )?;
        let told = there.changed(&acme(), raised.number).await?;
        check.that(
            told.number == next.number,
            format!("number {}", next.number),
            &told,
        )?;
    }
    Ok(Verdict::Passed)
}

/// A hard flush raises both numbers of a cell, a soft one leaves the hard number as it is.
///
/// # Errors
/// When the level fails the check.
pub async fn a_soft_flush_leaves_the_hard_number(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_soft_flush_leaves_the_hard_number",
        why: "what was flushed hard must never be served again, and what was flushed softly may: a soft flush that counts as \
              hard sends all load to the database at once, and a hard one that counts as soft serves what must not be seen",
    };
    let process = Process::connect(&check, harness).await?;
    let made = process.whole(&acme()).await?;
    let base_hard = made.levels.get(&Cell::Base).map_or(0, |(_, hard)| *hard);
    let cells = vec![Cell::Slot(0), Cell::Slot(SLOTS - 1), Cell::Base];
    let soft = process
        .raise(&acme(), cells.clone(), FlushMode::Soft)
        .await?
        .number;
    let mut expected = made.levels;
    expected.insert(Cell::Slot(0), (soft, 0));
    expected.insert(Cell::Slot(SLOTS - 1), (soft, 0));
    expected.insert(Cell::Base, (soft, base_hard));
    let told = process.whole(&acme()).await?;
    check.that(told.levels == expected, format!("{expected:?}"), &told.levels)?;

    let hard = process
        .raise(&acme(), cells.clone(), FlushMode::Hard)
        .await?
        .number;
    for cell in cells {
        expected.insert(cell, (hard, hard));
    }
    let told = process.whole(&acme()).await?;
    check.that(told.levels == expected, format!("{expected:?}"), &told.levels)?;

    let soft = process.raise(&acme(), slots([0]), FlushMode::Soft).await?.number;
    expected.insert(Cell::Slot(0), (soft, hard));
    let told = process.whole(&acme()).await?;
    check.that(told.levels == expected, format!("{expected:?}"), &told.levels)?;
    Ok(Verdict::Passed)
}

/// A flush in a scope that is not there makes it, with a fresh base; `previous` is 0.
///
/// # Errors
/// When the level fails the check.
pub async fn a_flush_makes_a_missing_scope(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_flush_makes_a_missing_scope",
        why: "a scope without a base lets entries live on that were stored before its numbers were lost",
    };
    let process = Process::connect(&check, harness).await?;
    let raised = process.raise(&acme(), slots([9]), FlushMode::Soft).await?;
    check.that(raised.previous == 0, "previous 0 in a new scope", raised)?;
    let told = process.whole(&acme()).await?;
    let cells: Vec<_> = told.levels.keys().copied().collect();
    check.that(
        told.number == raised.number && cells == [Cell::Base, Cell::Slot(9)],
        format!("the base and slot 9, up to number {}", raised.number),
        &told,
    )?;
    let slot = told.levels.get(&Cell::Slot(9)).copied();
    check.that(
        slot.is_some_and(|(any, _)| any == raised.number),
        format!("slot 9 flushed at {}", raised.number),
        slot,
    )?;
    Ok(Verdict::Passed)
}

/// All cells of a scope can be flushed at once, under one number.
///
/// # Errors
/// When the level fails the check.
pub async fn all_cells_are_flushed_at_once(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "all_cells_are_flushed_at_once",
        why: "a flush of many tags that fails, or is done in parts, leaves some of them as they were. Scripts of Redis cannot \
              hand more than some thousand arguments to one command: split them inside of the script",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let raised = here.raise(&acme(), every_cell(), FlushMode::Hard).await?;
    let told = there.changed(&acme(), start).await?;
    let number = raised.number;
    check.that(
        told.number == number
            && told.levels.len() == usize::from(SLOTS) + 1
            && told.levels.values().all(|level| *level == (number, number)),
        format!("all {} cells at number {number}", SLOTS + 1),
        (told.number, told.levels.len()),
    )?;
    Ok(Verdict::Passed)
}

/// A flush whose caller hangs up is done as a whole or not at all, and the next one is as if nothing had been.
///
/// # Errors
/// When the level fails the check.
pub async fn a_dropped_flush_is_done_as_a_whole_or_not_at_all(
    harness: &mut impl LevelHarness,
) -> CheckResult {
    let check = Check {
        name: "a_dropped_flush_is_done_as_a_whole_or_not_at_all",
        why: "clients hang up at any moment: half a flush leaves entries alive that depend on the other half, with a number \
              that says that all is done",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    for round in 0..24 {
        let raise = Raise {
            scope: acme(),
            cells: slots([round, round + 100]),
            mode: FlushMode::Hard,
            known: 0,
        };
        give_up_after(usize::from(round % 6), here.level.raise(&raise)).await;
    }
    let last = here.flush(&acme(), 200).await?;
    let told = there.whole(&acme()).await?;
    for round in 0..24 {
        let pair = [round, round + 100].map(|slot| told.levels.get(&Cell::Slot(slot)));
        check.that(pair[0] == pair[1], "both cells of a flush, or none", pair)?;
    }
    let is_last = told.levels.get(&Cell::Slot(200)) == Some(&(last.number, last.number));
    check.that(
        is_last,
        format!("the flush that was waited for, at {}", last.number),
        told.levels,
    )?;
    Ok(Verdict::Passed)
}
