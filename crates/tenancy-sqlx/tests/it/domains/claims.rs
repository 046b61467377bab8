use std::time::Duration;

use axum::http::StatusCode;
use tenancy::domains::{ClaimStore as _, Domains, Verification};
use tenancy_sqlx::store::SqlStore;

use super::{Process, Says, place};
use crate::support::{Place, id, run, with_domains};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_claim_leads_nowhere_and_blocks_nobody_until_it_is_proven() {
    let (place, clock) = place().await;
    let (here, there) = (
        Process::start(&place, &clock).await,
        Process::start(&place, &clock).await,
    );
    let claim = here.claim("acme", "Bücher.Shop.test.").await.unwrap();
    assert_eq!(claim.domain, "xn--bcher-kva.shop.test");
    assert_eq!(claim.made_by.as_deref(), Some("ada"));
    assert_eq!(claim.token.len(), 32);
    let rival = there.claim("globex", "bücher.shop.test").await.unwrap();
    assert_ne!(claim.token, rival.token);
    for process in [&here, &there] {
        assert_eq!(process.leads_to(&claim.domain).await, Err(StatusCode::NOT_FOUND));
        assert_eq!(process.store.get_by_domain(&claim.domain).await.unwrap(), None);
    }
    // An operator is not held up by claims, and theirs is the last word.
    let before = here.kinds_of_changes().await;
    here.store
        .add_domain(&id("globex"), "other.test", false)
        .await
        .unwrap();
    assert_eq!(
        before.len() + 1,
        here.kinds_of_changes().await.len(),
        "claims take no numbers"
    );

    let outcome = here
        .verify("acme", "BÜCHER.shop.test", &Says::not_yet())
        .await
        .unwrap();
    assert!(matches!(outcome, Verification::NotYet { ref reason } if reason == "nothing is there"));
    let noted = here.domains.claims(Some(&id("acme")), None).await.unwrap();
    assert_eq!(noted[0].last_error.as_deref(), Some("nothing is there"));
    assert!(noted[0].last_checked_ms.is_some());
    assert_eq!(here.leads_to(&claim.domain).await, Err(StatusCode::NOT_FOUND));

    let outcome = here.verify("acme", &claim.domain, &Says::proven()).await.unwrap();
    assert!(outcome.is_verified());
    assert_eq!(
        here.leads_to(&claim.domain).await.as_deref(),
        Ok("acme"),
        "seen by the very next request"
    );
    there.until(&claim.domain, Ok("acme")).await;

    let last = here.store.changes_since(0, 100).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.actor.as_deref()),
        ("verify_domain", Some("ada"))
    );
    assert_eq!(last.keys, r#"["domain:xn--bcher-kva.shop.test"]"#);
    assert!(
        here.domains.claims(None, None).await.unwrap().is_empty(),
        "all claims of it have ended"
    );
    let again = here
        .verify("acme", &claim.domain, &Says::not_yet())
        .await
        .unwrap();
    assert!(again.is_verified(), "who asks twice is told the same");
    assert_eq!(
        *here.events.lock().unwrap(),
        [
            "acme xn--bcher-kva.shop.test not_yet none",
            "acme xn--bcher-kva.shop.test proven verified"
        ]
    );
}

#[tokio::test]
async fn a_claim_takes_no_domain_from_the_tenant_that_has_it() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let store = &process.store;
    process.claim("globex", "shop.test").await.unwrap();
    store.add_domain(&id("acme"), "shop.test", true).await.unwrap();
    assert!(
        process.domains.claims(None, None).await.unwrap().is_empty(),
        "given away, the claim ends"
    );

    let refused = process.claim("globex", "shop.test").await.unwrap_err();
    assert!(refused.is_conflict(), "{refused:?}");
    assert!(
        !refused.to_string().contains("acme"),
        "a client is told of no other tenant"
    );
    let refused = process
        .verify("globex", "shop.test", &Says::proven())
        .await
        .unwrap_err();
    assert!(refused.is_not_found(), "{refused:?}");
    // A claim from before, as a program of version 1 could not have ended it without the trigger.
    let mut raw = place.raw().await;
    run(
        &mut raw,
        "INSERT INTO tenancy_domain_claims VALUES
         ('globex', 'shop.test', '0123456789abcdef0123456789abcdef', NULL, 0, 9000000000000, NULL, NULL)",
    )
    .await;
    let refused = process
        .verify("globex", "shop.test", &Says::proven())
        .await
        .unwrap_err();
    assert!(refused.is_conflict(), "{refused:?}");
    assert_eq!(process.leads_to("shop.test").await.as_deref(), Ok("acme"));

    // Deleted tenants keep their names.
    store.delete(&id("acme")).await.unwrap();
    assert!(
        process
            .claim("globex", "shop.test")
            .await
            .unwrap_err()
            .is_conflict()
    );
    assert!(process.claim("acme", "new.test").await.unwrap_err().is_conflict());
    assert!(
        process
            .claim("nobody", "new.test")
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn what_merely_points_here_decides_nothing_between_tenants() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    for tenant in ["acme", "globex"] {
        process.claim(tenant, "shop.test").await.unwrap();
    }
    let contested = |outcome: Verification| matches!(outcome, Verification::NotYet { reason } if reason.contains("only a DNS record"));
    assert!(contested(
        process
            .verify("globex", "shop.test", &Says::points_here())
            .await
            .unwrap()
    ));
    process.domains.unclaim(&id("acme"), "shop.test").await.unwrap();
    assert!(
        process
            .verify("globex", "shop.test", &Says::points_here())
            .await
            .unwrap()
            .is_verified()
    );

    // A name that was taken away, and still points here, does not go to whoever comes next.
    process
        .store
        .remove_domain(&id("globex"), "shop.test")
        .await
        .unwrap();
    process.claim("acme", "shop.test").await.unwrap();
    assert!(contested(
        process
            .verify("acme", "shop.test", &Says::points_here())
            .await
            .unwrap()
    ));
    process.claim("globex", "shop.test").await.unwrap();
    assert!(
        process
            .verify("acme", "shop.test", &Says::proven())
            .await
            .unwrap()
            .is_verified()
    );
}

#[tokio::test]
async fn claims_are_bounded_and_expire() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let domain = |n: u32| format!("d{n}.test");
    for n in 0..20 {
        process.claim("acme", &domain(n)).await.unwrap();
    }
    let refused = process.claim("acme", &domain(20)).await.unwrap_err();
    assert!(refused.is_too_many(), "{refused:?}");
    let first = process.claim("acme", &domain(0)).await.unwrap();
    assert_eq!(
        first,
        process.claim("acme", &domain(0)).await.unwrap(),
        "the one there is"
    );
    process.claim("globex", &domain(20)).await.unwrap();

    clock.0.advance(7 * DAY - Duration::from_millis(1));
    assert!(
        process
            .verify("acme", &domain(1), &Says::proven())
            .await
            .unwrap()
            .is_verified()
    );
    clock.0.advance(Duration::from_millis(1));
    let refused = process
        .verify("acme", &domain(0), &Says::proven())
        .await
        .unwrap_err();
    assert!(refused.is_expired(), "{refused:?}");
    assert_eq!(process.leads_to(&domain(0)).await, Err(StatusCode::NOT_FOUND));
    let anew = process.claim("acme", &domain(0)).await.unwrap();
    assert_ne!(anew.token, first.token);

    clock.0.advance(8 * DAY);
    process.claim("globex", "last.test").await.unwrap();
    let left = process.domains.claims(None, None).await.unwrap();
    let left: Vec<_> = left.iter().map(|claim| claim.domain.as_str()).collect();
    assert_eq!(
        left,
        [domain(0).as_str(), "last.test"],
        "long expired ones are gone"
    );
}

#[tokio::test]
async fn names_that_are_nobodys_or_the_services_own_are_refused() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let too_long = format!("{}.test", ["a"; 116].join("."));
    for bad in [
        "app.test",
        "ACME.app.test.",
        "a.b.app.test",
        "www.service.test",
        "com",
        "co.uk",
        "github.io",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "*.shop.test",
        "shop.test:80",
        "shop test",
        "",
        &too_long,
    ] {
        let refused = process.claim("acme", bad).await.unwrap_err();
        assert!(refused.is_invalid(), "{bad}: {refused:?}");
        assert!(bad.is_empty() || !refused.to_string().contains(bad));
    }
    for good in ["notapp.test", "service.test", "shop.github.io"] {
        process.claim("acme", good).await.unwrap();
    }
}

#[tokio::test]
async fn claims_end_with_their_tenant_and_are_listed_page_by_page() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    for (tenant, domain) in [("globex", "b.test"), ("acme", "z.test"), ("acme", "a.test")] {
        process.claim(tenant, domain).await.unwrap();
    }
    let mut found = Vec::new();
    let mut after: Option<tenancy::domains::DomainClaim> = None;
    loop {
        let from = after.as_ref().map(|claim| (&claim.tenant, claim.domain.as_str()));
        let page = process.store.claims(None, from, 1).await.unwrap();
        let Some(claim) = page.into_iter().next() else {
            break;
        };
        found.push(format!("{} {}", claim.tenant, claim.domain));
        after = Some(claim);
    }
    assert_eq!(found, ["acme a.test", "acme z.test", "globex b.test"]);
    process.store.force_purge(&id("acme")).await.unwrap();
    let left = process.domains.claims(None, None).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].tenant, "globex");
    assert!(
        process
            .domains
            .unclaim(&id("globex"), "z.test")
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn a_catalogue_of_version_1_is_read_as_it_is_and_brought_up_to_date_by_a_writer() {
    let place = Place::new();
    {
        let store = place.open().await;
        store.create(with_domains("acme", &["shop.test"])).await.unwrap();
        store.close().await;
        let mut raw = place.raw().await;
        run(
            &mut raw,
            "DROP TRIGGER tenancy_domain_given; DROP TRIGGER tenancy_domain_taken_away;
             DROP TABLE tenancy_domain_claims; DROP TABLE tenancy_domain_proofs; DROP TABLE tenancy_former_domains;
             DELETE FROM tenancy_schema WHERE version = 2",
        )
        .await;
    }
    let reading = SqlStore::open(place.options().read_only()).await.unwrap();
    assert!(reading.get_by_domain("shop.test").await.unwrap().is_some());
    let domains = Domains::new(reading.clone());
    assert!(domains.claims(None, None).await.unwrap().is_empty());
    assert!(
        domains
            .claim(&id("acme"), "new.test")
            .await
            .unwrap_err()
            .is_unavailable()
    );

    let managing = place.open().await;
    let status = managing.status().await.unwrap();
    assert_eq!((status.schema_version, status.oldest_reader), (3, 1));
    Domains::new(managing)
        .claim(&id("acme"), "new.test")
        .await
        .unwrap();
    assert_eq!(domains.claims(None, None).await.unwrap().len(), 1);
}
