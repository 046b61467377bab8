//! Challenges of a certificate authority: central where the setting says so, and nothing else with them.

use axum::{
    Router,
    extract::{Path, Request},
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::{Maintenance, TenantId, TenantStatus},
    resolve::DomainOrSubdomain,
    stack::TenancyBuilder,
};

use super::{
    Site,
    wire::{Wire, with_target},
};

async fn builder() -> TenancyBuilder {
    let store = MemoryStore::of(["acme", "late"]).unwrap();
    let late = TenantId::new("late").unwrap();
    store.set_status(&late, TenantStatus::Suspended).await.unwrap();
    Tenancy::builder(DomainOrSubdomain::of("app.test").unwrap(), store).central_hosts(["app.test"])
}

async fn site(tenancy: &Tenancy) -> Site {
    tenancy.ready().await;
    let challenge = async |Path(token): Path<String>, request: Request| {
        let forwarded = request.headers().contains_key("x-forwarded-host");
        format!("challenge {token}{}", if forwarded { " forwarded" } else { "" })
    };
    let central = Router::new()
        .route(
            "/.well-known/acme-challenge/{token}",
            axum::routing::any(challenge),
        )
        .fallback(async || "central");
    let tenant = Router::new().fallback(async |tenant: Tenant| format!("tenant {tenant}"));
    Site::serve(tenancy.routes().tenant(tenant).central(central).build()).await
}

async fn asked(site: &Site, line: &str, host: &str) -> (u16, String) {
    let answer = Wire::to(site).await.ask(with_target(line, host)).await.unwrap();
    let text = if answer.status == 200 {
        answer.text()
    } else {
        String::new()
    };
    (answer.status, text)
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test]
async fn a_challenge_is_central_on_every_host_if_the_setting_says_so() {
    let line = "GET /.well-known/acme-challenge/LoqXcYV8_-5 HTTP/1.1";
    let challenge = ok("challenge LoqXcYV8_-5");
    let refused = |status| (status, String::new());
    for (host, on, off) in [
        ("acme.app.test", &challenge, &ok("tenant acme")),
        ("app.test", &challenge, &challenge),
        ("late.app.test", &challenge, &refused(403)),
        ("unknown.test", &challenge, &refused(404)),
        ("a.acme.app.test:80", &challenge, &refused(404)),
        ("127.0.0.1", &challenge, &refused(404)),
        ("not a host", &refused(400), &refused(400)),
        ("", &refused(400), &refused(400)),
    ] {
        for (exempt, expected) in [(true, on), (false, off)] {
            let tenancy = builder().await.acme_challenge(exempt).build().unwrap();
            assert_eq!(
                asked(&site(&tenancy).await, line, host).await,
                *expected,
                "{host} {exempt}"
            );
        }
    }
}

#[tokio::test]
async fn no_other_path_slips_through() {
    let tenancy = builder().await.acme_challenge(true).build().unwrap();
    let site = site(&tenancy).await;
    for target in [
        "/",
        "/admin",
        "/.well-known/acme-challenge",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/..",
        "/.well-known/acme-challenge/../admin",
        "/.well-known/acme-challenge/a/../../../admin",
        "/.well-known/acme-challenge/%2e%2e",
        "/.well-known/acme-challenge/%2e%2e/admin",
        "/.well-known/acme-challenge/%2E%2E%2Fadmin",
        "/.well-known/acme-challenge/..%2fadmin",
        "/.well-known/acme-challenge/..;/admin",
        "/.well-known/acme-challenge/a/b",
        "/.well-known/acme-challenge//a",
        "//.well-known/acme-challenge/a",
        "/.well-known//acme-challenge/a",
        "/.well-known/%61cme-challenge/a",
        "/.well-known/ACME-challenge/a",
        "/x/../.well-known/acme-challenge/a",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(
            asked(&site, &line, "acme.app.test").await,
            ok("tenant acme"),
            "{target}"
        );
        assert_eq!(asked(&site, &line, "unknown.test").await.0, 404, "{target}");
        assert_eq!(asked(&site, &line, "late.app.test").await.0, 403, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let line = format!("{method} /.well-known/acme-challenge/a HTTP/1.1");
        assert_eq!(
            asked(&site, &line, "acme.app.test").await,
            ok("tenant acme"),
            "{method}"
        );
        assert_eq!(asked(&site, &line, "unknown.test").await.0, 404, "{method}");
    }
    let absolute = "GET http://shop.test/.well-known/acme-challenge/a HTTP/1.1";
    assert_eq!(asked(&site, absolute, "shop.test").await, ok("challenge a"));
    assert_eq!(
        asked(&site, absolute, "acme.app.test").await.0,
        400,
        "target and host differ"
    );
    assert_eq!(
        asked(&site, "HEAD /.well-known/acme-challenge/a HTTP/1.1", "shop.test")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn maintenance_does_not_stand_in_the_way_and_what_nobody_believes_is_taken_out() {
    let tenancy = builder().await.acme_challenge(true).build().unwrap();
    tenancy.maintenance().enable(&Maintenance::default()).unwrap();
    let site = site(&tenancy).await;
    let line = "GET /.well-known/acme-challenge/a HTTP/1.1";
    assert_eq!(asked(&site, line, "acme.app.test").await, ok("challenge a"));
    assert_eq!(asked(&site, "GET / HTTP/1.1", "acme.app.test").await.0, 503);
    let forged = format!("{line}\r\nX-Forwarded-Host: acme.app.test");
    assert_eq!(asked(&site, &forged, "shop.test").await, ok("challenge a"));
}

#[tokio::test]
async fn explain_tells_what_is_done() {
    let tenancy = builder().await.acme_challenge(true).build().unwrap();
    tenancy.ready().await;
    let request = |path: &str| {
        let uri = format!("http://unknown.test{path}");
        http::Request::get(uri)
            .header("host", "unknown.test")
            .body(())
            .unwrap()
    };
    let exempt = tenancy.explain(&request("/.well-known/acme-challenge/a")).await;
    assert!(exempt.central && exempt.status.is_none(), "{exempt}");
    assert!(exempt.to_string().contains("ACME"), "{exempt}");
    let usual = tenancy.explain(&request("/.well-known/acme-challenge/a/b")).await;
    assert_eq!(usual.status, Some(404), "{usual}");
}
