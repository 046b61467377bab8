//! What refused requests are told: little, the same for all, and nothing of what they sent.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    routing::{any, post},
};
use tenancy::{
    MemoryStore, Tenancy,
    core::TenantStatus,
    gate::GatePolicy,
    resolve::{Chain, ConflictPolicy, Header, ResolveSettings, Subdomain, TrustedProxies},
    stack::TenancyBuilder,
};

use super::{
    Answer, Site, fault_of_refusal, shown,
    site::echo,
    wire::{Wire, get, with_target},
};
use crate::support::faulty::FaultyStore;

/// In every place where a client can put something, and the name of a tenant.
const CANARY: &str = "c4n4ry";

fn by_subdomain(store: impl tenancy::core::TenantStore) -> TenancyBuilder {
    Tenancy::builder(Subdomain::of("app.test").unwrap(), store)
}

fn of_canary() -> MemoryStore {
    MemoryStore::of([CANARY]).unwrap()
}

async fn site(builder: TenancyBuilder) -> Site {
    let tenancy = builder.build().unwrap();
    tenancy.ready().await;
    let routes = Router::new()
        .route("/panic", any(|| async { panic!("{CANARY}") as &str }))
        .route("/wait", any(std::future::pending::<()>))
        .route("/read", post(|body: Bytes| async move { body }))
        .fallback(echo);
    Site::serve(tenancy.wrap(routes)).await
}

/// A request with the canary in host, path, query, cookie, referrer and a header of its own.
fn marked(host: &str, path: &str) -> Vec<u8> {
    let c = CANARY;
    format!(
        "GET {path}?{c}={c} HTTP/1.1\r\nHost: {host}\r\nCookie: {c}={c}\r\nReferer: http://{c}.test/\r\nX-{c}: {c}\r\n\r\n"
    )
    .into_bytes()
}

async fn refused(site: &Site, sent: Vec<u8>, status: u16, reason: &str) -> Answer {
    let answer = Wire::to(site).await.ask(sent.clone()).await.unwrap();
    let log = site.take_log();
    let fault = fault_of_refusal(&answer, status, reason, &log);
    let context = || format!("{}\n{}\n{log}", shown(&sent), shown(&answer.raw));
    assert_eq!(fault, None, "{}", context());
    let raw = String::from_utf8_lossy(&answer.raw).to_lowercase();
    // Not in part either: a cut or an escape would leave something.
    assert!(!raw.contains("c4n") && !raw.contains("4ry"), "{}", context());
    answer
}

fn c(rest: &str) -> String {
    format!("{CANARY}{rest}")
}

#[tokio::test]
async fn bad_hosts_and_unknown_ones_get_nothing_of_theirs_back() {
    let site = site(by_subdomain(MemoryStore::of(["other"]).unwrap())).await;
    for host in [".app.test", ".evil.test", "", ".app.test:80", "_.app.test"].map(c) {
        refused(&site, marked(&host, "/"), 404, "unknown_tenant").await;
    }
    let malformed = [
        " .app.test",
        ",c4n4ry.app.test",
        "@app.test",
        "..app.test",
        "<script>",
        ":c4n4ry",
        "%00",
        "\u{e9}",
    ];
    for host in malformed.map(c) {
        refused(&site, marked(&host, "/"), 400, "bad_host").await;
    }
    let long = CANARY.repeat(2_000);
    refused(&site, marked(&long, "/"), 400, "bad_host").await;
    let connect = with_target(format!("CONNECT {CANARY}.app.test:443 HTTP/1.1"), c(".app.test"));
    refused(&site, connect, 501, "connect_refused").await;
    let absolute = with_target(
        format!("GET http://{CANARY}.app.test/ HTTP/1.1"),
        "other.app.test",
    );
    refused(&site, absolute, 400, "bad_host").await;
}

#[tokio::test]
async fn tenants_that_are_not_served_are_not_named() {
    let store = of_canary();
    let site = site(by_subdomain(store.clone())).await;
    let id = CANARY.parse().unwrap();
    for (tenant, status, reason) in [
        (TenantStatus::Suspended, 403, "suspended_tenant"),
        (TenantStatus::Pending, 503, "pending_tenant"),
        (TenantStatus::Deleted, 404, "deleted_tenant"),
    ] {
        store.set_status(&id, tenant).await.unwrap();
        let answer = refused(&site, marked(&c(".app.test"), "/"), status, reason).await;
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
}

#[tokio::test]
async fn faults_of_the_application_and_of_the_store_are_not_told() {
    let host = c(".app.test");
    // Of its own, so that no other answer has to be quick.
    let hasty = site(by_subdomain(of_canary()).deadline(Duration::from_millis(5))).await;
    refused(&hasty, marked(&host, "/wait"), 504, "deadline_passed").await;
    let served = site(by_subdomain(of_canary()).body_limit(10)).await;
    refused(&served, marked(&host, "/panic"), 500, "panicked").await;
    let large = format!(
        "POST /read HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18\r\n\r\n{}",
        CANARY.repeat(3)
    );
    refused(&served, large.into_bytes(), 413, "body_too_large").await;

    let down = FaultyStore::new(of_canary());
    down.fail(true);
    let down = site_of_a_store_that_is_away(down).await;
    let answer = refused(&down, marked(&host, "/"), 503, "store_unavailable").await;
    assert!(answer.header("retry-after").is_some());

    let mut settings = ResolveSettings::default();
    (settings.misses_per_second, settings.miss_burst) = (1, 1);
    let only_finds = FaultyStore::new(MemoryStore::new()).finding_only();
    let flooded = site(by_subdomain(only_finds).resolve_settings(settings)).await;
    refused(&flooded, get("first.app.test"), 404, "unknown_tenant").await;
    let over_budget = async || {
        // The budget may have filled up again in between: then this one is spent, and the next is refused.
        for n in 0..1_000 {
            let host = format!("{CANARY}-{n}.app.test");
            let answer = Wire::to(&flooded).await.ask(marked(&host, "/")).await.unwrap();
            if answer.status == 503 {
                return answer;
            }
        }
        panic!("a thousand look-ups were let through");
    };
    flooded.take_log();
    let answer = over_budget().await;
    assert_eq!(
        fault_of_refusal(&answer, 503, "over_budget", &flooded.take_log()),
        None
    );
    assert!(!String::from_utf8_lossy(&answer.raw).contains("c4n"));
}

async fn site_of_a_store_that_is_away(store: FaultyStore<MemoryStore>) -> Site {
    let tenancy = by_subdomain(store).build().unwrap();
    Site::serve(super::site::echoing(&tenancy)).await
}

#[tokio::test]
async fn identifiers_and_proxies_that_are_refused_are_not_repeated() {
    let chain = Chain::new(ConflictPolicy::AgreeOrRefuse)
        .with(Subdomain::of("app.test").unwrap())
        .unwrap()
        .with(Header::named("x-tenant-id").unwrap())
        .unwrap();
    let two = MemoryStore::of([CANARY, "c4n4ry2"]).unwrap();
    let named = site(Tenancy::builder(chain, two)).await;
    let with =
        |value: &str| format!("GET / HTTP/1.1\r\nHost: {CANARY}.app.test\r\nX-Tenant-Id: {value}\r\n\r\n");
    refused(&named, with("C4N4RY").into(), 400, "invalid_identifier").await;
    refused(&named, with("c4n4ry, c4n4ry").into(), 400, "invalid_identifier").await;
    refused(&named, with("c4n4ry2").into(), 400, "identifiers_disagree").await;
    refused(&named, with("c4n4ry3").into(), 404, "unknown_tenant").await;

    let proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let without_peers = site(by_subdomain(of_canary()).trust_proxies(proxies)).await;
    refused(&without_peers, marked(&c(".app.test"), "/"), 500, "peer_unknown").await;
}

/// Status line and headers but the date, and the body, with the reference masked.
fn without_reference(answer: &Answer) -> String {
    let reference = answer.header("tenancy-reference").unwrap();
    assert_eq!(reference.len(), 16, "answers are of one length");
    let text = String::from_utf8(answer.raw.clone()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("date: "));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace(&reference, "REFERENCE")
}

#[tokio::test]
async fn nobody_can_tell_an_unknown_name_from_a_deleted_or_hidden_one() {
    let store = MemoryStore::of(["deleted", "purged", "hidden", "www2"]).unwrap();
    let site = site(by_subdomain(store.clone()).gate(GatePolicy::default().hide_suspended())).await;
    store
        .set_status(&"deleted".parse().unwrap(), TenantStatus::Deleted)
        .await
        .unwrap();
    store
        .set_status(&"hidden".parse().unwrap(), TenantStatus::Suspended)
        .await
        .unwrap();
    store.remove(&"purged".parse().unwrap()).await.unwrap();

    let unknown = Wire::to(&site).await.ask(get("unknown.app.test")).await.unwrap();
    let unknown = without_reference(&unknown);
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    for host in [
        "deleted.app.test",
        "purged.app.test",
        "hidden.app.test",
        "www.app.test",
        "admin.app.test",
        "app.test",
        "127.0.0.1",
        "[::1]",
        "a_b.app.test",
        "x.deleted.app.test",
        "elsewhere.test",
    ] {
        let answer = Wire::to(&site).await.ask(get(host)).await.unwrap();
        assert_eq!(without_reference(&answer), unknown, "{host}");
    }
}

#[tokio::test]
async fn references_are_not_repeated() {
    let site = site(by_subdomain(MemoryStore::new())).await;
    let mut wire = Wire::to(&site).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let answer = wire.ask(get("nobody.app.test")).await.unwrap();
        assert!(seen.insert(answer.header("tenancy-reference").unwrap()));
    }
}

#[tokio::test]
async fn the_log_never_quotes_a_malformed_host() {
    let site = site(by_subdomain(MemoryStore::new())).await;
    for host in [
        b"c4n4ry\x1b[31m.test".as_slice(),
        b"c4n4ry <x>",
        b"c4n4ry\xff",
        b"c4n4ry%0a",
        &b"c4n4ry".repeat(2_000),
    ] {
        let answer = Wire::to(&site).await.ask(get(host)).await.unwrap();
        let log = site.take_log();
        assert_eq!(answer.status, 400);
        assert!(!log.contains("c4n4ry") && !log.contains('\x1b'), "{log}");
    }
}
