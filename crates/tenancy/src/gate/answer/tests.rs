use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::header::{ACCEPT, COOKIE, HOST};
use proptest::prelude::*;
use tenancy_core::TenantId;

use super::*;

const SECRET: &str = "correct-horse-battery";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const NOW: Duration = Duration::from_secs(1_700_000_000);

fn maintenance(change: impl FnOnce(&mut Maintenance)) -> Maintenance {
    let mut maintenance = Maintenance::default();
    change(&mut maintenance);
    maintenance
}

fn compile(maintenance: &Maintenance) -> Result<CompiledMaintenance, InvalidMaintenance> {
    CompiledMaintenance::compile(maintenance, &BypassSettings::default())
}

fn with_bypass() -> CompiledMaintenance {
    let key = BypassKey::from_secret(SECRET).unwrap().to_hex();
    compile(&maintenance(|m| m.bypass_key = Some(key.into()))).unwrap()
}

fn with_redirect(to: &str) -> Result<CompiledMaintenance, InvalidMaintenance> {
    compile(&maintenance(|m| m.redirect = Some(to.into())))
}

struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

fn asked(method: Method, uri: &str, headers: &[(http::HeaderName, &str)]) -> Asked {
    Asked {
        method,
        uri: uri.parse().unwrap(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect(),
    }
}

fn browser(uri: &str) -> Asked {
    asked(Method::GET, uri, &[(ACCEPT, BROWSER), (HOST, "acme.test")])
}

impl Asked {
    fn request(&self) -> MaintenanceRequest<'_> {
        MaintenanceRequest {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
            host: None,
            now: NOW,
            secure: true,
        }
    }

    /// The answer, or `None` where the request passes.
    fn decide(&self, compiled: &CompiledMaintenance) -> Option<Response<Body>> {
        match compiled.decide(Subject::Global, &self.request()) {
            MaintenanceDecision::Pass => None,
            MaintenanceDecision::Answer(response) => Some(response),
        }
    }

    fn answer(&self, compiled: &CompiledMaintenance) -> Response<Body> {
        self.decide(compiled).unwrap()
    }
}

/// These bodies are ready at once.
fn body(response: Response<Body>) -> Bytes {
    let whole = pin!(axum::body::to_bytes(response.into_body(), usize::MAX));
    match whole.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(bytes) => bytes.unwrap(),
        Poll::Pending => panic!("the body waits"),
    }
}

fn headers(response: &Response<Body>) -> Vec<(String, String)> {
    let mut lines: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8(value.as_bytes().to_vec()).unwrap();
            (name.to_string(), value)
        })
        .collect();
    lines.sort();
    lines
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn pairs(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_browser_gets_the_page_and_exactly_these_headers() {
    let response = browser("/any?x=canary").answer(&compile(&Maintenance::default()).unwrap());
    assert_eq!(response.status(), 503);
    assert_eq!(
        headers(&response),
        pairs(&[
            ("cache-control", "no-store"),
            ("content-length", &DEFAULT_PAGE.len().to_string()),
            (
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'"
            ),
            ("content-type", "text/html; charset=utf-8"),
            ("referrer-policy", "no-referrer"),
            ("retry-after", "60"),
            ("x-content-type-options", "nosniff"),
        ])
    );
    assert_eq!(body(response), DEFAULT_PAGE);
}

#[test]
fn a_program_gets_a_problem_and_exactly_these_headers() {
    let compiled = compile(&maintenance(|m| m.retry_after = 7)).unwrap();
    let response = asked(Method::POST, "/", &[]).answer(&compiled);
    assert_eq!(response.status(), 503);
    let expected = concat!(
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"#,
        r#""detail":"Under maintenance. Try again later."}"#
    );
    assert_eq!(
        headers(&response),
        pairs(&[
            ("cache-control", "no-store"),
            ("content-length", &expected.len().to_string()),
            ("content-type", "application/problem+json"),
            ("referrer-policy", "no-referrer"),
            ("retry-after", "7"),
            ("x-content-type-options", "nosniff"),
        ])
    );
    assert_eq!(body(response), expected);
}

#[test]
fn head_gets_the_headers_of_get_and_no_body() {
    let page = compile(&maintenance(|m| m.page = Some("<p>soon".into()))).unwrap();
    let redirect = with_redirect("/soon").unwrap();
    let bypass = with_bypass();
    let link = format!("/?tenancy-bypass={SECRET}");
    for (compiled, uri) in [
        (&page, "/"),
        (&redirect, "/"),
        (&redirect, "/soon"),
        (&bypass, link.as_str()),
    ] {
        for accept in [BROWSER, "*/*"] {
            let ask = |method| asked(method, uri, &[(ACCEPT, accept)]).answer(compiled);
            let (get, head) = (ask(Method::GET), ask(Method::HEAD));
            assert_eq!(get.status(), head.status());
            assert_eq!(headers(&get), headers(&head));
            assert!(body(head).is_empty());
        }
    }
}

#[test]
fn only_error_statuses_are_taken() {
    for status in [400, 418, 429, 500, 503, 599] {
        let compiled = compile(&maintenance(|m| m.status = status)).unwrap();
        let response = asked(Method::GET, "/", &[]).answer(&compiled);
        assert_eq!(response.status(), status);
        let problem: serde_json::Value = serde_json::from_slice(&body(response)).unwrap();
        assert_eq!(problem["status"], status);
    }
    for status in [0, 99, 100, 200, 204, 302, 304, 399, 600, 999, 1000, u16::MAX] {
        let bad = maintenance(|m| m.status = status);
        let invalid = compile(&bad).unwrap_err();
        assert_eq!(invalid.field(), "status");
        assert!(invalid.to_string().contains(&status.to_string()), "{invalid}");
        let (compiled, fault) = CompiledMaintenance::compile_lenient(&bad, &BypassSettings::default());
        assert_eq!(fault, Some(invalid));
        assert_eq!(browser("/").answer(&compiled).status(), 503);
    }
}

#[test]
fn each_broken_setting_is_named_and_none_of_them_opens() {
    let key = BypassKey::from_secret(SECRET).unwrap().to_hex();
    let broken: [(&str, Maintenance); 5] = [
        (
            "redirect",
            maintenance(|m| m.redirect = Some("//evil.test".into())),
        ),
        ("page", maintenance(|m| m.page = Some("".into()))),
        (
            "page",
            maintenance(|m| m.page = Some("x".repeat(MAX_PAGE_BYTES + 1).into())),
        ),
        ("bypass_key", maintenance(|m| m.bypass_key = Some(SECRET.into()))),
        ("bypass_key", maintenance(|m| m.bypass_key = Some("".into()))),
    ];
    for (field, mut bad) in broken {
        let invalid = compile(&bad).unwrap_err();
        assert_eq!(invalid.field(), field);
        let shown = format!("{invalid} {invalid:?}");
        assert!(shown.contains(field) && !shown.contains(SECRET), "{shown}");
        assert!(shown.len() < 400, "{shown}");
        if field != "bypass_key" {
            bad.bypass_key = Some(key.as_str().into());
        }
        let (compiled, fault) = CompiledMaintenance::compile_lenient(&bad, &BypassSettings::default());
        assert_eq!(fault, Some(invalid));
        let response = browser("/").answer(&compiled);
        assert_eq!(response.status(), 503);
        assert_eq!(body(response), DEFAULT_PAGE);
        // The sound settings beside a broken one still count.
        let link = browser(&format!("/?tenancy-bypass={SECRET}")).answer(&compiled);
        assert_eq!(link.status() == 303, field != "bypass_key");
    }
}

#[test]
fn the_default_page_needs_nothing_from_outside() {
    for word in [
        "http:", "https:", "//", "src=", "href=", "url(", "<script", "<link", "@import",
    ] {
        assert!(!DEFAULT_PAGE.contains(word), "{word}");
    }
    for word in [
        "<!doctype html>",
        "lang=\"en\"",
        "<title>",
        "<main>",
        "<h1>",
        "viewport",
        "prefers-color-scheme",
    ] {
        assert!(DEFAULT_PAGE.contains(word), "{word}");
    }
}

#[test]
fn html_goes_to_those_who_name_it() {
    for (accept, html) in [
        (BROWSER, true),
        ("text/html", true),
        ("TEXT/HTML ; charset=utf-8", true),
        ("application/xhtml+xml", true),
        ("text/html;q=0.001", true),
        ("text/html;q=1.000, application/json", true),
        ("application/json;q=0.5, text/html", true),
        ("", false),
        ("*/*", false),
        ("text/*", false),
        ("application/json, text/plain, */*", false),
        ("application/json, text/html;q=0.9", false),
        ("text/html;q=0", false),
        ("text/html; q=0.000", false),
        ("text/html;q=", false),
        ("text/html;q=2", false),
        ("text/html;q=0.0001", false),
        ("text/html;q=-1", false),
        ("text/html5", false),
        ("x/text/html", false),
    ] {
        let map = asked(Method::GET, "/", &[(ACCEPT, accept)]).headers;
        assert_eq!(accept::prefers_html(&map), html, "{accept}");
    }
    assert!(!accept::prefers_html(&HeaderMap::new()));
    let lines = [(ACCEPT, "image/png"), (ACCEPT, "text/html")];
    assert!(accept::prefers_html(&asked(Method::GET, "/", &lines).headers));
}

#[test]
fn browsers_are_redirected_and_told_nothing_else() {
    let compiled = with_redirect("https://status.test/now?for=all").unwrap();
    let response = browser("/a").answer(&compiled);
    assert_eq!(response.status(), 302);
    assert_eq!(
        headers(&response),
        pairs(&[
            ("cache-control", "no-store"),
            ("location", "https://status.test/now?for=all"),
            ("referrer-policy", "no-referrer"),
        ])
    );
    assert!(body(response).is_empty());
    let posted = asked(Method::POST, "/a", &[(ACCEPT, BROWSER)]);
    assert_eq!(posted.answer(&compiled).status(), 503);
    assert_eq!(asked(Method::GET, "/a", &[]).answer(&compiled).status(), 503);
}

#[test]
fn a_redirect_is_a_path_or_an_http_url_that_no_browser_rewrites() {
    for good in [
        "/",
        "/soon",
        "/soon?a=//b#c",
        "/a//b",
        "/%C3%BC/%2f",
        "http://status.test",
        "https://STATUS.test:8443/a",
        "https://[::1]/",
        "https://status.test?x",
    ] {
        let compiled = with_redirect(good).unwrap_or_else(|e| panic!("{good}: {e}"));
        let elsewhere = asked(Method::GET, "/elsewhere", &[(ACCEPT, BROWSER)]);
        assert_eq!(header(&elsewhere.answer(&compiled), "location"), Some(good));
    }
    for bad in [
        "",
        "soon",
        "//evil.test",
        "/\\evil.test",
        "/a b",
        "/a\nb",
        "/a\r\nSet-Cookie: x=y",
        "/ü",
        "/a^b",
        "/{a}",
        "/a\"b",
        "/a%2",
        "/a%zz",
        "/a/../b",
        "/./a",
        "/a/%2E%2e",
        "/a/.",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://status.test/",
        "http:/status.test",
        "http:status.test",
        "https://",
        "https:///a",
        "https://user@status.test/",
        "https://user:password@status.test/",
        "https://st atus.test/",
        "https://status.test:99999/",
        "https:\\\\status.test",
        " https://status.test",
        "*",
        &format!("/{}", "a".repeat(2048)),
    ] {
        assert_eq!(with_redirect(bad).unwrap_err().field(), "redirect", "{bad:?}");
    }
}

#[test]
fn who_is_where_the_redirect_leads_gets_the_page() {
    let to_path = with_redirect("/soon?from=here").unwrap();
    let to_url = with_redirect("https://acme.test/soon").unwrap();
    let to_root = with_redirect("https://acme.test").unwrap();
    let to_other_root = with_redirect("https://status.test").unwrap();
    for (compiled, uri, host, status) in [
        (&to_path, "/soon", "acme.test", 503),
        (&to_path, "/soon?again", "acme.test", 503),
        (&to_path, "/soon/", "acme.test", 302),
        (&to_path, "/", "acme.test", 302),
        (&to_url, "/soon", "acme.test", 503),
        (&to_url, "/soon", "ACME.test.:8080", 503),
        (&to_url, "/soon", "other.test", 302),
        (&to_url, "/soon", "not a host", 503),
        (&to_url, "https://acme.test/soon", "other.test", 503),
        (&to_url, "https://other.test/soon", "acme.test", 302),
        (&to_url, "/", "acme.test", 302),
        (&to_root, "/", "acme.test", 503),
        (&to_other_root, "/", "acme.test", 302),
    ] {
        let ask = asked(Method::GET, uri, &[(ACCEPT, BROWSER), (HOST, host)]);
        assert_eq!(ask.answer(compiled).status(), status, "{uri} at {host}");
    }
    let without_host = asked(Method::GET, "/soon", &[(ACCEPT, BROWSER)]);
    assert_eq!(without_host.answer(&to_url).status(), 503);
}

#[test]
fn the_host_that_a_trusted_proxy_named_counts_before_the_header() {
    let compiled = with_redirect("https://acme.test/soon").unwrap();
    let ask = asked(Method::GET, "/soon", &[(ACCEPT, BROWSER), (HOST, "internal")]);
    let named = Host::parse(b"acme.test").unwrap();
    let request = MaintenanceRequest {
        host: Some(&named),
        ..ask.request()
    };
    assert_eq!(compiled.answer(&request).status(), 503);
    assert_eq!(compiled.answer(&ask.request()).status(), 302);
}

#[test]
fn the_link_sets_a_cookie_and_leads_back_without_the_secret() {
    let compiled = with_bypass();
    let response = browser(&format!("/a?b=c&tenancy-bypass={SECRET}")).answer(&compiled);
    assert_eq!(response.status(), 303);
    let names: Vec<_> = headers(&response).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["cache-control", "location", "referrer-policy", "set-cookie"]
    );
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"));
    assert_eq!(header(&response, "location"), Some("/a?b=c"));
    assert!(!format!("{response:?} {compiled:?}").contains(SECRET));

    let cookie = header(&response, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let ask = |uri: &str| asked(Method::GET, uri, &[(COOKIE, cookie), (ACCEPT, BROWSER)]);
    assert!(ask("/a?b=c").decide(&compiled).is_none());
    assert!(
        asked(Method::POST, "/", &[(COOKIE, cookie)])
            .decide(&compiled)
            .is_none()
    );
    // The secret leaves the address bar although the cookie would do.
    assert_eq!(
        ask(&format!("/?tenancy-bypass={SECRET}"))
            .answer(&compiled)
            .status(),
        303
    );
    // A wrong secret counts as none, so that the cookie still opens (another stage's secret, say).
    assert!(
        ask("/?tenancy-bypass=some-other-secret")
            .decide(&compiled)
            .is_none()
    );
    // Without a bypass, nothing opens.
    let closed = compile(&Maintenance::default()).unwrap();
    assert_eq!(ask("/").answer(&closed).status(), 503);
    assert_eq!(
        ask(&format!("/?tenancy-bypass={SECRET}"))
            .answer(&closed)
            .status(),
        503
    );
}

#[test]
fn a_tenants_cookie_opens_neither_another_tenant_nor_the_service() {
    let compiled = with_bypass();
    let [acme, globex] = ["acme", "globex"].map(|id| TenantId::new(id).unwrap());
    let link = browser(&format!("/?tenancy-bypass={SECRET}"));
    let subject = |id| Subject::Tenant { id, incarnation: 1 };
    let MaintenanceDecision::Answer(response) = compiled.decide(subject(&acme), &link.request()) else {
        panic!("a link is always answered");
    };
    let cookie = header(&response, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let ask = asked(Method::GET, "/", &[(COOKIE, cookie)]);
    let passes = |subject| {
        matches!(
            compiled.decide(subject, &ask.request()),
            MaintenanceDecision::Pass
        )
    };
    assert!(passes(subject(&acme)));
    assert!(!passes(subject(&globex)));
    assert!(!passes(Subject::Global));
    assert!(!passes(Subject::Tenant {
        id: &acme,
        incarnation: 2
    }));
}

#[test]
fn a_link_that_does_not_count_is_answered_as_if_it_were_none() {
    let compiled = with_bypass();
    let none = browser("/").answer(&compiled);
    let (expected, expected_body) = (headers(&none), body(none));
    for uri in [
        "/?tenancy-bypass=wrong-horse-battery".to_owned(),
        format!("/?tenancy-bypass={SECRET}&tenancy-bypass={SECRET}"),
        format!("/?tenancy-bypass={SECRET}!"),
        format!("/?other={SECRET}"),
    ] {
        let response = browser(&uri).answer(&compiled);
        assert_eq!(response.status(), 503, "{uri}");
        assert_eq!(headers(&response), expected, "{uri}");
        assert_eq!(body(response), expected_body, "{uri}");
    }
    let posted = asked(Method::POST, &format!("/?tenancy-bypass={SECRET}"), &[]);
    assert_eq!(posted.answer(&compiled).status(), 503);
}

proptest! {
    /// Nothing of the request comes back, but the path and the other parameters of the right link.
    #[test]
    fn no_answer_echoes_the_request(path in "[a-zA-Z0-9/]{0,20}", value in "[a-zA-Z0-9]{4,20}", html: bool) {
        let uri = format!("/canary{path}?a=canary{value}&tenancy-bypass=canary{value}");
        let accept = if html { BROWSER } else { "canary/html" };
        let host = format!("canary{value}.test");
        let ask = asked(Method::GET, &uri, &[(ACCEPT, accept), (HOST, &host), (COOKIE, "canary=canary")]);
        for compiled in [with_bypass(), with_redirect("/soon").unwrap()] {
            let response = ask.answer(&compiled);
            let shown = format!("{:?}", headers(&response));
            prop_assert!(!shown.contains("canary"));
            prop_assert!(!String::from_utf8_lossy(&body(response)).contains("canary"));
        }
    }

    /// Follows the redirect as a browser would: a path, on the same host.
    #[test]
    fn no_accepted_path_redirect_loops(to in "/[a-z0-9%./?#;~A-F\\[\\]'|-]{0,12}") {
        if let Ok(compiled) = with_redirect(&to) {
            let first = browser("/elsewhere/entirely").answer(&compiled);
            let next = header(&first, "location").unwrap().split('#').next().unwrap();
            prop_assert_eq!(browser(next).answer(&compiled).status(), 503);
        }
    }

    #[test]
    fn any_accept_header_is_survived(accept in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(value) = HeaderValue::from_bytes(&accept) {
            let mut map = HeaderMap::new();
            map.insert(ACCEPT, value);
            let _ = accept::prefers_html(&map);
        }
    }
}
