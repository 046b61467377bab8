//! A tenant for requests of this machine that name none: who gets it, and everybody who does not.

use std::{future::IntoFuture, net::SocketAddr};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request, routing::get};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    resolve::{
        Chain, ConflictPolicy, Domain, DomainOrSubdomain, Header, Resolution, Subdomain, TrustedProxies,
    },
    stack::{ConfigMistake, TenancyBuilder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::domain;
use crate::{
    gates::logs,
    support::{faulty::FaultyStore, send, text},
};

const HERE: &str = "127.0.0.1:50000";

async fn store() -> MemoryStore {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let local = domain("local.test");
    store.add_key(&"globex".parse().unwrap(), local).await.unwrap();
    store
}

/// Hosts by domain or subdomain, and a header beside them.
async fn builder() -> TenancyBuilder {
    let chain = Chain::new(ConflictPolicy::AgreeOrRefuse)
        .with(DomainOrSubdomain::of("localhost").unwrap())
        .unwrap()
        .with(Header::named("x-tenant").unwrap())
        .unwrap();
    Tenancy::builder(chain, store().await).dev_tenant_even_in_release("acme")
}

fn request(peer: &str, host: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/").header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

fn router() -> Router {
    let who = |tenant: Tenant, resolution: Resolution| async move {
        format!("{tenant} by {}", resolution.identifier().unwrap())
    };
    Router::new().route("/", get(who))
}

/// What a request gets, and what `explain` says of it, which must be the same.
async fn outcome(tenancy: &Tenancy, request: Request<Body>) -> String {
    let explained = tenancy.explain(&request).await;
    let answer = send(&tenancy.wrap(router()), request).await;
    let (status, found) = (answer.status().as_u16(), text(answer).await);
    if status == 200 {
        assert!(
            found.starts_with(explained.tenant.as_ref().unwrap().as_str()),
            "{found}\n{explained}"
        );
        return found;
    }
    // A central request passes the stack, and the router has no central routes.
    let refused = (!explained.central).then_some(status);
    assert_eq!(explained.status, refused, "{explained}");
    let step = explained.steps.iter().find(|step| step.part == "dev tenant");
    format!("{status} {}", step.map_or("", |step| &step.finding))
}

/// Peer, host, headers, and what comes of it.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const DEV: &str = "acme by dev tenant";
const NAMES_IN_VAIN: &str = "404 not used: the request names a tenant, or tries to";
const NAMES_WRONGLY: &str = "400 not used: the request names a tenant, or tries to";
const FORWARDED: &str = "404 not used: a header says that the request was forwarded";
const ELSEWHERE: &str = "404 not used: the peer is not on this machine";
const FOREIGN: &str = "404 not used: the host is neither localhost nor a loopback address";

#[tokio::test]
async fn only_requests_of_this_machine_that_name_nobody_get_it() {
    let tenancy = builder().await.central_hosts(["127.0.0.9"]).build().unwrap();
    tenancy.ready().await;
    let rows: &[Row] = &[
        (HERE, "127.0.0.1:8000", &[], DEV),
        (HERE, "localhost:8000", &[], DEV),
        ("[::1]:1", "[::1]:8000", &[], DEV),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1", &[], DEV),
        // Who names somebody gets that one, or what is wrong with the name.
        (
            HERE,
            "globex.localhost",
            &[],
            "globex by domain or subdomain of localhost",
        ),
        (
            HERE,
            "local.test",
            &[],
            "globex by domain or subdomain of localhost",
        ),
        (
            HERE,
            "localhost",
            &[("x-tenant", "globex")],
            "globex by header x-tenant",
        ),
        (HERE, "nobody.localhost", &[], NAMES_IN_VAIN),
        (HERE, "localhost", &[("x-tenant", "nobody")], NAMES_IN_VAIN),
        (HERE, "localhost", &[("x-tenant", "NOT/ONE")], NAMES_WRONGLY),
        (HERE, "127.0.0.1", &[("x-tenant", "globex")], NAMES_IN_VAIN),
        (HERE, "127.0.0.1", &[("x-tenant", "NOT/ONE")], NAMES_IN_VAIN),
        (HERE, "a.globex.localhost", &[], FOREIGN),
        (HERE, "127.0.0.9", &[], "404 not used: the host is central"),
        // Who is elsewhere, or may be.
        ("192.168.0.7:50000", "127.0.0.1:8000", &[], ELSEWHERE),
        ("192.168.0.7:50000", "localhost", &[], ELSEWHERE),
        ("[2001:db8::1]:1", "[::1]", &[], ELSEWHERE),
        ("0.0.0.0:1", "127.0.0.1", &[], ELSEWHERE),
        (HERE, "192.168.0.7:8000", &[], FOREIGN),
        (HERE, "0.0.0.0:8000", &[], FOREIGN),
        (HERE, "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], FORWARDED),
        (HERE, "127.0.0.1", &[("x-forwarded-host", "127.0.0.1")], FORWARDED),
        (HERE, "127.0.0.1", &[("x-forwarded-proto", "https")], FORWARDED),
        (HERE, "127.0.0.1", &[("x-real-ip", "127.0.0.1")], FORWARDED),
        (
            HERE,
            "127.0.0.1",
            &[("forwarded", "for=127.0.0.1;host=localhost")],
            FORWARDED,
        ),
        (HERE, "127.0.0.1", &[("via", "1.1 tunnel")], FORWARDED),
        (
            "192.168.0.7:1",
            "127.0.0.1",
            &[("x-forwarded-for", "127.0.0.1")],
            FORWARDED,
        ),
    ];
    for (peer, host, headers, expected) in rows {
        let seen = outcome(&tenancy, request(peer, host, headers)).await;
        assert_eq!(&seen, expected, "{peer} {host} {headers:?}");
    }
}

#[tokio::test]
async fn hosts_of_elsewhere_do_not_get_it_where_no_identifier_minds_them() {
    let by_subdomain = Subdomain::of("app.test").unwrap();
    let tenancy = Tenancy::builder(by_subdomain, store().await)
        .dev_tenant_even_in_release("acme")
        .build()
        .unwrap();
    // A page whose name was made to lead to this machine.
    for host in [
        "evil.example",
        "app.test",
        "acme.localhost",
        "localhost.evil.example",
    ] {
        assert_eq!(
            outcome(&tenancy, request(HERE, host, &[])).await,
            FOREIGN,
            "{host}"
        );
    }
    assert_eq!(outcome(&tenancy, request(HERE, "127.0.0.1", &[])).await, DEV);
}

#[tokio::test]
async fn an_unknown_peer_does_not_get_it() {
    let tenancy = builder().await.build().unwrap();
    let mut request = request(HERE, "127.0.0.1", &[]);
    request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
    let seen = outcome(&tenancy, request).await;
    assert!(
        seen.starts_with("404 not used: the peer is not known; serve with "),
        "{seen}"
    );
}

#[tokio::test]
async fn whoever_a_trusted_proxy_speaks_for_does_not_get_it() {
    let proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let tenancy = builder().await.trust_proxies(proxies).build().unwrap();
    let forwarded = [("x-forwarded-host", "127.0.0.1")];
    assert_eq!(
        outcome(&tenancy, request(HERE, "127.0.0.1", &forwarded)).await,
        FORWARDED
    );
    let plain = outcome(&tenancy, request(HERE, "127.0.0.1", &[])).await;
    assert!(plain.starts_with("400"), "{plain}");
    assert_eq!(
        outcome(&tenancy, request("[::1]:1", "localhost", &[])).await,
        DEV,
        "no proxy"
    );
}

#[tokio::test]
async fn whole_hosts_as_domains_leave_addresses_to_it_and_nothing_else() {
    let tenancy = Tenancy::builder(Domain::new(), store().await)
        .dev_tenant_even_in_release("acme")
        .build()
        .unwrap();
    assert_eq!(outcome(&tenancy, request(HERE, "127.0.0.1:8000", &[])).await, DEV);
    assert_eq!(outcome(&tenancy, request(HERE, "[::1]:8000", &[])).await, DEV);
    let named = outcome(&tenancy, request(HERE, "localhost", &[])).await;
    assert_eq!(named, NAMES_IN_VAIN, "a name that could be a tenant's");
}

#[tokio::test]
async fn without_one_nothing_is_different() {
    let tenancy = Tenancy::new(DomainOrSubdomain::of("localhost").unwrap(), store().await);
    assert_eq!(
        outcome(&tenancy, request(HERE, "127.0.0.1", &[])).await,
        "404 ",
        "explain has no such step"
    );
}

#[tokio::test]
async fn it_is_looked_up_like_any_other() {
    let asked = FaultyStore::new(store().await).finding_only();
    let by = || DomainOrSubdomain::of("localhost").unwrap();
    let tenancy = Tenancy::builder(by(), asked.clone())
        .dev_tenant_even_in_release("acme")
        .build()
        .unwrap();
    assert_eq!(outcome(&tenancy, request(HERE, "127.0.0.1", &[])).await, DEV);
    assert_eq!(asked.finds(), 1);

    let missing = Tenancy::builder(by(), store().await)
        .dev_tenant_even_in_release("initech")
        .build()
        .unwrap();
    let seen = outcome(&missing, request(HERE, "127.0.0.1", &[])).await;
    assert!(seen.starts_with("404 id:initech"), "{seen}");

    let away = FaultyStore::new(store().await).finding_only();
    away.fail(true);
    let away = Tenancy::builder(by(), away)
        .dev_tenant_even_in_release("acme")
        .build()
        .unwrap();
    let seen = outcome(&away, request(HERE, "127.0.0.1", &[])).await;
    assert!(seen.starts_with("503"), "{seen}");
}

#[tokio::test]
async fn building_warns_once_and_refuses_what_is_no_id() {
    let captured = logs::capture();
    let tenancy = builder().await.build().unwrap();
    for _ in 0..3 {
        outcome(&tenancy, request(HERE, "127.0.0.1", &[])).await;
    }
    let log = captured.text();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("for development only"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains("WARN") && warnings[0].contains("tenant=acme"),
        "{log}"
    );

    let error = builder()
        .await
        .dev_tenant_even_in_release("Not One")
        .build()
        .unwrap_err();
    assert!(
        matches!(error.mistakes(), [ConfigMistake::DevTenant { .. }]),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("dev tenant \"Not One\" is not valid: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_browser_on_this_machine_sees_something() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = builder().await.build().unwrap().wrap(router());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    for (lines, expected) in [("", DEV), ("X-Forwarded-For: 127.0.0.1\r\n", "404")] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{lines}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    server.abort();
}
