//! Notes, and that nobody else ever sees them.

use tempfile::tempdir;

use crate::support::{Launch, http::head_of_post};

#[tokio::test]
async fn notes_are_kept_newest_first_under_every_host_of_the_tenant() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    assert!(server.notes("acme.localhost").await.is_empty());
    server.add_note("acme.localhost", "one").await;
    server
        .add_note(
            "shop.acme.example",
            "  two \u{1f98a} \"quoted\"'); DROP TABLE notes;--\n",
        )
        .await;
    let expected = ["two \u{1f98a} \"quoted\"'); DROP TABLE notes;--", "one"];
    assert_eq!(server.notes("shop.acme.example").await, expected);
    assert_eq!(server.notes("acme.localhost").await, expected);
}

#[tokio::test]
async fn a_note_of_one_tenant_is_seen_nowhere_else() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let tenants = ["acme", "globex", "initech"];
    for tenant in tenants {
        let host = format!("{tenant}.localhost");
        server.add_note(&host, &format!("canary-of-{tenant}")).await;
    }
    let paths = [
        "/",
        "/whoami",
        "/notes",
        "/cache",
        "/report",
        "/about",
        "/nothing",
        "/notes?tenant=acme",
        "/notes/1",
    ];
    let bodies = ["", "{", "{\"text\":\"\"}", "{\"text\":1}", "[]"];
    let hints = "X-Tenant: acme\r\nX-Forwarded-Host: acme.localhost\r\nForwarded: host=acme.localhost\r\n\
                 Cookie: tenant=acme\r\nOrigin: http://acme.localhost\r\nX-Original-URL: /acme\r\n";
    let central_and_nobody = ["localhost", "nobody.localhost", "127.0.0.1"];
    let hosts = tenants.map(|tenant| format!("{tenant}.localhost"));
    for host in hosts.iter().map(String::as_str).chain(central_and_nobody) {
        let mut answers = Vec::new();
        for path in paths {
            answers.push(server.get(host, path).await);
            if !host.starts_with("acme") {
                answers.push(server.get_with(host, path, hints).await);
            }
            for body in bodies {
                answers.push(server.post(host, path, body).await);
            }
        }
        for tenant in tenants {
            let own = host == format!("{tenant}.localhost");
            let canary = format!("canary-of-{tenant}");
            let seen = answers.iter().any(|answer| answer.body.contains(&canary));
            assert_eq!(seen, own, "{canary} under {host}");
            let named = answers
                .iter()
                .find(|answer| answer.body.contains(tenant) || answer.head.contains(tenant));
            assert!(own || named.is_none(), "{tenant} under {host}: {named:?}");
        }
    }
    let log = server.end().await.stderr;
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn what_is_no_note_is_refused_without_repeating_it() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let host = "acme.localhost";
    let json = "application/json";
    let too_long = format!("{{\"text\":\"{}\"}}", "\u{e9}".repeat(10_001));
    let too_large = format!("{{\"text\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for (content_type, body, status) in [
        (json, "{\"text\": nonsense", 400),
        (json, "", 400),
        (json, "{\"nonsense\":\"x\"}", 422),
        (json, "{\"text\":\"x\",\"nonsense\":1}", 422),
        (json, "{\"text\":[\"nonsense\"]}", 422),
        (json, "{\"text\":\"\"}", 422),
        (json, "{\"text\":\" \\n\\t\"}", 422),
        (json, &too_long, 422),
        (json, &too_large, 413),
        ("text/nonsense", "{\"text\":\"x\"}", 415),
    ] {
        let head = head_of_post(host, "/notes", content_type, body.len());
        let answer = server.raw(format!("{head}{body}")).await;
        assert_eq!(answer.status, status, "{body:.60}: {answer:?}");
        assert!(answer.json().is_object(), "{answer:?}");
        assert!(!answer.body.contains("nonsense"), "{answer:?}");
    }
    assert!(server.notes(host).await.is_empty());

    let longest = "\u{e9}".repeat(10_000);
    server.add_note(host, &longest).await;
    assert_eq!(server.notes(host).await, [longest]);
}

#[tokio::test]
async fn the_newest_hundred_are_listed() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for number in 0..102 {
        server.add_note("acme.localhost", &number.to_string()).await;
    }
    let expected: Vec<String> = (2..102).rev().map(|number| number.to_string()).collect();
    assert_eq!(server.notes("acme.localhost").await, expected);
}
