//! Routers behind the stack, for one tenant or for none.

use std::{convert::Infallible, future::IntoFuture, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
    routing::get as on_get,
};
use futures_util::{FutureExt, StreamExt, stream};
use tenancy::{
    Central, MemoryStore, Tenancy, Tenant,
    cache::CacheScope,
    core::{Maintenance, TenantStatus},
    resolve::{Resolution, Source, Subdomain},
    scope,
};
use tenancy_test::{Recorder, TenantDraft, as_central, as_tenant, fake};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceExt};

use crate::{get, text};

fn here() -> String {
    match scope::current() {
        Some(scope) => scope.tenant().map_or("central".to_owned(), ToString::to_string),
        None => "nobody".to_owned(),
    }
}

/// Says who a handler runs for, by everything that can tell.
async fn who(tenant: Tenant, cache: CacheScope, resolution: Resolution) -> String {
    assert_eq!((cache.tenant(), resolution.tenant()), (&tenant, Some(&tenant)));
    assert_eq!(
        (resolution.source(), resolution.identifier()),
        (Some(Source::Given), None)
    );
    tokio::task::yield_now().await;
    assert_eq!(scope::current_tenant().as_ref(), Some(&tenant));
    tenant.to_string()
}

fn router() -> Router {
    let body = || async {
        let parts = stream::iter(0..2).then(|_| async { Ok::<_, Infallible>(here() + " ") });
        Body::from_stream(parts)
    };
    Router::new()
        .route("/", on_get(who))
        .route(
            "/both",
            on_get(|tenant: Option<Tenant>| async move { format!("{tenant:?} {}", here()) }),
        )
        .route("/central", on_get(|_: Central| async { here() }))
        .route("/body", on_get(body))
        .route(
            "/panics",
            on_get(|| async { assert_eq!(here(), "nobody", "as told") }),
        )
}

#[tokio::test]
async fn every_request_is_the_tenants_without_host_and_whatever_it_says() {
    let app = as_tenant(router(), "acme");
    assert_eq!(text(app.clone().oneshot(get("/")).await.unwrap()).await, "acme");
    let other = Request::get("http://globex.example.com/")
        .header("host", "globex.example.com, x")
        .header("x-tenant", "globex")
        .body(Body::empty())
        .unwrap();
    assert_eq!(text(app.clone().oneshot(other).await.unwrap()).await, "acme");
    assert_eq!(
        text(app.clone().oneshot(get("/body")).await.unwrap()).await,
        "acme acme "
    );
    assert_eq!(here(), "nobody");
    let wrong_side = app.oneshot(get("/central")).await.unwrap();
    assert_eq!(wrong_side.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn central_requests_have_no_tenant() {
    let app = as_central(router());
    assert_eq!(
        text(app.clone().oneshot(get("/central")).await.unwrap()).await,
        "central"
    );
    assert_eq!(
        text(app.clone().oneshot(get("/both")).await.unwrap()).await,
        "None central"
    );
    assert_eq!(
        app.oneshot(get("/")).await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_tenant_that_one_has_is_the_tenant_that_handlers_see() {
    let recorder = Recorder::new();
    let made = fake("acme");
    let tenancy = Tenancy::new(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    );
    let entered = tenancy.enter(made.id()).await.unwrap();
    assert_ne!(made, entered, "of two processes, as it were");
    for tenant in [made, entered] {
        as_tenant(recorder.clone(), &tenant)
            .oneshot(get("/"))
            .await
            .unwrap();
        let recorded = recorder.take();
        assert_eq!(recorded[0].tenant(), Some(&tenant));
        assert!(recorded[0].was_for("acme"), "{recorded:?}");
    }
}

#[tokio::test]
async fn tenants_of_one_test_do_not_meet() {
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let requests = names.iter().map(|name| async move {
        let app = as_tenant(router(), name.as_str());
        text(app.oneshot(get("/")).await.unwrap()).await
    });
    assert_eq!(futures_util::future::join_all(requests).await, names);
}

#[tokio::test]
async fn a_request_nests_in_the_scope_of_its_test() {
    let globex = fake("globex");
    let seen = scope::run(&globex, async {
        let inside = text(as_tenant(router(), "acme").oneshot(get("/body")).await.unwrap()).await;
        (inside, here())
    });
    assert_eq!(seen.await, ("acme acme ".to_owned(), "globex".to_owned()));
}

#[tokio::test]
async fn what_was_found_further_out_is_not_overruled() {
    let tenancy = Tenancy::new(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme", "globex"]).unwrap(),
    );
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let request = |host: &str| {
        Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap()
    };
    let app = tenancy.wrap(Router::new().fallback_service(as_tenant(router(), &acme)));
    for (host, status) in [("acme.app.test", 200), ("globex.app.test", 500)] {
        assert_eq!(
            app.clone().oneshot(request(host)).await.unwrap().status(),
            status,
            "{host}"
        );
    }
    let app = tenancy.wrap(Router::new().fallback_service(as_central(router())));
    assert_eq!(app.oneshot(request("acme.app.test")).await.unwrap().status(), 500);
}

#[tokio::test]
async fn status_and_maintenance_are_judged_as_ever() {
    for (status, expected) in [
        (TenantStatus::Active, 200),
        (TenantStatus::Pending, 503),
        (TenantStatus::Suspended, 403),
        (TenantStatus::Deleted, 404),
    ] {
        let app = as_tenant(router(), TenantDraft::new("acme").status(status));
        assert_eq!(
            app.oneshot(get("/")).await.unwrap().status(),
            expected,
            "{status}"
        );
    }
    let mut maintenance = Maintenance::default();
    maintenance.retry_after = 7;
    let app = as_tenant(router(), TenantDraft::new("acme").maintenance(maintenance));
    let answer = app.oneshot(get("/")).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
}

#[tokio::test]
async fn a_panic_of_a_handler_is_the_tests() {
    let answer = as_tenant(router(), "acme").oneshot(get("/panics"));
    let panic = std::panic::AssertUnwindSafe(answer)
        .catch_unwind()
        .await
        .unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("as told"));
    assert_eq!(here(), "nobody");
}

#[tokio::test(start_paused = true)]
async fn time_stands_still_if_the_test_says_so() {
    let slow = Router::new().route(
        "/",
        on_get(|_: Tenant| tokio::time::sleep(Duration::from_secs(3600))),
    );
    let before = tokio::time::Instant::now();
    assert_eq!(
        as_tenant(slow, "acme").oneshot(get("/")).await.unwrap().status(),
        200
    );
    assert_eq!(
        before.elapsed(),
        Duration::from_secs(3600),
        "nothing else runs in the background"
    );
}

#[tokio::test]
async fn it_fits_where_a_router_fits() {
    let mut app = as_tenant(router(), "acme");
    let ready = ServiceExt::<Request<Body>>::ready(&mut app).await.unwrap();
    assert_eq!(text(ready.call(get("/")).await.unwrap()).await, "acme");

    let by_function = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from(here())))
    });
    assert_eq!(
        text(as_tenant(by_function, "acme").oneshot(get("/")).await.unwrap()).await,
        "acme"
    );

    let nested = Router::new()
        .nest_service("/a", as_tenant(router(), "a"))
        .nest_service("/b", as_tenant(router(), "b"))
        .fallback_service(as_central(router()));
    for (path, expected) in [("/a", "a"), ("/b/", "b"), ("/central", "central")] {
        assert_eq!(
            text(nested.clone().oneshot(get(path)).await.unwrap()).await,
            expected,
            "{path}"
        );
    }
}

/// The answer to a GET of this path over a socket.
async fn over_a_socket(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn it_is_served_like_a_router() {
    let peer =
        |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("{} {}", peer.ip(), here()) };
    let app = as_tenant(router().route("/peer", on_get(peer)), "acme");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app.clone()).into_future());
    assert!(over_a_socket(address, "/").await.ends_with("acme"));
    server.abort();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    assert!(over_a_socket(address, "/peer").await.ends_with("127.0.0.1 acme"));
    server.abort();
}

#[test]
fn no_runtime_is_needed_to_make_one() {
    let app = as_tenant(router(), "acme");
    let answer = app.oneshot(get("/both")).now_or_never().unwrap().unwrap();
    assert_eq!(answer.status(), 200);
}
