//! What a process is told that asks.

use std::collections::HashMap;

use std::time::Duration;

use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, SLOTS, ScopeName};

use super::{
    harness::LevelHarness,
    process::{Levels, Process, Told, acme, level, name, slots},
};
use crate::conformance::{
    Offered,
    report::{Check, CheckResult, Failure, Verdict},
};

/// How many flushes later a number is still known: what a busy process misses between two renewals.
const STILL_KNOWN: usize = 127;

/// A scope that is asked for and not there is made once, with a fresh base and nothing else.
///
/// # Errors
/// When the level fails the check.
pub async fn a_missing_scope_is_made_with_a_fresh_base(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_missing_scope_is_made_with_a_fresh_base",
        why: "numbers that were lost (evicted, flushed) must not bring back what was stored under them: a base of 0, or one \
              that each asker gets anew, does that or empties the cache with every question",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let made = here.whole(&acme()).await?;
    let base = (made.number, made.number);
    check.that(
        made.levels == Levels::from([(Cell::Base, base)]) && made.number < 1 << 53,
        "the base alone, hard, at the newest number",
        &made,
    )?;
    let again = there.whole(&acme()).await?;
    check.that(again == made, format!("the same for all: {made:?}"), &again)?;
    there.expect_same(&acme(), made.number).await?;
    Ok(Verdict::Passed)
}

/// Asking, storing, discarding and fetching take no number: whoever has seen the newest is told that nothing has changed.
///
/// # Errors
/// When the level fails the check.
pub async fn nothing_new_is_told_as_such(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "nothing_new_is_told_as_such",
        why: "each process asks for each tenant every second: an answer with all numbers instead of `Same` is traffic and \
              work for nothing, and a number that is taken without a flush pushes others out of the history",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    let newest = there.flush(&acme(), 3).await?.number;
    for _ in 0..3 {
        here.expect_same(&acme(), newest).await?;
        here.store(&acme(), &[(name("a"), "1".into())]).await?;
        let fetched = there.fetch(&acme(), newest, &[name("a"), name("b")]).await?;
        check.that(
            fetched.answer == Answer::Same,
            "Same with a fetch",
            &fetched.answer,
        )?;
        here.discard(&acme(), &[name("a")]).await?;
        there.expect_same(&acme(), newest).await?;
    }
    Ok(Verdict::Passed)
}

/// A scope, as it should be: its numbers by the flushes that were made.
struct Model {
    levels: Levels,
    /// The oldest first.
    given: Vec<u64>,
}

impl Model {
    fn new(made: Told) -> Self {
        Self {
            levels: made.levels,
            given: vec![made.number],
        }
    }

    fn raise(&mut self, cells: &[Cell], mode: FlushMode, number: u64) {
        for &cell in cells {
            let (any, hard) = self.levels.entry(cell).or_default();
            *any = number;
            if mode == FlushMode::Hard {
                *hard = number;
            }
        }
        self.given.push(number);
    }

    fn newest(&self) -> u64 {
        self.given.last().copied().unwrap_or_default()
    }

    /// Exactly what was raised since `seen` must be told. A hard number that is not newer may be left out: the asker knows it.
    fn check(&self, check: &Check, seen: u64, told: &Told) -> Result<(), Failure> {
        let expected: Levels = self
            .levels
            .iter()
            .filter(|(_, (any, _))| *any > seen)
            .map(|(cell, level)| (*cell, *level))
            .collect();
        let is_right = |(cell, (any, hard)): (&Cell, &(u64, u64))| {
            let told = told.levels.get(cell);
            told.is_some_and(|told| told.0 == *any && (told.1 == *hard || (*hard <= seen && told.1 <= *hard)))
        };
        check.that(
            told.number == self.newest()
                && told.levels.len() == expected.len()
                && expected.iter().all(is_right),
            format!("what was raised since {seen}, {expected:?}, at {}", self.newest()),
            told,
        )
    }
}

/// Whoever asks with a number that is still known is told exactly what was raised since then, with its present numbers.
///
/// # Errors
/// When the level fails the check.
pub async fn what_was_raised_since_is_told_and_nothing_else(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "what_was_raised_since_is_told_and_nothing_else",
        why: "a flush that is left out is never heard of again: the asker moves on to the newest number, and serves what was \
              flushed for as long as the entry lives",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let mut model = Model::new(here.whole(&acme()).await?);
    for round in 0_u16..60 {
        // Some cells often, some seldom; all kinds in all orders.
        let mut cells = slots([round % 3, 10 + round % 7, SLOTS - 1 - round % 11]);
        cells.truncate(usize::from(1 + round % 3));
        if round % 13 == 5 {
            cells.push(Cell::Base);
        }
        let mode = if round % 5 < 2 {
            FlushMode::Soft
        } else {
            FlushMode::Hard
        };
        let raised = there.raise(&acme(), cells.clone(), mode).await?;
        model.raise(&cells, mode, raised.number);
    }
    let (newest, earlier) = (model.newest(), &model.given[..model.given.len() - 1]);
    let asks = earlier.iter().map(|&seen| Ask { scope: acme(), seen });
    let answers = here.renew(&asks.collect::<Vec<_>>()).await?;
    for (&seen, answer) in earlier.iter().zip(answers) {
        model.check(&check, seen, &here.expect_changed(answer)?)?;
    }
    let whole = here.whole(&acme()).await?;
    check.that(
        whole.levels == model.levels && whole.number == newest,
        format!("{:?} at {newest}", model.levels),
        whole,
    )?;
    Ok(Verdict::Passed)
}

/// A number that is 127 flushes old is still known; what is too old is `Behind`, or told in full.
///
/// # Errors
/// When the level fails the check.
pub async fn a_long_absence_loses_nothing(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_long_absence_loses_nothing",
        why: "a history that is too short sends every process to `teach` all it knows in each burst of flushes; one that is cut \
              and does not say so loses flushes",
    };
    let process = Process::connect(&check, harness).await?;
    let mut model = Model::new(process.whole(&acme()).await?);
    for round in 0_u16..200 {
        let cells = slots([round]);
        let raised = process.raise(&acme(), cells.clone(), FlushMode::Hard).await?;
        model.raise(&cells, FlushMode::Hard, raised.number);
    }
    let newest = model.given.len() - 1;
    for age in [1, 60, STILL_KNOWN] {
        let seen = model.given[newest - age];
        model.check(&check, seen, &process.changed(&acme(), seen).await?)?;
    }
    for age in [STILL_KNOWN + 1, 150, 200] {
        let seen = model.given[newest - age];
        match process.ask(&acme(), seen).await? {
            Answer::Behind => {}
            other => model.check(&check, seen, &process.expect_changed(other)?)?,
        }
    }
    Ok(Verdict::Passed)
}

/// A number that was never given is `Behind`, however often and whatever others do meanwhile; after a teaching its asker has
/// a number that is known.
///
/// # Errors
/// When the level fails the check.
pub async fn an_unknown_number_is_behind_until_its_asker_teaches(
    harness: &mut impl LevelHarness,
) -> CheckResult {
    let check = Check {
        name: "an_unknown_number_is_behind_until_its_asker_teaches",
        why: "whoever has seen a number that is not known here knows of a flush that was lost in a failover: unless it is \
              asked to teach it, whatever others have taught, the flush is lost for everybody",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let made = here.whole(&acme()).await?.number;
    let first = here.flush(&acme(), 1).await?.number;
    let second = here.flush(&acme(), 2).await?.number;
    let mut unknown = vec![1, first - 1, first + 1, second + 1, second + (1 << 20)];
    unknown.retain(|number| ![made, first, second].contains(number));
    for &seen in &unknown {
        here.expect_behind(&acme(), seen, "a number that was never given")
            .await?;
        here.expect_behind(&acme(), seen, "asked again").await?;
    }
    let far = second + (1 << 21);
    there.teach(&acme(), &[level(5, far, far)]).await?;
    let newest = there.flush(&acme(), 6).await?.number;
    for seen in unknown {
        here.expect_behind(&acme(), seen, "after others have taught and flushed")
            .await?;
    }
    let taught = here.teach(&acme(), &[level(1, first, first)]).await?;
    check.that(
        taught.number == newest,
        format!("the newest number, {newest}, to go on with"),
        &taught,
    )?;
    here.expect_same(&acme(), taught.number).await?;
    Ok(Verdict::Passed)
}

/// A scope whose numbers were lost is made anew, with a base above all that was given before. Needs
/// [`LevelHarness::forget`].
///
/// # Errors
/// When the level fails the check.
pub async fn a_lost_scope_is_made_above_all_before(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_lost_scope_is_made_above_all_before",
        why: "entries that were stored before the loss are still there, and whoever knows the old numbers keeps the highest: a \
              base below them is ignored, and old entries live on. The time in the numbers is what lifts it",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    let mut highest = 0;
    for slot in 0..50 {
        highest = here.flush(&acme(), slot).await?.number;
    }
    match check.done("forgetting a scope", harness.forget(&acme()).await)? {
        Offered::Yes => {}
        Offered::No => return Ok(Verdict::NotOffered("forget")),
    }
    // Numbers may be ahead of the time by as many milliseconds as there were flushes.
    check.done(
        "letting time pass",
        harness.pass(Duration::from_millis(100)).await,
    )?;
    let made = there.whole(&acme()).await?;
    let (any, hard) = made.levels.get(&Cell::Base).copied().unwrap_or_default();
    check.that(
        hard > highest && any == hard && made.levels.len() == 1,
        format!("a base alone, above {highest}"),
        &made,
    )?;
    here.expect_behind(&acme(), highest, "a number of before the loss")
        .await?;

    harness
        .forget(&acme())
        .await
        .map_or_else(|error| check.done("forgetting a scope", Err(error)), Ok)?;
    let raised = there.flush(&acme(), 1).await?;
    let again = there.whole(&acme()).await?;
    let base = again.levels.get(&Cell::Base).map_or(0, |(_, hard)| *hard);
    check.that(
        raised.previous == 0 && base > made.number,
        format!(
            "a base above {}, made by a flush without a previous one",
            made.number
        ),
        (raised, again),
    )?;
    Ok(Verdict::Passed)
}

/// Many scopes are asked for at once, also one twice; answers come in the order of the asks, each to its own.
///
/// # Errors
/// When the level fails the check.
pub async fn answers_come_in_the_order_of_their_asks(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "answers_come_in_the_order_of_their_asks",
        why: "one renewal is for all tenants that a process serves: an answer that goes to another tenant gives it a lease for \
              what it does not know",
    };
    let process = Process::connect(&check, harness).await?;
    let scopes: Vec<_> = (0..300)
        .map(|number| ScopeName::for_tests(&format!("tenant-{number}:1")))
        .collect();
    let from_nothing = scopes.iter().cloned().map(|scope| Ask { scope, seen: 0 });
    let answers = process.renew(&from_nothing.collect::<Vec<_>>()).await?;
    let mut numbers = HashMap::new();
    for (scope, answer) in scopes.iter().zip(answers) {
        numbers.insert(scope.clone(), process.expect_whole(answer)?.number);
    }

    // Of each four: nothing new, a flush, a number that is unknown, and one that is not there yet.
    let mut asks = Vec::new();
    let mut flushed = HashMap::new();
    for (index, scope) in scopes.iter().enumerate() {
        let mut ask = Ask {
            scope: scope.clone(),
            seen: numbers[scope],
        };
        match index % 4 {
            1 => {
                flushed.insert(index, process.flush(scope, 7).await?.number);
            }
            2 => ask.seen += 1,
            3 => {
                ask.scope = ScopeName::for_tests(&format!("new-{index}:1"));
                ask.seen = 0;
            }
            _ => {}
        }
        asks.push(ask);
    }
    asks.reverse();
    asks.push(asks[0].clone());
    let answers = process.renew(&asks).await?;
    for (position, answer) in answers.into_iter().enumerate() {
        let index = if position == scopes.len() {
            scopes.len() - 1
        } else {
            scopes.len() - 1 - position
        };
        let is_right = match index % 4 {
            0 => answer == Answer::Same,
            1 => matches!(&answer, Answer::Changed { number, .. } if *number == flushed[&index]),
            2 => answer == Answer::Behind,
            _ => matches!(answer, Answer::Whole { .. }),
        };
        check.that(is_right, format!("the answer to {:?}", asks[position]), answer)?;
    }
    Ok(Verdict::Passed)
}

/// Scopes have nothing in common, however alike their names are: no number, no entry, no history.
///
/// # Errors
/// When the level fails the check.
pub async fn scopes_do_not_meet(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "scopes_do_not_meet",
        why: "a tenant that reads another's entry sees another customer's data; one that is flushed with another pays for its \
              traffic; and a new incarnation of a name must see nothing of the old one",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let texts = [
        "acme:1",
        "acme:11",
        "acme:2",
        "acme-1:1",
        "acme1:1",
        "acm:1",
        "central:1",
        ":central",
    ];
    let scopes = texts.map(ScopeName::for_tests);
    // A name that goes on as if the scope's had not ended.
    let names = ["", "x", "1", ":1", ":e:x", "e:x", ":v", ":n", "v", "n", "}:v"].map(name);
    let mut newest = Vec::new();
    for (scope, text) in scopes.iter().zip(texts) {
        newest.push(here.whole(scope).await?.number);
        let entries = names.clone().map(|name| {
            let value = format!("{text} {}", name.as_bytes().escape_ascii());
            (name, value.into())
        });
        here.store(scope, &entries).await?;
    }
    for (index, (scope, text)) in scopes.iter().zip(texts).enumerate() {
        there.expect_same(scope, newest[index]).await?;
        let expected = names.clone().map(|name| {
            let value = format!("{text} {}", name.as_bytes().escape_ascii());
            (name, Some(value.into()))
        });
        there.expect_entries(scope, &expected).await?;
    }

    here.raise(&scopes[0], vec![Cell::Base, Cell::Slot(1)], FlushMode::Hard)
        .await?;
    let far = newest[0] + (1 << 30);
    here.teach(&scopes[0], &[level(2, far, far)]).await?;
    here.discard(&scopes[0], &names).await?;
    let gone = names.clone().map(|name| (name, None));
    there.expect_entries(&scopes[0], &gone).await?;
    for (index, (scope, text)) in scopes.iter().zip(texts).enumerate().skip(1) {
        there.expect_same(scope, newest[index]).await?;
        let expected = (names[1].clone(), Some(format!("{text} x").into()));
        there.expect_entries(scope, &[expected]).await?;
    }
    Ok(Verdict::Passed)
}
