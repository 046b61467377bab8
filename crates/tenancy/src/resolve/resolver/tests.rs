//! The short way finds what the checked way finds.

use proptest::prelude::*;

use http::Uri;

use super::*;
use crate::{MemoryStore, Tenancy, resolve::DomainOrSubdomain};

/// A stack that knows all its tenants. Its follower ends with the runtime here, so each test trusts the list anew.
fn ready() -> Tenancy {
    let tenants = MemoryStore::of(["acme", "beta", "www", "a-1"]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let shop = TenantKey::domain("shop.test").unwrap();
        tenants.add_key(&"acme".parse().unwrap(), shop).await.unwrap();
        let by = DomainOrSubdomain::of_any(["app.test", "eu.app.test"]).unwrap();
        let tenancy = Tenancy::builder(by, tenants)
            .central_hosts(["app.test", "www.app.test"])
            .build()
            .unwrap();
        tenancy.ready().await;
        tenancy
    })
}

fn request(host: &[u8]) -> Request<()> {
    let mut request = Request::new(());
    if let Ok(host) = HeaderValue::from_bytes(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

fn tenant_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Found(found) => found.resolution.tenant().map(ToString::to_string),
        Outcome::Refused(_) | Outcome::Ask(_) => None,
    }
}

#[test]
fn the_short_way_and_the_checked_way_lead_to_the_same_tenant() {
    let tenancy = ready();
    tenancy.resolver().lookup.set_trust(crate::resolve::Trust::Fresh);
    let resolver = tenancy.resolver();
    let hosts = "(acme|beta|www|a-1|ACME|shop|eu|x|-)(\\.|\\.|\\.|\\.\\.|@|,)(app\\.test|eu\\.app\\.test|test|App\\.test)(|||\\.)(:[0-9]{0,6}|:x)?";
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4000));
    let counted = std::cell::Cell::new(0);
    runner
        .run(&proptest::string::string_regex(hosts).unwrap(), |host| {
            let request = request(host.as_bytes());
            if let Some(found) = resolver.resolve_by_raw_host(&request) {
                counted.set(counted.get() + 1);
                let by_short = found.resolution.tenant().map(ToString::to_string);
                prop_assert_eq!(by_short, tenant_of(&resolver.resolve_checked(&request)));
            }
            Ok(())
        })
        .unwrap();
    assert!(
        counted.get() > 100,
        "the short way was taken {} times",
        counted.get()
    );
}

#[test]
fn the_short_way_leaves_the_unusual_to_the_checked_way() {
    let tenancy = ready();
    tenancy.resolver().lookup.set_trust(crate::resolve::Trust::Fresh);
    let resolver = tenancy.resolver();
    let is_short = |request: &Request<()>| resolver.resolve_by_raw_host(request).is_some();
    assert!(is_short(&request(b"acme.app.test")));
    assert!(is_short(&request(b"acme.app.test:8000")));
    assert!(is_short(&request(b"shop.test")));
    for host in [
        "ACME.app.test",
        "acme.app.test.",
        "acme.app.test:80000",
        "www.app.test",
        "app.test",
        ".app.test",
        "x.acme.app.test",
    ] {
        assert!(!is_short(&request(host.as_bytes())), "{host}");
    }
    let mut twice = request(b"acme.app.test");
    twice
        .headers_mut()
        .append(header::HOST, HeaderValue::from_static("acme.app.test"));
    let mut connect = request(b"acme.app.test");
    *connect.method_mut() = Method::CONNECT;
    let mut absolute = request(b"acme.app.test");
    *absolute.uri_mut() = Uri::from_static("http://beta.app.test/");
    let mut asterisk = request(b"acme.app.test");
    *asterisk.uri_mut() = Uri::from_static("*");
    for unusual in [twice, connect, absolute, asterisk] {
        assert!(!is_short(&unusual), "{unusual:?}");
    }
}
