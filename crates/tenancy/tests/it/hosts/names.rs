//! Every value that a host can have, in each of the four places where it can stand.

use tenancy::{MemoryStore, Tenancy, resolve::ResolveSettings, resolve::Subdomain};

use super::{
    ACME, BAD_HOST, BETA, Expect, Site, UNKNOWN,
    frames::{self, Outcome, shown_block},
    shown,
    site::echoing,
    tenants,
    wire::{Wire, check, check_connection, get, with_target},
};
use crate::support::faulty::FaultyStore;

struct Row {
    name: &'static str,
    host: Vec<u8>,
    expect: Expect,
}

fn row(name: &'static str, host: impl AsRef<[u8]>, expect: Expect) -> Row {
    Row {
        name,
        host: host.as_ref().to_vec(),
        expect,
    }
}

fn all() -> Vec<Row> {
    [
        served(),
        unknown(),
        malformed_names(),
        malformed_ports(),
        malformed_literals(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn served() -> Vec<Row> {
    vec![
        row("a tenant", "acme.app.test", ACME),
        row("another tenant", "beta.app.test", BETA),
        row("upper case (9110 §4.2.3)", "ACME.App.TEST", ACME),
        row("a dot at the end", "acme.app.test.", ACME),
        row("upper case and a dot at the end", "BETA.APP.TEST.", BETA),
        row("the default port of https (9110 §7.2)", "acme.app.test:443", ACME),
        row("the default port of http", "acme.app.test:80", ACME),
        row("another port", "acme.app.test:8080", ACME),
        row("the lowest port", "acme.app.test:0", ACME),
        row("the highest port", "acme.app.test:65535", ACME),
        row(
            "a port with zeros before it (3986 §3.2.3)",
            "acme.app.test:00080",
            ACME,
        ),
        row("an empty port (9110 §4.2.3)", "acme.app.test:", ACME),
        row("a dot at the end and a port", "acme.app.test.:443", ACME),
        row("a dot at the end and an empty port", "acme.app.test.:", ACME),
    ]
}

fn unknown() -> Vec<Row> {
    let of_49 = format!("{}.app.test", "a".repeat(49));
    let of_63 = format!("{}.app.test", "a".repeat(63));
    let of_253 = format!(
        "{}.{}.app.test",
        ["a".repeat(63).as_str(); 3].join("."),
        "b".repeat(52)
    );
    assert_eq!(of_253.len(), 253);
    vec![
        row("no tenant of this name", "nobody.app.test", UNKNOWN),
        row("the base domain", "app.test", UNKNOWN),
        row("the base domain with dot and port", "app.test.:80", UNKNOWN),
        row("www", "www.app.test", UNKNOWN),
        row("only the label", "acme", UNKNOWN),
        row("the label and half of the base", "acme.app", UNKNOWN),
        row("the top of the base", "test", UNKNOWN),
        row("localhost", "localhost", UNKNOWN),
        row(
            "the base as the end of a label (labels are compared whole)",
            "evilapp.test",
            UNKNOWN,
        ),
        row("label and base without a dot", "acmeapp.test", UNKNOWN),
        row("the host before another one", "acme.app.test.evil.test", UNKNOWN),
        row("the host as one of more labels", "acme.app.testing", UNKNOWN),
        row("two labels under the base", "x.acme.app.test", UNKNOWN),
        row(
            "two labels under the base, the first a tenant",
            "acme.beta.app.test",
            UNKNOWN,
        ),
        row("the base twice", "acme.app.test.app.test", UNKNOWN),
        row("IPv4 (3986 §3.2.2)", "127.0.0.1", UNKNOWN),
        row("IPv4 and port", "127.0.0.1:80", UNKNOWN),
        row("IPv4 under the base", "127.0.0.1.app.test", UNKNOWN),
        row("IPv4 as one number", "2130706433", UNKNOWN),
        row("IPv4 in short", "127.1", UNKNOWN),
        row("IPv4 in octal", "0177.0.0.1", UNKNOWN),
        row("IPv4 in hexadecimal", "0x7f000001", UNKNOWN),
        row("IPv6", "[::1]", UNKNOWN),
        row("IPv6 and port", "[::1]:3000", UNKNOWN),
        row("IPv6 with IPv4 inside", "[::ffff:127.0.0.1]", UNKNOWN),
        row("an underscore", "a_b.app.test", UNKNOWN),
        row("an underscore after the tenant", "acme_.app.test", UNKNOWN),
        row("a star is no wildcard", "*.app.test", UNKNOWN),
        row("a star in the label", "ac*e.app.test", UNKNOWN),
        row("a hyphen first", "-acme.app.test", UNKNOWN),
        row("a hyphen last", "acme-.app.test", UNKNOWN),
        row("a semicolon", "acme;x.app.test", UNKNOWN),
        row("an ampersand", "acme&x.app.test", UNKNOWN),
        row("an equals sign", "acme=.app.test", UNKNOWN),
        row("a plus", "acme+beta.app.test", UNKNOWN),
        row("a tilde", "~acme.app.test", UNKNOWN),
        row("a dollar", "acme$.app.test", UNKNOWN),
        row("an exclamation mark", "acme!.app.test", UNKNOWN),
        row("an apostrophe", "acme'.app.test", UNKNOWN),
        row("brackets", "(acme).app.test", UNKNOWN),
        row("a homograph as ACE", "xn--cme-7cd.app.test", UNKNOWN),
        row("an ACE prefix and nothing else", "xn--acme-.app.test", UNKNOWN),
        row("a label that is too long for a slug", of_49, UNKNOWN),
        row("the longest label (1035 §2.3.4)", of_63, UNKNOWN),
        row("the longest name", &of_253, UNKNOWN),
        row(
            "the longest name, a dot and a port",
            format!("{of_253}.:65535"),
            UNKNOWN,
        ),
    ]
}

fn malformed_names() -> Vec<Row> {
    let bad = |name, host: &[u8]| row(name, host, BAD_HOST);
    let of_64 = format!("{}.app.test", "a".repeat(64));
    let of_254 = format!(
        "{}.{}.app.test",
        ["a".repeat(63).as_str(); 3].join("."),
        "b".repeat(53)
    );
    vec![
        bad("empty (9112 §3.2)", b""),
        bad("a dot", b"."),
        bad("two dots", b".."),
        bad("two dots at the end", b"acme.app.test.."),
        bad("a dot at the beginning", b".acme.app.test"),
        bad("an empty label", b"acme..app.test"),
        bad(
            "a list, as hops make of two lines",
            b"acme.app.test, beta.app.test",
        ),
        bad("a list without a space", b"acme.app.test,beta.app.test"),
        bad("a comma at the end", b"acme.app.test,"),
        bad("user information (9110 §4.2.4)", b"user@acme.app.test"),
        bad("user and password", b"user:80@acme.app.test"),
        bad("empty user information", b"@acme.app.test"),
        bad("the tenant as user of another host", b"acme.app.test@evil.test"),
        bad(
            "the tenant and a port as user of another host",
            b"acme.app.test:80@evil.test",
        ),
        bad("a query", b"acme.app.test?x"),
        bad("a fragment", b"acme.app.test#x"),
        bad("a path", b"acme.app.test/x"),
        bad("a path that leads back", b"beta.app.test/../acme.app.test"),
        bad("a backslash", b"acme.app.test\\evil"),
        bad("a whole URL", b"http://acme.app.test"),
        bad("a URL without scheme", b"//acme.app.test"),
        bad("markup", b"<script>alert(1)</script>"),
        bad("quotes", b"\"acme.app.test\""),
        bad("a backtick", b"`acme.app.test`"),
        bad("braces", b"{acme}.app.test"),
        bad("a pipe", b"acme|x.app.test"),
        bad("a caret", b"acme^.app.test"),
        bad("a tab inside", b"acme\t.app.test"),
        bad("a space inside", b"acme .app.test"),
        bad("a space before the port", b"acme.app.test :80"),
        bad(
            "percent-encoded letter (no host of ours needs it)",
            b"%61cme.app.test",
        ),
        bad("percent-encoded dot", b"acme%2eapp.test"),
        bad("percent-encoded NUL", b"acme.app.test%00"),
        bad("percent-encoded colon and port", b"acme.app.test%3a80"),
        bad("a broken escape", b"acme%zz.app.test"),
        bad("a percent sign at the end", b"acme.app.test%"),
        bad("raw UTF-8", "b\u{fc}cher.app.test".as_bytes()),
        bad("a raw homograph", "\u{430}cme.app.test".as_bytes()),
        bad(
            "wide letters",
            "\u{ff41}\u{ff43}\u{ff4d}\u{ff45}.app.test".as_bytes(),
        ),
        bad("an ideographic full stop", "acme\u{3002}app.test".as_bytes()),
        bad("a zero-width space", "acme\u{200b}.app.test".as_bytes()),
        bad("a Kelvin sign", "acme.app.test\u{212a}".as_bytes()),
        bad("no UTF-8", b"\xff\xfe"),
        bad("a byte above ASCII after the tenant", b"acme.app.test\xa0"),
        bad("a label of 64", of_64.as_bytes()),
        bad("a name of 254", of_254.as_bytes()),
        bad("70 kB", &b"a".repeat(70_000)),
        bad("70 kB of labels", &b"acme.".repeat(14_000)),
    ]
}

fn malformed_ports() -> Vec<Row> {
    let bad = |name, host: &str| row(name, host, BAD_HOST);
    vec![
        bad("only a port", ":80"),
        bad("only a colon", ":"),
        bad("two ports", "acme.app.test:80:80"),
        bad("two colons", "acme.app.test::80"),
        bad("a port above 65535", "acme.app.test:65536"),
        bad("a port of five nines", "acme.app.test:99999"),
        bad("a port of six digits", "acme.app.test:000080"),
        bad(
            "a port that overflows 64 bits",
            "acme.app.test:18446744073709551696",
        ),
        bad("a port with a minus", "acme.app.test:-1"),
        bad("a port with a plus", "acme.app.test:+80"),
        bad("a port with a letter", "acme.app.test:80x"),
        bad("a port in hexadecimal", "acme.app.test:0x50"),
        bad("a port by name", "acme.app.test:http"),
        bad("a port after a space", "acme.app.test: 80"),
        bad("a port of wide digits", "acme.app.test:\u{ff18}\u{ff10}"),
        bad("a port that is another host", "acme.app.test:beta.app.test"),
    ]
}

fn malformed_literals() -> Vec<Row> {
    let bad = |name, host: &str| row(name, host, BAD_HOST);
    vec![
        bad("IPv6 without its end", "[::1"),
        bad("IPv6 without its beginning", "::1]"),
        bad("IPv6 without brackets", "::1"),
        bad("IPv6 with a zone (6874)", "[fe80::1%25eth0]"),
        bad("IPv6 with a raw zone", "[fe80::1%eth0]"),
        bad("IPv6 and a name", "[::1]acme.app.test"),
        bad("IPv6 and a dot", "[::1]."),
        bad("IPv6 with too high a port", "[::1]:99999"),
        bad("IPv6 with port and minus", "[::1]:-1"),
        bad("IPv6 in two brackets", "[[::1]]"),
        bad("IPv4 in brackets", "[127.0.0.1]"),
        bad("a name in brackets", "[acme.app.test]"),
        bad("a later literal (3986 §3.2.2)", "[v1.acme]"),
        bad("nothing in brackets", "[]"),
    ]
}

async fn by_host_line(site: &Site, tenants: &[String]) {
    for Row { name, host, expect } in all() {
        check_connection(site, name, &get(&host), expect.among(tenants)).await;
    }
}

/// White space around a value is no part of it in HTTP/1 (9112 §5).
async fn by_host_line_with_space_around(site: &Site, tenants: &[String]) {
    for Row { name, host, expect } in all() {
        for (before, after) in [("  ", ""), ("\t", ""), ("", " "), ("", "\t \t")] {
            let host = [before.as_bytes(), &host, after.as_bytes()].concat();
            check(site, name, &get(&host), expect.among(tenants)).await;
        }
    }
}

async fn by_absolute_form(site: &Site, tenants: &[String]) {
    for Row { name, host, expect } in all() {
        let line = [b"GET http://", host.as_slice(), b"/x HTTP/1.1"].concat();
        let sent = with_target(line, &host);
        if expect != BAD_HOST {
            check(site, name, &sent, expect.among(tenants)).await;
            continue;
        }
        // hyper refuses some of them itself.
        let answer = Wire::to(site).await.ask(sent.clone()).await.unwrap();
        assert!(
            [400, 414].contains(&answer.status),
            "{name}: sent\n{}\ngot\n{}",
            shown(&sent),
            shown(&answer.raw)
        );
    }
}

async fn by_http2(site: &Site, tenants: &[String], pseudo_header: bool) {
    let field = if pseudo_header { ":authority" } else { "host" };
    for Row { name, host, expect } in all().into_iter().filter(|row| row.host.len() < 10_000) {
        let block = frames::get([(field, &host)]);
        let outcome = frames::ask_one(site, &block).await;
        let fault = match &outcome {
            Outcome::Answer(answer) => expect.among(tenants).fault_of(answer, &site.take_log()),
            // What is no authority at all does not get past h2 (9113 §8.1.1).
            Outcome::Reset(h2::Reason::PROTOCOL_ERROR) if pseudo_header && expect == BAD_HOST => None,
            Outcome::Reset(_) => Some("reset".to_owned()),
        };
        assert!(
            fault.is_none(),
            "{name}: {fault:?}\nsent\n{}got\n{outcome:?}",
            shown_block(&block)
        );
    }
}

async fn everywhere(site: &Site, tenants: &[String]) {
    by_host_line(site, tenants).await;
    by_absolute_form(site, tenants).await;
    by_http2(site, tenants, true).await;
    by_http2(site, tenants, false).await;
}

#[tokio::test]
async fn a_host_means_the_same_wherever_it_stands() {
    let tenants = tenants(2);
    let site = Site::of(&tenants).await;
    everywhere(&site, &tenants).await;
    by_host_line_with_space_around(&site, &tenants).await;
}

#[tokio::test]
async fn a_host_means_the_same_among_few_tenants_and_many() {
    for count in [1, 100, 101, 10_000] {
        let tenants = tenants(count);
        let site = Site::of(&tenants).await;
        everywhere(&site, &tenants).await;
        let last = &tenants[count - 1];
        let answer = Wire::to(&site)
            .await
            .ask(get(format!("{last}.app.test")))
            .await
            .unwrap();
        assert_eq!(answer.header("x-tenant").as_ref(), Some(last));
    }
}

#[tokio::test]
async fn a_host_means_the_same_to_a_store_that_only_finds() {
    let tenants = tenants(2);
    let store = FaultyStore::new(MemoryStore::of(&tenants).unwrap()).finding_only();
    let mut settings = ResolveSettings::default();
    settings.misses_per_second = 1_000_000;
    settings.miss_burst = 1_000_000;
    let tenancy = Tenancy::builder(Subdomain::of("app.test").unwrap(), store.clone())
        .resolve_settings(settings)
        .build()
        .unwrap();
    let site = Site::serve(echoing(&tenancy)).await;
    // The first time from the store, the second time from what was kept.
    for _ in 0..2 {
        everywhere(&site, &tenants).await;
    }
    assert!(store.finds() > 0);
}

#[tokio::test]
async fn a_malformed_host_costs_no_call_of_the_store() {
    let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store.clone());
    let site = Site::serve(echoing(&tenancy)).await;
    for Row { name, host, .. } in all().into_iter().filter(|row| row.expect == BAD_HOST) {
        let answer = Wire::to(&site).await.ask(get(&host)).await.unwrap();
        assert_eq!(answer.status, 400, "{name}");
    }
    assert_eq!(store.finds(), 0);
}

#[tokio::test]
async fn a_central_host_is_central_however_it_is_written_and_no_tenant() {
    use axum::{Router, routing::get as on_get};
    use tenancy::Central;

    let tenancy = Tenancy::builder(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme", "www"]).unwrap(),
    )
    .central_hosts(["App.Test", "www.app.test."])
    .build()
    .unwrap();
    tenancy.ready().await;
    let app = tenancy
        .routes()
        .central(Router::new().route("/x", on_get(|_: Central| async { "central" })))
        .build();
    let site = Site::serve(app).await;
    for (host, expected) in [
        ("app.test", 200),
        ("APP.test", 200),
        ("app.test.", 200),
        ("app.test.:8080", 200),
        // Central goes before the tenant of that name.
        ("www.app.test", 200),
        ("ww.app.test", 404),
        ("www.www.app.test", 404),
        ("xapp.test", 404),
        ("app.test.evil.test", 404),
        ("app.test..", 400),
        // A tenant's side has no routes here.
        ("acme.app.test", 404),
    ] {
        let answer = Wire::to(&site).await.ask(get(host)).await.unwrap();
        assert_eq!(answer.status, expected, "{host}");
        assert_eq!(answer.text() == "central", expected == 200, "{host}");
    }
}
