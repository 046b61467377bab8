use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use tenancy::{
    Tenancy,
    domains::{CertificateAsk, Domains},
    resolve::{DomainOrSubdomain, TrustedProxies},
};
use tenancy_core::TenantStatus;
use tenancy_sqlx::NewTenant;
use tower::ServiceExt as _;

use super::{Hand, Process, Says, place};
use crate::support::{Place, id};

async fn answered(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn challenged(host: &str, path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", host)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_challenge_is_answered_for_its_own_host_alone_and_before_the_domain_leads_anywhere() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let claim = process.claim("acme", "shop.test").await.unwrap();
    let other = process.claim("globex", "other.test").await.unwrap();
    let app = process
        .domains
        .challenge_routes(&process.tenancy)
        .fallback_service(process.app.clone());
    let (path, body) = (claim.challenge().http_path(), claim.challenge().http_body());

    for host in ["shop.test", "SHOP.test:80", "shop.test."] {
        assert_eq!(
            answered(&app, challenged(host, &path)).await,
            (StatusCode::OK, body.clone()),
            "{host}"
        );
    }
    for (host, path) in [
        // Forged hosts, and tokens of other domains.
        ("other.test", path.as_str()),
        ("www.shop.test", &path),
        ("acme.app.test", &path),
        ("app.test", &path),
        ("127.0.0.1", &path),
        ("shop.test", &other.challenge().http_path()),
        (
            "shop.test",
            "/.well-known/tenancy-challenge/0123456789abcdef0123456789abcdef",
        ),
        // No tokens.
        ("shop.test", "/.well-known/tenancy-challenge/x"),
        ("shop.test", "/.well-known/tenancy-challenge/%2e%2e"),
        ("shop.test", &path.to_uppercase()),
        ("not a host", &path),
    ] {
        let (status, body) = answered(&app, challenged(host, path)).await;
        assert!(
            status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST,
            "{host} {path}: {status}"
        );
        assert!(!body.contains(&claim.challenge().http_body()));
    }
    let mut forged = challenged("evil.test", &path);
    forged
        .headers_mut()
        .insert("x-forwarded-host", "shop.test".parse().unwrap());
    assert_eq!(answered(&app, forged).await.0, StatusCode::NOT_FOUND);

    // The rest of the domain leads nowhere, until it is proven; its challenge goes on to be answered for rechecks.
    assert_eq!(
        answered(&app, challenged("shop.test", "/")).await.0,
        StatusCode::NOT_FOUND
    );
    process
        .verify("acme", "shop.test", &Says::points_here())
        .await
        .unwrap();
    assert_eq!(process.leads_to("shop.test").await.as_deref(), Ok("acme"));
    assert_eq!(
        answered(&app, challenged("shop.test", &path)).await,
        (StatusCode::OK, body)
    );
    clock.0.advance(std::time::Duration::from_secs(8 * 24 * 60 * 60));
    let expired = answered(&app, challenged("other.test", &other.challenge().http_path())).await;
    assert_eq!(expired.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_flood_of_tokens_is_held_back_and_none_of_it_reaches_the_store() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let app = process.domains.challenge_routes(&process.tenancy);
    let mut counts = [0_u32; 2];
    // The clock stands still.
    for n in 0..300_u32 {
        let path = format!("/.well-known/tenancy-challenge/{n:032x}");
        match answered(&app, challenged("shop.test", &path)).await.0 {
            StatusCode::NOT_FOUND => counts[0] += 1,
            StatusCode::SERVICE_UNAVAILABLE => counts[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(counts, [100, 200]);
    process.store.close().await;
    // What has not the form of a token costs nothing, also now.
    let path = "/.well-known/tenancy-challenge/0123";
    assert_eq!(
        answered(&app, challenged("shop.test", path)).await.0,
        StatusCode::NOT_FOUND
    );
    clock.0.advance(std::time::Duration::from_secs(10));
    let path = format!("/.well-known/tenancy-challenge/{:032x}", 7);
    assert_eq!(
        answered(&app, challenged("shop.test", &path)).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

fn asks(query: &str, peer: [u8; 4]) -> Request<Body> {
    let mut request = Request::get(format!("/ask?{query}")).body(Body::empty()).unwrap();
    request
        .extensions_mut()
        .insert(ConnectInfo(SocketAddr::from((peer, 50_000))));
    request
}

#[tokio::test]
async fn a_proxy_is_told_which_names_are_served() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    for (slug, status) in [("late", TenantStatus::Suspended), ("new", TenantStatus::Pending)] {
        let mut tenant = NewTenant::new(slug);
        tenant.status = status;
        tenant.domains = vec![format!("{slug}.shop.test")];
        process.store.create(tenant).await.unwrap();
    }
    process
        .store
        .add_domain(&id("acme"), "bücher.test", true)
        .await
        .unwrap();
    process.claim("globex", "claimed.test").await.unwrap();
    process.store.delete(&id("globex")).await.unwrap();
    let ask = CertificateAsk::new(&process.tenancy);
    let strict = Router::new().route("/ask", ask.clone().into_handler());
    let mild = Router::new().route("/ask", ask.include_suspended(true).into_handler());
    for (query, expected) in [
        ("domain=xn--bcher-kva.test", 200),
        ("domain=XN--BCHER-KVA.test.", 200),
        ("domain=xn--bcher-kva%2Etest", 200),
        ("domain=acme.app.test", 200),
        ("x=1&domain=ACME.App.Test.", 200),
        ("domain=app.test", 200),
        ("domain=www.service.test", 200),
        ("domain=claimed.test", 404),
        ("domain=unknown.test", 404),
        ("domain=other.app.test", 404),
        ("domain=a.acme.app.test", 404),
        ("domain=globex.app.test", 404),
        ("domain=new.shop.test", 404),
        ("domain=late.shop.test", 404),
        ("domain=app.test.evil.test", 404),
        ("", 400),
        ("domain=", 400),
        ("domain=app.test&domain=app.test", 400),
        ("domain=app.test:443", 400),
        ("domain=127.0.0.1", 400),
        ("domain=%5B::1%5D", 400),
        ("domain=b%C3%BCcher.test", 400),
        ("domain=app.test%00", 400),
        ("domain=app..test", 400),
        ("domain=%zz", 400),
    ] {
        let (status, body) = answered(&strict, asks(query, [127, 0, 0, 1])).await;
        assert_eq!((status.as_u16(), body.as_str()), (expected, ""), "{query}");
    }
    let suspended = answered(&mild, asks("domain=late.shop.test", [127, 0, 0, 1])).await;
    assert_eq!(suspended.0, StatusCode::OK);
    let pending = answered(&mild, asks("domain=new.shop.test", [127, 0, 0, 1])).await;
    assert_eq!(pending.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nobody_else_may_ask() {
    let (place, clock) = place().await;
    let process = Process::start(&place, &clock).await;
    let ask = CertificateAsk::new(&process.tenancy);
    let closed = Router::new().route("/ask", ask.clone().into_handler());
    let peers = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let open = Router::new().route("/ask", ask.trust_peers(peers).into_handler());
    let yes = "domain=acme.app.test";
    for (router, peer, expected) in [
        (&closed, [127, 0, 0, 1], 200),
        (&closed, [127, 9, 9, 9], 200),
        (&closed, [10, 0, 0, 1], 403),
        (&closed, [93, 184, 216, 34], 403),
        (&open, [10, 0, 0, 1], 200),
        (&open, [127, 0, 0, 1], 200),
        (&open, [11, 0, 0, 1], 403),
    ] {
        assert_eq!(
            answered(router, asks(yes, peer)).await.0.as_u16(),
            expected,
            "{peer:?}"
        );
    }
    // Through a proxy on this machine anybody could ask.
    for header in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
        let mut request = asks(yes, [127, 0, 0, 1]);
        request.headers_mut().insert(header, "1.1.1.1".parse().unwrap());
        assert_eq!(
            answered(&closed, request).await.0,
            StatusCode::FORBIDDEN,
            "{header}"
        );
    }
    let unknown = Request::get(format!("/ask?{yes}")).body(Body::empty()).unwrap();
    assert_eq!(answered(&closed, unknown).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_could_not_tell_does_not_say_no() {
    let place = Place::new();
    let store = place.open().await;
    store.close().await;
    let tenancy = Tenancy::builder(DomainOrSubdomain::of("app.test").unwrap(), store.clone())
        .clock(Hand::default())
        .build()
        .unwrap();
    let ask = Router::new().route("/ask", CertificateAsk::new(&tenancy).into_handler());
    let (status, _) = answered(&ask, asks("domain=acme.app.test", [127, 0, 0, 1])).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let refused = Domains::of(&tenancy, store)
        .claim(&id("acme"), "shop.test")
        .await
        .unwrap_err();
    assert!(refused.is_unavailable(), "{refused:?}");
}
