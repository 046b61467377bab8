//! Maintenance of one tenant and of the whole service.

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo, http::Request};
use tenancy::{
    MemoryStore, Tenancy,
    core::Maintenance,
    resolve::TrustedProxies,
    stack::{Order, Stage},
};

use super::{Answer, BROWSER, app, ask, maintain, maintenance, request};
use crate::scopes::subdomains;

#[derive(Clone, Copy, Debug)]
enum Whose {
    Tenant,
    Everybody,
}

const BOTH: [Whose; 2] = [Whose::Tenant, Whose::Everybody];

struct Site {
    tenancy: Tenancy,
    store: MemoryStore,
    app: tenancy::routes::TenancyApp,
}

fn site() -> Site {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let tenancy = Tenancy::builder(subdomains(), store.clone())
        .central_hosts(["app.test"])
        .build()
        .unwrap();
    let app = app(&tenancy);
    Site { tenancy, store, app }
}

impl Site {
    async fn switch_on(&self, whose: Whose, settings: Maintenance) {
        match whose {
            Whose::Tenant => maintain(&self.store, "acme", Some(settings)).await,
            Whose::Everybody => self.tenancy.maintenance().enable(&settings).unwrap(),
        }
    }

    async fn switch_off(&self, whose: Whose) {
        match whose {
            Whose::Tenant => maintain(&self.store, "acme", None).await,
            Whose::Everybody => self.tenancy.maintenance().disable(),
        }
    }

    async fn ask(&self, host: &str, accept: &str) -> Answer {
        ask(
            &self.app,
            request("GET", host, "/orders?page=2", &[("accept", accept)]),
        )
        .await
    }
}

#[tokio::test]
async fn browsers_get_a_page_and_programs_a_problem_both_with_retry_after() {
    for whose in BOTH {
        let site = site();
        site.switch_on(whose, maintenance(|m| m.retry_after = 90)).await;
        for (accept, kind, part) in [
            (BROWSER, "text/html; charset=utf-8", "<html"),
            ("application/json", "application/problem+json", "\"status\":503"),
            ("*/*", "application/problem+json", "\"status\":503"),
        ] {
            let answer = site.ask("acme.app.test", accept).await;
            assert_eq!(answer.status, 503, "{whose:?} {accept}");
            assert_eq!(answer.header("retry-after"), Some("90"));
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(answer.text().contains(part), "{}", answer.text());
            for echoed in ["acme", "orders", "page=2"] {
                assert!(!answer.masked().contains(echoed), "{}", answer.masked());
            }
        }
    }
}

#[tokio::test]
async fn status_page_and_redirect_are_those_of_the_settings() {
    for whose in BOTH {
        let site = site();
        let own = maintenance(|m| {
            m.status = 418;
            m.page = Some("<p>back at noon".into());
        });
        site.switch_on(whose, own).await;
        let answer = site.ask("acme.app.test", BROWSER).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (418, "<p>back at noon"));
        let answer = site.ask("acme.app.test", "*/*").await;
        assert_eq!(answer.status, 418);
        assert!(answer.text().contains("\"status\":418"));

        let elsewhere = maintenance(|m| m.redirect = Some("https://status.test/now".into()));
        site.switch_on(whose, elsewhere).await;
        let answer = site.ask("acme.app.test", BROWSER).await;
        assert_eq!(answer.status, 302, "{whose:?}");
        assert_eq!(answer.header("location"), Some("https://status.test/now"));
        assert_eq!(answer.header("retry-after"), None);
        assert_eq!(site.ask("acme.app.test", "*/*").await.status, 503);
    }
}

#[tokio::test]
async fn flipping_the_switch_counts_from_the_next_request_on() {
    for whose in BOTH {
        let site = site();
        for _ in 0..3 {
            assert_eq!(site.ask("acme.app.test", "*/*").await.status, 200, "{whose:?}");
            site.switch_on(whose, Maintenance::default()).await;
            assert_eq!(site.ask("acme.app.test", "*/*").await.status, 503, "{whose:?}");
            site.switch_on(whose, maintenance(|m| m.status = 500)).await;
            assert_eq!(site.ask("acme.app.test", "*/*").await.status, 500, "{whose:?}");
            site.switch_off(whose).await;
        }
    }
}

#[tokio::test]
async fn a_tenants_maintenance_is_its_own_and_the_global_one_is_for_all() {
    for (whose, expected) in [
        (Whose::Tenant, [503, 200, 200]),
        (Whose::Everybody, [503, 503, 503]),
    ] {
        let site = site();
        site.switch_on(whose, Maintenance::default()).await;
        for (host, expected) in ["acme.app.test", "globex.app.test", "app.test"]
            .into_iter()
            .zip(expected)
        {
            assert_eq!(site.ask(host, "*/*").await.status, expected, "{whose:?} {host}");
        }
    }
}

#[tokio::test]
async fn a_record_with_impossible_settings_never_opens_its_tenant() {
    for broken in [
        maintenance(|m| m.status = 200),
        maintenance(|m| m.status = 0),
        maintenance(|m| m.redirect = Some("javascript:alert(1)".into())),
        maintenance(|m| m.page = Some("".into())),
        maintenance(|m| m.bypass_key = Some("".into())),
    ] {
        let site = site();
        site.switch_on(Whose::Tenant, broken.clone()).await;
        assert_eq!(site.ask("acme.app.test", BROWSER).await.status, 503, "{broken:?}");
        assert!(site.tenancy.maintenance().enable(&broken).is_err(), "{broken:?}");
        assert_eq!(site.ask("globex.app.test", BROWSER).await.status, 200);
    }
}

#[tokio::test]
async fn before_resolve_maintenance_answers_for_unknown_hosts_too_and_after_it_does_not() {
    let before = Order::default();
    let after = Order::new([Stage::Resolve, Stage::Maintenance, Stage::Gate]).unwrap();
    for (order, of_known, of_unknown, of_malformed) in [(before, 503, 503, 503), (after, 503, 404, 400)] {
        let store = MemoryStore::of(["acme"]).unwrap();
        let tenancy = Tenancy::builder(subdomains(), store)
            .order(order)
            .build()
            .unwrap();
        tenancy.maintenance().enable(&Maintenance::default()).unwrap();
        let app = app(&tenancy);
        for (host, expected) in [
            ("acme.app.test", of_known),
            ("other.app.test", of_unknown),
            ("elsewhere.test", of_unknown),
            ("a b", of_malformed),
        ] {
            let answer = ask(&app, request("GET", host, "/", &[])).await;
            assert_eq!(answer.status, expected, "{host} with {}", tenancy.order());
        }
    }
}

/// As it comes from a proxy that speaks to this process by another name.
fn from_proxy(target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = request("GET", "internal:8080", target, headers);
    let peer: SocketAddr = "10.0.0.1:5000".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[tokio::test]
async fn behind_a_proxy_a_redirect_to_the_own_host_does_not_loop() {
    for whose in BOTH {
        let store = MemoryStore::of(["acme"]).unwrap();
        let tenancy = Tenancy::builder(subdomains(), store.clone())
            .trust_proxies(TrustedProxies::new(["10.0.0.0/8"]).unwrap())
            .build()
            .unwrap();
        let app = app(&tenancy);
        let site = Site { tenancy, store, app };
        let to_itself = maintenance(|m| m.redirect = Some("https://acme.app.test/closed".into()));
        site.switch_on(whose, to_itself).await;
        let headers = [("accept", BROWSER), ("x-forwarded-host", "acme.app.test")];
        let sent = ask(&site.app, from_proxy("/orders", &headers)).await;
        assert_eq!(
            sent.header("location"),
            Some("https://acme.app.test/closed"),
            "{whose:?}"
        );
        let there = ask(&site.app, from_proxy("/closed", &headers)).await;
        assert_eq!(there.status, 503, "{whose:?}");
    }
}
