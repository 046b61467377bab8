//! What a store lists.

use std::collections::BTreeSet;

use tenancy_core::{TenantEntry, TenantId, TenantPage, TenantStatus, TenantStore};

use super::{
    find::{find, id, put},
    harness::StoreHarness,
    report::{Check, CheckResult, Failure, Verdict},
};
use crate::TenantDraft;

pub(super) const UNWATCHED: Verdict =
    Verdict::NotOffered("a store that can be watched: signal, list, changes");

/// More pages than any check has tenants.
const MOST_PAGES: usize = 100;

async fn page(
    check: &Check,
    harness: &impl StoreHarness,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<TenantPage, Failure> {
    let page = check.done("listing", harness.store().list(after, limit).await)?;
    check.that(
        page.entries.len() <= limit,
        format!("at most {limit} tenants on a page"),
        page.entries.len(),
    )?;
    Ok(page)
}

/// All pages of a list. Ids must grow over all of them.
async fn list(check: &Check, harness: &impl StoreHarness, limit: usize) -> Result<Vec<TenantEntry>, Failure> {
    let mut entries: Vec<TenantEntry> = Vec::new();
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = page(check, harness, after.as_ref(), limit).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            let ids: Vec<_> = entries.iter().map(|entry| entry.record.id.clone()).collect();
            let grows = ids.is_sorted_by(|a, b| a < b);
            check.that(grows, "ids that grow over all pages, each once", ids)?;
            return Ok(entries);
        }
    }
    Err(check.failure(
        "a last page, with `next` empty",
        format!("{MOST_PAGES} pages and no end"),
    ))
}

/// Pages of every size add up to all tenants, of every status, each once, in the order of their ids, with all keys.
///
/// # Errors
/// When the store fails the check.
pub async fn the_list_is_complete_and_in_order(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "the_list_is_complete_and_in_order",
        why: "the list is what a stack knows: a tenant or a key that is missing in it is 404 for all its users, without \
              a question to the store",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    let names = ["a", "a-1", "a_1", "b", "c", "d", "e"];
    let statuses = [
        TenantStatus::Active,
        TenantStatus::Suspended,
        TenantStatus::Deleted,
        TenantStatus::Pending,
    ];
    // Put in another order than that of the ids.
    for (name, status) in names.into_iter().rev().zip(statuses.into_iter().cycle()) {
        let draft = TenantDraft::new(name).slug(&format!("slug-{}", name.replace('_', "-x-")));
        put(
            &check,
            harness,
            draft
                .status(status)
                .domain(&format!("{}.example", name.replace('_', "-x-"))),
        )
        .await?;
    }
    for limit in [1, 2, 3, 7, 100] {
        let entries = list(&check, harness, limit).await?;
        let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.record.id.as_str()).collect();
        check.that(
            listed == BTreeSet::from(names),
            format!("all of {names:?} in pages of {limit}"),
            listed,
        )?;
        for entry in entries {
            has_all_of_it(&check, harness, &entry).await?;
        }
    }
    Ok(Verdict::Passed)
}

/// What is listed is what is found, and every key is there.
async fn has_all_of_it(
    check: &Check,
    harness: &impl StoreHarness,
    entry: &TenantEntry,
) -> Result<(), Failure> {
    let name = entry.record.id.as_str();
    let found = find(check, harness, &id(name)).await?;
    check.that(
        found.as_ref() == Some(&entry.record),
        format!("{name} to be listed as it is found: {found:?}"),
        &entry.record,
    )?;
    let plain = name.replace('_', "-x-");
    let text: BTreeSet<String> = entry.keys.iter().map(ToString::to_string).collect();
    for key in [format!("slug:slug-{plain}"), format!("domain:{plain}.example")] {
        check.that(
            text.contains(&key),
            format!("{key} among the listed keys of {name}"),
            &text,
        )?;
    }
    Ok(())
}

/// Tenants that are there throughout are listed once, whatever comes and goes between two pages.
///
/// # Errors
/// When the store fails the check.
pub async fn a_list_read_while_tenants_change_misses_none(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_list_read_while_tenants_change_misses_none",
        why: "pages cut by position shift when a tenant comes or goes between two of them: one is skipped, and is 404 \
              until the next reload; nobody can tell from the outside. Cut them by id",
    };
    if harness.store().signal().is_none() {
        return Ok(UNWATCHED);
    }
    for name in ["b", "c", "d", "e", "f", "g"] {
        put(&check, harness, TenantDraft::new(name)).await?;
    }
    let mut seen = Vec::new();
    let first = page(&check, harness, None, 2).await?;
    seen.extend(first.entries);
    // The one that the next page begins after goes, and one comes before it.
    purge(&check, harness, "c").await?;
    let second = page(&check, harness, first.next.as_ref(), 2).await?;
    seen.extend(second.entries);
    put(&check, harness, TenantDraft::new("a")).await?;
    put(&check, harness, TenantDraft::new("bb")).await?;
    let mut after = second.next;
    for _ in 0..MOST_PAGES {
        let Some(from) = after else { break };
        let page = page(&check, harness, Some(&from), 2).await?;
        seen.extend(page.entries);
        after = page.next;
    }
    let listed: Vec<&str> = seen.iter().map(|entry| entry.record.id.as_str()).collect();
    for name in ["b", "d", "e", "f", "g"] {
        let times = listed.iter().filter(|listed| **listed == name).count();
        check.that(
            times == 1,
            format!("{name}, there throughout, to be listed once"),
            &listed,
        )?;
    }
    Ok(Verdict::Passed)
}

pub(super) async fn purge(check: &Check, harness: &impl StoreHarness, name: &str) -> Result<(), Failure> {
    let id = TenantId::new(name).unwrap_or_else(|invalid| panic!("{invalid}"));
    check.done(format!("purging {name}"), harness.purge(&id).await)
}
