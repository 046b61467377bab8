//! Headers and paths that name a tenant, as a client can really send them.

use std::collections::HashMap;

use axum::{
    Router,
    extract::{MatchedPath, NestedPath, OriginalUri, Path, Request},
    routing::get as on_get,
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    resolve::{Chain, ConflictPolicy, Header, PathSegment, Subdomain},
};

use super::{
    ACME, BAD_HOST, BETA, Expect, NO_TUNNEL, Refused, Site, UNKNOWN,
    frames::{self, Outcome, block},
    site::echoing,
    tenants,
    wire::{Wire, check, get, with_target},
};

const INVALID: Expect = Refused(400, "invalid_identifier");
const DISAGREE: Expect = Refused(400, "identifiers_disagree");

async fn site(who: impl Into<Chain>) -> Site {
    let tenancy = Tenancy::new(who, MemoryStore::of(tenants(2)).unwrap());
    tenancy.ready().await;
    Site::serve(echoing(&tenancy)).await
}

fn subdomain() -> Subdomain {
    Subdomain::of("app.test").unwrap()
}

fn header() -> Header {
    Header::named("x-tenant-id").unwrap()
}

fn path() -> PathSegment {
    PathSegment::first().after_prefix("/t").unwrap().strip(true)
}

fn both(policy: ConflictPolicy, second: impl tenancy::core::Identify) -> Chain {
    Chain::new(policy)
        .with(subdomain())
        .unwrap()
        .with(second)
        .unwrap()
}

fn with_lines(host: &str, lines: &[&[u8]]) -> Vec<u8> {
    let lines: Vec<u8> = lines
        .iter()
        .flat_map(|line| [line, b"\r\n".as_slice()].concat())
        .collect();
    [
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\n").as_bytes(),
        &lines,
        b"\r\n",
    ]
    .concat()
}

#[tokio::test]
async fn a_header_names_a_tenant_once_and_exactly() {
    let site = site(header()).await;
    let nine_kilobytes = [b"X-Tenant-Id: ".as_slice(), &b"a".repeat(9_000)].concat();
    let tenant: &[u8] = b"X-Tenant-Id: beta";
    for (name, lines, expect) in [
        ("once", vec![tenant], BETA),
        ("in lower case", vec![b"x-tenant-id: beta"], BETA),
        ("in upper case", vec![b"X-TENANT-ID: beta"], BETA),
        ("with space around", vec![b"X-Tenant-Id: \t beta \t"], BETA),
        ("of nobody", vec![b"X-Tenant-Id: nobody"], UNKNOWN),
        ("none", vec![], UNKNOWN),
        (
            "underscores are another name",
            vec![b"X_Tenant_Id: beta"],
            UNKNOWN,
        ),
        ("underscores beside it", vec![b"X_Tenant_Id: acme", tenant], BETA),
        ("one underscore", vec![b"X-Tenant_Id: beta"], UNKNOWN),
        ("twice", vec![tenant, b"X-Tenant-Id: acme"], INVALID),
        ("twice alike", vec![tenant, tenant], INVALID),
        (
            "twice in different case",
            vec![tenant, b"x-tenant-id: beta"],
            INVALID,
        ),
        ("empty", vec![b"X-Tenant-Id:"], INVALID),
        ("empty and then not", vec![b"X-Tenant-Id:", tenant], INVALID),
        ("9 kB", vec![&nine_kilobytes], INVALID),
        ("no ASCII", vec!["X-Tenant-Id: b\u{e9}ta".as_bytes()], INVALID),
        ("no UTF-8", vec![b"X-Tenant-Id: \xff\xfe"], INVALID),
        ("a list", vec![b"X-Tenant-Id: beta, acme"], INVALID),
        ("the tenant in upper case", vec![b"X-Tenant-Id: BETA"], INVALID),
        ("quoted", vec![b"X-Tenant-Id: \"beta\""], INVALID),
        ("percent-encoded", vec![b"X-Tenant-Id: %62eta"], INVALID),
        ("a path", vec![b"X-Tenant-Id: ../beta"], INVALID),
        (
            "a domain of the tenant",
            vec![b"X-Tenant-Id: beta.app.test"],
            INVALID,
        ),
    ] {
        check(&site, name, &with_lines("anything.test", &lines), expect).await;
    }
}

#[tokio::test]
async fn a_header_that_contradicts_the_host_is_refused() {
    let site = site(both(ConflictPolicy::AgreeOrRefuse, header())).await;
    let acme = "acme.app.test";
    for (name, host, lines, expect) in [
        ("host alone", acme, vec![], ACME),
        (
            "header alone",
            "other.test",
            vec![b"X-Tenant-Id: beta".as_slice()],
            BETA,
        ),
        ("both agree", acme, vec![b"X-Tenant-Id: acme"], ACME),
        ("they disagree", acme, vec![b"X-Tenant-Id: beta"], DISAGREE),
        (
            "the other way round",
            "beta.app.test",
            vec![b"X-Tenant-Id: acme"],
            DISAGREE,
        ),
        (
            "the header is nobody's",
            acme,
            vec![b"X-Tenant-Id: nobody"],
            UNKNOWN,
        ),
        (
            "the host is nobody's",
            "nobody.app.test",
            vec![b"X-Tenant-Id: acme"],
            UNKNOWN,
        ),
        (
            "the header is malformed",
            acme,
            vec![b"X-Tenant-Id: BETA"],
            INVALID,
        ),
        ("the header is empty", acme, vec![b"X-Tenant-Id:"], INVALID),
        ("underscores", acme, vec![b"X_Tenant_Id: beta"], ACME),
        ("neither", "other.test", vec![], UNKNOWN),
    ] {
        check(&site, name, &with_lines(host, &lines), expect).await;
    }
}

#[tokio::test]
async fn the_first_present_decides_only_where_that_is_asked_for() {
    let site = site(both(ConflictPolicy::FirstPresent, header())).await;
    let acme = "acme.app.test";
    for (name, host, lines, expect) in [
        (
            "the host goes first",
            acme,
            vec![b"X-Tenant-Id: beta".as_slice()],
            ACME,
        ),
        (
            "what comes after is not looked at",
            acme,
            vec![b"X-Tenant-Id: BETA"],
            ACME,
        ),
        (
            "a host that is nobody's is present",
            "nobody.app.test",
            vec![b"X-Tenant-Id: beta"],
            UNKNOWN,
        ),
        (
            "a host that names nobody is absent",
            "app.test",
            vec![b"X-Tenant-Id: beta"],
            BETA,
        ),
    ] {
        check(&site, name, &with_lines(host, &lines), expect).await;
    }
}

/// Target, what is expected, and the path that the router sees then.
const PATHS: [(&str, Expect, &str); 40] = [
    ("/t/acme", ACME, "/"),
    ("/t/acme/", ACME, "/"),
    ("/t/acme/x", ACME, "/x"),
    ("/t/beta/x", BETA, "/x"),
    ("/t/acme/x/", ACME, "/x/"),
    ("/t/acme?q=1", ACME, "/?q=1"),
    ("/t/acme/?q=1", ACME, "/?q=1"),
    ("/t/acme/x?q=/t/beta", ACME, "/x?q=/t/beta"),
    ("/t/acme/me/x.css", ACME, "/me/x.css"),
    ("/t/acme//beta", ACME, "//beta"),
    ("/t/acme/t/beta/x", ACME, "/t/beta/x"),
    // Nothing is normalised: what is for acme stays for acme.
    ("/t/acme/../beta/x", ACME, "/../beta/x"),
    ("/t/acme/%2e%2e/beta", ACME, "/%2e%2e/beta"),
    ("/t/acme/%ff", ACME, "/%ff"),
    ("/t/acme/x%2fy", ACME, "/x%2fy"),
    ("/t/acme/x;v=1", ACME, "/x;v=1"),
    ("/t/nobody/x", UNKNOWN, ""),
    ("/t//x", UNKNOWN, ""),
    ("/t//acme/x", UNKNOWN, ""),
    ("//t/acme/x", UNKNOWN, ""),
    ("/t", UNKNOWN, ""),
    ("/t/", UNKNOWN, ""),
    ("/t?acme", UNKNOWN, ""),
    ("/", UNKNOWN, ""),
    ("/x/t/acme", UNKNOWN, ""),
    ("/team/acme/x", UNKNOWN, ""),
    ("/T/acme/x", UNKNOWN, ""),
    ("/%74/acme/x", UNKNOWN, ""),
    ("/t/ACME/x", UNKNOWN, ""),
    ("/t/./acme/x", UNKNOWN, ""),
    ("/t/../t/acme/x", UNKNOWN, ""),
    ("/t/acme;v=1/x", UNKNOWN, ""),
    ("/t/acme.app.test/x", UNKNOWN, ""),
    ("/t/%ff/x", INVALID, ""),
    ("/t/%zz/x", INVALID, ""),
    ("/t/%/x", INVALID, ""),
    ("/t/%61cme/x", INVALID, ""),
    ("/t/acme%2fx", INVALID, ""),
    ("/t/acme%00/x", INVALID, ""),
    ("/t/..%2fbeta/x", INVALID, ""),
];

#[tokio::test]
async fn a_path_names_a_tenant_by_its_raw_segment_and_loses_it() {
    let site = site(path()).await;
    for (target, expect, left) in PATHS {
        for (absolute, host) in [
            ("", "other.test"),
            ("", "beta.app.test"),
            ("http://beta.app.test", "beta.app.test"),
        ] {
            let sent = with_target(format!("GET {absolute}{target} HTTP/1.1"), host);
            let answer = check(&site, target, &sent, expect).await;
            if expect == ACME || expect == BETA {
                assert_eq!(answer.seen("uri"), Some(format!("{absolute}{left}")), "{target}");
                assert_eq!(
                    answer.seen("original"),
                    Some(format!("{absolute}{target}")),
                    "{target}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_path_means_the_same_over_http2() {
    let site = site(path()).await;
    for (target, expect, left) in PATHS {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", target),
            (":authority", "beta.app.test"),
        ];
        let Outcome::Answer(answer) = frames::ask_one(&site, &block(fields)).await else {
            panic!("{target}: reset");
        };
        let log = site.take_log();
        assert_eq!(
            expect.fault_of(&answer, &log),
            None,
            "{target}: {answer:?}\n{log}"
        );
        if expect == ACME || expect == BETA {
            assert_eq!(
                answer.seen("uri"),
                Some(format!("http://beta.app.test{left}")),
                "{target}"
            );
        }
    }
}

#[tokio::test]
async fn a_target_without_a_path_names_nobody_by_path() {
    let site = site(path()).await;
    for (line, expect) in [
        ("OPTIONS * HTTP/1.1", UNKNOWN),
        ("GET * HTTP/1.1", BAD_HOST),
        ("GET acme:80 HTTP/1.1", BAD_HOST),
        ("CONNECT /t/acme HTTP/1.1", NO_TUNNEL),
    ] {
        check(&site, line, &with_target(line, "other.test"), expect).await;
    }
}

#[tokio::test]
async fn a_path_that_contradicts_the_host_is_refused() {
    let site = site(both(ConflictPolicy::AgreeOrRefuse, path())).await;
    let acme = "acme.app.test";
    for (name, target, host, expect) in [
        ("path alone", "/t/beta/x", "app.test", BETA),
        ("host alone", "/x", acme, ACME),
        ("both agree", "/t/acme/x", acme, ACME),
        ("they disagree", "/t/beta/x", acme, DISAGREE),
        ("the path is nobody's", "/t/nobody/x", acme, UNKNOWN),
        ("the path is malformed", "/t/%61cme/x", acme, INVALID),
        ("the segment is empty", "/t//x", acme, UNKNOWN),
    ] {
        check(
            &site,
            name,
            &with_target(format!("GET {target} HTTP/1.1"), host),
            expect,
        )
        .await;
    }
    // The part is cut off where it decided nothing new, too.
    let answer = check(
        &site,
        "both agree",
        &with_target("GET /t/acme/x HTTP/1.1", acme),
        ACME,
    )
    .await;
    assert_eq!(answer.seen("uri").as_deref(), Some("/x"));
    check(&site, "the plain way", &get(acme), ACME).await;
}

#[tokio::test]
async fn routers_inside_see_the_path_without_the_tenant() {
    async fn item(
        tenant: Tenant,
        Path(parameters): Path<HashMap<String, String>>,
        matched: MatchedPath,
        nested: NestedPath,
        OriginalUri(original): OriginalUri,
        request: Request,
    ) -> String {
        let (matched, nested) = (matched.as_str(), nested.as_str());
        format!(
            "{tenant} {} {matched} {nested} {} {original}",
            parameters["id"],
            request.uri()
        )
    }

    let shop = Router::new().route("/items/{id}", on_get(item));
    let tenancy = Tenancy::new(path(), MemoryStore::of(tenants(2)).unwrap());
    let site = Site::serve(tenancy.wrap(Router::new().nest("/shop", shop))).await;
    let ask = async |target: &str| {
        let sent = with_target(format!("GET {target} HTTP/1.1"), "other.test");
        Wire::to(&site).await.ask(sent).await.unwrap()
    };
    let answer = ask("/t/acme/shop/items/7?q=1").await;
    assert_eq!(
        answer.text(),
        "acme 7 /shop/items/{id} /shop /items/7?q=1 /t/acme/shop/items/7?q=1"
    );
    // The routes are those of the tenant, not of the path that was sent.
    assert_eq!(ask("/shop/items/7").await.status, 404);
    assert_eq!(ask("/t/acme/t/acme/shop/items/7").await.status, 404);
    assert_eq!(ask("/t/acme//shop/items/7").await.status, 404);
}
