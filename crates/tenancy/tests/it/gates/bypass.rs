//! The way around maintenance: a link with the secret, a cookie, and whom it lets in.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, OriginalUri},
    http::{Request, Uri},
    routing::any,
};
use tenancy::{
    MemoryStore, Tenancy,
    core::Maintenance,
    gate::{BypassKey, BypassSettings},
    resolve::{PathSegment, TrustedProxies},
    routes::TenancyApp,
    stack::{Stage, TenancyBuilder},
};
use tower::layer::util::Identity;

use super::{Answer, SharedClock, app, ask, logs, maintain, maintenance, request};
use crate::scopes::subdomains;

const SECRET: &str = "correct horse battery";
const IN_URL: &str = "correct+horse%20battery";
const OTHER: &str = "another secret of mine";

fn locked_by(secret: &str) -> Maintenance {
    let key = BypassKey::from_secret(secret).unwrap().to_hex();
    maintenance(|m| m.bypass_key = Some(key.into()))
}

/// Keeps cookies of one host, as browsers do.
struct Browser<'a> {
    app: &'a TenancyApp,
    host: &'a str,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn at(app: &'a TenancyApp, host: &'a str) -> Self {
        Self {
            app,
            host,
            cookies: BTreeMap::new(),
        }
    }

    fn with_cookies_of(mut self, other: &Browser<'_>) -> Self {
        self.cookies = other.cookies.clone();
        self
    }

    async fn get(&mut self, target: &str) -> Answer {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = pairs.join("; ");
        let answer = ask(
            self.app,
            request("GET", self.host, target, &[("cookie", &cookies)]),
        )
        .await;
        for line in answer.headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    /// Opens the link with the secret and follows it.
    async fn open(&mut self, path: &str) -> Answer {
        let link = format!("{path}?tenancy-bypass={IN_URL}");
        let sent = self.get(&link).await;
        assert_eq!(sent.status, 303, "{}", sent.masked());
        assert_eq!(sent.header("location"), Some(path));
        assert!(sent.body.is_empty());
        self.get(path).await
    }
}

struct Site {
    tenancy: Tenancy,
    store: MemoryStore,
    clock: SharedClock,
    app: TenancyApp,
}

fn site_of(change: impl FnOnce(TenancyBuilder) -> TenancyBuilder) -> Site {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let clock = SharedClock::default();
    let builder = Tenancy::builder(subdomains(), store.clone()).clock(clock.clone());
    let tenancy = change(builder).build().unwrap();
    let app = app(&tenancy);
    Site {
        tenancy,
        store,
        clock,
        app,
    }
}

fn site() -> Site {
    site_of(|builder| builder)
}

#[tokio::test]
async fn the_link_leads_to_the_same_place_without_the_secret_and_the_cookie_opens() {
    let site = site();
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    let mut browser = Browser::at(&site.app, "acme.app.test");
    assert_eq!(browser.get("/").await.status, 503);
    let link = format!("/a/b?x=1&tenancy-bypass={IN_URL}&y=2");
    let sent = browser.get(&link).await;
    assert_eq!(
        (sent.status.as_u16(), sent.header("location")),
        (303, Some("/a/b?x=1&y=2"))
    );
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    assert_eq!(sent.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(browser.get("/a/b?x=1&y=2").await.text(), "served");
    assert_eq!(
        Browser::at(&site.app, "acme.app.test").get("/").await.status,
        503,
        "others stay out"
    );
}

#[tokio::test]
async fn a_cookie_opens_what_it_was_made_for_even_where_the_secret_is_the_same() {
    let site = site();
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    maintain(&site.store, "globex", Some(locked_by(SECRET))).await;
    let mut of_acme = Browser::at(&site.app, "acme.app.test");
    assert_eq!(of_acme.open("/").await.status, 200);

    let mut at_globex = Browser::at(&site.app, "globex.app.test").with_cookies_of(&of_acme);
    assert_eq!(at_globex.get("/").await.status, 503);
    // Renamed to what globex looks for.
    let value = of_acme.cookies["tenancy-bypass.acme"].clone();
    at_globex
        .cookies
        .insert("tenancy-bypass.globex".to_owned(), value.clone());
    assert_eq!(at_globex.get("/").await.status, 503);

    site.tenancy.maintenance().enable(&locked_by(SECRET)).unwrap();
    of_acme.cookies.insert("tenancy-bypass".to_owned(), value);
    assert_eq!(
        of_acme.get("/").await.status,
        503,
        "the global one is another door"
    );
    let mut everywhere = Browser::at(&site.app, "acme.app.test");
    assert_eq!(
        everywhere.open("/").await.status,
        503,
        "behind the global door stands the tenant's"
    );
    assert_eq!(everywhere.cookies.keys().collect::<Vec<_>>(), ["tenancy-bypass"]);
    assert_eq!(
        everywhere.open("/").await.status,
        503,
        "the link is taken by the outer door again"
    );

    site.tenancy.maintenance().disable();
    assert_eq!(
        everywhere.get("/").await.status,
        503,
        "the global cookie opens no tenant's maintenance"
    );
    assert_eq!(everywhere.open("/").await.status, 200);
    site.tenancy.maintenance().enable(&locked_by(SECRET)).unwrap();
    assert_eq!(
        everywhere.get("/").await.status,
        200,
        "with both cookies, both doors are open"
    );
}

#[tokio::test]
async fn a_new_secret_a_passed_lifetime_and_a_changed_cookie_open_nothing() {
    let site =
        site_of(|builder| builder.bypass(BypassSettings::default().with_lifetime(Duration::from_secs(100))));
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    let mut browser = Browser::at(&site.app, "acme.app.test");
    assert_eq!(browser.open("/").await.status, 200);

    maintain(&site.store, "acme", Some(locked_by(OTHER))).await;
    assert_eq!(browser.get("/").await.status, 503, "a new secret");
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    assert_eq!(browser.get("/").await.status, 200, "the old secret again");

    site.clock.0.advance(Duration::from_secs(99));
    assert_eq!(browser.get("/").await.status, 200);
    let kept = browser.cookies["tenancy-bypass.acme"].clone();
    for at in [0, 5, kept.len() - 1] {
        let mut changed = kept.clone().into_bytes();
        changed[at] = if changed[at] == b'3' { b'4' } else { b'3' };
        let changed = String::from_utf8(changed).unwrap();
        browser
            .cookies
            .insert("tenancy-bypass.acme".to_owned(), changed.clone());
        assert_eq!(browser.get("/").await.status, 503, "{changed}");
    }
    browser.cookies.insert("tenancy-bypass.acme".to_owned(), kept);
    site.clock.0.advance(Duration::from_secs(1));
    assert_eq!(browser.get("/").await.status, 503, "too old");
}

#[tokio::test]
async fn a_wrong_a_doubled_and_a_posted_secret_open_nothing_and_set_no_cookie() {
    let site = site();
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    for (method, query) in [
        ("GET", "tenancy-bypass=another+secret+of+mine".to_owned()),
        ("GET", "tenancy-bypass=".to_owned()),
        ("GET", format!("tenancy-bypass={IN_URL}&tenancy-bypass={IN_URL}")),
        ("GET", format!("other={IN_URL}")),
        ("POST", format!("tenancy-bypass={IN_URL}")),
        ("DELETE", format!("tenancy-bypass={IN_URL}")),
    ] {
        let answer = ask(
            &site.app,
            request(method, "acme.app.test", &format!("/?{query}"), &[]),
        )
        .await;
        assert_eq!(answer.status, 503, "{method} {query}");
        assert_eq!(answer.header("set-cookie"), None, "{method} {query}");
    }
    let open = ask(
        &site.app,
        request(
            "GET",
            "globex.app.test",
            &format!("/?tenancy-bypass={IN_URL}"),
            &[],
        ),
    )
    .await;
    assert_eq!(
        (open.status.as_u16(), open.header("set-cookie")),
        (200, None),
        "there is no maintenance"
    );
}

#[tokio::test]
async fn tenants_in_the_path_of_one_host_keep_apart_and_links_keep_their_path() {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let tenancy = Tenancy::new(PathSegment::first().strip(true), store.clone());
    let router = Router::new().fallback(any(async |uri: Uri, OriginalUri(original): OriginalUri| {
        format!("{uri} of {original}")
    }));
    let app = tenancy.wrap(router);
    for name in ["acme", "globex"] {
        maintain(&store, name, Some(locked_by(SECRET))).await;
    }
    let mut browser = Browser::at(&app, "one.test");
    let link = format!("/acme/orders?x=1&tenancy-bypass={IN_URL}");
    assert_eq!(
        browser.get(&link).await.header("location"),
        Some("/acme/orders?x=1")
    );
    assert_eq!(
        browser.get("/acme/orders?x=1").await.text(),
        "/orders?x=1 of /acme/orders?x=1"
    );
    assert_eq!(browser.get("/globex/orders").await.status, 503);
    assert_eq!(browser.open("/globex").await.text(), "/ of /globex");
    assert_eq!(
        browser.get("/acme/x").await.status,
        200,
        "both cookies live on one host"
    );
    assert_eq!(browser.cookies.len(), 2);
}

#[tokio::test]
async fn an_application_nested_under_a_path_sends_links_back_under_it() {
    let site = site();
    maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
    let outer = Router::new().nest_service("/shop", site.app.clone());
    let link = format!("/shop/a?tenancy-bypass={IN_URL}");
    let response = tower::ServiceExt::oneshot(outer, request("GET", "acme.app.test", &link, &[])).await;
    assert_eq!(response.unwrap().headers()["location"], "/shop/a");
}

#[tokio::test]
async fn the_secret_and_its_stored_form_are_in_no_answer_and_in_no_log_line() {
    let log = logs::capture();
    let site = site();
    let stored = BypassKey::from_secret(SECRET).unwrap().to_hex();
    let mut seen = String::new();
    for global in [false, true] {
        if global {
            site.tenancy.maintenance().enable(&locked_by(SECRET)).unwrap();
        } else {
            maintain(&site.store, "acme", Some(locked_by(SECRET))).await;
        }
        for method in ["GET", "HEAD", "POST"] {
            for host in ["acme.app.test", "globex.app.test", "unknown.app.test", "a b"] {
                for query in [
                    format!("tenancy-bypass={IN_URL}"),
                    format!("a=1&tenancy-bypass={IN_URL}&b=2"),
                    format!("tenancy-bypass={IN_URL}&tenancy-bypass={IN_URL}"),
                    "tenancy-bypass=correct+horse+batterie".to_owned(),
                ] {
                    let target = format!("/path?{query}");
                    for accept in ["*/*", super::BROWSER] {
                        let asked = request(method, host, &target, &[("accept", accept)]);
                        seen += &ask(&site.app, asked).await.masked();
                    }
                }
            }
        }
    }
    assert!(
        seen.contains("set-cookie: tenancy-bypass.acme=1."),
        "cookies were given out"
    );
    let logged = log.text();
    assert!(logged.contains("request refused"), "the log was captured");
    for hidden in ["horse", "batter", &stored] {
        assert!(!seen.contains(hidden), "{hidden} in an answer");
        assert!(!logged.contains(hidden), "{hidden} in the log");
    }
}

fn from_peer(peer: &str, target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = request("GET", "acme.app.test", target, headers);
    let peer: SocketAddr = format!("{peer}:5000").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[tokio::test]
async fn over_https_the_cookie_is_secure_and_host_only_wherever_the_stage_stands() {
    let trusting =
        |builder: TenancyBuilder| builder.trust_proxies(TrustedProxies::new(["10.0.0.1"]).unwrap());
    let between = |builder: TenancyBuilder| trusting(builder).insert_after(Stage::Resolve, Identity::new());
    let sites = [
        ("trusting", site_of(trusting)),
        ("with a layer between resolve and gate", site_of(between)),
        (
            "always https",
            site_of(|builder| trusting(builder).always_https(true)),
        ),
    ];
    for (which, site) in &sites {
        for global in [false, true] {
            maintain(&site.store, "acme", (!global).then(|| locked_by(SECRET))).await;
            if global {
                site.tenancy.maintenance().enable(&locked_by(SECRET)).unwrap();
            }
            let proxied = [
                ("x-forwarded-host", "acme.app.test"),
                ("x-forwarded-proto", "https"),
            ];
            let plainly = [
                ("x-forwarded-host", "acme.app.test"),
                ("x-forwarded-proto", "http"),
            ];
            for (peer, headers, by_proxy) in [
                ("10.0.0.1", proxied, true),
                ("10.0.0.1", plainly, false),
                ("10.0.0.2", proxied, false),
            ] {
                let secure = by_proxy || *which == "always https";
                let target = format!("/?tenancy-bypass={IN_URL}");
                let answer = ask(&site.app, from_peer(peer, &target, &headers)).await;
                let cookie = answer.header("set-cookie").unwrap().to_owned();
                let case = format!("{which} {global} {peer} {cookie}");
                assert_eq!(cookie.starts_with("__Host-"), secure, "{case}");
                assert_eq!(cookie.ends_with("; Secure"), secure, "{case}");
                assert!(
                    cookie.contains("; Path=/;") && cookie.contains("; HttpOnly"),
                    "{case}"
                );
                assert!(!cookie.contains("Domain"), "{case}");

                let pair = cookie.split(';').next().unwrap();
                let [host, proto] = headers;
                let opened = ask(&site.app, from_peer(peer, "/", &[host, proto, ("cookie", pair)])).await;
                assert_eq!(opened.status, 200, "{case}");
            }
        }
    }
}
