//! `explain` says what a real request gets.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Version},
};
use proptest::prelude::*;
use tenancy::{
    MemoryStore, Tenancy,
    core::{Maintenance, TenantStatus, TenantStore},
    gate::GatePolicy,
    resolve::{Chain, ConflictPolicy, DomainOrSubdomain, Explanation, Header, PathSegment},
};

use super::{Hand, Service, domain, id, stores::entry, without_budget};
use crate::support::{faulty::FaultyStore, get};

async fn tenants() -> MemoryStore {
    let store = MemoryStore::from_entries([
        entry("acme", &[domain("shop.acme.test")]),
        entry("globex", &[]),
        entry("asleep", &[]),
        entry("unborn", &[]),
        entry("gone", &[]),
        entry("closed", &[]),
        entry("moved", &[]),
    ])
    .unwrap();
    for (tenant, status) in [
        ("asleep", TenantStatus::Suspended),
        ("unborn", TenantStatus::Pending),
        ("gone", TenantStatus::Deleted),
    ] {
        store.set_status(&id(tenant), status).await.unwrap();
    }
    let mut maintenance = Maintenance::default();
    let closed = maintenance.clone();
    store
        .update(&id("closed"), |record| {
            record.maintenance = Some(Box::new(closed));
        })
        .await
        .unwrap();
    maintenance.status = 302;
    maintenance.redirect = Some("https://status.example.com/".into());
    store
        .update(&id("moved"), |record| {
            record.maintenance = Some(Box::new(maintenance));
        })
        .await
        .unwrap();
    store
}

fn service(policy: ConflictPolicy, hide: bool, store: impl TenantStore) -> Service {
    let chain = Chain::new(policy)
        .with(DomainOrSubdomain::of("example.com").unwrap())
        .unwrap()
        .with(Header::named("x-tenant").unwrap())
        .unwrap()
        .with(PathSegment::first().after_prefix("/t").unwrap())
        .unwrap();
    let gate = if hide {
        GatePolicy::default().hide_suspended()
    } else {
        GatePolicy::default()
    };
    Service::built(
        Tenancy::builder(chain, store)
            .central_hosts(["example.com", "www.example.com"])
            .gate(gate)
            .resolve_settings(without_budget())
            .clock(Hand::default()),
    )
}

fn finding(explanation: &Explanation, part: &str) -> String {
    let steps = explanation.steps.iter().filter(|step| step.part == part);
    steps
        .map(|step| step.finding.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}

#[tokio::test(start_paused = true)]
async fn each_step_and_the_outcome_are_told() {
    let service = service(ConflictPolicy::AgreeOrRefuse, false, tenants().await);
    service.tenancy.ready().await;
    let explain = async |request: Request| service.tenancy.explain(&request.map(drop)).await;

    let found = explain(get("ACME.example.com:8080", "/")).await;
    assert_eq!(found.tenant, Some(id("acme")));
    assert_eq!((found.status, found.central), (None, false));
    assert_eq!(finding(&found, "host"), "acme.example.com, named by the client");
    let by_host = finding(&found, "domain or subdomain of example.com");
    assert_eq!(by_host, "slug:acme, leads to acme (snapshot)");
    assert_eq!(finding(&found, "header x-tenant"), "absent");
    assert_eq!(finding(&found, "look-up"), "tenant acme, from the snapshot");
    assert_eq!(found.outcome, "tenant acme");

    let mut forwarded = get("acme.example.com", "/");
    let evil = HeaderValue::from_static("evil.test");
    forwarded.headers_mut().insert("x-forwarded-host", evil);
    let forwarded = explain(forwarded).await;
    assert!(finding(&forwarded, "host").contains("ignored"), "{forwarded}");

    let central = explain(get("www.example.com", "/")).await;
    assert!(
        central.central && central.tenant.is_none() && central.status.is_none(),
        "{central}"
    );
    assert!(finding(&central, "host").contains("a central host"));

    for (request, status, words) in [
        (get("nobody.example.com", "/"), 404, "slug:nobody"),
        (get("a..b", "/"), 400, "bad_host"),
        (get("asleep.example.com", "/"), 403, "gate"),
        (get("unborn.example.com", "/"), 503, "gate"),
        (get("gone.example.com", "/"), 404, "gate"),
        (get("closed.example.com", "/"), 503, "gate"),
        (get("acme.example.com", "/t/globex"), 400, "acme"),
        (get("acme.example.com", "/t/%61cme"), 400, "path"),
    ] {
        let explanation = explain(request).await;
        assert_eq!(explanation.status, Some(status), "{explanation}");
        assert!(explanation.outcome.contains(&status.to_string()), "{explanation}");
        assert!(explanation.to_string().contains(words), "{words}: {explanation}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_asked_for_and_told_so() {
    let store = FaultyStore::new(tenants().await).finding_only();
    let service = service(ConflictPolicy::AgreeOrRefuse, false, store.clone());
    let explain = async |host: &str| service.tenancy.explain(&get(host, "/").map(drop)).await;
    let cold = explain("acme.example.com").await;
    assert_eq!(
        finding(&cold, "look-up"),
        "the answer is not known here; the store is asked; tenant acme, from the store"
    );
    assert_eq!(store.finds(), 1);
    let warm = explain("acme.example.com").await;
    assert_eq!(finding(&warm, "look-up"), "tenant acme, from the cache");
    store.fail(true);
    let away = explain("globex.example.com").await;
    assert_eq!(away.status, Some(503), "{away}");
    assert!(
        away.outcome.contains("switched the store off"),
        "the operator is told why: {away}"
    );
}

#[derive(Clone, Debug)]
struct Asked {
    host: &'static [u8],
    second_host: bool,
    header: &'static str,
    header_twice: bool,
    path: &'static str,
    method: &'static str,
    forwarded: bool,
    html: bool,
    http_10: bool,
}

impl Asked {
    fn request(&self) -> Request {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.host.is_empty() {
            request = request.header("host", HeaderValue::from_bytes(self.host).unwrap());
        }
        if self.second_host {
            request = request.header("host", "globex.example.com");
        }
        for _ in 0..=u8::from(self.header_twice) {
            if !self.header.is_empty() {
                request = request.header("x-tenant", self.header);
            }
        }
        if self.forwarded {
            request = request.header("x-forwarded-host", "globex.example.com");
        }
        if self.html {
            request = request.header("accept", "text/html");
        }
        let version = if self.http_10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        request.version(version).body(Body::empty()).unwrap()
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let host = prop::sample::select(vec![
        &b"acme.example.com"[..],
        b"ACME.example.com:8080",
        b"globex.example.com",
        b"asleep.example.com",
        b"unborn.example.com",
        b"gone.example.com",
        b"closed.example.com",
        b"moved.example.com",
        b"nobody.example.com",
        b"example.com",
        b"example.com.",
        b"deep.www.example.com",
        b"shop.acme.test",
        b"evil.test",
        b"127.0.0.1",
        b"[::1]:80",
        b"a..b",
        b"acme.example.com, globex.example.com",
        b"\xff",
        b"",
    ]);
    let header = prop::sample::select(vec![
        "",
        "acme",
        "globex",
        "asleep",
        "nobody",
        "ACME",
        "acme,globex",
    ]);
    let path = prop::sample::select(vec![
        "/",
        "/x?tenant=globex",
        "/t/acme/x",
        "/t/globex",
        "/t/nobody",
        "/t/%61cme",
        "/t/",
        "/t",
        "http://globex.example.com/",
        "http://user@acme.example.com/",
        "*",
    ]);
    let method = prop::sample::select(vec!["GET", "GET", "POST", "OPTIONS", "CONNECT"]);
    let flags = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    (host, header, path, method, flags).prop_map(|(host, header, path, method, flags)| {
        let (second_host, header_twice, forwarded, html, http_10) = flags;
        Asked {
            host,
            second_host,
            header,
            header_twice,
            path,
            method,
            forwarded,
            html,
            http_10,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4 * super::CASES))]

    #[test]
    fn it_says_what_the_request_gets(
        asked in asked(),
        agree in any::<bool>(),
        hide in any::<bool>(),
        only_finds in any::<bool>(),
        first_the_request in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut store = FaultyStore::new(tenants().await);
            if only_finds {
                store = store.finding_only();
            }
            let policy = if agree { ConflictPolicy::AgreeOrRefuse } else { ConflictPolicy::FirstPresent };
            let service = service(policy, hide, store);
            service.tenancy.ready().await;
            let (seen, explanation) = if first_the_request {
                let seen = service.send(asked.request()).await;
                (seen, service.tenancy.explain(&asked.request().map(drop)).await)
            } else {
                let explanation = service.tenancy.explain(&asked.request().map(drop)).await;
                (service.send(asked.request()).await, explanation)
            };
            // Where browsers are sent to during maintenance plays no part.
            let status = if seen.status == 302 { 503 } else { seen.status.as_u16() };
            prop_assert_eq!(status, explanation.status.unwrap_or(200), "{}", explanation);
            if let Some(resolution) = &seen.resolution {
                prop_assert_eq!(resolution.tenant().map(|tenant| tenant.id()), explanation.tenant.as_ref());
            } else if seen.status.is_success() {
                prop_assert!(explanation.central, "{}", explanation);
            }
            Ok(())
        })?;
    }
}
