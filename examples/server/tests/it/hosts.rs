//! Who answers under which host.

use tempfile::tempdir;

use crate::support::Launch;

/// What only a tenant's own answers may have.
const TENANTS_OWN: [&str; 8] = [
    "acme",
    "globex",
    "initech",
    "Acme Corporation",
    "Globex",
    "crimson",
    "teal",
    "slategrey",
];

#[tokio::test]
async fn three_tenants_answer_under_their_own_hosts() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for (host, tenant, name, plan, kind) in [
        ("acme.localhost", "acme", "Acme Corporation", "pro", None),
        ("ACME.LocalHost.:80", "acme", "Acme Corporation", "pro", None),
        ("shop.acme.example", "acme", "Acme Corporation", "pro", None),
        ("globex.localhost", "globex", "Globex", "free", None),
        ("initech.localhost", "initech", "Initech", "free", Some("trial")),
    ] {
        let home = server.get(host, "/").await;
        assert_eq!(home.status, 200, "{home:?}");
        let home = home.json();
        assert_eq!(home["tenant"], tenant, "{host}");
        assert_eq!(home["settings"]["name"], name, "{host}");
        assert_eq!(
            home["identified_by"], "domain or subdomain of localhost",
            "{host}"
        );
        assert_eq!(home["source"], "snapshot", "{host}");
        let who = server.get(host, "/whoami").await.json();
        assert_eq!(who["tenant"], tenant, "{host}");
        assert_eq!(who["plan"], plan, "{host}");
        assert_eq!(who["type"].as_str(), kind, "{host}");
        assert_eq!(who["status"], "active", "{host}");
        assert_eq!(
            server.get(host, "/about").await.json()["tenant"],
            tenant,
            "{host}"
        );
    }
}

#[tokio::test]
async fn the_bare_base_domain_is_central_and_knows_no_tenant() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let landing = server.get("localhost", "/").await;
    assert_eq!(landing.status, 200);
    assert!(landing.body.contains("belongs to no tenant"), "{}", landing.body);
    let about = server.get("localhost", "/about").await;
    assert_eq!(
        (about.status, &about.json()["tenant"]),
        (200, &serde_json::Value::Null)
    );
    for path in ["/whoami", "/notes", "/acme", "/landing.html"] {
        assert_eq!(server.get("localhost", path).await.status, 404, "{path}");
    }
    assert_eq!(server.get("acme.localhost", "/landing.html").await.status, 404);
    for secret in TENANTS_OWN {
        for answer in [&landing, &about] {
            assert!(!answer.body.contains(secret), "{secret} in {}", answer.body);
        }
    }
}

#[tokio::test]
async fn hosts_of_nobody_are_not_found_and_all_alike() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for host in [
        "nobody.localhost",
        "www.acme.localhost",
        "acmelocalhost",
        "acme.localhost.example",
        "acme.example",
        "127.0.0.1",
        "[::1]:8000",
        "a_b.localhost",
    ] {
        for path in ["/", "/about", "/whoami", "/notes", "/nothing"] {
            let answer = server.get(host, path).await;
            assert_eq!(answer.status, 404, "{host}{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{host}{path}");
            let reference = answer.header("tenancy-reference").unwrap();
            let body = format!(
                r#"{{"type":"about:blank","title":"Not Found","status":404,"reference":"{reference}"}}"#
            );
            assert_eq!(answer.body, body, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_say_its_host_clearly_is_refused() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.1\r\nHost: acme.localhost\r\nHost: globex.localhost\r\n",
        "GET / HTTP/1.1\r\nHost: acme.localhost, globex.localhost\r\n",
        "GET / HTTP/1.1\r\nHost: user@acme.localhost\r\n",
        "GET http://globex.localhost/ HTTP/1.1\r\nHost: acme.localhost\r\n",
    ] {
        let answer = server.raw(format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 400, "{head}");
        for secret in TENANTS_OWN {
            assert!(!answer.body.contains(secret), "{secret} for {head}");
        }
    }
}

#[tokio::test]
async fn a_forwarded_host_counts_from_a_trusted_proxy_alone() {
    let directory = tempdir().unwrap();
    let forwarded = "X-Forwarded-Host: globex.localhost\r\n";
    let strangers = Launch::with_data_in(directory.path()).start().await;
    let answer = strangers.get_with("acme.localhost", "/about", forwarded).await;
    assert_eq!(answer.json()["tenant"], "acme");
    strangers.end().await;

    let elsewhere = Launch::with_data_in(directory.path())
        .arg("--trust-proxy")
        .arg("192.0.2.0/24");
    let elsewhere = elsewhere.start().await;
    let answer = elsewhere.get_with("acme.localhost", "/about", forwarded).await;
    assert_eq!(answer.json()["tenant"], "acme");
    elsewhere.end().await;

    let proxied = Launch::with_data_in(directory.path())
        .arg("--trust-proxy")
        .arg("127.0.0.1");
    let proxied = proxied.start().await;
    let answer = proxied.get_with("acme.localhost", "/about", forwarded).await;
    assert_eq!(answer.json()["tenant"], "globex");
    assert_eq!(
        proxied.get("acme.localhost", "/about").await.status,
        400,
        "it must say the host"
    );
    let twice = proxied
        .get_with("acme.localhost", "/about", &forwarded.repeat(2))
        .await;
    assert_eq!(twice.status, 400);
}
