//! Which requests are answered from the cache, and what of them the handler sees.

use axum::http::Uri;

use super::*;

async fn echo(uri: Uri, headers: HeaderMap) -> String {
    let names = [
        "cookie",
        "if-none-match",
        "if-modified-since",
        "cache-control",
        "pragma",
        "x-other",
    ];
    let seen = names.into_iter().filter(|name| headers.contains_key(*name));
    format!("{uri} {}", seen.collect::<Vec<_>>().join(" "))
}

fn permitted() -> ResponseCache {
    let role = |parts: &http::request::Parts| {
        let role = parts.headers.get("x-role")?;
        Some(Fingerprint::of([role.as_bytes()]))
    };
    ResponseCache::for_permissions(Duration::from_secs(3600), role).early_refresh(false)
}

#[tokio::test]
async fn requests_that_want_something_else_go_to_the_handler() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour(), echo);
    ask(&app, to("acme")).await;
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("proxy-authorization", "Basic x"),
        ("cookie", "session=1"),
        ("remote-user", "x"),
        ("x-remote-user", "x"),
        ("x-forwarded-user", "x"),
        ("x-forwarded-email", "x"),
        ("x-forwarded-groups", "x"),
        ("x-auth-request-user", "x"),
        ("x-amzn-oidc-data", "x"),
        ("x-goog-authenticated-user-email", "x"),
        ("x-ms-client-principal-id", "x"),
        ("cf-access-jwt-assertion", "x"),
        ("tailscale-user-login", "x"),
        ("range", "bytes=0-1"),
        ("if-range", "\"x\""),
        ("if-match", "\"x\""),
        ("if-unmodified-since", "x"),
        ("upgrade", "websocket"),
        ("cache-control", "max-age=5, No-Store"),
    ] {
        for _ in 0..2 {
            let answer = ask(&app, to("acme").header(name, value)).await;
            assert_eq!(answer.told(), "fwd=bypass", "{name}");
        }
    }
    let long = format!("/report?{}", "a".repeat(3000));
    for uri in [&*long, "/report?%zz", "/report?a=%ff"] {
        for _ in 0..2 {
            assert_eq!(ask(&app, to("acme").uri(uri)).await.told(), "fwd=bypass", "{uri}");
        }
    }
    assert_eq!(ask(&app, to("acme").method("POST")).await.told(), "fwd=method");
    let with_body = to("acme").body(Body::from("x")).unwrap();
    let answer = Answer::of(app.clone().oneshot(with_body).await.unwrap()).await;
    assert_eq!(answer.told(), "fwd=bypass");
    // A client can not make the server work.
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("pragma", "no-cache"),
        ("user-agent", "x"),
    ] {
        let answer = ask(&app, to("acme").header(name, value)).await;
        assert_eq!(answer.told(), "hit", "{name}: {value}");
    }
}

#[tokio::test]
async fn tenants_and_hosts_do_not_share_pages() {
    let process = Process::alone();
    let handler = async |tenant: Tenant, headers: HeaderMap| format!("{} {:?}", tenant.id(), headers["host"]);
    let app = app(&process.tenancy, hour(), handler);
    for told in ["fwd=miss; stored", "hit"] {
        for host in ["acme.example.com", "globex.example.com", "acme.example.com:8080"] {
            let answer = ask(&app, Request::get("/report").header("host", host)).await;
            assert!(answer.text().contains(host) && answer.text().starts_with(&host[..4]));
            assert_eq!(answer.told(), told, "{host}");
        }
    }
}

#[tokio::test]
async fn who_invents_an_address_gets_a_page_of_its_own() {
    let process = Process::alone();
    let handler = async |headers: HeaderMap| format!("{headers:?}");
    let app = app(&process.tenancy, hour(), handler);
    for header in [
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "x-script-name",
        "x-http-method-override",
        "front-end-https",
    ] {
        let value = if header == "x-forwarded-proto" {
            "http"
        } else {
            "evil"
        };
        let invented = || to("acme").header(header, value);
        let answer = ask(&app, invented()).await;
        assert!(answer.text().contains(header));
        assert_eq!(answer.told(), "fwd=miss; stored", "{header}");
        assert_eq!(ask(&app, invented()).await.told(), "hit", "{header}");
        assert!(!ask(&app, to("acme")).await.text().contains(header));
    }
}

#[tokio::test]
async fn clients_who_may_see_different_things_do_not_share_pages() {
    let process = Process::alone();
    let handler = async |headers: HeaderMap| format!("for {:?}", headers.get("x-role"));
    let app = app(&process.tenancy, permitted(), handler);
    for told in ["fwd=miss; stored", "hit"] {
        for role in ["admin", "user", ""] {
            let request = to("acme")
                .header("x-role", role)
                .header("authorization", "Bearer x")
                .header("cookie", "session=1");
            let answer = ask(&app, request).await;
            assert_eq!(answer.text(), format!("for Some({role:?})"));
            assert_eq!(answer.told(), told);
        }
        // Of nobody knows whom nothing is kept.
        let answer = ask(&app, to("acme")).await;
        assert_eq!((answer.text(), answer.told()), ("for None", "fwd=bypass"));
    }
}

#[tokio::test]
async fn the_handler_sees_nothing_that_would_change_the_page_of_others() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour().without_cookies(), echo);
    let request = to("acme")
        .uri("/report?b=2&a=%31&&c")
        .header("cookie", "session=1")
        .header("if-none-match", "\"x\"")
        .header("if-modified-since", "x")
        .header("cache-control", "max-age=0")
        .header("pragma", "no-cache")
        .header("x-other", "1");
    let answer = ask(&app, request).await;
    assert_eq!(answer.text(), "/report?a=1&b=2&c= x-other");
    let same = ask(&app, to("acme").uri("/report?a=1&c=&b=2")).await;
    assert_eq!((same.text(), same.told()), (answer.text(), "hit"));
}

#[tokio::test]
async fn the_handler_sees_the_same_query_whether_the_answer_is_kept_or_not() {
    let process = Process::alone();
    let handler =
        async |uri: Uri, original: axum::extract::OriginalUri| [("x-seen", format!("{uri} {}", original.0))];
    let app = app(&process.tenancy, hour().only_query(["a", "b", "c[]"]), handler);
    for (sent, seen) in [
        ("/report", "/report"),
        ("/report?", "/report"),
        ("/report?utm=1", "/report"),
        ("/report?b=2&a=%31", "/report?a=1&b=2"),
        ("/report?c[]=2&x=y&c%5b%5D=1", "/report?c[]=2&c[]=1"),
    ] {
        let plain = || to("acme").uri(sent);
        for (request, told) in [
            (plain().method("HEAD"), "fwd=miss"),
            (plain().header("cookie", "a=b"), "fwd=bypass"),
            (plain().header("range", "bytes=0-1"), "fwd=bypass"),
            (plain(), ""),
        ] {
            let answer = ask(&app, request).await;
            if !told.is_empty() && !answer.told().starts_with("hit") {
                assert_eq!(answer.told(), told, "{sent}");
            }
            assert_eq!(answer.header("x-seen"), format!("{seen} {seen}"), "{sent}");
        }
    }
    // What has no spelling is seen as it was sent.
    let answer = ask(&app, to("acme").uri("/report?x=1&a=%zz")).await;
    assert_eq!(answer.header("x-seen"), "/report?x=1&a=%zz /report?x=1&a=%zz");
}

#[tokio::test]
async fn parameters_that_do_not_count_make_no_pages_and_change_none() {
    let process = Process::alone();
    let app = app(&process.tenancy, hour().only_query(["page"]), echo);
    for told in ["fwd=miss; stored", "hit"] {
        let uri = format!("/report?utm={}&page=2", told.len());
        let answer = ask(&app, to("acme").uri(uri)).await;
        assert_eq!((answer.text(), answer.told()), ("/report?page=2 ", told));
    }
    assert_eq!(ask(&app, to("acme").uri("/report?x=1")).await.text(), "/report ");
}

#[tokio::test]
async fn another_version_of_the_layer_has_other_pages() {
    let process = Process::alone();
    let old = app(&process.tenancy, hour(), async || "old");
    let new = app(&process.tenancy, hour().version(1), async || "new");
    assert_eq!(ask(&old, to("acme")).await.text(), "old");
    assert_eq!(ask(&new, to("acme")).await.text(), "new");
    assert_eq!(ask(&old, to("acme")).await.text(), "old");
}
