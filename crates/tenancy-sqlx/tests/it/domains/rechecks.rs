use axum::http::StatusCode;
use tenancy::{
    domains::{CheckAnswer, DomainEffect},
    schedule::{MemoryLocks, TenantJob},
};
use tenancy_core::LockStore as _;

use super::{Process, Says, place};
use crate::support::id;

fn could_not_tell() -> Says {
    Says {
        answer: CheckAnswer::could_not_tell("the name server is away"),
        shows_control: true,
    }
}

#[tokio::test]
async fn a_recheck_reports_and_takes_nothing_away_unless_the_operator_said_so() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    process.claim("acme", "shop.test").await.unwrap();
    process
        .verify("acme", "shop.test", &Says::proven())
        .await
        .unwrap();
    let numbers = process.kinds_of_changes().await.len();
    for failures in 1..=10 {
        let reports = process
            .domains
            .recheck(&id("acme"), &Says::not_yet())
            .await
            .unwrap();
        assert_eq!(
            (reports[0].failures, reports[0].effect),
            (failures, DomainEffect::None)
        );
    }
    assert_eq!(process.leads_to("shop.test").await.as_deref(), Ok("acme"));
    assert_eq!(
        process.kinds_of_changes().await.len(),
        numbers,
        "reports take no numbers"
    );
    assert_eq!(
        process.events.lock().unwrap().last().unwrap(),
        "acme shop.test not_yet none"
    );
    let reports = process
        .domains
        .recheck(&id("acme"), &Says::proven())
        .await
        .unwrap();
    assert_eq!(reports[0].failures, 0);
}

#[tokio::test]
async fn a_domain_that_fails_too_often_is_not_served_until_it_is_proven_again() {
    let (place, clock) = place().await;
    let mut process = Process::start(&place, &clock).await;
    let other = Process::start(&place, &clock).await;
    process.domains = process.domains.unserve_after(3);
    process.claim("acme", "shop.test").await.unwrap();
    process
        .verify("acme", "shop.test", &Says::proven())
        .await
        .unwrap();
    let mut effects = Vec::new();
    for check in [
        Says::not_yet(),
        Says::not_yet(),
        // Counts for nothing, neither way.
        could_not_tell(),
        Says::not_yet(),
        Says::not_yet(),
    ] {
        let reports = process.domains.recheck(&id("acme"), &check).await.unwrap();
        effects.push(reports[0].effect);
    }
    use DomainEffect::{None, ServedAgain, Unserved};
    assert_eq!(effects, [None, None, None, Unserved, None]);
    assert_eq!(process.leads_to("shop.test").await, Err(StatusCode::NOT_FOUND));
    other.until("shop.test", Err(StatusCode::NOT_FOUND)).await;
    let refused = process.claim("globex", "shop.test").await.unwrap_err();
    assert!(refused.is_conflict(), "it stays acme's: {refused:?}");

    let reports = process
        .domains
        .recheck(&id("acme"), &Says::proven())
        .await
        .unwrap();
    assert_eq!(reports[0].effect, ServedAgain);
    other.until("shop.test", Ok("acme")).await;
    let kinds = process.kinds_of_changes().await;
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["verify_domain", "unserve_domain", "serve_domain"]
    );
}

#[tokio::test]
async fn rechecks_of_all_run_under_a_lock_for_each_tenant() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    for (tenant, domain) in [("acme", "a.test"), ("globex", "g.test")] {
        process.claim(tenant, domain).await.unwrap();
        process.verify(tenant, domain, &Says::proven()).await.unwrap();
    }
    // Given by an operator: there is nothing to check.
    process
        .store
        .add_domain(&id("acme"), "by-hand.test", false)
        .await
        .unwrap();
    process.events.lock().unwrap().clear();
    let locks = MemoryLocks::new();
    let incarnation = process.tenancy.enter(&id("globex")).await.unwrap().incarnation();
    let held = format!("job:globex:{incarnation}:domains");
    assert!(
        locks
            .try_acquire(&held, "another process", std::time::Duration::from_secs(60))
            .await
            .unwrap()
    );
    let job = TenantJob::new("domains", locks);
    let outcomes = process
        .domains
        .recheck_all(&process.tenancy, &job, Says::not_yet())
        .await
        .unwrap();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes[0].result.is_ok());
    assert!(outcomes[1].result.as_ref().unwrap_err().is_held_elsewhere());
    assert_eq!(*process.events.lock().unwrap(), ["acme a.test not_yet none"]);
}
