//! Whole requests of HTTP/1 that hyper and axum leave to be judged.

use super::{
    ACME, BAD_HOST, BETA, Expect, NO_TUNNEL, NotAsked, Site, UNKNOWN, targets, tenants,
    wire::{check, check_connection, with_target},
};

pub(super) type Row = (&'static str, Vec<u8>, Expect);

pub(super) fn row(name: &'static str, sent: impl Into<Vec<u8>>, expect: Expect) -> Row {
    (name, sent.into(), expect)
}

fn host_lines() -> Vec<Row> {
    let two = |a: &str, b: &str| format!("GET /x HTTP/1.1\r\nHost: {a}\r\nAccept: */*\r\nHost: {b}\r\n\r\n");
    vec![
        row(
            "1.1 without Host (9112 §3.2)",
            "GET /x HTTP/1.1\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "1.1 without Host, with others",
            "GET /x HTTP/1.1\r\nAccept: */*\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "two different hosts (9112 §3.2)",
            two("acme.app.test", "beta.app.test"),
            BAD_HOST,
        ),
        row(
            "two equal hosts (9112 §3.2)",
            two("acme.app.test", "acme.app.test"),
            BAD_HOST,
        ),
        row("two hosts, the first empty", two("", "acme.app.test"), BAD_HOST),
        row("two hosts, the second empty", two("acme.app.test", ""), BAD_HOST),
        row(
            "two hosts, the second malformed",
            two("acme.app.test", "a b"),
            BAD_HOST,
        ),
        row(
            "two hosts in different case",
            "GET /x HTTP/1.1\r\nHost: acme.app.test\r\nhOST: beta.app.test\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "three hosts",
            format!("GET /x HTTP/1.1\r\n{}\r\n", "Host: acme.app.test\r\n".repeat(3)),
            BAD_HOST,
        ),
        row(
            "host in lower case",
            "GET /x HTTP/1.1\r\nhost: acme.app.test\r\n\r\n",
            ACME,
        ),
        row(
            "HOST in upper case",
            "GET /x HTTP/1.1\r\nHOST: acme.app.test\r\n\r\n",
            ACME,
        ),
        row(
            "Host without a space",
            "GET /x HTTP/1.1\r\nHost:acme.app.test\r\n\r\n",
            ACME,
        ),
        row(
            "Host with only space",
            "GET /x HTTP/1.1\r\nHost:   \t \r\n\r\n",
            BAD_HOST,
        ),
        row("1.0 without Host", "GET /x HTTP/1.0\r\n\r\n", BAD_HOST),
        row(
            "1.0 with Host",
            "GET /x HTTP/1.0\r\nHost: acme.app.test\r\n\r\n",
            ACME,
        ),
        row(
            "1.0 with an unknown host",
            "GET /x HTTP/1.0\r\nHost: nobody.app.test\r\n\r\n",
            UNKNOWN,
        ),
        row(
            "1.0 with two hosts",
            "GET /x HTTP/1.0\r\nHost: acme.app.test\r\nHost: acme.app.test\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "names that are almost Host",
            "GET /x HTTP/1.1\r\nHost-: beta.app.test\r\nX-Host: beta.app.test\r\nHost_: beta.app.test\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "a pseudo-header of HTTP/2 is no header",
            "GET /x HTTP/1.1\r\n:authority: acme.app.test\r\nHost: beta.app.test\r\n\r\n",
            NotAsked(400),
        ),
        row(
            "Host among trailers comes too late (9110 §6.5.1)",
            "POST /x HTTP/1.1\r\nHost: acme.app.test\r\nTransfer-Encoding: chunked\r\nTrailer: Host\r\n\r\n\
             0\r\nHost: beta.app.test\r\n\r\n",
            ACME,
        ),
        row(
            "Connection does not take Host away (9110 §7.6.1)",
            "GET /x HTTP/1.1\r\nHost: acme.app.test\r\nConnection: Host\r\n\r\n",
            ACME,
        ),
        row(
            "a HEAD that is refused",
            "HEAD /x HTTP/1.1\r\nHost: nobody.app.test\r\n\r\n",
            UNKNOWN,
        ),
        row("a HEAD without Host", "HEAD /x HTTP/1.1\r\n\r\n", BAD_HOST),
    ]
}

fn framing() -> Vec<Row> {
    let lines = |name, lines: &str, expect| row(name, format!("GET /x HTTP/1.1\r\n{lines}\r\n\r\n"), expect);
    let post = |name, lines: &str, expect| {
        row(
            name,
            format!("POST /x HTTP/1.1\r\nHost: acme.app.test\r\n{lines}\r\n\r\nhello"),
            expect,
        )
    };
    vec![
        lines("NUL in Host (9110 §5.5)", "Host: acme\0.app.test", NotAsked(400)),
        lines(
            "a control character in Host",
            "Host: acme\x01.app.test",
            NotAsked(400),
        ),
        lines("DEL in Host", "Host: acme\x7f.app.test", NotAsked(400)),
        lines(
            "a bare CR in Host (9112 §2.2)",
            "Host: acme.app.test\rx",
            NotAsked(400),
        ),
        lines(
            "a bare CR before another Host",
            "Host: acme.app.test\rHost: beta.app.test",
            NotAsked(400),
        ),
        lines(
            "a folded Host (9112 §5.2)",
            "Host: acme.\r\n app.test",
            NotAsked(400),
        ),
        lines(
            "a folded line before Host",
            "A: b\r\n\tc\r\nHost: acme.app.test",
            NotAsked(400),
        ),
        lines(
            "a space before the colon (9112 §5.1)",
            "Host : acme.app.test",
            NotAsked(400),
        ),
        lines("a tab before the colon", "Host\t: acme.app.test", NotAsked(400)),
        lines(
            "a space before the first line (9112 §2.2)",
            " Host: acme.app.test",
            NotAsked(400),
        ),
        lines("a line without a colon", "Host acme.app.test", NotAsked(400)),
        lines(
            "a line without a name",
            ": x\r\nHost: acme.app.test",
            NotAsked(400),
        ),
        row(
            "line ends without CR (9112 §2.2)",
            "GET /x HTTP/1.1\nHost: acme.app.test\n\n",
            ACME,
        ),
        row(
            "an empty line first (9112 §2.2)",
            "\r\nGET /x HTTP/1.1\r\nHost: acme.app.test\r\n\r\n",
            ACME,
        ),
        post(
            "two different lengths (9112 §6.3)",
            "Content-Length: 5\r\nContent-Length: 6",
            NotAsked(400),
        ),
        post("a list of lengths", "Content-Length: 5, 6", NotAsked(400)),
        post("a length with a plus", "Content-Length: +5", NotAsked(400)),
        post("a length with a minus", "Content-Length: -5", NotAsked(400)),
        post(
            "two lines of codings",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: identity",
            NotAsked(400),
        ),
        post(
            "chunked is not last",
            "Transfer-Encoding: chunked, identity",
            NotAsked(400),
        ),
        post("an unknown coding", "Transfer-Encoding: xchunked", NotAsked(400)),
        row(
            "150 lines",
            format!(
                "GET /x HTTP/1.1\r\nHost: acme.app.test\r\n{}\r\n",
                "A: b\r\n".repeat(150)
            ),
            NotAsked(431),
        ),
        row(
            "500 kB of lines",
            format!(
                "GET /x HTTP/1.1\r\nHost: acme.app.test\r\nA: {}\r\n\r\n",
                "b".repeat(500_000)
            ),
            NotAsked(431),
        ),
    ]
}

#[tokio::test]
async fn a_request_is_for_the_tenant_that_all_its_parts_name_or_for_none() {
    for count in [2, 101] {
        let site = Site::of(&tenants(count)).await;
        for (name, sent, expect) in [host_lines(), targets::absolute(), targets::other(), framing()].concat()
        {
            let answer = check_connection(&site, name, &sent, expect).await;
            let must_close = expect == NO_TUNNEL || matches!(expect, NotAsked(_));
            let closes = answer.header("connection").as_deref() == Some("close");
            assert!(
                closes || !must_close,
                "{name}: the connection may hold the rest of what was refused"
            );
        }
    }
}

#[tokio::test]
async fn a_path_that_looks_like_a_host_stays_a_path() {
    let site = Site::of(&tenants(2)).await;
    let seen = async |target: &str| {
        let sent = with_target(format!("GET {target} HTTP/1.1"), "acme.app.test");
        check(&site, target, &sent, ACME).await.seen("uri").unwrap()
    };
    assert_eq!(seen("//beta.app.test/x").await, "//beta.app.test/x");
    assert_eq!(
        seen("http://acme.app.test//beta.app.test/x").await,
        "http://acme.app.test//beta.app.test/x"
    );
    let beta = with_target("GET //acme.app.test/x HTTP/1.1", "beta.app.test");
    check(&site, "the other way round", &beta, BETA).await;
}
