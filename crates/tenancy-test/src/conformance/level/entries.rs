//! What a level keeps of entries.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tenancy::cache::shared::{Answer, Cell, EntryName};

use super::{
    harness::LevelHarness,
    process::{Process, acme, give_up_after, level, name},
};
use crate::conformance::report::{Check, CheckResult, Verdict};

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Entries come back in the order in which they are asked for, whatever is missing, and however often one is named.
///
/// # Errors
/// When the level fails the check.
pub async fn entries_come_in_the_order_asked_for(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "entries_come_in_the_order_asked_for",
        why: "an entry that comes back under another's name is served as if it were that",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let stored = [
        (name("a"), value("A")),
        (name("b"), value("B")),
        (name("c"), value("C")),
    ];
    here.store(&acme(), &stored).await?;
    let orders = ["cab", "-a-b-c-", "aabbaa", "---", "b"];
    for order in orders {
        let expected: Vec<_> = order
            .chars()
            .map(|letter| {
                let text = letter.to_string();
                let found = (letter != '-').then(|| text.to_uppercase().into());
                (name(&text), found)
            })
            .collect();
        there.expect_entries(&acme(), &expected).await?;
    }
    Ok(Verdict::Passed)
}

/// Names and values are any bytes, of any length, and come back as they were.
///
/// # Errors
/// When the level fails the check.
pub async fn any_bytes_are_names_and_values(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "any_bytes_are_names_and_values",
        why: "keys are encoded and values are packed: a level that takes them for text fails for the first number that is no \
              letter, or changes it",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let every_byte: Vec<u8> = (0..=255).collect();
    let names: [&[u8]; 14] = [
        b"",
        b"\0",
        b"\0\0",
        b"\r\n",
        b"$3\r\nabc\r\n",
        b"a b",
        b"{b}",
        b"*?[a-z]",
        b"\xff",
        b"\xfe",
        b"\xff\xfe",
        b"\xc3\x28",
        "\u{e4}".as_bytes(),
        &every_byte,
    ];
    let mut entries = Vec::new();
    for (index, bytes) in names.iter().enumerate() {
        // Values that differ, with every byte, and of 0 bytes to some.
        let value = every_byte.repeat(index % 3);
        let marked = if index == 0 {
            Vec::new()
        } else {
            [&value[..], bytes].concat()
        };
        entries.push((EntryName::for_tests(bytes), Bytes::from(marked)));
    }
    entries.push((name("a megabyte"), Bytes::from(every_byte.repeat(4096))));
    here.store(&acme(), &entries).await?;
    let expected: Vec<_> = entries
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect();
    there.expect_entries(&acme(), &expected).await?;
    Ok(Verdict::Passed)
}

/// Names that are long, and alike but for one byte, are different.
///
/// # Errors
/// When the level fails the check.
pub async fn long_names_do_not_meet(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "long_names_do_not_meet",
        why: "keys have what clients send in them: names that are cut, or hashed by a weak hash, can be chosen so that one \
              reads another's entry",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let mut entries = Vec::new();
    for length in [31, 32, 64, 128, 255, 256, 257, 512, 1000, 4096, 65536, 100_000] {
        for changed in [0, length / 2, length - 1] {
            let mut bytes = vec![b'x'; length];
            bytes[changed] = b'y';
            let value = format!("{length} {changed}");
            entries.push((EntryName::for_tests(&bytes), Bytes::from(value)));
        }
    }
    here.store(&acme(), &entries).await?;
    let mut expected: Vec<_> = entries
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect();
    expected.push((EntryName::for_tests(&[b'x'; 100_000]), None));
    there.expect_entries(&acme(), &expected).await?;
    Ok(Verdict::Passed)
}

/// An entry takes the place of what was under its name, its life included.
///
/// # Errors
/// When the level fails the check.
pub async fn an_entry_replaces_what_was_there(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "an_entry_replaces_what_was_there",
        why: "what was put last is what everybody must see, for as long as was said with it",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let (long, short) = (Duration::from_secs(600), Duration::from_secs(20));
    for (text, ttl) in [("old", long), ("new", short), ("", long), ("again", short)] {
        here.store_for(&acme(), &[(name("a"), value(text))], ttl).await?;
        there
            .expect_entries(&acme(), &[(name("a"), Some(value(text)))])
            .await?;
        let found = there.entries(&acme(), &[name("a")]).await?.remove(0);
        let remaining = found.map(|found| found.remaining).unwrap_or_default();
        let is_right = remaining <= ttl && remaining > ttl / 2;
        check.that(is_right, format!("somewhat less than {ttl:?} to live"), remaining)?;
    }
    Ok(Verdict::Passed)
}

/// An entry is gone when its time is over, says before how long it has, and its neighbours are still there. A time below
/// the level's measure is rounded up, and a long one is no mistake.
///
/// # Errors
/// When the level fails the check.
pub async fn an_entry_lives_as_long_as_was_said(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "an_entry_lives_as_long_as_was_said",
        why: "the time that an entry may be kept is the last bound on how stale it gets, and what limits the level's memory; \
              a process that reads it keeps it no longer than it still has",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let (short, long) = (Duration::from_millis(80), Duration::from_secs(60));
    here.store_for(&acme(), &[(name("long"), value("L"))], long)
        .await?;
    here.store_for(&acme(), &[(name("short"), value("S"))], short)
        .await?;
    for ttl in [Duration::from_nanos(1), Duration::from_secs(10 * 365 * 86_400)] {
        here.store_for(&acme(), &[(name("other"), value("O"))], ttl)
            .await?;
    }
    let step = Duration::from_millis(100);
    check.done("letting time pass", harness.pass(step).await)?;
    there
        .expect_entries(
            &acme(),
            &[
                (name("short"), None),
                (name("long"), Some(value("L"))),
                (name("other"), Some(value("O"))),
            ],
        )
        .await?;
    let found = there.entries(&acme(), &[name("long")]).await?.remove(0);
    let remaining = found.map(|found| found.remaining).unwrap_or_default();
    let is_right = remaining > Duration::ZERO && remaining <= long - step / 2;
    check.that(
        is_right,
        format!("{long:?} less the time that has passed"),
        remaining,
    )?;
    Ok(Verdict::Passed)
}

/// What is discarded is gone, for everybody; names that are not there are no mistake, and others are left alone.
///
/// # Errors
/// When the level fails the check.
pub async fn discarded_entries_are_gone_and_no_others(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "discarded_entries_are_gone_and_no_others",
        why: "discarding frees memory: of what is dead, and not of what others use",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let names = ["a", "ab", "b", "*"].map(name);
    let entries = names.clone().map(|name| (name, value("1")));
    here.store(&acme(), &entries).await?;
    there
        .discard(&acme(), &[name("a"), name("missing"), name("*")])
        .await?;
    let expected = [
        (name("a"), None),
        (name("ab"), Some(value("1"))),
        (name("b"), Some(value("1"))),
        (name("*"), None),
    ];
    here.expect_entries(&acme(), &expected).await?;
    Ok(Verdict::Passed)
}

/// Ten thousand entries can be stored, fetched and discarded at once.
///
/// # Errors
/// When the level fails the check.
pub async fn ten_thousand_entries_at_once(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "ten_thousand_entries_at_once",
        why: "one page of a list can be many entries: a call that fails by its size is a cache that fails where it is needed \
              most",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let entries: Vec<_> = (0..10_000)
        .map(|number| (name(&format!("n{number}")), Bytes::from(format!("v{number}"))))
        .collect();
    here.store(&acme(), &entries).await?;
    let expected: Vec<_> = entries
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone())))
        .collect();
    there.expect_entries(&acme(), &expected).await?;
    let names: Vec<_> = entries.into_iter().map(|(name, _)| name).collect();
    there.discard(&acme(), &names).await?;
    let gone: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
    here.expect_entries(&acme(), &gone).await?;
    Ok(Verdict::Passed)
}

/// Calls with nothing in them succeed.
///
/// # Errors
/// When the level fails the check.
pub async fn empty_lists_are_no_mistake(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "empty_lists_are_no_mistake",
        why: "a process that serves nobody just now still renews: an error of it counts as an outage, and servers do \
              refuse commands without arguments",
    };
    let process = Process::connect(&check, harness).await?;
    process.renew(&[]).await?;
    process.store(&acme(), &[]).await?;
    process.discard(&acme(), &[]).await?;
    let fetched = process.fetch(&acme(), 0, &[]).await?;
    let made = process.expect_whole(fetched.answer)?;
    let taught = process.teach(&acme(), &[]).await?;
    check.that(taught == made, format!("{made:?}"), taught)?;
    Ok(Verdict::Passed)
}

/// With entries comes what a renewal would have told: nothing new, what has changed, all there is, or `Behind`; a missing
/// scope is made.
///
/// # Errors
/// When the level fails the check.
pub async fn a_fetch_tells_what_a_renewal_would(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_fetch_tells_what_a_renewal_would",
        why: "a fetched entry is judged by the numbers that come with it: those of another moment or another scope let a dead \
              entry live",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let names = [name("a")];
    let fetched = here.fetch(&acme(), 0, &names).await?;
    let made = here.expect_whole(fetched.answer)?;
    there.store(&acme(), &[(name("a"), value("A"))]).await?;
    let raised = there.flush(&acme(), 5).await?.number;

    for seen in [raised, made.number, 0, raised + 1] {
        let fetched = here.fetch(&acme(), seen, &names).await?;
        let found = fetched.entries[0].as_ref().map(|found| found.bytes.clone());
        check.that(
            found == Some(value("A")),
            format!("the entry, whatever has changed since {seen}"),
            found,
        )?;
        let renewed = there.ask(&acme(), seen).await?;
        check.that(
            fetched.answer == renewed,
            format!("{renewed:?}, as a renewal tells"),
            &fetched.answer,
        )?;
        let is_right = match fetched.answer {
            Answer::Same => seen == raised,
            Answer::Changed { number, .. } => seen == made.number && number == raised,
            Answer::Whole { number, .. } => seen == 0 && number == raised,
            Answer::Behind => seen == raised + 1,
        };
        check.that(is_right, format!("the right kind of answer for {seen}"), renewed)?;
    }
    let lost = raised + (1 << 21);
    there.teach(&acme(), &[level(1, lost, lost)]).await?;
    let fetched = here.fetch(&acme(), raised, &names).await?;
    let told = here.expect_changed(fetched.answer)?;
    check.that(
        told.levels.contains_key(&Cell::Slot(1)),
        "what was taught meanwhile",
        told,
    )?;
    Ok(Verdict::Passed)
}

/// Different times each round, so that two loops do not keep in step.
async fn yield_some(times: u32) {
    for _ in 0..=times {
        tokio::task::yield_now().await;
    }
}

/// The numbers of a fetch are those of the moment at which the entries were read, or later ones.
///
/// # Errors
/// When the level fails the check.
pub async fn numbers_are_no_older_than_entries(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "numbers_are_no_older_than_entries",
        why: "a flush, and an entry that was loaded after it, come between the two reads: judged by the numbers of before, \
              the new entry is not what it says, or an old one passes. Read the numbers last",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.whole(&acme()).await?;
    let is_writing = AtomicBool::new(true);
    let write = async {
        for round in 0..150 {
            let number = there.flush(&acme(), 7).await?.number;
            let bytes = Bytes::from(number.to_string());
            there.store(&acme(), &[(name("a"), bytes)]).await?;
            yield_some(round % 4).await;
        }
        is_writing.store(false, Ordering::Relaxed);
        Ok(())
    };
    let read = async {
        for round in 0.. {
            if !is_writing.load(Ordering::Relaxed) {
                break;
            }
            let fetched = here.fetch(&acme(), 0, &[name("a")]).await?;
            let told = here.expect_whole(fetched.answer)?;
            let (any, _) = told.levels.get(&Cell::Slot(7)).copied().unwrap_or_default();
            let found = fetched.entries.into_iter().next().flatten();
            let text = found.map_or_else(Bytes::new, |found| found.bytes);
            let loaded_under = std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            check.that(
                any >= loaded_under,
                format!("slot 7 at {loaded_under} or above, under which the entry was loaded"),
                any,
            )?;
            yield_some(round % 3).await;
        }
        Ok(())
    };
    tokio::try_join!(write, read)?;
    Ok(Verdict::Passed)
}

/// Calls that are given up leave nothing behind that the next call takes for its answer.
///
/// # Errors
/// When the level fails the check.
pub async fn a_dropped_call_leaves_no_answer_behind(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_dropped_call_leaves_no_answer_behind",
        why: "clients hang up while their answer is on its way: a connection that hands it to the next one shows one customer \
              the data of another",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let (mine, other) = (name("mine"), name("other"));
    there
        .store(
            &acme(),
            &[(mine.clone(), value("mine")), (other.clone(), value("other"))],
        )
        .await?;
    let seen = there.whole(&acme()).await?.number;
    for round in 0..30 {
        let ask = tenancy::cache::shared::Ask { scope: acme(), seen };
        let others = [other.clone(), other.clone()];
        give_up_after(round % 6, here.level.fetch(&ask, &others)).await;
        let fetched = here.fetch(&acme(), seen, std::slice::from_ref(&mine)).await?;
        let found = fetched.entries[0].as_ref().map(|found| found.bytes.clone());
        check.that(
            found == Some(value("mine")) && fetched.answer == Answer::Same,
            "the answer to this call",
            (found, fetched.answer),
        )?;
    }
    Ok(Verdict::Passed)
}
