//! What a process hears without asking, and what it is told when nothing can be told.

use std::collections::BTreeSet;

use tenancy::cache::shared::{Ask, Cell, FlushMode, Message, Raise, ScopeName, StoredEntry};

use super::{
    harness::LevelHarness,
    process::{Levels, Process, Told, acme, level, name, slots},
};
use crate::conformance::{
    Offered,
    report::{Check, CheckResult, Failure, Verdict},
};

/// Each listener hears a `Gap` first, and then every flush, its own and others', as it was made and in order.
///
/// # Errors
/// When the level fails the check.
pub async fn flushes_are_heard_by_everybody(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "flushes_are_heard_by_everybody",
        why: "messages are what makes a flush felt in milliseconds instead of at the next renewal; one with a wrong \
              `previous` makes a process think that it has heard everything",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let other = ScopeName::for_tests("globex:1");
    for scope in [&acme(), &other] {
        here.whole(scope).await?;
    }
    let mut listeners = [here.listen().await?, there.listen().await?, here.listen().await?];
    for round in 0_u16..12 {
        let scope = if round % 3 == 0 { other.clone() } else { acme() };
        let mut cells = slots([round, round + 1000]);
        if round % 4 == 1 {
            cells.push(Cell::Base);
        }
        let mode = if round % 2 == 0 {
            FlushMode::Hard
        } else {
            FlushMode::Soft
        };
        let process = if round % 2 == 0 { &here } else { &there };
        let raised = process.raise(&scope, cells.clone(), mode).await?;
        let expected = Message::Raised {
            scope,
            previous: raised.previous,
            number: raised.number,
            cells: sorted(cells),
            mode,
        };
        for listener in &mut listeners {
            let heard = listener.up_to(raised.number).await?.pop().map(in_order);
            let is_it = heard.as_ref() == Some(&expected);
            check.that(is_it, format!("{expected:?}"), heard)?;
        }
    }
    Ok(Verdict::Passed)
}

fn sorted(mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.sort();
    cells
}

fn in_order(mut message: Message) -> Message {
    if let Message::Raised { cells, .. } = &mut message {
        cells.sort();
    }
    message
}

/// A flush of all cells is heard, too.
///
/// # Errors
/// When the level fails the check.
pub async fn a_flush_of_all_cells_is_heard(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_flush_of_all_cells_is_heard",
        why: "a message that is cut raises some cells and moves its hearer on to the number of all: the others are lost",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    let mut listener = there.listen().await?;
    let cells = super::process::every_cell();
    let raised = here.raise(&acme(), cells.clone(), FlushMode::Hard).await?;
    let mut heard = BTreeSet::new();
    while heard.len() < cells.len() {
        let message = listener.next("the cells that are not heard of yet").await?;
        if let Message::Raised {
            previous,
            number,
            cells: some,
            ..
        } = message
        {
            heard.extend(some);
            check.that(
                number == raised.number && (previous != raised.previous || heard.len() == cells.len()),
                "only a message with all cells, or the last one, to go on from what was before",
                (previous, number, heard.len()),
            )?;
        }
    }
    Ok(Verdict::Passed)
}

/// What a process makes of messages alone: it moves on from `seen` when a message says that nothing lies between.
struct Follower {
    seen: u64,
    levels: Levels,
}

impl Follower {
    fn hear(&mut self, message: &Message) {
        let Message::Raised {
            scope,
            previous,
            number,
            cells,
            mode,
        } = message
        else {
            return;
        };
        if *scope != acme() {
            return;
        }
        for &cell in cells {
            let (any, hard) = self.levels.entry(cell).or_default();
            *any = (*any).max(*number);
            if *mode == FlushMode::Hard {
                *hard = (*hard).max(*number);
            }
        }
        if *previous == self.seen {
            self.seen = *number;
        }
    }

    /// Whoever has seen a number must know all up to it.
    fn check(&self, check: &Check, whole: &Told) -> Result<(), Failure> {
        let missed: Vec<_> = whole
            .levels
            .iter()
            .filter(|(cell, told)| {
                let (any, hard) = self.levels.get(cell).copied().unwrap_or_default();
                (told.0 <= self.seen && any < told.0) || (told.1 <= self.seen && hard < told.1)
            })
            .collect();
        check.that(
            missed.is_empty(),
            format!("whoever has heard up to {} to know all up to there", self.seen),
            format!("not heard of: {missed:?}"),
        )
    }
}

/// Whoever follows messages, and moves on where one follows what it has seen, never thinks to know what it does not; where
/// there were flushes alone, it knows all.
///
/// # Errors
/// When the level fails the check.
pub async fn who_follows_messages_misses_nothing(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "who_follows_messages_misses_nothing",
        why: "a process that moves on past a number never asks for it again: a teaching that is told in parts, or a scope that \
              is made without a word, must not be taken for all there was",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let made = here.whole(&acme()).await?;
    let mut listener = there.listen().await?;
    let mut follower = Follower {
        seen: made.number,
        levels: made.levels,
    };
    for slot in 0..10 {
        let process = if slot % 2 == 0 { &here } else { &there };
        process
            .raise(&acme(), slots([slot, slot + 5]), FlushMode::Soft)
            .await?;
    }
    let last = here.flush(&acme(), 3).await?.number;
    for message in listener.up_to(last).await? {
        follower.hear(&message);
    }
    check.that(
        follower.seen == last,
        format!("messages that lead to {last}, one after the other"),
        follower.seen,
    )?;
    follower.check(&check, &here.whole(&acme()).await?)?;

    // Flushes of both kinds that the level did not know, and one after.
    let lost = last + (1 << 21);
    here.teach(
        &acme(),
        &[level(20, lost, lost), level(21, lost, 0), level(22, lost, lost)],
    )
    .await?;
    let last = there.flush(&acme(), 4).await?.number;
    for message in listener.up_to(last).await? {
        follower.hear(&message);
        follower.check(&check, &here.whole(&acme()).await?)?;
    }
    Ok(Verdict::Passed)
}

/// A teaching is heard by everybody, with each cell that it lifted.
///
/// # Errors
/// When the level fails the check.
pub async fn a_teaching_is_heard_by_everybody(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_teaching_is_heard_by_everybody",
        why: "after a failover others serve what was flushed until they hear of it: by a message at once, else by their next \
              renewal",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let start = here.whole(&acme()).await?.number;
    let mut listeners = [here.listen().await?, there.listen().await?];
    let lost = start + (1 << 21);
    let known = [level(20, lost, lost), level(21, lost, lost)];
    let number = here.teach(&acme(), &known).await?.number;
    let last = here.flush(&acme(), 30).await?.number;
    for listener in &mut listeners {
        let mut heard = BTreeSet::new();
        for message in listener.up_to(last).await? {
            match message {
                Message::Raised {
                    number: heard_number,
                    cells,
                    mode: FlushMode::Hard,
                    ..
                } if heard_number == number => heard.extend(cells),
                _ => {}
            }
        }
        let is_all = slots([20, 21]).iter().all(|cell| heard.contains(cell));
        check.that(is_all, format!("slots 20 and 21, hard, at {number}"), heard)?;
    }
    Ok(Verdict::Passed)
}

/// Who listens and drops it does not end what others hear.
///
/// # Errors
/// When the level fails the check.
pub async fn a_listener_that_leaves_disturbs_nobody(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_listener_that_leaves_disturbs_nobody",
        why: "two caches of one process may share a level: the first that ends must not make the other deaf without its \
              notice",
    };
    let process = Process::connect(&check, harness).await?;
    process.whole(&acme()).await?;
    let leaving = process.listen().await?;
    let mut staying = process.listen().await?;
    let unread = process.listen().await?;
    drop(leaving);
    for slot in 0..5 {
        let number = process.flush(&acme(), slot).await?.number;
        staying.up_to(number).await?;
    }
    drop(unread);
    let mut late = process.listen().await?;
    let number = process.flush(&acme(), 9).await?.number;
    staying.up_to(number).await?;
    late.up_to(number).await?;
    Ok(Verdict::Passed)
}

/// After a lost connection a listener hears a `Gap`, and then messages again. Needs [`LevelHarness::cut_listeners`].
///
/// # Errors
/// When the level fails the check.
pub async fn a_lost_connection_is_heard_as_a_gap(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_lost_connection_is_heard_as_a_gap",
        why: "messages that were sent meanwhile are gone: a process that is not told so goes on with a lease for numbers that \
              it has missed, and one whose listener has ended hears nothing any more",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    let mut listeners = [here.listen().await?, there.listen().await?];
    for slot in 0..3 {
        match check.done("cutting listeners off", harness.cut_listeners().await)? {
            Offered::Yes => {}
            Offered::No => return Ok(Verdict::NotOffered("cut_listeners")),
        }
        for listener in &mut listeners {
            listener.gap().await?;
        }
        let number = here.flush(&acme(), slot).await?.number;
        for listener in &mut listeners {
            listener.up_to(number).await?;
        }
    }
    Ok(Verdict::Passed)
}

/// A level that cannot answer says so with an error: it never says that nothing has changed, or that there is no entry.
/// Needs [`LevelHarness::break_down`].
///
/// # Errors
/// When the level fails the check.
pub async fn trouble_is_an_error(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "trouble_is_an_error",
        why: "`Same` extends a lease: from a level that cannot know, it lets what was flushed live on. A flush that seems done \
              is not tried again",
    };
    let process = Process::connect(&check, harness).await?;
    let seen = process.whole(&acme()).await?.number;
    process.store(&acme(), &[(name("a"), "A".into())]).await?;
    match check.done("taking the level away", harness.break_down().await)? {
        Offered::Yes => {}
        Offered::No => return Ok(Verdict::NotOffered("break_down")),
    }
    let ask = Ask { scope: acme(), seen };
    let (asks, names) = ([ask.clone()], [name("a")]);
    let entries = [StoredEntry {
        name: name("b"),
        bytes: "B".into(),
        ttl: std::time::Duration::from_secs(60),
    }];
    let raise = Raise {
        scope: acme(),
        cells: slots([1]),
        mode: FlushMode::Hard,
        known: seen,
    };
    let known = [level(1, seen, seen)];
    process.expect_error("renew", process.level.renew(&asks)).await?;
    process
        .expect_error("fetch", process.level.fetch(&ask, &names))
        .await?;
    process
        .expect_error("store", process.level.store(&acme(), &entries))
        .await?;
    process.expect_error("raise", process.level.raise(&raise)).await?;
    process
        .expect_error("teach", process.level.teach(&acme(), &known))
        .await?;
    process
        .expect_error("discard", process.level.discard(&acme(), &names))
        .await?;
    Ok(Verdict::Passed)
}
