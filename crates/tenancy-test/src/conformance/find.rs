//! What a store finds.

use tenancy_core::{TenantKey, TenantRecord, TenantStatus, TenantStore};

use super::{
    harness::{Offered, StoreHarness},
    report::{Check, CheckResult, Failure, Verdict},
};
use crate::TenantDraft;

/// The grammars of the names in the checks are right: a slug here, a domain there.
pub(super) fn slug(name: &'static str) -> TenantKey<'static> {
    TenantKey::slug(name).unwrap_or_else(|invalid| panic!("{invalid}"))
}

pub(super) fn domain(name: &'static str) -> TenantKey<'static> {
    TenantKey::domain(name).unwrap_or_else(|invalid| panic!("{invalid}"))
}

pub(super) fn id(name: &str) -> TenantKey<'static> {
    TenantKey::new(tenancy_core::KeyKind::Id, name.to_owned().into())
        .unwrap_or_else(|invalid| panic!("{invalid}"))
}

pub(super) async fn put(
    check: &Check,
    harness: &impl StoreHarness,
    draft: TenantDraft,
) -> Result<(), Failure> {
    let entry = draft.into_entry();
    let doing = format!("putting {}", entry.record.id);
    check.done(doing, harness.put(entry).await)
}

pub(super) async fn find(
    check: &Check,
    harness: &impl StoreHarness,
    key: &TenantKey<'_>,
) -> Result<Option<TenantRecord>, Failure> {
    check.done(format!("finding {key}"), harness.store().find(key).await)
}

async fn leads_to(
    check: &Check,
    harness: &impl StoreHarness,
    key: &TenantKey<'_>,
    tenant: &str,
) -> Result<(), Failure> {
    let found = find(check, harness, key).await?;
    let is_it = found.as_ref().is_some_and(|record| record.id == tenant);
    check.that(is_it, format!("{key} to lead to {tenant}"), found)
}

pub(super) async fn leads_nowhere(
    check: &Check,
    harness: &impl StoreHarness,
    key: &TenantKey<'_>,
) -> Result<(), Failure> {
    let found = find(check, harness, key).await?;
    check.that(found.is_none(), format!("Ok(None) for {key}"), found)
}

/// A tenant is found by its id, its slug and each of its domains, and its record is what was put.
///
/// # Errors
/// When the store fails the check.
pub async fn every_key_finds_its_tenant(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "every_key_finds_its_tenant",
        why: "a tenant whose host, slug or id finds nothing is answered with 404, and jobs cannot enter it",
    };
    let acme = TenantDraft::new("acme").slug("acme-shop").plan("pro");
    put(
        &check,
        harness,
        acme.domain("shop.acme.example").domain("acme.example"),
    )
    .await?;
    put(&check, harness, TenantDraft::new("under_score").slug("globex")).await?;
    for key in [
        id("acme"),
        slug("acme-shop"),
        domain("shop.acme.example"),
        domain("acme.example"),
    ] {
        leads_to(&check, harness, &key, "acme").await?;
    }
    for key in [id("under_score"), slug("globex")] {
        leads_to(&check, harness, &key, "under_score").await?;
    }
    let found = find(&check, harness, &id("acme")).await?;
    let as_put = |record: &TenantRecord| {
        record.slug() == "acme-shop"
            && record.plan.as_deref() == Some("pro")
            && record.status == TenantStatus::Active
    };
    check.that(
        found.as_ref().is_some_and(as_put),
        "the slug, plan and status that were put",
        found,
    )?;
    Ok(Verdict::Passed)
}

/// A key that leads to nobody is answered with `Ok(None)`: not with an error, and not with a tenant of a similar name.
///
/// # Errors
/// When the store fails the check.
pub async fn unknown_keys_find_nothing(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "unknown_keys_find_nothing",
        why: "an error is answered with 503 and asked again, so that a scan of unknown hosts looks like an outage; a \
              similar name (case, prefix, a wildcard of LIKE) hands one tenant's data to another's visitors",
    };
    let unknown = [
        id("initech"),
        slug("initech"),
        domain("initech.example"),
        // `_` is any character to LIKE.
        id("_cme"),
        id("acm"),
        id("acme2"),
        slug("acm"),
        domain("acme.exampl"),
        domain("www.acme.example"),
        domain("example"),
    ];
    for key in &unknown {
        leads_nowhere(&check, harness, key).await?;
    }
    put(&check, harness, TenantDraft::new("acme").domain("acme.example")).await?;
    for key in &unknown {
        leads_nowhere(&check, harness, key).await?;
    }
    Ok(Verdict::Passed)
}

/// Keys of different kinds live in different spaces: a domain that is sent where a slug is read finds nothing.
///
/// # Errors
/// When the store fails the check.
pub async fn kinds_of_keys_do_not_meet(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "kinds_of_keys_do_not_meet",
        why: "a client that may write one kind of key, such as a header with a slug, could name a tenant by another \
              kind, and two tenants could claim one text: the id of one as the slug of another",
    };
    let alpha = TenantDraft::new("alpha").slug("beta").domain("gamma");
    put(&check, harness, alpha).await?;
    for key in [
        slug("alpha"),
        slug("gamma"),
        domain("alpha"),
        domain("beta"),
        id("beta"),
        id("gamma"),
    ] {
        leads_nowhere(&check, harness, &key).await?;
    }
    put(&check, harness, TenantDraft::new("beta").slug("alpha")).await?;
    leads_to(&check, harness, &slug("alpha"), "beta").await?;
    leads_to(&check, harness, &slug("beta"), "alpha").await?;
    leads_to(&check, harness, &id("beta"), "beta").await?;
    Ok(Verdict::Passed)
}

/// Tenants of every status are found, with their status: what becomes of them is the gate's to say.
///
/// # Errors
/// When the store fails the check.
pub async fn every_status_is_found(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "every_status_is_found",
        why: "a store that leaves out suspended tenants makes the gate's 403 a 404, lets their slug be given away, and \
              lets a tenant that was suspended just now be served as if it were only unknown to the store",
    };
    let statuses = [
        ("is-active", TenantStatus::Active),
        ("is-pending", TenantStatus::Pending),
        ("is-suspended", TenantStatus::Suspended),
        ("is-deleted", TenantStatus::Deleted),
    ];
    for (name, status) in statuses {
        put(&check, harness, TenantDraft::new(name).status(status)).await?;
    }
    for (name, status) in statuses {
        for key in [id(name), slug(name)] {
            let found = find(&check, harness, &key).await?;
            let is_it = found.as_ref().is_some_and(|record| record.status == status);
            check.that(
                is_it,
                format!("{key} to lead to a tenant that is {status}"),
                found,
            )?;
        }
    }
    Ok(Verdict::Passed)
}

/// A domain or a slug that was taken away leads nowhere, and one that was given to another tenant leads there.
///
/// # Errors
/// When the store fails the check.
pub async fn a_key_that_was_taken_away_leads_nowhere(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "a_key_that_was_taken_away_leads_nowhere",
        why: "whoever holds a domain now would be served the data of whoever held it before",
    };
    let acme = || TenantDraft::new("acme");
    put(
        &check,
        harness,
        acme()
            .slug("old")
            .domain("moving.example")
            .domain("going.example"),
    )
    .await?;
    put(&check, harness, acme().slug("new")).await?;
    for key in [slug("old"), domain("moving.example"), domain("going.example")] {
        leads_nowhere(&check, harness, &key).await?;
    }
    leads_to(&check, harness, &slug("new"), "acme").await?;

    put(
        &check,
        harness,
        TenantDraft::new("globex").slug("old").domain("moving.example"),
    )
    .await?;
    for key in [slug("old"), domain("moving.example")] {
        leads_to(&check, harness, &key, "globex").await?;
    }
    Ok(Verdict::Passed)
}

/// A store that cannot tell says so with an error. Needs [`StoreHarness::break_down`].
///
/// # Errors
/// When the store fails the check.
pub async fn trouble_is_never_absence(harness: &mut impl StoreHarness) -> CheckResult {
    let check = Check {
        name: "trouble_is_never_absence",
        why: "`Ok(None)` is answered with 404 and remembered: an outage of the store would tell every customer, and \
              every search engine, that they are gone. 503 says: come back",
    };
    put(&check, harness, TenantDraft::new("acme")).await?;
    match check.done("taking the store away", harness.break_down().await)? {
        Offered::Yes => {}
        Offered::No => return Ok(Verdict::NotOffered("break_down")),
    }
    for key in [
        id("acme"),
        slug("acme"),
        slug("initech"),
        domain("initech.example"),
    ] {
        let found = harness.store().find(&key).await;
        check.that(found.is_err(), format!("an error for {key}"), found)?;
    }
    if harness.store().signal().is_some() {
        let listed = harness.store().list(None, 10).await;
        check.that(listed.is_err(), "an error instead of a list", listed)?;
    }
    Ok(Verdict::Passed)
}
