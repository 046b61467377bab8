//! The deadline: until the answer begins, the wait for the store included where it stands outside of it.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{Request, Response, StatusCode},
    routing::get,
};
use futures_util::{FutureExt, StreamExt, stream};
use tenancy::{
    MemoryStore, Tenancy,
    rejection::{Rejection, RejectionReason},
    resolve::ResolveSettings,
    stack::{Order, Stage, StageLayer},
};
use tower::{Layer, ServiceExt};
use tower_http::timeout::TimeoutLayer;

use crate::{
    scopes::{Notes, builder, subdomains},
    support::{self, faulty::FaultyStore, send},
};

const DEADLINE: Duration = Duration::from_millis(500);

/// Answers after so many milliseconds, with a body that takes as long again.
fn slow() -> Router {
    let handler = async |Path(millis): Path<u64>| {
        let pause = Duration::from_millis(millis);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Body::from_stream(stream::iter(0..2).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>("x")
        }))
    };
    Router::new().route("/{millis}", get(handler))
}

#[tokio::test(start_paused = true)]
async fn it_answers_as_the_layer_of_tower_http_does() {
    let ours = StageLayer::deadline(DEADLINE).layer(slow());
    let theirs = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DEADLINE).layer(slow());
    for (millis, expected) in [(0, 200), (1, 200), (499, 200), (501, 504), (100_000, 504)] {
        let request = || support::get("any.test", &format!("/{millis}"));
        let ours = ours.clone().oneshot(request()).await.unwrap();
        let theirs = theirs.clone().oneshot(request()).await.unwrap();
        assert_eq!(ours.status(), expected, "{millis}");
        assert_eq!(theirs.status(), expected, "{millis}");
        if expected == 200 {
            assert_eq!(support::text(ours).await, "xx", "the body may take longer");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_when_the_time_is_up_is_given() {
    let app = StageLayer::deadline(DEADLINE).layer(slow());
    let response = app.oneshot(support::get("any.test", "/500")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_504_and_the_handler_is_dropped_in_its_scope() {
    let notes = Notes::default();
    let of_handler = notes.clone();
    let handler = async move || {
        let _held = of_handler.on_drop("handler dropped");
        std::future::pending::<()>().await;
    };
    let tenancy = builder().deadline(DEADLINE).build().unwrap();
    let app = tenancy.wrap(Router::new().route("/", get(handler)));
    let response = send(&app, support::get("acme.app.test", "/")).await;
    assert_eq!(response.status(), 504);
    let reason = response.extensions().get::<Rejection>().unwrap().reason();
    assert_eq!(reason, RejectionReason::DeadlinePassed);
    assert_eq!(notes.all(), ["handler dropped for acme"]);
}

#[test]
fn for_an_answer_that_is_ready_no_timer_is_armed() {
    // Without a runtime at all, or with one that has no time, arming a timer would panic.
    let app = StageLayer::deadline(DEADLINE).layer(slow());
    let ready = app
        .clone()
        .oneshot(support::get("any.test", "/0"))
        .now_or_never()
        .unwrap();
    assert_eq!(ready.unwrap().status(), 200);

    let without_time = tokio::runtime::Builder::new_current_thread().build().unwrap();
    without_time.block_on(async {
        let ready = app.clone().oneshot(support::get("any.test", "/0")).await.unwrap();
        assert_eq!(ready.status(), 200);
        // And that it would panic: the test can fail.
        let waiting = app.oneshot(support::get("any.test", "/1"));
        assert!(crate::scopes::caught(waiting).await.is_err());
    });
}

/// A stack whose store holds its answers back.
fn held_back(order: Order, deadline: Duration) -> (Tenancy, FaultyStore<MemoryStore>) {
    let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
    let mut settings = ResolveSettings::default();
    settings.resolve_timeout = Duration::from_secs(60);
    settings.load_timeout = Duration::from_secs(60);
    let tenancy = Tenancy::builder(subdomains(), store.clone())
        .order(order)
        .resolve_settings(settings)
        .deadline(deadline)
        .build()
        .unwrap();
    store.hold_finds();
    (tenancy, store)
}

/// What a request gets whose store answers after `store` and whose handler after `handler` milliseconds.
async fn status_after(order: &[Stage], store: u64, handler: u64) -> StatusCode {
    let (tenancy, held) = held_back(Order::new(order.iter().copied()).unwrap(), DEADLINE);
    let app = tenancy.wrap(slow());
    let release = async {
        tokio::time::sleep(Duration::from_millis(store)).await;
        held.release_finds();
    };
    let path = format!("/{handler}");
    let (response, ()) = tokio::join!(send(&app, support::get("acme.app.test", &path)), release);
    response.status()
}

#[tokio::test(start_paused = true)]
async fn time_spent_waiting_for_the_store_counts_where_the_deadline_stands_outside_of_resolve() {
    let outside = [Stage::PanicCatch, Stage::Deadline, Stage::Resolve];
    let inside = [Stage::PanicCatch, Stage::Resolve, Stage::Deadline];
    for (order, store, handler, expected) in [
        (&outside, 300, 0, 200),
        (&outside, 600, 0, 504),
        (&outside, 300, 100, 200),
        (&outside, 300, 300, 504),
        (&inside, 600, 0, 200),
        (&inside, 600, 400, 200),
        (&inside, 0, 600, 504),
    ] {
        let status = status_after(order, store, handler).await;
        assert_eq!(status, expected, "{store} and {handler} in {order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_late_at_the_store_leaves_the_answer_for_the_next() {
    let order = Order::new([Stage::Deadline, Stage::Resolve]).unwrap();
    let (tenancy, store) = held_back(order, DEADLINE);
    let app = tenancy.wrap(slow());
    assert_eq!(
        send(&app, support::get("acme.app.test", "/0")).await.status(),
        504
    );
    assert_eq!(store.held(), 1, "the look-up goes on");
    store.release_finds();
    assert_eq!(
        send(&app, support::get("acme.app.test", "/0")).await.status(),
        200
    );
    assert_eq!(store.finds(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_passes_through_every_stage_that_can_stand_alone() {
    let fails = tower::service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("the error"));
    let service = tower::ServiceBuilder::new()
        .layer(StageLayer::panic_catch())
        .layer(StageLayer::body_limit(1))
        .layer(StageLayer::deadline(DEADLINE))
        .service(fails);
    let answer = service.oneshot(support::get("any.test", "/")).await;
    assert_eq!(answer.map(|_| ()), Err("the error"));
}
