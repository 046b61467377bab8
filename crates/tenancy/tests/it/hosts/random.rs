//! Hosts that nobody thought of.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, Uri, header},
};
use proptest::prelude::*;
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, routes::TenancyApp};
use tokio::runtime::Runtime;

use super::site::echo;
use crate::support::send;

struct Served {
    runtime: Runtime,
    app: TenancyApp,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let app = runtime.block_on(async {
        let store = MemoryStore::of(["acme", "beta", "a"]).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store);
        tenancy.ready().await;
        tenancy.wrap(Router::new().fallback(echo))
    });
    Served { runtime, app }
});

/// The tenant that answers, or the status of the refusal.
fn resolved(request: Request<Body>) -> Result<String, StatusCode> {
    let response = SERVED.runtime.block_on(send(&SERVED.app, request));
    match response.headers().get("x-tenant") {
        Some(tenant) => Ok(tenant.to_str().unwrap().to_owned()),
        None => Err(response.status()),
    }
}

/// All ways to write the host of a tenant, slow and plain.
fn tenant_of(host: &[u8]) -> Option<String> {
    let host = std::str::from_utf8(host).ok()?;
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_port = port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    if !is_port || port.parse::<u32>().unwrap_or(0) > 65_535 {
        return None;
    }
    ["acme", "beta", "a"]
        .into_iter()
        .find(|tenant| {
            let plain = format!("{tenant}.app.test");
            name.eq_ignore_ascii_case(&plain) || name.eq_ignore_ascii_case(&format!("{plain}."))
        })
        .map(str::to_owned)
}

/// Bytes, and hosts of tenants with a byte put in, taken out, exchanged or something put beside.
fn hosts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("acme"),
        Just("ACME"),
        Just("beta"),
        Just("a"),
        Just("app"),
        Just("test"),
        Just(".app.test"),
        Just("acme.app.test"),
        Just("."),
        Just(":"),
        Just("80"),
        Just("65535"),
        Just("65536"),
        Just("@"),
        Just(","),
        Just(" "),
        Just("\t"),
        Just("["),
        Just("]"),
        Just("%2e"),
        Just("/"),
        Just("\u{e9}"),
        Just("-"),
        Just("_"),
        Just("*"),
        Just("xn--"),
    ];
    let tenant = prop_oneof![
        Just("acme.app.test"),
        Just("Beta.App.Test."),
        Just("a.app.test:443")
    ];
    let mutated =
        (tenant, any::<prop::sample::Index>(), any::<u8>(), 0..5).prop_map(|(host, at, byte, how)| {
            let mut host = host.as_bytes().to_vec();
            let at = at.index(host.len());
            match how {
                0 => host.insert(at, byte),
                1 => host[at] = byte,
                2 => drop(host.remove(at)),
                3 => host[at] ^= 0x20,
                _ => host.push(byte),
            }
            host
        });
    prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..40),
        3 => proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat().into_bytes()),
        4 => mutated,
    ]
}

fn request(host: &[u8]) -> Option<Request<Body>> {
    let value = HeaderValue::from_bytes(host).ok()?;
    let mut request = Request::get("/x").body(Body::empty()).unwrap();
    request.headers_mut().insert(header::HOST, value);
    Some(request)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_host_leads_to_a_tenant_but_those_that_are_its_own(host in hosts()) {
        if let Some(request) = request(&host) {
            match resolved(request) {
                Ok(tenant) => prop_assert_eq!(Some(tenant), tenant_of(&host)),
                Err(status) => {
                    prop_assert_eq!(tenant_of(&host), None);
                    prop_assert!(matches!(status.as_u16(), 400 | 404), "{}", status);
                }
            }
        }
    }

    #[test]
    fn a_target_and_a_host_lead_to_a_tenant_only_together(target in hosts(), host in hosts(), same in any::<bool>()) {
        let host = if same { target.clone() } else { host };
        let uri = [b"http://", target.as_slice(), b"/x"].concat();
        // RFC 3986 §3.2: what ends an authority.
        let authority = target.split(|byte| b"/?#".contains(byte)).next().unwrap_or_default();
        if let (Ok(uri), Some(mut request)) = (Uri::try_from(uri), request(&host)) {
            *request.uri_mut() = uri;
            if let Ok(tenant) = resolved(request) {
                prop_assert_eq!(tenant_of(authority), Some(tenant.clone()));
                prop_assert_eq!(tenant_of(&host), Some(tenant));
            }
        }
    }
}
