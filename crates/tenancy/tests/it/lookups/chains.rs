//! Several identifiers in one request: what comes of them does not depend on what happens to be known.

use axum::{body::Body, extract::Request};
use proptest::prelude::*;
use tenancy::{
    MemoryStore, Tenancy,
    core::TenantStore,
    resolve::{Chain, ConflictPolicy, DomainOrSubdomain, Header, Query},
};

use super::{
    Hand, Seen, Service, slug,
    stores::{entry, suspend},
    without_budget,
};
use crate::support::faulty::FaultyStore;

fn chain(policy: ConflictPolicy) -> Chain {
    Chain::new(policy)
        .with(DomainOrSubdomain::of("example.com").unwrap())
        .unwrap()
        .with(Header::named("x-tenant").unwrap())
        .unwrap()
        .with(Query::named("tenant").unwrap().as_id())
        .unwrap()
}

async fn tenants() -> MemoryStore {
    let acme = entry("acme", &[slug("acme-shop"), super::domain("shop.acme.test")]);
    let store = MemoryStore::from_entries([acme, entry("globex", &[]), entry("asleep", &[])]).unwrap();
    suspend(&store, "asleep").await;
    store
}

fn service(policy: ConflictPolicy, store: impl TenantStore) -> Service {
    let builder = Tenancy::builder(chain(policy), store);
    Service::built(
        builder
            .central_hosts(["example.com"])
            .resolve_settings(without_budget())
            .clock(Hand::default()),
    )
}

/// A request by what it says: host, header, query. Empty for nothing.
#[derive(Clone, Copy, Debug)]
struct Named<'a>(&'a str, &'a str, &'a str);

impl Named<'_> {
    fn request(self) -> Request {
        let Self(host, header, query) = self;
        let target = if query.is_empty() {
            "/".to_owned()
        } else {
            format!("/?tenant={query}")
        };
        let mut request = Request::get(target).header("host", host);
        if !header.is_empty() {
            request = request.header("x-tenant", header);
        }
        request.body(Body::empty()).unwrap()
    }
}

/// Status, tenant, and the identifier that decided.
fn outcome(seen: &Seen) -> String {
    let status = seen.status.as_u16();
    match &seen.resolution {
        Some(resolution) => {
            let tenant = resolution.tenant().unwrap();
            let by = resolution.identifier().unwrap().split(' ').next().unwrap();
            format!("{status} {tenant} by {by}")
        }
        None => status.to_string(),
    }
}

async fn warm(policy: ConflictPolicy, named: Named<'_>) -> String {
    let service = service(policy, tenants().await);
    service.tenancy.ready().await;
    outcome(&service.send(named.request()).await)
}

async fn cold(policy: ConflictPolicy, named: Named<'_>) -> String {
    let service = service(policy, FaultyStore::new(tenants().await).finding_only());
    outcome(&service.send(named.request()).await)
}

/// Cold, but for what this other request has made known.
async fn lukewarm(policy: ConflictPolicy, before: Named<'_>, named: Named<'_>) -> String {
    let service = service(policy, FaultyStore::new(tenants().await).finding_only());
    let _ = service.send(before.request()).await;
    outcome(&service.send(named.request()).await)
}

#[tokio::test(start_paused = true)]
async fn those_who_agree_pass_and_all_others_are_refused() {
    use ConflictPolicy::{AgreeOrRefuse, FirstPresent};
    for (named, expected, first_present) in [
        (
            Named("acme.example.com", "", ""),
            "200 acme by domain",
            "200 acme by domain",
        ),
        (
            Named("acme.example.com", "acme-shop", "acme"),
            "200 acme by domain",
            "200 acme by domain",
        ),
        (
            Named("shop.acme.test", "acme", ""),
            "200 acme by domain",
            "200 acme by domain",
        ),
        (
            Named("example.com", "acme-shop", ""),
            "200 acme by header",
            "200 acme by header",
        ),
        (
            Named("example.com", "", "acme"),
            "200 acme by query",
            "200 acme by query",
        ),
        (
            Named("example.com", "acme", "acme"),
            "200 acme by header",
            "200 acme by header",
        ),
        (Named("example.com", "", ""), "200", "200"),
        (
            Named("acme.example.com", "globex", ""),
            "400",
            "200 acme by domain",
        ),
        (
            Named("acme.example.com", "acme", "globex"),
            "400",
            "200 acme by domain",
        ),
        (
            Named("example.com", "acme", "globex"),
            "400",
            "200 acme by header",
        ),
        (
            Named("acme.example.com", "nobody", ""),
            "404",
            "200 acme by domain",
        ),
        (Named("nobody.example.com", "acme", ""), "404", "404"),
        (Named("nobody.example.com", "ACME", ""), "404", "404"),
        (Named("acme.example.com", "ACME", ""), "400", "200 acme by domain"),
        (
            Named("acme.example.com", "nobody", "globex"),
            "404",
            "200 acme by domain",
        ),
        (
            Named("acme.example.com", "globex", "nobody"),
            "400",
            "200 acme by domain",
        ),
        (Named("asleep.example.com", "asleep", ""), "403", "403"),
        (Named("asleep.example.com", "acme", ""), "400", "403"),
    ] {
        for (policy, expected) in [(AgreeOrRefuse, expected), (FirstPresent, first_present)] {
            assert_eq!(warm(policy, named).await, expected, "warm {policy:?} {named:?}");
            assert_eq!(cold(policy, named).await, expected, "cold {policy:?} {named:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_for_no_more_than_it_takes() {
    let store = FaultyStore::new(tenants().await).finding_only();
    let agree = service(ConflictPolicy::AgreeOrRefuse, store.clone());
    let all = Named("nobody.example.com", "acme", "globex");
    assert_eq!(outcome(&agree.send(all.request()).await), "404");
    assert_eq!(store.finds(), 1, "the first one ends it");
    let first = service(ConflictPolicy::FirstPresent, store.clone());
    let all = Named("acme.example.com", "globex", "nobody");
    assert_eq!(outcome(&first.send(all.request()).await), "200 acme by domain");
    assert_eq!(store.finds(), 2, "the others are not looked at");
}

#[tokio::test(start_paused = true)]
async fn one_that_could_not_be_told_refuses_the_request_whatever_the_others_say() {
    let store = FaultyStore::new(tenants().await).finding_only();
    let service = service(ConflictPolicy::AgreeOrRefuse, store.clone());
    let known = Named("acme.example.com", "", "");
    assert_eq!(
        outcome(&service.send(known.request()).await),
        "200 acme by domain"
    );
    store.fail(true);
    let both = Named("acme.example.com", "acme-shop", "");
    assert_eq!(service.send(both.request()).await.to_string(), "503 retry 1");
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "acme.example.com",
        "globex.example.com",
        "asleep.example.com",
        "nobody.example.com",
        "a_b.example.com",
        "example.com",
        "shop.acme.test",
        "other.test",
        "127.0.0.1",
        "a..b",
    ])
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "acme",
        "acme-shop",
        "globex",
        "asleep",
        "nobody",
        "ACME",
    ])
}

fn policy() -> impl Strategy<Value = ConflictPolicy> {
    prop::sample::select(vec![ConflictPolicy::AgreeOrRefuse, ConflictPolicy::FirstPresent])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::CASES))]

    #[test]
    fn warm_and_cold_and_half_known_give_the_same(
        (policy, host, header, query) in (policy(), host(), value(), value()),
        before in (host(), value(), value()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let named = Named(host, header, query);
        let before = Named(before.0, before.1, before.2);
        let (warm, cold, lukewarm) = runtime.block_on(async {
            (
                warm(policy, named).await,
                cold(policy, named).await,
                lukewarm(policy, before, named).await,
            )
        });
        prop_assert_eq!(&cold, &warm);
        prop_assert_eq!(&lukewarm, &warm);
    }
}
