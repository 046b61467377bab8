//! First lines of HTTP/1, in each form that they can have (RFC 9112 §3.2).

use super::{
    ACME, BAD_HOST, NO_TUNNEL, NotAsked, UNKNOWN,
    requests::{Row, row},
    wire::with_target,
};

pub(super) fn absolute() -> Vec<Row> {
    let target = |name, target: &str, host: &str, expect| {
        row(name, with_target(format!("GET {target} HTTP/1.1"), host), expect)
    };
    let (acme, beta) = ("acme.app.test", "beta.app.test");
    vec![
        target(
            "target and Host agree (9112 §3.2.2)",
            "http://acme.app.test/x",
            acme,
            ACME,
        ),
        target(
            "target is one tenant, Host another",
            "http://beta.app.test/x",
            acme,
            BAD_HOST,
        ),
        target("the other way round", "http://acme.app.test/x", beta, BAD_HOST),
        target(
            "target is unknown, Host a tenant",
            "http://nobody.app.test/x",
            acme,
            BAD_HOST,
        ),
        target(
            "target is a tenant, Host unknown",
            "http://acme.app.test/x",
            "nobody.app.test",
            BAD_HOST,
        ),
        target(
            "target is a tenant, Host malformed",
            "http://acme.app.test/x",
            "a b",
            BAD_HOST,
        ),
        target(
            "target is a tenant, Host empty",
            "http://acme.app.test/x",
            "",
            BAD_HOST,
        ),
        target(
            "both unknown alike",
            "http://nobody.app.test/x",
            "nobody.app.test",
            UNKNOWN,
        ),
        target("target in upper case", "http://ACME.APP.TEST/x", acme, ACME),
        target(
            "Host in upper case",
            "http://acme.app.test/x",
            "ACME.APP.TEST",
            ACME,
        ),
        target(
            "target with a dot at the end",
            "http://acme.app.test./x",
            acme,
            ACME,
        ),
        target(
            "the default port in Host (9110 §4.2.3)",
            "http://acme.app.test/x",
            "acme.app.test:80",
            ACME,
        ),
        target(
            "the default port in the target",
            "http://acme.app.test:80/x",
            acme,
            ACME,
        ),
        target(
            "an empty port in the target",
            "http://acme.app.test:/x",
            acme,
            ACME,
        ),
        target(
            "the default port of https",
            "https://acme.app.test/x",
            "acme.app.test:443",
            ACME,
        ),
        target("https without a port", "https://acme.app.test/x", acme, ACME),
        target(
            "https and the port of http",
            "https://acme.app.test/x",
            "acme.app.test:80",
            BAD_HOST,
        ),
        target(
            "http and the port of https",
            "http://acme.app.test/x",
            "acme.app.test:443",
            BAD_HOST,
        ),
        target(
            "different ports",
            "http://acme.app.test:8080/x",
            "acme.app.test:8081",
            BAD_HOST,
        ),
        target(
            "a port in the target only",
            "http://acme.app.test:8080/x",
            acme,
            BAD_HOST,
        ),
        target(
            "equal ports",
            "http://acme.app.test:8080/x",
            "acme.app.test:8080",
            ACME,
        ),
        target("the scheme in upper case", "HTTP://acme.app.test/x", acme, ACME),
        target(
            "user information in the target",
            "http://user@acme.app.test/x",
            acme,
            BAD_HOST,
        ),
        target(
            "user information in both",
            "http://user@acme.app.test/x",
            "user@acme.app.test",
            BAD_HOST,
        ),
        target(
            "the tenant as user of another",
            "http://acme.app.test@beta.app.test/x",
            acme,
            BAD_HOST,
        ),
        target(
            "another tenant as user",
            "http://beta.app.test@acme.app.test/x",
            acme,
            BAD_HOST,
        ),
        target("another scheme", "ftp://acme.app.test/x", acme, BAD_HOST),
        target("the scheme of WebSockets", "ws://acme.app.test/x", acme, BAD_HOST),
        target("without a path", "http://acme.app.test", acme, ACME),
        target(
            "without a path, with a query",
            "http://acme.app.test?x=1",
            acme,
            ACME,
        ),
        target(
            "a path that looks like a target",
            "http://acme.app.test//beta.app.test/x",
            acme,
            ACME,
        ),
        target(
            "a query that looks like a host",
            "http://beta.app.test?@acme.app.test/x",
            acme,
            BAD_HOST,
        ),
        target(
            "a fragment that looks like a host",
            "http://beta.app.test#@acme.app.test/x",
            acme,
            BAD_HOST,
        ),
        target(
            "a backslash in the target",
            "http://acme.app.test\\@beta.app.test/x",
            acme,
            NotAsked(400),
        ),
        target("no host in the target", "http:///x", acme, NotAsked(400)),
        target(
            "no slashes after the scheme",
            "http:acme.app.test/x",
            acme,
            NotAsked(400),
        ),
        target(
            "one slash after the scheme",
            "http:/acme.app.test/x",
            acme,
            NotAsked(400),
        ),
        row(
            "absolute without Host (9112 §3.2)",
            "GET http://acme.app.test/x HTTP/1.1\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "absolute and 1.0 without Host",
            "GET http://acme.app.test/x HTTP/1.0\r\n\r\n",
            BAD_HOST,
        ),
        row(
            "absolute with two hosts",
            "GET http://acme.app.test/x HTTP/1.1\r\nHost: acme.app.test\r\nHost: acme.app.test\r\n\r\n",
            BAD_HOST,
        ),
    ]
}

pub(super) fn other() -> Vec<Row> {
    let acme = |name, line: &str, expect| row(name, with_target(line, "acme.app.test"), expect);
    vec![
        acme(
            "a host and a port for GET (9112 §3.2.3)",
            "GET beta.app.test:80 HTTP/1.1",
            BAD_HOST,
        ),
        acme(
            "the same host and port for GET",
            "GET acme.app.test:80 HTTP/1.1",
            BAD_HOST,
        ),
        acme("a host for GET", "GET acme.app.test HTTP/1.1", BAD_HOST),
        acme("a word for GET", "GET x HTTP/1.1", BAD_HOST),
        acme(
            "a host and a port for OPTIONS",
            "OPTIONS acme.app.test:80 HTTP/1.1",
            BAD_HOST,
        ),
        acme(
            "CONNECT to another host (9110 §9.3.6)",
            "CONNECT beta.app.test:443 HTTP/1.1",
            NO_TUNNEL,
        ),
        acme(
            "CONNECT to the same host",
            "CONNECT acme.app.test:443 HTTP/1.1",
            NO_TUNNEL,
        ),
        acme(
            "CONNECT without port",
            "CONNECT acme.app.test HTTP/1.1",
            NO_TUNNEL,
        ),
        acme("CONNECT to a path", "CONNECT /x HTTP/1.1", NO_TUNNEL),
        acme(
            "CONNECT to a whole URL",
            "CONNECT http://acme.app.test/x HTTP/1.1",
            NO_TUNNEL,
        ),
        acme("CONNECT to *", "CONNECT * HTTP/1.1", NO_TUNNEL),
        row(
            "CONNECT and 1.0",
            "CONNECT acme.app.test:443 HTTP/1.0\r\n\r\n",
            NO_TUNNEL,
        ),
        row(
            "CONNECT that asks for WebSockets is for HTTP/2 (8441)",
            "CONNECT /x HTTP/1.1\r\nHost: acme.app.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            NO_TUNNEL,
        ),
        acme("connect is no method that we know", "connect /x HTTP/1.1", ACME),
        acme("OPTIONS * (9112 §3.2.4)", "OPTIONS * HTTP/1.1", ACME),
        row("OPTIONS * without Host", "OPTIONS * HTTP/1.1\r\n\r\n", BAD_HOST),
        row(
            "OPTIONS * for nobody",
            with_target("OPTIONS * HTTP/1.1", "nobody.app.test"),
            UNKNOWN,
        ),
        acme("GET *", "GET * HTTP/1.1", BAD_HOST),
        acme("POST *", "POST * HTTP/1.1", BAD_HOST),
        acme("options * in lower case", "options * HTTP/1.1", BAD_HOST),
        acme(
            "OPTIONS of the whole server as a proxy sends it",
            "OPTIONS http://acme.app.test HTTP/1.1",
            ACME,
        ),
        acme(
            "a path that looks like another host",
            "GET //beta.app.test/x HTTP/1.1",
            ACME,
        ),
        acme(
            "a path with a URL inside",
            "GET /http://beta.app.test/x HTTP/1.1",
            ACME,
        ),
        acme("a path with an at-sign", "GET /@beta.app.test HTTP/1.1", ACME),
        acme(
            "a query with a URL inside",
            "GET /x?http://beta.app.test HTTP/1.1",
            ACME,
        ),
        acme("no path", "GET  HTTP/1.1", NotAsked(400)),
        acme("two spaces before the path", "GET  /x HTTP/1.1", NotAsked(400)),
        acme(
            "a space in the path (9112 §3.2)",
            "GET /x y HTTP/1.1",
            NotAsked(400),
        ),
        acme("a query without a path", "GET ?x HTTP/1.1", NotAsked(400)),
        acme("HTTP/0.9", "GET /x", NotAsked(400)),
        acme("HTTP/1.2", "GET /x HTTP/1.2", NotAsked(400)),
        acme("HTTP/2.0 in the first line", "GET /x HTTP/2.0", NotAsked(400)),
    ]
}
