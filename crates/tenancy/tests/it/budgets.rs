//! What a request may allocate. Instructions are counted by the bench crate.

use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Request},
    routing::get,
};
use tenancy::{
    MemoryStore, Tenancy,
    cache::{EntryOptions, Keys},
    resolve::{DomainOrSubdomain, Header},
    stack::{Order, Stage},
};
use tower::Service;

use crate::support;

fn stack(order: Order) -> Tenancy {
    let by = DomainOrSubdomain::of("localhost").unwrap();
    Tenancy::builder(by, MemoryStore::of(["acme", "globex"]).unwrap())
        .central_hosts(["localhost"])
        .order(order)
        .build()
        .unwrap()
}

fn router() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn browser_request() -> Request<Body> {
    let mut request = support::get("acme.localhost:8000", "/");
    for name in [
        "accept",
        "accept-encoding",
        "accept-language",
        "sec-fetch-site",
        "sec-ch-ua",
        "user-agent",
    ] {
        let name = HeaderName::from_static(name);
        request.headers_mut().insert(name, HeaderValue::from_static("x"));
    }
    request
}

/// Allocations of one request that is ready at once, after some that warm up.
fn allocations_of<S>(mut service: S) -> u64
where
    S: Service<Request<Body>, Response = axum::response::Response>,
{
    let mut counted = 0;
    for _ in 0..20 {
        let request = browser_request();
        let allocated = allocation_counter::measure(|| {
            let mut future = pin!(service.call(request));
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(response)) => assert_eq!(response.status(), 200),
                _ => panic!("the request is not ready at once"),
            }
        });
        counted = allocated.count_total;
    }
    counted
}

#[tokio::test]
async fn finding_a_known_tenant_allocates_nothing() {
    let tenancy = stack(Order::default());
    tenancy.ready().await;
    let request = browser_request();
    assert!(tenancy::bench::resolve_only(&tenancy, &request));
    let allocated = allocation_counter::measure(|| {
        assert!(tenancy::bench::resolve_only(&tenancy, &request));
    });
    assert_eq!(allocated.count_total, 0);
}

#[tokio::test]
async fn a_header_that_names_the_tenant_id_allocates_nothing() {
    let by = Header::named("x-tenant").unwrap().as_id();
    let tenancy = Tenancy::new(by, MemoryStore::of(["acme"]).unwrap());
    tenancy.ready().await;
    let mut request = support::get("api.test", "/");
    request.headers_mut().insert("x-tenant", "acme".parse().unwrap());
    let allocated = allocation_counter::measure(|| {
        assert!(tenancy::bench::resolve_only(&tenancy, &request));
    });
    assert_eq!(allocated.count_total, 0);
}

/// A key of arguments, two tags, the look and the judgement of the entry. Most hits: one of eight may tell the policy of the
/// cache which entries are asked for, and one in some hundred finds it doing its housekeeping.
#[tokio::test]
async fn what_this_process_has_cached_is_had_without_an_allocation_and_without_waiting() {
    const GREETING: Keys<(&str, u32), String> = Keys::new("greeting", 1);
    let tenancy = stack(Order::default());
    tenancy.ready().await;
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let cache = tenancy.cache_of(&acme);
    let remember = async |name: &str, number| {
        let options = EntryOptions::new().tag("greetings").tag("texts");
        let load = async || Ok::<_, Infallible>("hello".to_owned());
        cache
            .remember(&GREETING.key((name, number)), &options, load)
            .await
            .unwrap()
    };
    for _ in 0..100 {
        remember("a name of some length", 7).await;
    }
    let without = (0..1000).filter(|_| {
        let allocated = allocation_counter::measure(|| {
            let mut future = pin!(remember("a name of some length", 7));
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready());
        });
        allocated.count_total == 0
    });
    assert!(without.count() >= 990);
    assert_eq!(cache.statistics().loads, 1);
}

#[tokio::test]
async fn the_whole_stack_allocates_twice_for_a_known_tenant() {
    let tenancy = stack(Order::default());
    tenancy.ready().await;
    let bare = allocations_of(router());
    assert!(allocations_of(tenancy.wrap(router())) <= bare + 2);
}

#[tokio::test]
async fn an_order_from_settings_allocates_what_one_in_code_does() {
    let in_code = stack(Order::new([Stage::Maintenance, Stage::Resolve, Stage::Gate]).unwrap());
    let from_names = stack(Order::from_names(["maintenance", "resolve", "gate"]).unwrap());
    in_code.ready().await;
    from_names.ready().await;
    assert_eq!(
        allocations_of(in_code.wrap(router())),
        allocations_of(from_names.wrap(router()))
    );
}
