//! What a store says of changes.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::join;
use tenancy_core::{ChangeBatch, ChangeMark, TenantChange, TenantId, TenantStore};

use super::{
    find::{find, id, put},
    harness::StoreHarness,
    list::{UNWATCHED, purge},
    report::{Check, CheckResult, Failure, Verdict},
};
use crate::TenantDraft;

/// How long to wait for a signal that may never come.
const LIMIT: Duration = Duration::from_secs(60);

/// More portions than any check has changes.
const MOST_PORTIONS: usize = 100;

async fn batch(
    check: &Check,
    harness: &impl StoreHarness,
    since: ChangeMark,
    limit: usize,
) -> Result<ChangeBatch, Failure> {
    let batch = harness.store().changes(since, limit).await;
    check.done("asking for changes", batch)
}

/// Where the log stands.
pub(super) async fn newest(check: &Check, harness: &impl StoreHarness) -> Result<ChangeMark, Failure> {
    match batch(check, harness, ChangeMark::NONE, 100).await? {
        ChangeBatch::Reload { mark } => Ok(mark),
        other => Err(check.failure(
            "a reload for a reader that knows nothing (ChangeMark::NONE)",
            format!("{other:?}"),
        )),
    }
}

pub(super) async fn reloads(
    check: &Check,
    harness: &impl StoreHarness,
    since: ChangeMark,
    who: &str,
) -> Result<(), Failure> {
    let batch = batch(check, harness, since, 100).await?;
    let is_reload = matches!(batch, ChangeBatch::Reload { .. });
    check.that(is_reload, format!("a reload for {who}, at {since:?}"), batch)
}

/// What a reader learns that asks until there is no more.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) mark: ChangeMark,
    pub(super) changes: BTreeMap<TenantId, TenantChange>,
}

pub(super) async fn follow(
    check: &Check,
    harness: &impl StoreHarness,
    since: ChangeMark,
    limit: usize,
) -> Result<Followed, Failure> {
    let mut followed = Followed {
        mark: since,
        changes: BTreeMap::new(),
    };
    for _ in 0..MOST_PORTIONS {
        let (mark, changes, more) = match batch(check, harness, followed.mark, limit).await? {
            ChangeBatch::Changes { mark, changes, more } => (mark, changes, more),
            other => {
                let expected = format!(
                    "changes for a reader that stands in the log, at {:?}",
                    followed.mark
                );
                return Err(check.failure(expected, format!("{other:?}")));
            }
        };
        let mut ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
        ids.sort();
        ids.dedup();
        check.that(
            ids.len() == changes.len(),
            "each tenant at most once in a portion",
            &changes,
        )?;
        check.that(
            mark.number > followed.mark.number || (mark == followed.mark && !more && changes.is_empty()),
            "a mark that moves forward with what is told, and stands still with nothing to tell",
            (followed.mark, mark, more, &changes),
        )?;
        followed.mark = mark;
        followed
            .changes
            .extend(changes.into_iter().map(|change| (change.id.clone(), change)));
        if !more {
            return Ok(followed);
        }
    }
    Err(check.failure(
        "an end of the changes",
        format!("{MOST_PORTIONS} portions and `more`"),
    ))
}

fn change_of<'a>(check: &Check, followed: &'a Followed, name: &str) -> Result<&'a TenantChange, Failure> {
    let change = followed.changes.values().find(|change| change.id == name);
    change.ok_or_else(|| check.failure(format!("a change of {name}"), format!("{followed:?}")))
}

fn touches(check: &Check, change: &TenantChange, keys: &[&str]) -> Result<(), Failure> {
    let touched: Vec<String> = change.keys_touched.iter().map(ToString::to_string).collect();
    for key in keys {
        let is_there = touched.iter().any(|touched| touched == key);
        check.that(
            is_there,
            format!("{key} among the keys that the change touched"),
            &touched,
        )?;
    }
    Ok(())
}

/// A reader whose place is not in the log is told to read everything; one at its end is told nothing.
///
/// # Errors
/// When the store fails the check.
pub async fn a_place_that_is_not_in_the_log_reloads(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_place_that_is_not_in_the_log_reloads",
        why: "a reader that is told \"nothing changed\" at a place that the log does not have (another file, a log that \
              was cut, a number that was guessed) serves what it knows for ever",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    newest(&check, harness).await?;
    put(&check, harness, TenantDraft::new("acme")).await?;
    let mark = newest(&check, harness).await?;
    let followed = follow(&check, harness, mark, 100).await?;
    check.that(
        followed.changes.is_empty(),
        "nothing after the newest change",
        &followed,
    )?;
    for (who, elsewhere) in [
        (
            "a stamp that was never given",
            ChangeMark {
                stamp: mark.stamp ^ 1,
                ..mark
            },
        ),
        (
            "a number that was not reached",
            ChangeMark {
                number: mark.number + 1,
                ..mark
            },
        ),
        (
            "the largest number",
            ChangeMark {
                number: u64::MAX,
                stamp: u64::MAX,
            },
        ),
    ] {
        reloads(&check, harness, elsewhere, who).await?;
    }
    Ok(Verdict::Passed)
}

/// A change tells what its tenant is now, and every key that was added or taken away since: also for several changes
/// at once, and for a purge.
///
/// # Errors
/// When the store fails the check.
pub async fn a_change_tells_every_key_and_the_present_state(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_change_tells_every_key_and_the_present_state",
        why: "a reader drops what it knows of the touched keys: one that is not named leads to the old tenant for ever, \
              and a purge that is not told leaves it served",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    let start = newest(&check, harness).await?;
    put(
        &check,
        harness,
        TenantDraft::new("acme").slug("old").domain("old.example"),
    )
    .await?;
    let created = follow(&check, harness, start, 100).await?;
    let change = change_of(&check, &created, "acme")?;
    touches(&check, change, &["slug:old", "domain:old.example"])?;
    is_as_found(&check, harness, change).await?;

    put(
        &check,
        harness,
        TenantDraft::new("acme")
            .slug("new")
            .plan("pro")
            .domain("new.example"),
    )
    .await?;
    let changed = follow(&check, harness, created.mark, 100).await?;
    let change = change_of(&check, &changed, "acme")?;
    touches(
        &check,
        change,
        &["slug:old", "slug:new", "domain:old.example", "domain:new.example"],
    )?;
    is_as_found(&check, harness, change).await?;

    // Who was away for both sees the end alone.
    let late = follow(&check, harness, start, 100).await?;
    is_as_found(&check, harness, change_of(&check, &late, "acme")?).await?;

    purge(&check, harness, "acme").await?;
    let purged = follow(&check, harness, changed.mark, 100).await?;
    let change = change_of(&check, &purged, "acme")?;
    check.that(
        change.current.is_none(),
        "no present state of a purged tenant",
        change,
    )?;
    touches(&check, change, &["slug:new", "domain:new.example"])?;
    Ok(Verdict::Passed)
}

async fn is_as_found(
    check: &Check,
    harness: &impl StoreHarness,
    change: &TenantChange,
) -> Result<(), Failure> {
    let found = find(check, harness, &id(change.id.as_str())).await?;
    let told = change.current.as_ref().map(|entry| &entry.record);
    check.that(
        told == found.as_ref(),
        format!("{} to be told as it is found: {found:?}", change.id),
        told,
    )
}

/// Portions of every size add up to all changes.
///
/// # Errors
/// When the store fails the check.
pub async fn changes_in_portions_lose_nothing(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "changes_in_portions_lose_nothing",
        why: "a mark behind what was told, and `more` unset too early, lose the rest: tenants that are created in bulk stay \
              404 until somebody restarts the readers",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    let start = newest(&check, harness).await?;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for name in names {
        put(&check, harness, TenantDraft::new(name)).await?;
    }
    for plan in ["small", "large"] {
        put(&check, harness, TenantDraft::new("a").plan(plan)).await?;
    }
    let end = newest(&check, harness).await?;
    for limit in [1, 2, 3, 100] {
        let followed = follow(&check, harness, start, limit).await?;
        let told: Vec<&str> = followed.changes.keys().map(TenantId::as_str).collect();
        check.that(
            told == names,
            format!("changes of {names:?} in portions of {limit}"),
            told,
        )?;
        check.that(
            followed.mark == end,
            format!("the reader to stand at the end, {end:?}"),
            followed.mark,
        )?;
        is_as_found(&check, harness, change_of(&check, &followed, "a")?).await?;
    }
    Ok(Verdict::Passed)
}

/// Every change has a higher number than those before: in the log, and as the epoch of its tenant.
///
/// # Errors
/// When the store fails the check.
pub async fn numbers_grow_with_every_change(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "numbers_grow_with_every_change",
        why: "a record never takes the place of one with a higher epoch: a change that does not raise it, a suspension \
              perhaps, is thrown away by every reader",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    let mut last_epoch = 0;
    let mut mark = newest(&check, harness).await?;
    for (name, plan) in [
        ("acme", "a"),
        ("globex", "a"),
        ("acme", "b"),
        ("acme", "c"),
        ("globex", "b"),
    ] {
        put(&check, harness, TenantDraft::new(name).plan(plan)).await?;
        let epoch = find(&check, harness, &id(name))
            .await?
            .map_or(0, |record| record.epoch);
        check.that(
            epoch > last_epoch,
            format!("an epoch of {name} above {last_epoch}"),
            epoch,
        )?;
        let now = newest(&check, harness).await?;
        check.that(
            now.number > mark.number && now.number >= epoch,
            format!(
                "the log to stand above {} and not below the epoch {epoch}",
                mark.number
            ),
            now,
        )?;
        (last_epoch, mark) = (epoch, now);
    }
    Ok(Verdict::Passed)
}

/// A write in this process wakes the readers, after its commit, and returns when they have seen it.
///
/// # Errors
/// When the store fails the check.
pub async fn a_write_wakes_the_readers_and_waits_for_them(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_write_wakes_the_readers_and_waits_for_them",
        why: "without the signal a change is seen at the next poll: the request after \"create tenant\" gets 404. A \
              signal before the commit wakes readers who see nothing yet; a write that does not wait has the same race",
    };
    let Some(signal) = harness.store().signal() else {
        return Ok(UNWATCHED);
    };
    let start = newest(&check, harness).await?;
    let mut reader = signal.subscribe();
    let has_seen = AtomicBool::new(false);
    let harness = &*harness;
    let writing = async {
        put(&check, harness, TenantDraft::new("acme")).await?;
        let has_seen = has_seen.load(Ordering::SeqCst);
        check.that(
            has_seen,
            "the write to return after its readers have seen it",
            "it returned before",
        )
    };
    let reading = async {
        // What was written before may be heard of late.
        let is_told = async { while reader.changed().await <= start.number {} };
        if tokio::time::timeout(LIMIT, is_told).await.is_err() {
            return Err(check.failure("a signal for a write of this process", "none came"));
        }
        let followed = follow(&check, harness, start, 100).await?;
        change_of(&check, &followed, "acme")?;
        has_seen.store(true, Ordering::SeqCst);
        reader.applied(followed.mark.number);
        Ok(())
    };
    let (written, read) = join(writing, reading).await;
    // What the reader missed is the cause of what the writer did not wait for.
    read?;
    written?;
    Ok(Verdict::Passed)
}
