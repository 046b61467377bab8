//! What an account counts, and when it closes.

use std::{
    convert::Infallible,
    future::pending,
    hint::black_box,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::State,
    http::{StatusCode, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{FutureExt, StreamExt, stream};
use tenancy::{
    Tenancy,
    memory::{
        Account, MemoryLayer, MemorySettings, MemoryUnavailable, Purpose, RequestMemory, Usage, charge_to,
    },
    scope,
    stack::{Order, Stage},
};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::support::{app, builder, get as request, metered, read, send};

const LARGE: usize = 3_000_000;
/// What a request frees that came from outside, such as its headers, is below zero before anything is above it.
const ALMOST: u64 = 2_990_000;

fn allocate(bytes: usize) -> u8 {
    black_box(vec![1_u8; bytes])[bytes / 2]
}

type Seen = Arc<Mutex<Option<RequestMemory>>>;

fn usage_of(seen: &Seen) -> Usage {
    let memory = seen.lock().unwrap().clone().unwrap();
    assert!(memory.is_closed());
    memory.usage().unwrap()
}

/// Answers requests with what `router` makes, and gives the memory of the last one.
fn seeing(tenancy: &Tenancy, router: Router<Seen>) -> (tenancy::routes::TenancyApp, Seen) {
    let seen = Seen::default();
    (app(tenancy, router.with_state(Arc::clone(&seen))), seen)
}

async fn note(State(seen): State<Seen>, memory: RequestMemory) {
    *seen.lock().unwrap() = Some(memory);
}

#[tokio::test]
async fn a_handler_sees_what_its_request_has_used_and_others_see_it_when_it_has_ended() {
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) -> String {
        let before = memory.usage().unwrap();
        allocate(LARGE);
        let after = memory.usage().unwrap();
        assert!(after.allocated >= before.allocated + LARGE as u64);
        assert!(after.peak >= ALMOST && after.net() < LARGE as i64);
        *seen.lock().unwrap() = Some(memory);
        "x".repeat(1_000)
    }
    let tenancy = metered();
    let (app, seen) = seeing(&tenancy, Router::new().route("/", get(handler)));
    let response = send(&app, "/").await;
    let usage = usage_of(&seen);
    assert!(usage.complete && usage.peak >= ALMOST);
    assert_eq!((usage.escaped, usage.spawned), (1_000, 0));
    assert_eq!(read(response).await.len(), 1_000);
    assert_eq!(tenancy.memory().unwrap().requests, 1);
}

#[tokio::test]
async fn a_streamed_body_is_counted_until_it_has_ended() {
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) -> Body {
        *seen.lock().unwrap() = Some(memory);
        let frames = stream::iter(0..10).map(|_| {
            allocate(LARGE);
            Ok::<_, Infallible>(Bytes::from(vec![0; 500]))
        });
        Body::from_stream(frames)
    }
    let tenancy = metered();
    let (app, seen) = seeing(&tenancy, Router::new().route("/", get(handler)));
    let response = send(&app, "/").await;
    assert!(!seen.lock().unwrap().as_ref().unwrap().is_closed());
    read(response).await;
    let usage = usage_of(&seen);
    assert!(usage.complete);
    assert_eq!(usage.escaped, 5_000);
    assert!(usage.allocated >= 10 * LARGE as u64);
    assert!(
        usage.peak >= LARGE as u64 && usage.peak < 2 * LARGE as u64,
        "{usage:?}"
    );

    let mut frames = send(&app, "/").await.into_body().into_data_stream();
    frames.next().await.unwrap().unwrap();
    drop(frames);
    let usage = usage_of(&seen);
    assert!(!usage.complete);
    assert_eq!(usage.escaped, 500);
    let totals = tenancy.memory().unwrap();
    assert_eq!((totals.requests, totals.incomplete), (2, 1));
}

#[tokio::test]
async fn a_body_is_complete_with_the_last_byte_that_its_length_tells() {
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) -> Response {
        *seen.lock().unwrap() = Some(memory);
        let frames = stream::iter(0..2).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[0; 500])));
        // It does not know its end before it is asked once more, as that of a file.
        let frames = frames.chain(stream::pending());
        ([(CONTENT_LENGTH, "1000")], Body::from_stream(frames)).into_response()
    }
    let tenancy = metered();
    let (app, seen) = seeing(&tenancy, Router::new().route("/", get(handler)));
    for (taken, is_complete) in [(1, false), (2, true)] {
        let mut frames = send(&app, "/").await.into_body().into_data_stream();
        for _ in 0..taken {
            frames.next().await.unwrap().unwrap();
        }
        drop(frames);
        assert_eq!(usage_of(&seen).complete, is_complete, "{taken}");
    }
}

#[tokio::test]
async fn what_runs_when_a_buffered_answer_has_ended_is_counted() {
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) -> &'static str {
        *seen.lock().unwrap() = Some(memory);
        scope::on_exit(|| assert_eq!(allocate(LARGE), 1)).unwrap();
        "hello"
    }
    for is_alone in [false, true] {
        let alone = MemoryLayer::new(MemorySettings::new());
        let tenancy = if is_alone {
            builder().build().unwrap()
        } else {
            metered()
        };
        let (inner, seen) = seeing(&tenancy, Router::new().route("/", get(handler)));
        let outer = Router::new().fallback_service(inner);
        let app = if is_alone { outer.layer(alone) } else { outer };
        let response = app.clone().oneshot(request("acme", "/")).await.unwrap();
        assert!(!seen.lock().unwrap().as_ref().unwrap().is_closed());
        assert_eq!(response.body().size_hint().exact(), Some(5));
        assert_eq!(read(response).await, "hello");
        let usage = usage_of(&seen);
        assert!(usage.complete && usage.allocated >= LARGE as u64, "{usage:?}");
        assert_eq!(usage.escaped, 5);
    }
}

#[tokio::test]
async fn tasks_that_are_carried_are_counted_and_keep_the_account_open() {
    static GO: Notify = Notify::const_new();
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) {
        *seen.lock().unwrap() = Some(memory);
        scope::spawn(async {
            GO.notified().await;
            allocate(LARGE);
        });
        scope::spawn_blocking(|| allocate(LARGE)).await.unwrap();
        tokio::spawn(async { allocate(LARGE) }).await.unwrap();
    }
    let tenancy = metered();
    let (app, seen) = seeing(&tenancy, Router::new().route("/", get(handler)));
    read(send(&app, "/").await).await;
    let memory = seen.lock().unwrap().clone().unwrap();
    assert!(!memory.is_closed());
    assert_eq!(tenancy.memory().unwrap().requests, 0);
    GO.notify_one();
    while !memory.is_closed() {
        tokio::task::yield_now().await;
    }
    let usage = usage_of(&seen);
    assert_eq!(usage.spawned, 2);
    let large = LARGE as u64;
    assert!(
        (2 * large..3 * large).contains(&usage.allocated),
        "without the plain task: {usage:?}"
    );
    assert!(usage.peak < ALMOST && usage.peak_sum >= 2 * ALMOST);
    assert_eq!(tenancy.memory().unwrap().requests, 1);
}

#[tokio::test]
async fn what_lives_on_purpose_is_not_the_requests() {
    async fn handler(State(seen): State<Seen>, memory: RequestMemory) {
        *seen.lock().unwrap() = Some(memory);
        charge_to(Purpose::Other("a list of the application's"), || allocate(LARGE));
        assert_eq!(
            charge_to(Purpose::Pool, || RequestMemory::current().usage()),
            Err(MemoryUnavailable::NoStage)
        );
    }
    let (app, seen) = seeing(&metered(), Router::new().route("/", get(handler)));
    send(&app, "/").await;
    assert!(usage_of(&seen).allocated < LARGE as u64);
    let purposes = tenancy::memory::purposes();
    let list = purposes
        .iter()
        .find(|purpose| purpose.name.starts_with("a list"))
        .unwrap();
    assert!(list.usage.allocated >= LARGE as u64);
}

#[tokio::test]
async fn code_outside_of_every_account_is_told_so() {
    assert_eq!(RequestMemory::current().usage(), Err(MemoryUnavailable::NoStage));
    let tenancy = builder().build().unwrap();
    async fn handler(memory: RequestMemory) -> StatusCode {
        match memory.usage() {
            Err(MemoryUnavailable::NoStage) => StatusCode::OK,
            _ => StatusCode::IM_A_TEAPOT,
        }
    }
    let app = app(&tenancy, Router::new().route("/", get(handler)));
    assert_eq!(send(&app, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_that_are_dropped_in_any_phase_close_their_accounts() {
    const EACH: u64 = 2_500;
    async fn streams() -> Body {
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, Infallible>(Bytes::from(vec![0; 64]))
        }))
    }
    let tenancy = metered();
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/waits", get(|| async { pending::<()>().await }))
        .route("/streams", get(streams));
    let app = app(&tenancy, router);
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let round = async || {
        // Before the first poll.
        drop(app.clone().oneshot(request("acme", "/")));
        // In the handler.
        let waits = app.clone().oneshot(request("acme", "/waits"));
        assert!(waits.now_or_never().is_none());
        // The body unread, and half-way.
        drop(send(&app, "/streams").await);
        let mut frames = send(&app, "/streams").await.into_body().into_data_stream();
        frames.next().await.unwrap().unwrap();
    };
    // Warm: what is made once.
    round().await;
    let live = acme.live_bytes().unwrap();
    let before = tenancy.memory().unwrap();
    for _ in 0..EACH {
        round().await;
    }
    let after = tenancy.memory().unwrap();
    // `oneshot` calls the stack at its first poll: of what is dropped before, it never hears.
    assert_eq!(after.requests - before.requests, 3 * EACH);
    assert_eq!(after.incomplete - before.incomplete, 3 * EACH);
    assert_eq!(acme.live_bytes().unwrap(), live);
}

#[tokio::test]
async fn requests_that_panic_close_their_accounts() {
    const TIMES: u64 = 5_000;
    async fn in_body() -> Body {
        Body::from_stream(stream::once(async {
            allocate(100);
            panic!("on purpose in the body");
            #[expect(unreachable_code, reason = "says what type the stream has")]
            Ok::<Bytes, Infallible>(Bytes::new())
        }))
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<&str>();
        if !text.is_some_and(|text| text.starts_with("on purpose")) {
            hook(panic);
        }
    }));
    let tenancy = metered();
    async fn in_handler(seen: State<Seen>, memory: RequestMemory) {
        note(seen, memory).await;
        allocate(1_000);
        panic!("on purpose in the handler");
    }
    let router = Router::new()
        .route("/handler", get(in_handler))
        .route("/body", get(in_body));
    let (app, seen) = seeing(&tenancy, router);
    for _ in 0..TIMES {
        assert_eq!(
            send(&app, "/handler").await.status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let mut body = send(&app, "/body").await.into_body().into_data_stream();
        let polled = std::panic::AssertUnwindSafe(body.next());
        let panicked = polled.catch_unwind().await;
        assert!(panicked.is_err());
    }
    let totals = tenancy.memory().unwrap();
    assert_eq!(totals.requests, 2 * TIMES);
    // The first got its answer, of the panic catch; the second did not get the end of its body.
    assert_eq!(totals.incomplete, TIMES);
    assert!(usage_of(&seen).complete);
    assert_eq!(RequestMemory::current().usage(), Err(MemoryUnavailable::NoStage));
}

#[tokio::test]
async fn the_stage_allocates_once_for_a_request() {
    let plain = builder().build().unwrap();
    let counted = metered();
    let mut counts = Vec::new();
    for tenancy in [&plain, &counted] {
        let app = app(tenancy, Router::new().route("/", get(|| async { "hello" })));
        for _ in 0..3 {
            read(send(&app, "/").await).await;
        }
        let before = tenancy.memory().unwrap().allocations;
        // What the stage allocates for its account is not its account's, but this one's.
        let outer = Account::new();
        let mut part = outer.part();
        let mut sending = Box::pin(send(&app, "/"));
        let answered = part.run(|| sending.as_mut().now_or_never());
        drop(part);
        assert!(answered.is_some());
        let of_request = tenancy.memory().unwrap().allocations - before;
        counts.push(outer.usage().allocations + of_request);
    }
    assert_eq!(counts[1] - counts[0], 1);
}

#[tokio::test]
async fn the_stage_may_stand_anywhere_and_knows_the_tenant_everywhere() {
    for names in [
        ["memory", "panic_catch", "resolve", "gate"],
        ["panic_catch", "memory", "resolve", "gate"],
        ["panic_catch", "resolve", "memory", "gate"],
        ["panic_catch", "resolve", "gate", "memory"],
    ] {
        let order = Order::from_names(names).unwrap();
        let tenancy = builder()
            .order(order)
            .memory(MemorySettings::new())
            .build()
            .unwrap();
        assert!(tenancy.order().contains(Stage::Memory));
        let (app, seen) = seeing(&tenancy, Router::new().route("/", get(note)));
        send(&app, "/").await;
        assert!(usage_of(&seen).complete);
        let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
        assert_eq!(acme.memory().unwrap().requests, 1, "{names:?}");
    }
}

#[tokio::test]
async fn routes_have_sums_of_their_own_up_to_a_bound() {
    let memory = MemoryLayer::new(MemorySettings::new().max_routes(2));
    let app = Router::<()>::new()
        .route("/users/{id}", get(|| async { allocate(LARGE).to_string() }))
        .route("/a", get(|| async {}))
        .route("/b", get(|| async {}))
        .layer(memory.clone());
    for path in ["/users/1", "/users/2", "/a", "/b"] {
        app.clone().oneshot(request("acme", path)).await.unwrap();
    }
    let routes = memory.routes().unwrap();
    let found: Vec<_> = routes
        .iter()
        .map(|route| (route.route.as_str(), route.totals.requests))
        .collect();
    assert_eq!(found, [("/a", 1), ("/users/{id}", 2), ("other", 1)]);
    assert!(routes[1].totals.largest >= ALMOST);
    assert_eq!(memory.totals().unwrap().requests, 4);
}

#[tokio::test]
async fn layers_that_are_no_handlers_find_it_in_the_extensions_where_that_is_asked_for() {
    let settings = MemorySettings::new().in_extensions(true);
    let tenancy = builder().memory(settings).build().unwrap();
    let app = app(
        &tenancy,
        Router::new().route("/", get(|| async { allocate(LARGE).to_string() })),
    );
    let response = send(&app, "/").await;
    let memory = response.extensions().get::<RequestMemory>().unwrap();
    assert!(memory.is_closed() && memory.usage().unwrap().peak >= ALMOST);
}
