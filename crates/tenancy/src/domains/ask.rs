use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::ConnectInfo,
    routing::{MethodRouter, get},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tenancy_core::{Host, HostForm, TenantStatus};

use crate::{
    Tenancy, Tenant,
    rejection::RejectionReason,
    resolve::{Outcome, Refusal, TrustedProxies, any_speaks_for_a_proxy, decode_form},
};

/// Tells a proxy that makes certificates on demand whether to make one: the `ask` of Caddy's `on_demand_tls`.
///
/// The proxy sends `GET …?domain=shop.example`. The answer has no body; its status says all:
///
/// | status | meaning |
/// |---|---|
/// | 200 | the name leads to a tenant that is served, or is a central host |
/// | 404 | it does not |
/// | 400 | there is not exactly one `domain`, or it is no DNS name |
/// | 403 | whoever asks may not |
/// | 503 | nobody could tell now |
///
/// * The name is judged as the stack judges the host of a request that names nobody otherwise: upper case and a dot at the
///   end do not count, Unicode comes as `xn--…`. Where the list of tenants is complete, no store is asked.
/// * Only this machine may ask, and addresses that you [name](Self::trust_peers); nobody whose request was forwarded, so
///   that a proxy on this machine does not let the world ask through it. The peer's address has to be known: serve with
///   `into_make_service_with_connect_info::<SocketAddr>()`.
/// * It needs no place in the stack. Give it a listener of its own where you can.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::net::SocketAddr;
/// use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
/// use tenancy::{MemoryStore, Tenancy, domains::CertificateAsk, resolve::Subdomain};
/// use tower::ServiceExt;
///
/// let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
/// let internal = Router::new().route("/ask", CertificateAsk::new(&tenancy).into_handler());
///
/// for (domain, expected) in [("acme.example.com", 200), ("ACME.example.com.", 200), ("evil.example", 404)] {
///     let mut request = Request::get(format!("/ask?domain={domain}")).body(Body::empty())?;
///     request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
///     assert_eq!(internal.clone().oneshot(request).await?.status(), expected);
/// }
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CertificateAsk {
    tenancy: Tenancy,
    peers: Option<TrustedProxies>,
    includes_suspended: bool,
}

impl CertificateAsk {
    /// Answers from the tenants of this stack.
    pub fn new(tenancy: &Tenancy) -> Self {
        Self {
            tenancy: tenancy.clone(),
            peers: None,
            includes_suspended: false,
        }
    }

    /// Who else may ask, besides this machine. Default: nobody.
    #[must_use]
    pub fn trust_peers(mut self, peers: TrustedProxies) -> Self {
        self.peers = Some(peers);
        self
    }

    /// Whether suspended tenants keep getting certificates, so that their visitors see why there is nothing rather than a
    /// warning. Default: no.
    #[must_use]
    pub fn include_suspended(mut self, include: bool) -> Self {
        self.includes_suspended = include;
        self
    }

    /// The handler, for a route of your choice.
    pub fn into_handler<S>(self) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let ask = Arc::new(self);
        get(move |request: Request<Body>| async move {
            let admitted = ask.admits(&request);
            let domain = asked_domain(request.uri().query().unwrap_or_default());
            drop(request);
            answer(match (admitted, domain) {
                (false, _) => StatusCode::FORBIDDEN,
                (true, None) => StatusCode::BAD_REQUEST,
                (true, Some(domain)) => ask.judge(&domain).await,
            })
        })
    }

    fn admits<B>(&self, request: &Request<B>) -> bool {
        let was_forwarded =
            any_speaks_for_a_proxy(request.headers()) || request.headers().contains_key(header::VIA);
        let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
            tracing::error!(
                "who asks for a certificate is not known: serve with \
                 into_make_service_with_connect_info::<SocketAddr>()"
            );
            return false;
        };
        let peer = peer.ip().to_canonical();
        let is_known = peer.is_loopback() || self.peers.as_ref().is_some_and(|peers| peers.contains(peer));
        is_known && !was_forwarded
    }

    async fn judge(&self, domain: &str) -> StatusCode {
        let host = match Host::parse(domain.as_bytes()) {
            Ok(host) if host.form() == HostForm::Name && host.port().is_none() => host,
            _ => return StatusCode::BAD_REQUEST,
        };
        let resolver = self.tenancy.resolver();
        let found = match resolver.resolve_host(&host) {
            Outcome::Found(found) => Ok(found),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Ask(pending) => Arc::clone(resolver).settle(pending).await,
        };
        match found {
            Ok(found) => match found.resolution.tenant() {
                Some(tenant) if !self.serves(tenant) => StatusCode::NOT_FOUND,
                Some(_) | None => StatusCode::OK,
            },
            Err(refusal) => status_of(&refusal),
        }
    }

    fn serves(&self, tenant: &Tenant) -> bool {
        tenant.is_served() || (self.includes_suspended && tenant.status() == TenantStatus::Suspended)
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.reason {
        RejectionReason::StoreUnavailable | RejectionReason::OverBudget => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    }
}

/// The value of the one parameter `domain`.
fn asked_domain(query: &str) -> Option<String> {
    // A host, with every byte escaped, and room for the parameter's name.
    if query.len() > 4 * Host::MAX_LEN {
        return None;
    }
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("domain="));
    match (values.next(), values.next()) {
        (Some(raw), None) => decode_form(raw).map(|domain| domain.into_owned()),
        _ => None,
    }
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_exactly_one_domain() {
        for (query, expected) in [
            ("domain=a.example", Some("a.example")),
            ("x=1&domain=a%2Eexample&y", Some("a.example")),
            ("", None),
            ("domain", None),
            ("Domain=a.example", None),
            ("domain=a.example&domain=b.example", None),
            ("domain=%zz", None),
        ] {
            assert_eq!(asked_domain(query).as_deref(), expected, "{query}");
        }
        assert_eq!(asked_domain(&format!("domain={}", "a".repeat(2_000))), None);
    }
}
