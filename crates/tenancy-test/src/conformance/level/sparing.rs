//! What processes spare each other.

use std::time::Duration;

use tenancy::cache::shared::{Claim, HOTTEST, ProcessReport, ScopeName};

use super::{
    harness::LevelHarness,
    process::{Process, acme},
};
use crate::conformance::report::{Check, CheckResult, Verdict};

const LONG: Duration = Duration::from_secs(600);

fn claim(by: u64) -> Claim {
    Claim {
        scope: acme(),
        what: "warm:settings".to_owned(),
        by,
    }
}

/// What one process has claimed another does not get before it is given back, and nobody else can give it back.
///
/// # Errors
/// When the level fails the check.
pub async fn a_claim_is_one_processes_at_a_time(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_claim_is_one_processes_at_a_time",
        why: "a claim is what lets one process load what all need: without it a deploy loads everything as many times as there \
              are processes",
    };
    let (here, there) = Process::two(&check, harness).await?;
    check.that(
        here.claim(&claim(1), LONG).await?,
        "the first claim to be granted",
        false,
    )?;
    if there.claim(&claim(2), LONG).await? && there.claim(&claim(3), LONG).await? {
        return Ok(Verdict::NotOffered("claims"));
    }
    check.that(
        here.claim(&claim(1), LONG).await?,
        "who has it to get it again",
        false,
    )?;
    there.release(&claim(2)).await?;
    check.that(
        !there.claim(&claim(2), LONG).await?,
        "what another one gave back to be claimed still",
        true,
    )?;
    let elsewhere = Claim {
        scope: ScopeName::for_tests("globex:1"),
        ..claim(2)
    };
    check.that(
        there.claim(&elsewhere, LONG).await?,
        "claims of two scopes not to meet",
        false,
    )?;
    let other = Claim {
        what: "warm:counts".to_owned(),
        ..claim(2)
    };
    check.that(
        there.claim(&other, LONG).await?,
        "claims of two things not to meet",
        false,
    )?;
    here.release(&claim(1)).await?;
    check.that(
        there.claim(&claim(2), LONG).await?,
        "what was given back to be free",
        false,
    )?;
    Ok(Verdict::Passed)
}

/// A claim that nobody gives back ends after its time.
///
/// # Errors
/// When the level fails the check.
pub async fn a_claim_ends_by_itself(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "a_claim_ends_by_itself",
        why: "a process that ends while it loads does not give its claim back: the others would wait for it each time",
    };
    let (here, there) = Process::two(&check, harness).await?;
    here.claim(&claim(1), Duration::from_millis(50)).await?;
    for _ in 0..500 {
        if there.claim(&claim(2), LONG).await? {
            return Ok(Verdict::Passed);
        }
        check.done("waiting", harness.pass(Duration::from_millis(20)).await)?;
    }
    Err(check.failure("the claim to end after 50 ms", "it is still there after 10 s"))
}

/// The scopes that are used most are told first, and no more than [`HOTTEST`] are kept.
///
/// # Errors
/// When the level fails the check.
pub async fn the_scopes_used_most_are_hottest(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "the_scopes_used_most_are_hottest",
        why: "after a deploy those are warmed first that are asked for first; and what is kept of tenants must have an end",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let scope = |number: usize| ScopeName::for_tests(&format!("t{number}:1"));
    here.heat(&[(scope(1), 5), (scope(2), 4)]).await?;
    there.heat(&[(scope(2), 4), (scope(3), 1)]).await?;
    let hottest = here.hottest(2).await?;
    if hottest.is_empty() {
        return Ok(Verdict::NotOffered("heat"));
    }
    let expected = vec![scope(2), scope(1)];
    check.that(hottest == expected, format!("{expected:?}"), &hottest)?;
    let many: Vec<_> = (10..HOTTEST + 20).map(|number| (scope(number), 2)).collect();
    here.heat(&many).await?;
    let all = there.hottest(2 * HOTTEST).await?;
    check.that(all.len() == HOTTEST, format!("{HOTTEST} scopes"), all.len())?;
    let is_right = all.starts_with(&expected) && !all.contains(&scope(3));
    check.that(is_right, "those that were used most", &all[..2])?;
    Ok(Verdict::Passed)
}

/// What processes tell of a scope is found, the newest of each, and of no other scope.
///
/// # Errors
/// When the level fails the check.
pub async fn what_processes_tell_is_found(harness: &mut impl LevelHarness) -> CheckResult {
    let check = Check {
        name: "what_processes_tell_is_found",
        why: "operators look at what all processes have counted of a tenant: of one that is counted twice, or left out, the sum \
              is wrong",
    };
    let (here, there) = Process::two(&check, harness).await?;
    let report = |process: u64, scope: &str, text: &str| ProcessReport {
        scope: ScopeName::for_tests(scope),
        process,
        text: text.to_owned(),
    };
    let first = report(u64::MAX, "acme:1", "{\"a\": 1}");
    here.report(&[first, report(7, "globex:1", "elsewhere")], LONG)
        .await?;
    let mut found = there.reports(&acme()).await?;
    if found.is_empty() {
        return Ok(Verdict::NotOffered("reports"));
    }
    let expected = vec![
        report(7, "acme:1", "two words"),
        report(u64::MAX, "acme:1", "newer"),
    ];
    there.report(&expected[..1], LONG).await?;
    here.report(&expected[1..], LONG).await?;
    found = there.reports(&acme()).await?;
    found.sort_by_key(|report| report.process);
    check.that(found == expected, format!("{expected:?}"), &found)?;
    Ok(Verdict::Passed)
}
