//! What a proxy says of the host, and what somebody says who is none. The peer is a real one: 127.0.0.1.

use axum::http::header::HeaderName;
use tenancy::{
    MemoryStore, Tenancy,
    resolve::{Subdomain, TrustedProxies},
};

use super::{
    ACME, BAD_HOST, BETA, Expect, Refused, Site, UNKNOWN,
    frames::{self, Outcome},
    site::echoing,
    tenants,
    wire::{Wire, check},
};

/// Headers that name a host or a target.
const OF_A_HOST: [&str; 10] = [
    "Forwarded",
    "X-Forwarded-Host",
    "X-Forwarded-Server",
    "X-Forwarded-URI",
    "X-Host",
    "X-Original-Host",
    "X-Original-URI",
    "X-Original-URL",
    "X-HTTP-Host-Override",
    "X-Rewrite-URL",
];

/// Headers that say something else of the client.
const OF_A_CLIENT: [&str; 12] = [
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-SSL",
    "X-Forwarded-By",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Original-Forwarded-For",
    "X-Real-IP",
    "X-Client-IP",
];

fn trusting(proxies: &[&str]) -> Tenancy {
    Tenancy::builder(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(tenants(2)).unwrap(),
    )
    .trust_proxies(TrustedProxies::new(proxies.iter().copied()).unwrap())
    .build()
    .unwrap()
}

fn request(host: &str, lines: &[(&str, &str)]) -> Vec<u8> {
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").into_bytes()
}

/// Every header twice, in both cases of its name.
fn all_lines() -> Vec<(String, &'static str)> {
    let names = OF_A_HOST.into_iter().chain(OF_A_CLIENT);
    names
        .flat_map(|name| {
            [
                (name.to_owned(), "host=beta.app.test"),
                (name.to_uppercase(), "beta.app.test"),
            ]
        })
        .collect()
}

async fn left_over(site: &Site, expect: Expect) -> Vec<&'static str> {
    let lines = all_lines();
    let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (&**name, *value)).collect();
    let answer = check(
        site,
        "all forwarding headers",
        &request("acme.app.test", &lines),
        expect,
    )
    .await;
    let seen = |name: &&str| answer.seen(&format!("header {}:", name.to_lowercase())).is_some();
    OF_A_HOST.into_iter().chain(OF_A_CLIENT).filter(seen).collect()
}

#[tokio::test]
async fn without_a_trust_list_nothing_names_a_host_but_the_host() {
    let site = Site::of(&tenants(2)).await;
    assert_eq!(left_over(&site, ACME).await, OF_A_CLIENT);
    for name in OF_A_HOST.into_iter().chain(OF_A_CLIENT) {
        let sent = request("acme.app.test", &[(name, "beta.app.test"), ("X-Mine", "stays")]);
        let answer = check(&site, name, &sent, ACME).await;
        assert_eq!(answer.seen("header x-mine:").as_deref(), Some("stays"), "{name}");
        check(
            &site,
            name,
            &request("nobody.app.test", &[(name, "beta.app.test")]),
            UNKNOWN,
        )
        .await;
        let without_host = format!("GET /x HTTP/1.1\r\n{name}: beta.app.test\r\n\r\n");
        check(&site, name, without_host.as_bytes(), BAD_HOST).await;
    }
}

#[tokio::test]
async fn a_peer_that_is_not_on_the_list_is_not_believed() {
    let site = Site::serve_with_peers(echoing(&trusting(&["10.0.0.0/8", "::1"]))).await;
    let nothing: [&str; 0] = [];
    assert_eq!(left_over(&site, ACME).await, nothing);
    for name in OF_A_HOST.into_iter().chain(OF_A_CLIENT) {
        let sent = request("acme.app.test", &[(name, "beta.app.test")]);
        check(&site, name, &sent, ACME).await;
    }
}

#[tokio::test]
async fn over_http2_too_nothing_names_a_host_but_the_host() {
    let site = Site::serve_with_peers(echoing(&trusting(&["10.0.0.0/8"]))).await;
    for name in OF_A_HOST.into_iter().chain(OF_A_CLIENT) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let block = frames::get([
            (":authority", b"acme.app.test"),
            (name.as_str(), b"beta.app.test"),
        ]);
        let Outcome::Answer(answer) = frames::ask_one(&site, &block).await else {
            panic!("{name}: reset");
        };
        assert_eq!(ACME.fault_of(&answer, ""), None, "{name}");
        assert_eq!(answer.seen(&format!("header {name}:")), None);
    }
}

#[tokio::test]
async fn a_proxy_on_the_list_names_the_host_and_must() {
    let site = Site::serve_with_peers(echoing(&trusting(&["127.0.0.0/8"]))).await;
    let x = |value| ("X-Forwarded-Host", value);
    let rfc = |value| ("Forwarded", value);
    let both_of = |a, b| vec![x(a), rfc(b)];
    for (name, lines, expect) in [
        ("X-Forwarded-Host", vec![x("beta.app.test")], BETA),
        (
            "with a port, a dot and upper case",
            vec![x("BETA.app.test.:443")],
            BETA,
        ),
        ("the same as Host", vec![x("acme.app.test")], ACME),
        ("Forwarded (7239 §5.3)", vec![rfc("host=beta.app.test")], BETA),
        (
            "Forwarded, quoted, among others",
            vec![rfc("for=1.2.3.4;Host=\"beta.app.test:443\";proto=https")],
            BETA,
        ),
        ("both alike", both_of("beta.app.test", "host=beta.app.test"), BETA),
        (
            "both alike in different case",
            both_of("BETA.app.test", "host=\"beta.app.test\""),
            BETA,
        ),
        (
            "Forwarded without a host adds nothing",
            both_of("beta.app.test", "for=1.2.3.4"),
            BETA,
        ),
        ("nobody's host", vec![x("nobody.app.test")], UNKNOWN),
        ("neither (CVE-2024-45410)", vec![], BAD_HOST),
        (
            "Connection strips it (CVE-2024-45410)",
            vec![("Connection", "X-Forwarded-Host")],
            BAD_HOST,
        ),
        (
            "another header",
            vec![("X-Original-Host", "beta.app.test"), ("X-Host", "beta.app.test")],
            BAD_HOST,
        ),
        (
            "both, and they differ",
            both_of("acme.app.test", "host=beta.app.test"),
            BAD_HOST,
        ),
        (
            "both, and the port differs",
            both_of("acme.app.test:80", "host=\"acme.app.test:81\""),
            BAD_HOST,
        ),
        (
            "both, one malformed",
            both_of("acme.app.test", "host=\"a b\""),
            BAD_HOST,
        ),
        (
            "two lines",
            vec![x("acme.app.test"), x("beta.app.test")],
            BAD_HOST,
        ),
        (
            "two equal lines",
            vec![x("beta.app.test"), x("beta.app.test")],
            BAD_HOST,
        ),
        (
            "a list, of two proxies",
            vec![x("acme.app.test, beta.app.test")],
            BAD_HOST,
        ),
        ("empty", vec![x("")], BAD_HOST),
        ("malformed", vec![x("user@beta.app.test")], BAD_HOST),
        (
            "two lines of Forwarded",
            vec![rfc("host=beta.app.test"), rfc("for=1.2.3.4")],
            BAD_HOST,
        ),
        (
            "two elements of Forwarded",
            vec![rfc("host=acme.app.test, host=beta.app.test")],
            BAD_HOST,
        ),
        (
            "two hosts in an element",
            vec![rfc("host=acme.app.test;host=beta.app.test")],
            BAD_HOST,
        ),
        (
            "no host in Forwarded",
            vec![rfc("for=1.2.3.4;proto=https")],
            BAD_HOST,
        ),
        ("an empty host in Forwarded", vec![rfc("host=")], BAD_HOST),
        ("an open quote", vec![rfc("host=\"beta.app.test")], BAD_HOST),
        (
            "an escape in quotes",
            vec![rfc("host=\"beta\\.app.test\"")],
            BAD_HOST,
        ),
        (
            "a comma in quotes",
            vec![rfc("host=\"acme.app.test,beta.app.test\"")],
            BAD_HOST,
        ),
        ("nonsense", vec![rfc("beta.app.test")], BAD_HOST),
        (
            "bytes above ASCII",
            vec![rfc("host=b\u{e9}ta.app.test")],
            BAD_HOST,
        ),
    ] {
        check(&site, name, &request("acme.app.test", &lines), expect).await;
    }
    let lines = [x("beta.app.test")];
    check(
        &site,
        "Host is malformed all the same",
        &request("a b", &lines),
        BAD_HOST,
    )
    .await;
    check(
        &site,
        "Host is empty all the same",
        &request("", &lines),
        BAD_HOST,
    )
    .await;
    let no_host = b"GET /x HTTP/1.1\r\nX-Forwarded-Host: beta.app.test\r\n\r\n";
    check(&site, "Host is missing all the same", no_host, BAD_HOST).await;
    check(
        &site,
        "a central name for Host is fine",
        &request("proxy.internal", &lines),
        BETA,
    )
    .await;

    let answer = check(&site, "the handler", &request("acme.app.test", &lines), BETA).await;
    assert_eq!(
        answer.seen("header x-forwarded-host:").as_deref(),
        Some("beta.app.test"),
        "it was believed"
    );
}

/// Hops before the last one may have sent these; the last one let them through.
#[tokio::test]
async fn what_a_believed_proxy_sent_stays_for_the_application() {
    let site = Site::serve_with_peers(echoing(&trusting(&["127.0.0.1"]))).await;
    let lines = [
        ("X-Forwarded-Host", "beta.app.test"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
    ];
    let answer = check(&site, "three", &request("acme.app.test", &lines), BETA).await;
    for (name, value) in lines {
        assert_eq!(
            answer
                .seen(&format!("header {}:", name.to_lowercase()))
                .as_deref(),
            Some(value)
        );
    }
}

#[tokio::test]
async fn a_trust_list_without_peers_is_the_servers_fault_and_the_log_says_what_to_do() {
    let site = Site::serve(echoing(&trusting(&["127.0.0.1"]))).await;
    let expect = Refused(500, "peer_unknown");
    for lines in [vec![], vec![("X-Forwarded-Host", "beta.app.test")]] {
        let sent = request("acme.app.test", &lines);
        let answer = Wire::to(&site).await.ask(sent).await.unwrap();
        let log = site.take_log();
        assert_eq!(expect.fault_of(&answer, &log), None, "{answer:?}\n{log}");
        assert!(
            log.contains("ERROR") && log.contains("into_make_service_with_connect_info"),
            "{log}"
        );
    }
}
