//! Purges, backups, and transactions that take their time.

use std::{pin::pin, time::Duration};

use super::{
    changes::{follow, newest, reloads},
    find::{domain, find, id, leads_nowhere, put, slug},
    harness::{Offered, StoreHarness},
    list::{UNWATCHED, purge},
    report::{Check, CheckResult, Verdict},
};
use crate::TenantDraft;
use tenancy_core::TenantStore;

/// A purged tenant is found by none of its keys; they are free; and its id is refused from then on, or is another
/// incarnation.
///
/// # Errors
/// When the store fails the check.
pub async fn a_purged_tenant_is_gone_and_its_id_is_another(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_purged_tenant_is_gone_and_its_id_is_another",
        why: "what was kept under the old tenant's name (cache entries, jobs, sessions) tells the new one from it by the \
              incarnation alone: with the same one, a new customer sees an old customer's data",
    };
    put(
        &check,
        harness,
        TenantDraft::new("acme").slug("shop").domain("acme.example"),
    )
    .await?;
    let old = find(&check, harness, &id("acme")).await?;
    purge(&check, harness, "acme").await?;
    let keys = [id("acme"), slug("shop"), domain("acme.example")];
    for key in &keys {
        leads_nowhere(&check, harness, key).await?;
    }
    put(
        &check,
        harness,
        TenantDraft::new("heir").slug("shop").domain("acme.example"),
    )
    .await?;
    for key in &keys[1..] {
        let found = find(&check, harness, key).await?;
        let is_heir = found.as_ref().is_some_and(|record| record.id == "heir");
        check.that(is_heir, format!("{key} to lead to its new tenant"), found)?;
    }

    if harness.put(TenantDraft::new("acme").into_entry()).await.is_err() {
        // An id that is used up is the best of answers, as long as it is kept.
        leads_nowhere(&check, harness, &id("acme")).await?;
        return Ok(Verdict::Passed);
    }
    let new = find(&check, harness, &id("acme")).await?;
    let (before, now) = (
        old.map(|record| record.incarnation),
        new.map(|record| record.incarnation),
    );
    check.that(
        now.is_some() && now > before,
        format!("an incarnation above {before:?} for an id that is used again"),
        now,
    )?;
    Ok(Verdict::Passed)
}

/// After a backup was restored, a reader that had seen more is told to read everything, also when the log has grown
/// past its place again. Needs [`StoreHarness::back_up`].
///
/// # Errors
/// When the store fails the check.
pub async fn a_restored_backup_is_not_taken_for_growth(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_restored_backup_is_not_taken_for_growth",
        why: "numbers begin again where the backup ends: a reader that trusts them alone goes on from a history that never \
              was, and serves tenants that are gone, for ever. Each number needs a random stamp beside it",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    put(&check, harness, TenantDraft::new("acme")).await?;
    match check.done("backing up", harness.back_up().await)? {
        Offered::Yes => {}
        Offered::No => return Ok(Verdict::NotOffered("back_up and restore")),
    }
    put(&check, harness, TenantDraft::new("lost")).await?;
    put(&check, harness, TenantDraft::new("acme").plan("lost")).await?;
    let lost = newest(&check, harness).await?;
    check.done("restoring", harness.restore().await)?;

    leads_nowhere(&check, harness, &id("lost")).await?;
    reloads(&check, harness, lost, "a reader ahead of a restored log").await?;
    for name in ["other", "another", "third"] {
        put(&check, harness, TenantDraft::new(name)).await?;
        reloads(&check, harness, lost, "a reader of another history").await?;
    }
    Ok(Verdict::Passed)
}

/// A change that took its number and is not committed yet is told once it is, whatever was committed meanwhile.
/// Needs [`StoreHarness::put_held_open`].
///
/// # Errors
/// When the store fails the check.
pub async fn an_uncommitted_change_is_not_skipped(harness: &mut impl StoreHarness) -> CheckResult {
    /// For a write that another one holds up, to show that it is not: a right store passes however long this is.
    const TO_OVERTAKE: Duration = Duration::from_millis(300);

    let check = Check {
        name: "an_uncommitted_change_is_not_skipped",
        why: "numbers of a sequence do not commit in order: a reader that has seen 8 never asks for 7 again, and the \
              tenant of 7 stays as it was. Take the number from one locked row, in the change's own transaction",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    let start = newest(&check, harness).await?;
    let held = harness.put_held_open(TenantDraft::new("slow").into_entry()).await;
    let Some(commit) = check.done("holding a change open", held)? else {
        return Ok(Verdict::NotOffered("put_held_open"));
    };
    leads_nowhere(&check, harness, &id("slow")).await?;

    let harness = &*harness;
    let mut overtaking = pin!(put(&check, harness, TenantDraft::new("fast")));
    let overtaken = tokio::time::timeout(TO_OVERTAKE, overtaking.as_mut()).await;
    let meanwhile = follow(&check, harness, start, 100).await?;
    let told_early = meanwhile
        .changes
        .values()
        .any(|change| change.id == "slow" && change.current.is_some());
    check.that(
        !told_early,
        "nothing of a change that is not committed",
        &meanwhile,
    )?;

    check.done("committing", commit.await)?;
    match overtaken {
        Ok(put) => put?,
        Err(_) => overtaking.await?,
    }
    let after = follow(&check, harness, meanwhile.mark, 100).await?;
    for name in ["slow", "fast"] {
        let told = |changes: &super::changes::Followed| {
            let mut named = changes.changes.values().filter(|change| change.id == name);
            named.any(|change| change.current.is_some())
        };
        check.that(
            told(&meanwhile) || told(&after),
            format!("{name} to be told, before the commit or after it"),
            (&meanwhile, &after),
        )?;
    }
    Ok(Verdict::Passed)
}
