//! Panic catch: what stands inside of it, and tower-http's layer beside it.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::Response,
    middleware::{Next, from_fn},
    routing::get,
};
use futures_util::{StreamExt, stream};
use tenancy::{
    MemoryStore, Tenancy,
    core::RequestHead,
    core::TenantKey,
    rejection::{Rejection, RejectionReason},
    resolve::named,
    stack::{Order, Stage, StageLayer, TenancyBuilder},
};
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    gates::logs,
    scopes::{caught, here, subdomains, yields},
    support::{self, faulty::FaultyStore, send},
};

/// A router with a panic at each place where a handler can have one.
fn panicking() -> Router {
    Router::new()
        .route("/fine", get(async || "fine"))
        .route("/at-once", get(async || -> () { panic!("a canary") }))
        .route(
            "/later",
            get(async || -> () {
                yields(2).await;
                std::panic::panic_any(String::from("a canary"))
            }),
        )
        .route("/any", get(async || -> () { std::panic::panic_any(7) }))
        .route(
            "/in-the-body",
            get(async || {
                Body::from_stream(stream::iter(0..3).map(|number| {
                    assert!(number < 1, "a canary");
                    Ok::<_, std::convert::Infallible>("chunk")
                }))
            }),
        )
}

#[tokio::test]
async fn it_answers_as_the_layer_of_tower_http_does() {
    let ours = StageLayer::panic_catch().layer(panicking());
    let theirs = CatchPanicLayer::new().layer(panicking());
    for path in ["/fine", "/at-once", "/later", "/any", "/missing", "/in-the-body"] {
        let ours = ours
            .clone()
            .oneshot(support::get("any.test", path))
            .await
            .unwrap();
        let theirs = theirs
            .clone()
            .oneshot(support::get("any.test", path))
            .await
            .unwrap();
        assert_eq!(ours.status(), theirs.status(), "{path}");
        if path == "/fine" {
            assert_eq!(support::text(ours).await, "fine");
        } else if path == "/in-the-body" {
            // Neither catches what a body does after the answer has begun.
            let ours = caught(support::text(ours)).await;
            let theirs = caught(axum::body::to_bytes(Body::new(theirs.into_body()), 100)).await;
            assert_eq!(ours.unwrap_err(), theirs.unwrap_err());
        }
    }
}

#[tokio::test]
async fn what_the_panic_said_is_in_the_log_and_not_in_the_answer() {
    let log = logs::capture();
    let app = StageLayer::panic_catch().layer(panicking());
    for path in ["/at-once", "/later"] {
        let before = log.text().len();
        let response = app.clone().oneshot(support::get("any.test", path)).await.unwrap();
        let reason = response.extensions().get::<Rejection>().unwrap().reason();
        assert_eq!(reason, RejectionReason::Panicked);
        let reference = response.headers()["tenancy-reference"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = support::text(response).await;
        assert!(body.contains(&reference) && !body.contains("canary"), "{body}");
        let logged = log.text()[before..].to_owned();
        for part in ["ERROR", "a canary", "panicked", &reference] {
            assert!(logged.contains(part), "{part} in {logged}");
        }
    }
}

fn panics_when(path: &'static str) -> impl Fn(&RequestHead<'_>) -> Option<TenantKey<'static>> + Send + Sync {
    move |head| {
        assert_ne!(head.uri().path(), path, "in the identifier");
        TenantKey::slug("acme").ok()
    }
}

/// Panics in the layer when asked for `path`: before it calls what is inside of it.
fn builder_with_panics(order: Order, store: impl tenancy::core::TenantStore) -> TenancyBuilder {
    let layer = from_fn(async |request: Request, next: Next| -> Response<Body> {
        assert_ne!(request.uri().path(), "/in-the-layer", "as told");
        next.run(request).await
    });
    Tenancy::builder(named("panics", panics_when("/in-the-identifier")), store)
        .order(order)
        .insert_after(Stage::Resolve, layer)
}

#[tokio::test]
async fn it_covers_what_stands_inside_of_it_and_not_what_stands_outside() {
    use Stage::{Deadline, Gate, PanicCatch, Resolve};
    let places = ["/in-the-identifier", "/in-the-layer", "/at-once", "/later"];
    for (order, covered) in [
        (
            vec![PanicCatch, Resolve, Gate, Deadline],
            [true, true, true, true],
        ),
        (vec![Resolve, PanicCatch, Gate], [false, false, true, true]),
        (vec![Resolve, Gate, PanicCatch], [false, false, true, true]),
        (vec![Resolve, Gate], [false, false, false, false]),
    ] {
        // The store is asked each time: what comes after the wait is covered like what comes before it.
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
        for waits in [true, false] {
            for (path, covered) in places.into_iter().zip(covered) {
                let order = Order::new(order.clone()).unwrap();
                let tenancy = if waits {
                    builder_with_panics(order, store.clone()).build().unwrap()
                } else {
                    let tenancy = builder_with_panics(order, store.inner().clone()).build().unwrap();
                    tenancy.ready().await;
                    tenancy
                };
                let app = tenancy.wrap(panicking());
                let answer = caught(send(&app, support::get("any.test", path))).await;
                let status = answer.ok().map(|response| response.status().as_u16());
                assert_eq!(
                    status,
                    covered.then_some(500),
                    "{path} in {} {waits}",
                    tenancy.order()
                );
                assert_eq!(here(), "nobody");
                let next = send(&app, support::get("any.test", "/fine")).await;
                assert_eq!(support::text(next).await, "fine");
            }
        }
    }
}

#[tokio::test]
async fn a_responder_that_panics_is_replaced_by_the_default_answer() {
    for finding_only in [true, false] {
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap());
        let store = if finding_only { store.finding_only() } else { store };
        let tenancy = Tenancy::builder(subdomains(), store)
            .on_rejection(|_| panic!("in the responder"))
            .build()
            .unwrap();
        tenancy.ready().await;
        let app = tenancy.wrap(panicking());
        for (host, path) in [
            ("unknown.app.test", "/"),
            ("a b", "/"),
            ("acme.app.test", "/at-once"),
        ] {
            let response = send(&app, support::get(host, path)).await;
            assert_eq!(response.status(), 500, "{host}{path} {finding_only}");
            assert!(support::text(response).await.contains("\"status\":500"));
        }
    }
}
