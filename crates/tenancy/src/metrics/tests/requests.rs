//! Requests, whatever becomes of them.

use std::{convert::Infallible, panic::AssertUnwindSafe, task::Poll, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    routing::get,
};
use futures_util::{FutureExt, StreamExt, future, stream};
use http::{Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::Fixture;
use crate::{
    MemoryStore, Tenancy,
    metrics::{OTHER, RequestMetricsLayer, TenantSlots},
    resolve::Subdomain,
    routes::TenancyApp,
    stack::{Stage, StageLayer},
    tenant::tests::tenant,
};

fn app(fixture: &Fixture, router: Router) -> TenancyApp {
    let identifier = Subdomain::of("example.com").unwrap();
    let tenants = (0..20).map(|number| format!("t{number}"));
    let store = MemoryStore::of(tenants.collect::<Vec<_>>().iter().map(String::as_str)).unwrap();
    let tenancy = Tenancy::builder(identifier, store)
        .central_hosts(["example.com"])
        .insert_after(Stage::Resolve, RequestMetricsLayer::new(&fixture.metrics))
        .track_routes(true)
        .build()
        .unwrap();
    tenancy
        .routes()
        .tenant(router)
        .central(Router::new().route("/", get(|| async { "landing" })))
        .build()
}

fn request(method: &str, host: &str, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .body(Body::empty())
        .unwrap()
}

fn active(fixture: &Fixture) -> f64 {
    let names = fixture.recorded.names();
    let gauges = names.iter().filter(|name| name.contains("_active_requests"));
    gauges.map(|name| fixture.recorded.value(name).unwrap()).sum()
}

#[tokio::test]
async fn requests_are_counted_by_tenant_outcome_route_method_and_class() {
    let fixture = Fixture::new(|builder| builder);
    let router = Router::new()
        .route("/orders/{id}", get(|| async { "order" }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let app = app(&fixture, router);
    for (method, host, path) in [
        ("GET", "t1.example.com", "/orders/1"),
        ("GET", "t1.example.com", "/orders/2"),
        ("BREW", "t1.example.com", "/orders/2"),
        ("GET", "t1.example.com", "/nowhere"),
        ("GET", "t2.example.com", "/broken"),
        ("GET", "example.com", "/"),
    ] {
        app.clone().oneshot(request(method, host, path)).await.unwrap();
    }
    for (name, expected) in [
        ("tenant_requests_total{tenant=t1,outcome=ok}", 2.0),
        ("tenant_requests_total{tenant=t1,outcome=client}", 2.0),
        ("tenant_requests_total{tenant=t2,outcome=server}", 1.0),
        ("tenant_requests_total{tenant=_central,outcome=ok}", 1.0),
        ("tenant_active_requests{tenant=t1}", 0.0),
        ("http_server_active_requests{method=GET}", 0.0),
    ] {
        assert_eq!(fixture.recorded.value(name), Some(expected), "{name}");
    }
    for (name, expected) in [
        ("tenant_request_duration_seconds{tenant=t1}", 4),
        (
            "http_server_request_duration_seconds{method=GET,route=/orders/{id},status_class=2xx}",
            2,
        ),
        (
            "http_server_request_duration_seconds{method=_OTHER,route=/orders/{id},status_class=4xx}",
            1,
        ),
        (
            "http_server_request_duration_seconds{method=GET,route=_unmatched,status_class=4xx}",
            1,
        ),
        ("http_server_response_body_size_bytes{route=/orders/{id}}", 3),
    ] {
        assert_eq!(fixture.recorded.samples(name), expected, "{name}");
    }
    let errors = fixture.metrics.last(Duration::from_secs(60)).label("t2");
    assert_eq!(errors.stats().unwrap().error_ratio(), Some(1.0));
}

#[tokio::test]
async fn what_clients_choose_makes_no_series() {
    let fixture = Fixture::new(|builder| builder.slots(TenantSlots::top(5)));
    let app = app(
        &fixture,
        Router::new().route("/orders/{id}", get(|| async { "order" })),
    );
    let send = async |method: &str, host: &str, path: &str| {
        let answered = app.clone().oneshot(request(method, host, path)).await;
        drop(answered.unwrap());
    };
    for tenant in 0..20 {
        for path in ["/orders/1", "/", "/x"] {
            send("GET", &format!("t{tenant}.example.com"), path).await;
            send("BREW", &format!("t{tenant}.example.com"), path).await;
        }
    }
    let before = fixture.recorded.names();
    for number in 0..10_000 {
        send("GET", "t1.example.com", &format!("/p{number}")).await;
    }
    for number in 0..10_000 {
        send("GET", &format!("h{number}.example.com"), "/orders/1").await;
    }
    for number in 0..100 {
        send(
            &format!("M{number}"),
            "t1.example.com",
            &format!("/orders/{number}"),
        )
        .await;
    }
    assert_eq!(fixture.recorded.names(), before);
    assert_eq!(fixture.metrics.labels().len(), 5);
    assert!(fixture.samples(Some(OTHER)) > 0);
}

/// The layer around a service, for one tenant.
async fn served<S, F>(fixture: &Fixture, service: S) -> Result<Response<Body>, S::Error>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = F> + Clone,
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let service = RequestMetricsLayer::new(&fixture.metrics).layer(service);
    let service = StageLayer::for_tenant(&tenant("acme")).layer(service);
    service.oneshot(Request::new(Body::empty())).await
}

#[tokio::test]
async fn gauges_come_back_after_a_request_that_is_given_up() {
    let fixture = Fixture::new(|builder| builder);
    let never = service_fn(|_: Request<Body>| future::pending::<Result<Response<Body>, Infallible>>());
    let mut waiting = Box::pin(served(&fixture, never));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(active(&fixture), 2.0, "of the tenant, and of the method");
    drop(waiting);
    assert_eq!(active(&fixture), 0.0);
    for name in [
        "http_server_aborted_requests_total{phase=future}",
        "tenant_requests_total{tenant=acme,outcome=aborted}",
    ] {
        assert_eq!(fixture.recorded.value(name), Some(1.0), "{name}");
    }
}

#[tokio::test]
async fn a_panic_is_counted_as_an_error_and_gauges_come_back() {
    let fixture = Fixture::new(|builder| builder);
    let in_call = service_fn(
        |_: Request<Body>| -> future::Ready<Result<Response<Body>, Infallible>> { panic!("in call") },
    );
    let in_poll = service_fn(|_: Request<Body>| {
        future::poll_fn(|_| -> Poll<Result<Response<Body>, Infallible>> { panic!("in poll") })
    });
    assert!(
        AssertUnwindSafe(served(&fixture, in_call))
            .catch_unwind()
            .await
            .is_err()
    );
    assert!(
        AssertUnwindSafe(served(&fixture, in_poll))
            .catch_unwind()
            .await
            .is_err()
    );
    assert_eq!(active(&fixture), 0.0);
    for (name, expected) in [
        ("tenant_requests_total{tenant=acme,outcome=server}", 2.0),
        ("tenant_requests_total{tenant=acme,outcome=aborted}", 0.0),
        ("http_server_aborted_requests_total{phase=future}", 0.0),
    ] {
        assert_eq!(fixture.recorded.value(name), Some(expected), "{name}");
    }
    for name in [
        "tenant_request_duration_seconds{tenant=acme}",
        "http_server_request_duration_seconds{method=GET,route=_unmatched,status_class=5xx}",
    ] {
        assert_eq!(fixture.recorded.samples(name), 2, "{name}");
    }
    let window = fixture.metrics.last(Duration::from_secs(60)).label("acme");
    let stats = window.stats().unwrap();
    assert_eq!((stats.samples(), stats.errors()), (2, 2));
}

#[tokio::test]
async fn a_panic_that_the_stack_catches_is_an_error_of_its_tenant_and_route() {
    let fixture = Fixture::new(|builder| builder);
    async fn panics() -> StatusCode {
        panic!("in a handler")
    }
    let app = app(&fixture, Router::new().route("/panics", get(panics)));
    let answer = app
        .oneshot(request("GET", "t1.example.com", "/panics"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let counted = "tenant_requests_total{tenant=t1,outcome=server}";
    assert_eq!(fixture.recorded.value(counted), Some(1.0));
    let route = "http_server_request_duration_seconds{method=GET,route=/panics,status_class=5xx}";
    assert_eq!(fixture.recorded.samples(route), 1);
}

#[tokio::test]
async fn a_service_that_fails_is_counted_as_one_that_answers_with_500() {
    let fixture = Fixture::new(|builder| builder);
    let fails =
        service_fn(|_: Request<Body>| future::ready(Err::<Response<Body>, _>(std::io::Error::other("away"))));
    let service = RequestMetricsLayer::new(&fixture.metrics).layer(fails);
    assert!(service.oneshot(Request::new(Body::empty())).await.is_err());
    let stats = fixture.metrics.last(Duration::from_secs(60)).stats().unwrap();
    assert_eq!((stats.samples(), stats.errors()), (1, 1));
    assert_eq!(
        fixture
            .recorded
            .value("tenant_requests_total{tenant=_none,outcome=server}"),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_request_that_meets_two_layers_is_counted_once() {
    let fixture = Fixture::new(|builder| builder);
    let answers =
        service_fn(|_: Request<Body>| future::ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let twice = RequestMetricsLayer::new(&fixture.metrics).layer(answers);
    served(&fixture, twice).await.unwrap();
    let counted = "tenant_requests_total{tenant=acme,outcome=ok}";
    assert_eq!(fixture.recorded.value(counted), Some(1.0));
    assert_eq!((fixture.samples(None), active(&fixture)), (1, 0.0));
}

#[tokio::test]
async fn a_streamed_response_is_active_until_its_body_ends_or_is_dropped() {
    let fixture = Fixture::new(|builder| builder);
    let streams = service_fn(|_: Request<Body>| {
        let frames = stream::iter(["one", "two"]).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
        future::ready(Ok::<_, Infallible>(Response::new(Body::from_stream(frames))))
    });
    let read = served(&fixture, streams).await.unwrap();
    assert_eq!(active(&fixture), 2.0);
    assert_eq!(to_bytes(read.into_body(), 100).await.unwrap(), "onetwo");
    assert_eq!(active(&fixture), 0.0);
    let aborted = "http_server_aborted_requests_total{phase=body}";
    assert_eq!(fixture.recorded.value(aborted), Some(0.0));
    drop(served(&fixture, streams).await.unwrap());
    assert_eq!(active(&fixture), 0.0);
    assert_eq!(fixture.recorded.value(aborted), Some(1.0));
    let counted = "tenant_requests_total{tenant=acme,outcome=ok}";
    assert_eq!(fixture.recorded.value(counted), Some(2.0), "each once");
}

#[tokio::test]
async fn a_request_whose_tenant_nobody_knows_is_counted_as_such() {
    let fixture = Fixture::new(|builder| builder);
    let router = Router::<()>::new().route("/", get(|| async { "" }));
    let service = RequestMetricsLayer::new(&fixture.metrics).layer(router);
    service
        .oneshot(request("GET", "acme.example.com", "/"))
        .await
        .unwrap();
    assert_eq!(
        fixture
            .recorded
            .value("tenant_requests_total{tenant=_none,outcome=ok}"),
        Some(1.0)
    );
    assert!(fixture.metrics.labels().is_empty());
}

#[tokio::test]
async fn a_known_request_allocates_nothing_for_what_is_counted() {
    let fixture = Fixture::new(|builder| builder.recorder(::metrics::NoopRecorder));
    let ready =
        service_fn(|_: Request<Body>| future::ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let acme = tenant("acme");
    let count = |counted: bool| {
        let layer = RequestMetricsLayer::new(&fixture.metrics);
        let stage = StageLayer::for_tenant(&acme);
        let send = || {
            let mut get = Request::new(Body::empty());
            *get.method_mut() = Method::GET;
            let answered = if counted {
                stage.layer(layer.layer(ready)).oneshot(get).now_or_never()
            } else {
                stage.layer(ready).oneshot(get).now_or_never()
            };
            assert!(answered.is_some());
        };
        send();
        allocation_counter::measure(|| (0..100).for_each(|_| send())).count_total
    };
    let without = count(false);
    assert_eq!(count(true), without);
}
