//! Whole requests through whole stacks: who answers must be whom the request names.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, Request, Version},
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::{TenantEntry, TenantId, TenantKey, TenantRecord},
    resolve::{Chain, ConflictPolicy, DomainOrSubdomain, Header, PathSegment, TrustedProxies},
    routes::TenancyApp,
};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::{authority, head};

/// Stacks over two tenants: acme, also at `shop.acme.example`, and globex. `app.test` is central.
pub struct Stacks {
    runtime: Runtime,
    plain: TenancyApp,
    behind_a_proxy: TenancyApp,
    by_many_ways: TenancyApp,
}

/// Who may answer with 200, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Side {
    Tenant(String),
    Central,
    Nobody,
}

impl Default for Stacks {
    fn default() -> Self {
        Self::new()
    }
}

impl Stacks {
    /// Builds the stacks and waits until they know their tenants.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let by_host = || DomainOrSubdomain::of("app.test").unwrap();
        let chain = Chain::new(ConflictPolicy::AgreeOrRefuse)
            .with(by_host())
            .unwrap()
            .with(Header::named("x-tenant").unwrap())
            .unwrap()
            .with(PathSegment::first().after_prefix("/t").unwrap())
            .unwrap();
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let build = |chain: Chain, proxies: Option<TrustedProxies>| {
            runtime.block_on(async {
                let mut builder = Tenancy::builder(chain, store()).central_hosts(["app.test"]);
                if let Some(proxies) = proxies {
                    builder = builder.trust_proxies(proxies);
                }
                let tenancy = builder.build().unwrap();
                tenancy.ready().await;
                app(&tenancy)
            })
        };
        Self {
            plain: build(by_host().into(), None),
            behind_a_proxy: build(by_host().into(), Some(proxies)),
            by_many_ways: build(chain, None),
            runtime,
        }
    }

    /// Sends a request through all stacks. Returns who answered, `None` for a refusal.
    pub fn request(&self, data: &[u8]) -> [Option<String>; 3] {
        let direct = |request: &Request<Body>| side_of_all(&direct_hosts(request));
        [
            self.send(&self.plain, data, direct),
            self.send(&self.behind_a_proxy, data, |request| {
                if is_proxied(request) {
                    side_of_all(&forwarded_hosts(request))
                } else {
                    direct(request)
                }
            }),
            self.send(&self.by_many_ways, data, |request| {
                named_in_many_ways(direct(request), request)
            }),
        ]
    }

    fn send(
        &self,
        app: &TenancyApp,
        data: &[u8],
        expected: impl Fn(&Request<Body>) -> Side,
    ) -> Option<String> {
        let request = head::request(data)?;
        let expected = expected(&request);
        let must_be_served = is_plain(&request) && expected != Side::Nobody;
        let shown = format!("{request:?}");
        let (status, body) = self.runtime.block_on(async {
            let response = app.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            (status, to_bytes(response.into_body(), usize::MAX).await.unwrap())
        });
        // 501: CONNECT. Nothing here can be broken, late or over its budget.
        assert!(matches!(status, 200 | 400 | 404 | 501), "{status} for {shown}");
        if status != 200 {
            assert!(!must_be_served, "{status} in place of {expected:?} for {shown}");
            let body = String::from_utf8_lossy(&body);
            assert!(
                !body.contains("acme") && !body.contains("globex"),
                "{body} for {shown}"
            );
            return None;
        }
        let answered = String::from_utf8(body.to_vec()).unwrap();
        let side = match answered.as_str() {
            "central" => Side::Central,
            tenant => Side::Tenant(tenant.to_owned()),
        };
        assert_eq!(side, expected, "{shown}");
        Some(answered)
    }
}

fn store() -> MemoryStore {
    let entry = |id: &str, keys: Vec<TenantKey<'static>>| TenantEntry {
        record: TenantRecord::new(TenantId::new(id).unwrap()),
        keys,
    };
    let shop = TenantKey::domain("shop.acme.example").unwrap();
    MemoryStore::from_entries([entry("acme", vec![shop]), entry("globex", Vec::new())]).unwrap()
}

fn app(tenancy: &Tenancy) -> TenancyApp {
    let who = |tenant: Tenant| async move { tenant.id().to_string() };
    tenancy
        .routes()
        .tenant(Router::new().fallback(who))
        .central(Router::new().fallback(|| async { "central" }))
        .build()
}

/// Whether nothing about the request is unusual but, perhaps, its host: then whom it names must answer.
fn is_plain<B>(request: &Request<B>) -> bool {
    let few_headers = request
        .headers()
        .keys()
        .all(|name| name == "host" || name == "x-tenant");
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.uri().authority().is_none()
        && request.uri().path().starts_with('/')
        && !request.uri().path().starts_with("/t/")
        && few_headers
        && !is_proxied(request)
        && request.headers().get_all("host").iter().count() == 1
        && request.headers().get_all("x-tenant").iter().count() <= 1
}

fn is_proxied<B>(request: &Request<B>) -> bool {
    let peer = request
        .extensions()
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .unwrap();
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(address) => address.octets()[0] == 10,
        std::net::IpAddr::V6(_) => false,
    }
}

/// Everything in the request that names its host, where no proxy is believed.
fn direct_hosts<B>(request: &Request<B>) -> Vec<Vec<u8>> {
    let named = request.headers().get_all("host").iter();
    let mut hosts: Vec<_> = named.map(|value| value.as_bytes().to_vec()).collect();
    hosts.extend(
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str().into()),
    );
    hosts
}

/// Everything that a proxy may have named the host with.
fn forwarded_hosts<B>(request: &Request<B>) -> Vec<Vec<u8>> {
    let named = request.headers().get_all("x-forwarded-host").iter();
    let mut hosts: Vec<_> = named.map(|value| value.as_bytes().to_vec()).collect();
    for line in request.headers().get_all("forwarded") {
        for pair in line.as_bytes().split(|byte| *byte == b';' || *byte == b',') {
            let pair = String::from_utf8_lossy(pair);
            if let Some((name, value)) = pair.split_once('=')
                && name.trim().eq_ignore_ascii_case("host")
            {
                hosts.push(value.trim().trim_matches('"').as_bytes().to_vec());
            }
        }
    }
    hosts
}

/// Whom all of these hosts name.
fn side_of_all(hosts: &[Vec<u8>]) -> Side {
    let mut sides = hosts.iter().map(|raw| side_of(raw));
    let first = sides.next().unwrap_or(Side::Nobody);
    if sides.all(|other| other == first) {
        first
    } else {
        Side::Nobody
    }
}

fn side_of(raw: &[u8]) -> Side {
    let name = authority::expected(raw).map(|host| host.name);
    match name.as_deref() {
        Some("acme.app.test" | "shop.acme.example") => Side::Tenant("acme".into()),
        Some("globex.app.test") => Side::Tenant("globex".into()),
        Some("app.test") => Side::Central,
        _ => Side::Nobody,
    }
}

/// The host, the header and the path must name one tenant, those that name any.
fn named_in_many_ways<B>(by_host: Side, request: &Request<B>) -> Side {
    let headers = request.headers().get_all("x-tenant").iter();
    let mut names: Vec<_> = headers.map(|value| value.as_bytes()).collect();
    names.extend(request.uri().path().strip_prefix("/t/").and_then(|path| {
        let segment = path.split('/').next()?;
        (!path.is_empty()).then_some(segment.as_bytes())
    }));
    let mut sides: Vec<Side> = names
        .into_iter()
        .map(|name| match name {
            b"acme" => Side::Tenant("acme".into()),
            b"globex" => Side::Tenant("globex".into()),
            _ => Side::Nobody,
        })
        .collect();
    let names_no_tenant = by_host == Side::Central || direct_hosts(request).iter().all(|raw| is_deep(raw));
    if !names_no_tenant || sides.is_empty() {
        sides.push(by_host);
    }
    let first = sides.swap_remove(0);
    if sides.iter().all(|other| *other == first) {
        first
    } else {
        Side::Nobody
    }
}

/// Whether a host stands more than one label under the base domain: it is no tenant's, and names none.
fn is_deep(raw: &[u8]) -> bool {
    let name = authority::expected(raw).map(|host| host.name);
    let before = name.as_deref().and_then(|name| name.strip_suffix(".app.test"));
    before.is_some_and(|before| before.contains('.'))
}
