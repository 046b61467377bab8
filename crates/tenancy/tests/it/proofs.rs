//! What the compiler promises: proofs that cannot be forged, and types that fit into every stack.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, OptionalFromRequestParts, State},
    http::{HeaderName, HeaderValue, Request, Response, StatusCode},
    routing::get as on_get,
    serve::ListenerExt,
};
use tenancy::{
    Central, MemoryStore, Tenancy, Tenant,
    cache::CacheScope,
    gate::{GatePolicy, GlobalMaintenance},
    resolve::{Resolution, Subdomain},
    routes::{Routes, TenancyApp},
    scope,
    stack::{BoxedService, Stage, StageLayer, StageService, TenancyService},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};
use tower_test::mock::{self, Mock};

use crate::support::{faulty::FaultyStore, get, send, text};

#[test]
fn proofs_are_not_forged() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}

#[tokio::test]
async fn proofs_come_by_extraction_and_by_entering() {
    let tenancy = Tenancy::builder(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    )
    .central_hosts(["app.test"])
    .build()
    .unwrap();
    let of_a_tenant = |tenant: Tenant, cache: CacheScope, resolution: Resolution| async move {
        assert_eq!((cache.tenant(), resolution.tenant()), (&tenant, Some(&tenant)));
        format!("tenant {tenant}")
    };
    let of_nobody = |_: Central| async { "nobody" };
    let of_both = |tenant: Option<Tenant>, resolution: Option<Resolution>| async move {
        assert_eq!(tenant.is_none(), resolution.unwrap().is_central());
        tenant.map_or("nobody".to_owned(), |tenant| format!("tenant {tenant}"))
    };
    let app = tenancy
        .routes()
        .tenant(Router::new().route("/", on_get(of_a_tenant)))
        .central(Router::new().route("/", on_get(of_nobody)))
        .universal(Router::new().route("/about", on_get(of_both)))
        .build();
    for (host, expected) in [("acme.app.test", "tenant acme"), ("app.test", "nobody")] {
        for path in ["/", "/about"] {
            assert_eq!(
                text(send(&app, get(host, path)).await).await,
                expected,
                "{host}{path}"
            );
        }
    }
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(
        scope::run(&acme, async { scope::current_tenant() }).await,
        Some(acme)
    );
}

/// Does not compile if the type has the trait: which `Unclear` is meant is unclear then.
macro_rules! assert_has_not {
    ($type:ty, $($trait:path),+) => {
        $(const _: fn() = || {
            trait Unclear<A> {
                fn there() {}
            }
            impl<T: ?Sized> Unclear<()> for T {}
            struct HasIt;
            impl<T: ?Sized + $trait> Unclear<HasIt> for T {}
            let _ = <$type as Unclear<_>>::there;
        };)+
    };
}

assert_has_not!(Tenant, Default, serde::Deserialize<'static>, std::str::FromStr);
assert_has_not!(
    Tenant,
    From<tenancy::core::TenantId>,
    From<tenancy::core::TenantRecord>,
    From<CacheScope>
);
assert_has_not!(Tenant, From<String>, From<&'static str>, From<Resolution>, Copy);
assert_has_not!(
    Central,
    OptionalFromRequestParts<()>,
    Default,
    serde::Deserialize<'static>,
    From<()>,
    std::str::FromStr
);
assert_has_not!(CacheScope, Default, serde::Deserialize<'static>, From<Tenant>);
assert_has_not!(Resolution, Default, serde::Deserialize<'static>, From<Tenant>);

#[test]
fn handles_services_and_futures_cross_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send>(_: &T) {}

    shared::<Tenancy>();
    shared::<TenancyApp>();
    shared::<Tenant>();
    shared::<Central>();
    shared::<CacheScope>();
    shared::<Resolution>();
    shared::<GlobalMaintenance>();
    shared::<StageLayer>();
    shared::<StageService<Router>>();
    shared::<TenancyService<Router>>();
    shared::<MemoryStore>();
    sent::<Option<BoxedService>>(&None);

    let tenancy = by_subdomain();
    let id = "acme".parse().unwrap();
    let request = get("acme.app.test", "/");
    sent(&tenancy.ready());
    sent(&tenancy.enter(&id));
    sent(&tenancy.explain(&request));
    sent(&tenancy.wrap(Router::new()).oneshot(get("acme.app.test", "/")));
    sent(&tenancy.wrap(Router::new()).call(get("acme.app.test", "/")));
    sent(
        &tenancy
            .stage(Stage::Resolve)
            .layer(Router::<()>::new())
            .call(get("acme.app.test", "/")),
    );
    sent(&scope::central(async {}));
    sent(&scope::carry(async {}));
}

fn by_subdomain() -> Tenancy {
    Tenancy::new(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme", "beta"]).unwrap(),
    )
}

fn hello() -> Router {
    Router::new().route(
        "/",
        on_get(|tenant: Tenant| async move { format!("hello {tenant}") }),
    )
}

/// acme is greeted, and a host of nobody is not.
async fn assert_greets<S, B>(service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let answer = service.clone().oneshot(get("acme.app.test", "/")).await.unwrap();
    assert_eq!(text(answer.map(Body::new)).await, "hello acme");
    let answer = service.oneshot(get("nobody.app.test", "/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_stack_fits_as_a_layer_of_a_router() {
    assert_greets(hello().layer(by_subdomain())).await;
    assert_greets(hello().route_layer(by_subdomain())).await;
}

#[tokio::test]
async fn the_stack_fits_into_a_service_builder() {
    let version = SetResponseHeaderLayer::overriding(
        HeaderName::from_static("x-version"),
        HeaderValue::from_static("7"),
    );
    let service = ServiceBuilder::new()
        .layer(version)
        .layer(by_subdomain())
        .service(hello());
    let answer = service
        .clone()
        .oneshot(get("nobody.app.test", "/"))
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-version"], "7");
    assert_greets(service).await;
}

#[tokio::test]
async fn every_stage_fits_into_a_service_builder() {
    let tenancy = by_subdomain();
    let service = ServiceBuilder::new()
        .layer(tenancy.stage(Stage::PanicCatch))
        .layer(tenancy.stage(Stage::Maintenance))
        .layer(tenancy.stage(Stage::Resolve))
        .layer(tenancy.stage(Stage::Gate))
        .layer(tenancy.stage(Stage::BodyLimit))
        .layer(tenancy.stage(Stage::Deadline))
        .layer(tenancy.stage(Stage::CacheScope))
        .service(hello());
    assert_greets(service).await;
    assert_greets(hello().layer(tenancy.stage(Stage::Resolve))).await;
}

#[tokio::test]
async fn the_stack_fits_around_services_of_others() {
    let around = by_subdomain();
    assert_greets(around.layer(CatchPanicLayer::new().layer(hello()))).await;
    assert_greets(around.layer(RequestBodyLimitLayer::new(1024).layer(hello()))).await;
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30));
    assert_greets(around.layer(timeout.layer(hello()))).await;
    let several = ServiceBuilder::new()
        .layer(around.clone())
        .layer(timeout)
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(1024))
        .service(hello());
    assert_greets(several).await;

    let by_function = tower::service_fn(|request: Request<Body>| async move {
        let tenant = request
            .extensions()
            .get::<Resolution>()
            .unwrap()
            .tenant()
            .unwrap()
            .clone();
        Ok::<_, Infallible>(Response::new(Body::from(format!("hello {tenant}"))))
    });
    assert_greets(around.layer(by_function)).await;
}

#[tokio::test]
async fn an_application_fits_where_a_service_fits() {
    let tenancy = by_subdomain();
    assert_greets(tenancy.wrap(hello())).await;
    assert_greets(Router::new().fallback_service(tenancy.wrap(hello()))).await;
    let routes: Routes = tenancy.routes();
    assert_greets(routes.tenant(hello()).build()).await;

    let nested = Router::new().nest_service("/api", tenancy.wrap(hello()));
    let answer = nested.oneshot(get("acme.app.test", "/api")).await.unwrap();
    assert_eq!(text(answer).await, "hello acme");

    let greeting = on_get(
        |State(greeting): State<&'static str>, tenant: Tenant| async move { format!("{greeting} {tenant}") },
    );
    assert_greets(tenancy.wrap(Router::new().route("/", greeting).with_state("hello"))).await;

    let response = send(&tenancy.wrap(hello()), get("beta.app.test", "/")).await;
    assert_eq!(text(response).await, "hello beta");
}

/// The answer to a GET of `/` for acme over a socket.
async fn over_a_socket(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: acme.app.test\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_application_is_served_like_a_router() {
    let bind = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    let app = by_subdomain().wrap(hello());

    let (address, listener) = bind().await;
    let server = tokio::spawn(axum::serve(listener, app.clone()).into_future());
    assert!(over_a_socket(address).await.ends_with("hello acme"));
    server.abort();

    let (address, listener) = bind().await;
    let tapped = listener.tap_io(|_| {});
    let server = tokio::spawn(
        axum::serve(tapped, app)
            .with_graceful_shutdown(std::future::pending())
            .into_future(),
    );
    assert!(over_a_socket(address).await.ends_with("hello acme"));
    server.abort();

    let peer = on_get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() });
    let app = by_subdomain().wrap(Router::new().route("/", peer));
    let (address, listener) = bind().await;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    assert!(over_a_socket(address).await.ends_with("127.0.0.1"));
    server.abort();
}

type Inner = Mock<Request<Body>, Response<Body>>;
type InnerHandle = mock::Handle<Request<Body>, Response<Body>>;

fn poll_ready<S: Service<Request<Body>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn single_stages() -> Vec<StageLayer> {
    let tenancy = by_subdomain();
    let with_settings = Stage::ALL.map(|stage| tenancy.stage(stage));
    let alone = [
        StageLayer::panic_catch(),
        StageLayer::body_limit(1024),
        StageLayer::deadline(Duration::from_secs(30)),
        StageLayer::maintenance(GlobalMaintenance::new()),
        StageLayer::for_central(),
        StageLayer::gate(GatePolicy::default()),
        StageLayer::cache_scope(),
    ];
    with_settings.into_iter().chain(alone).collect()
}

#[tokio::test]
async fn a_stage_is_ready_when_the_service_inside_is() {
    for layer in single_stages() {
        let (inner, mut handle): (Inner, InnerHandle) = mock::pair();
        let mut service = layer.layer(inner);
        handle.allow(0);
        assert!(poll_ready(&mut service).is_pending());
        handle.allow(1);
        assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))));
        handle.send_error("broken");
        let Poll::Ready(Err(error)) = poll_ready(&mut service) else {
            panic!("the fault of the inner service is lost");
        };
        assert_eq!(error.to_string(), "broken");
    }
}

/// A mock that panics when it is called without having been ready, in a stack that accepts no errors.
fn infallible(
    inner: Inner,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync
{
    inner.map_err(|error| -> Infallible { panic!("{error}") })
}

/// Expects that one request comes, and answers it.
async fn answer(handle: &mut InnerHandle, tenant: &str) {
    let (request, answer) = handle.next_request().await.unwrap();
    let resolution = request.extensions().get::<Resolution>().unwrap();
    assert_eq!(resolution.tenant().unwrap().id().as_str(), tenant);
    answer.send_response(Response::new(Body::empty()));
}

/// Whoever was ready is called, also where the store is asked in between; whoever takes its place has to be asked.
async fn assert_calls_who_was_ready<S>(
    mut service: S,
    mut handle: InnerHandle,
    store: &FaultyStore<MemoryStore>,
) where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: std::fmt::Debug,
{
    handle.allow(1);
    assert!(poll_ready(&mut service).is_ready());
    store.hold_finds();
    let mut asking = pin!(service.call(get("acme.app.test", "/")));
    assert!(
        asking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    store.until_held(1).await;
    assert!(handle.poll_request().is_pending(), "nothing is known yet");

    handle.allow(0);
    assert!(
        poll_ready(&mut service).is_pending(),
        "the one in its place was not asked"
    );
    store.release_finds();
    let (answered, ()) = tokio::join!(asking, answer(&mut handle, "acme"));
    assert_eq!(answered.unwrap().status(), StatusCode::OK);

    // Known now: the answer comes without the store.
    handle.allow(1);
    assert!(poll_ready(&mut service).is_ready());
    let finds = store.finds();
    let known = service.call(get("acme.app.test", "/"));
    let (answered, ()) = tokio::join!(known, answer(&mut handle, "acme"));
    assert_eq!(answered.unwrap().status(), StatusCode::OK);
    assert_eq!(store.finds(), finds);

    // What is refused does not reach it.
    assert!(poll_ready(&mut service).is_pending());
    handle.allow(1);
    assert!(poll_ready(&mut service).is_ready());
    let refused = service.call(get("nobody.app.test", "/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert!(handle.poll_request().is_pending());
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let store = || FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
    let builder = |store: &FaultyStore<MemoryStore>| {
        Tenancy::builder(Subdomain::of("app.test").unwrap(), store.clone())
    };

    let asked = store();
    let resolve = builder(&asked).build().unwrap().stage(Stage::Resolve);
    let (inner, handle) = mock::pair();
    assert_calls_who_was_ready(resolve.layer(inner), handle, &asked).await;

    let asked = store();
    let whole = builder(&asked).build().unwrap();
    let (inner, handle) = mock::pair();
    assert_calls_who_was_ready(whole.layer(infallible(inner)), handle, &asked).await;

    let asked = store();
    let version = HeaderName::from_static("x-version");
    let version = SetResponseHeaderLayer::overriding(version, HeaderValue::from_static("7"));
    let split = builder(&asked)
        .insert_after(Stage::Resolve, version)
        .build()
        .unwrap();
    let (inner, handle) = mock::pair();
    assert_calls_who_was_ready(split.layer(infallible(inner)), handle, &asked).await;
}
