//! HTTP/2: `:authority`, `host`, and what is left out or sent twice.

use super::{
    ACME, Answer, BAD_HOST, BETA, Expect, NO_TUNNEL, Site, UNKNOWN,
    frames::{self, Block, Outcome, block, shown_block},
    tenants,
};

/// What a stream ends with: an answer, or a reset by h2.
#[derive(Clone, Copy, Debug)]
enum End {
    Answer(Expect),
    Reset,
}

use End::Reset;

const ACME_NAME: &[u8] = b"acme.app.test";
const BETA_NAME: &[u8] = b"beta.app.test";

type Row = (&'static str, Block, End);

fn answered(name: &'static str, block: Block, expect: Expect) -> Row {
    (name, block, End::Answer(expect))
}

fn reset(name: &'static str, block: Block) -> Row {
    (name, block, Reset)
}

fn hosts() -> Vec<Row> {
    let both = |name, authority: &str, host: &str, expect| {
        answered(
            name,
            frames::get([(":authority", authority.as_bytes()), ("host", host.as_bytes())]),
            expect,
        )
    };
    let (acme, beta) = ("acme.app.test", "beta.app.test");
    vec![
        answered(
            ":authority alone (9113 §8.3.1)",
            frames::get([(":authority", ACME_NAME)]),
            ACME,
        ),
        answered("host alone", frames::get([("host", ACME_NAME)]), ACME),
        answered("neither (9110 §7.2)", frames::get([]), BAD_HOST),
        both(":authority and host agree", acme, acme, ACME),
        both(":authority and host differ (9113 §8.3.1)", acme, beta, BAD_HOST),
        both("the other way round", beta, acme, BAD_HOST),
        both(
            ":authority a tenant, host unknown",
            acme,
            "nobody.app.test",
            BAD_HOST,
        ),
        both(
            ":authority unknown, host a tenant",
            "nobody.app.test",
            acme,
            BAD_HOST,
        ),
        both(":authority a tenant, host malformed", acme, "a b", BAD_HOST),
        both(":authority a tenant, host empty", acme, "", BAD_HOST),
        both(
            "both unknown alike",
            "nobody.app.test",
            "nobody.app.test",
            UNKNOWN,
        ),
        both("they differ in case", "ACME.app.test", acme, ACME),
        both("they differ in a dot at the end", "acme.app.test.", acme, ACME),
        both("they differ in the default port", "acme.app.test:80", acme, ACME),
        both("the default port in host", acme, "acme.app.test:80", ACME),
        both(
            "they differ in another port",
            "acme.app.test:8080",
            acme,
            BAD_HOST,
        ),
        both(
            "two other ports",
            "acme.app.test:8080",
            "acme.app.test:8081",
            BAD_HOST,
        ),
        answered(
            "two different hosts",
            frames::get([("host", ACME_NAME), ("host", BETA_NAME)]),
            BAD_HOST,
        ),
        answered(
            "two equal hosts",
            frames::get([("host", ACME_NAME), ("host", ACME_NAME)]),
            BAD_HOST,
        ),
        answered(
            ":authority and two hosts",
            frames::get([
                (":authority", ACME_NAME),
                ("host", ACME_NAME),
                ("host", BETA_NAME),
            ]),
            BAD_HOST,
        ),
        answered(
            ":authority and two hosts, all equal",
            frames::get([
                (":authority", ACME_NAME),
                ("host", ACME_NAME),
                ("host", ACME_NAME),
            ]),
            BAD_HOST,
        ),
        answered(
            "a list in host",
            frames::get([("host", b"acme.app.test, beta.app.test")]),
            BAD_HOST,
        ),
        answered(
            "a space before host (9113 §8.2.1)",
            frames::get([("host", b" acme.app.test")]),
            BAD_HOST,
        ),
        answered(
            "user information (9113 §8.3.1)",
            frames::get([(":authority", b"u@acme.app.test")]),
            BAD_HOST,
        ),
        both(
            "user information in both",
            "u@acme.app.test",
            "u@acme.app.test",
            BAD_HOST,
        ),
        answered(
            "only user information",
            frames::get([(":authority", b"acme.app.test@beta.app.test")]),
            BAD_HOST,
        ),
        reset(
            ":authority twice (9113 §8.3)",
            frames::get([(":authority", ACME_NAME), (":authority", BETA_NAME)]),
        ),
        reset(
            ":authority twice alike",
            frames::get([(":authority", ACME_NAME), (":authority", ACME_NAME)]),
        ),
        reset("an empty :authority", frames::get([(":authority", b"")])),
        reset(
            "an empty :authority and a host",
            frames::get([(":authority", b""), ("host", ACME_NAME)]),
        ),
        reset(
            "a space in :authority",
            frames::get([(":authority", b"acme.app.test ")]),
        ),
        reset(
            "a path in :authority",
            frames::get([(":authority", b"acme.app.test/x")]),
        ),
        reset("a NUL in host", frames::get([("host", b"acme.app.test\0")])),
        reset(
            "a line end in host",
            frames::get([("host", b"acme.app.test\r\nhost: beta.app.test")]),
        ),
        reset(
            ":authority after a field",
            frames::get([("accept", b"*/*"), (":authority", ACME_NAME)]),
        ),
        reset(
            "Host in upper case (9113 §8.2.1)",
            frames::get([(":authority", ACME_NAME), ("Host", BETA_NAME)]),
        ),
        reset(
            "a pseudo-header that there is not",
            frames::get([(":authority", ACME_NAME), (":host", BETA_NAME)]),
        ),
    ]
}

fn targets() -> Vec<Row> {
    let target = |method, scheme, path| {
        let pseudo = [(":method", method), (":scheme", scheme), (":path", path)];
        let mut all = block(pseudo);
        all.push((b":authority".to_vec(), ACME_NAME.to_vec()));
        all
    };
    vec![
        answered("https", target("GET", "https", "/x"), ACME),
        answered("the scheme in upper case", target("GET", "HTTPS", "/x"), ACME),
        answered("another scheme", target("GET", "ftp", "/x"), BAD_HOST),
        answered("a scheme of our own", target("GET", "acme", "/x"), BAD_HOST),
        answered("OPTIONS * (9113 §8.3.1)", target("OPTIONS", "http", "*"), ACME),
        answered("GET *", target("GET", "http", "*"), BAD_HOST),
        answered(
            "a path that looks like another host",
            target("GET", "http", "//beta.app.test/x"),
            ACME,
        ),
        answered(
            "a query and no path is the root",
            target("GET", "http", "?beta.app.test"),
            ACME,
        ),
        reset("an empty path (9113 §8.3.1)", target("GET", "http", "")),
        reset("a path with a space", target("GET", "http", "/x y")),
        reset(
            "no method",
            block([
                (":scheme", "http"),
                (":path", "/x"),
                (":authority", "acme.app.test"),
            ]),
        ),
        reset(
            "no scheme",
            block([
                (":method", "GET"),
                (":path", "/x"),
                (":authority", "acme.app.test"),
            ]),
        ),
        reset("connection is no field here (9113 §8.2.2)", {
            let mut all = target("GET", "http", "/x");
            all.push((b"connection".to_vec(), b"host".to_vec()));
            all
        }),
    ]
}

/// Paths that h2 lets through or not, from one version to the next: never another tenant, never without a path.
fn relative_paths() -> Vec<Block> {
    ["x", "http://beta.app.test/x", "beta.app.test:80", "\\x"]
        .map(|path| {
            block([
                (":method", "GET"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "acme.app.test"),
            ])
        })
        .into()
}

fn tunnels() -> Vec<Row> {
    let websocket = |protocol: &str, fields: &[(&str, &str)]| {
        let pseudo = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", "/x"),
        ];
        let mut all = block(pseudo);
        all.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        all
    };
    let to = |name: &'static str| [(":authority", name)];
    vec![
        answered(
            "CONNECT (9113 §8.5)",
            block([(":method", "CONNECT"), (":authority", "acme.app.test:443")]),
            NO_TUNNEL,
        ),
        answered(
            "CONNECT with a host",
            block([
                (":method", "CONNECT"),
                (":authority", "acme.app.test:443"),
                ("host", "acme.app.test"),
            ]),
            NO_TUNNEL,
        ),
        answered(
            "WebSocket (8441 §4)",
            websocket("websocket", &to("acme.app.test")),
            ACME,
        ),
        answered(
            "WebSocket for another",
            websocket("websocket", &to("beta.app.test")),
            BETA,
        ),
        answered(
            "WebSocket for nobody",
            websocket("websocket", &to("nobody.app.test")),
            UNKNOWN,
        ),
        answered(
            "WebSocket with user information",
            websocket("websocket", &to("u@acme.app.test")),
            BAD_HOST,
        ),
        answered("WebSocket without a host", websocket("websocket", &[]), BAD_HOST),
        answered(
            "WebSocket with host",
            websocket(
                "websocket",
                &[(":authority", "acme.app.test"), ("host", "acme.app.test")],
            ),
            ACME,
        ),
        answered(
            "WebSocket with another host",
            websocket(
                "websocket",
                &[(":authority", "acme.app.test"), ("host", "beta.app.test")],
            ),
            BAD_HOST,
        ),
        answered(
            "WebSocket without a real path",
            {
                let mut all = websocket("websocket", &to("acme.app.test"));
                all[3].1 = b"*".to_vec();
                all
            },
            BAD_HOST,
        ),
        answered(
            "another protocol (9298)",
            websocket("connect-udp", &to("acme.app.test")),
            NO_TUNNEL,
        ),
        answered(
            "a protocol that begins alike",
            websocket("websocket2", &to("acme.app.test")),
            NO_TUNNEL,
        ),
        answered(
            "an empty protocol",
            websocket("", &to("acme.app.test")),
            NO_TUNNEL,
        ),
        reset(
            "a protocol without CONNECT",
            block([
                (":method", "GET"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", "/x"),
                (":authority", "acme.app.test"),
            ]),
        ),
        reset(
            "CONNECT with a path and no protocol",
            block([
                (":method", "CONNECT"),
                (":scheme", "http"),
                (":path", "/x"),
                (":authority", "acme.app.test"),
            ]),
        ),
    ]
}

#[tokio::test]
async fn a_stream_is_for_the_tenant_that_all_its_fields_name_or_for_none() {
    let site = Site::of(&tenants(2)).await;
    for (name, block, expect) in [hosts(), targets(), tunnels()].concat() {
        let outcome = frames::ask_one(&site, &block).await;
        let fault = match (&outcome, expect) {
            (Outcome::Answer(answer), End::Answer(Expect::Tenant(tenant))) if is_connect(&block) => {
                (answer.header("x-tenant").as_deref() != Some(tenant)).then(|| "another tenant".to_owned())
            }
            (Outcome::Answer(answer), End::Answer(expect)) => expect.fault_of(answer, &site.take_log()),
            (Outcome::Reset(h2::Reason::PROTOCOL_ERROR), Reset) => None,
            _ => Some("the wrong end".to_owned()),
        };
        assert!(
            fault.is_none(),
            "{name}: {fault:?} ({expect:?})\nsent\n{}got\n{outcome:?}",
            shown_block(&block)
        );
    }
}

fn is_connect(block: &Block) -> bool {
    block[0].1 == b"CONNECT"
}

#[tokio::test]
async fn a_stream_without_a_real_path_reaches_nobody() {
    let site = Site::of(&tenants(2)).await;
    for block in relative_paths() {
        let outcome = frames::ask_one(&site, &block).await;
        let refused = match &outcome {
            Outcome::Answer(answer) => BAD_HOST.fault_of(answer, &site.take_log()).is_none(),
            Outcome::Reset(_) => true,
        };
        assert!(refused, "sent\n{}got\n{outcome:?}", shown_block(&block));
    }
}

#[tokio::test]
async fn streams_of_one_connection_are_each_for_their_own_tenant() {
    let site = Site::of(&tenants(2)).await;
    let blocks: Vec<Block> = [
        ACME_NAME,
        BETA_NAME,
        b"nobody.app.test",
        b"u@acme.app.test",
        ACME_NAME,
    ]
    .map(|name| frames::get([(":authority", name)]))
    .into();
    let statuses: Vec<(u16, Option<String>)> = frames::ask(&site, &blocks)
        .await
        .iter()
        .map(|outcome| match outcome {
            Outcome::Answer(answer) => of(answer),
            Outcome::Reset(reason) => panic!("{reason}"),
        })
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        statuses,
        [
            (200, named("acme")),
            (200, named("beta")),
            (404, None),
            (400, None),
            (200, named("acme"))
        ]
    );
}

fn of(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.header("x-tenant"))
}
