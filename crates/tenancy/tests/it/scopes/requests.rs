//! The scope of a request: in its handler, in every poll of its body, and until its end, whatever ends it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{Method, Request, Response},
    response::IntoResponse,
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use http_body::{Frame, SizeHint};
use tenancy::{
    MemoryStore, Tenancy,
    routes::TenancyApp,
    scope::{current, current_tenant, on_exit, put},
    stack::{Order, Stage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tower::{Layer, ServiceBuilder, ServiceExt, util::MapRequestLayer};

use super::{Notes, Recorder, builder, caught, dropped_after, here, subdomains, sweep, yields};
use crate::support::{self, faulty::FaultyStore, send};

/// Three chunks with a wait before each; notes every poll that yields one, and its own drop.
fn noted_chunks(notes: &Notes) -> impl Stream<Item = Result<&'static str, Infallible>> + Send + 'static {
    let held = notes.on_drop("stream dropped");
    let notes = notes.clone();
    stream::iter(["one ", "two ", "three"]).then(move |chunk| {
        let (notes, _held) = (notes.clone(), &held);
        async move {
            yields(1).await;
            notes.note(chunk.trim());
            Ok(chunk)
        }
    })
}

fn register(notes: &Notes) {
    let notes = notes.clone();
    on_exit(move || notes.note("cleaned up")).unwrap();
}

async fn streaming(notes: Notes) -> Body {
    register(&notes);
    yields(1).await;
    notes.note("handler");
    Body::from_stream(noted_chunks(&notes))
}

/// Every kind of request that these tests make, on a tenant's host and on the central one.
fn app(notes: &Notes) -> TenancyApp {
    app_of(
        &builder().deadline(Duration::from_secs(10)).build().unwrap(),
        notes,
    )
}

fn app_of(tenancy: &Tenancy, notes: &Notes) -> TenancyApp {
    let (streamed, exact, stuck, panics, fails) = (
        notes.clone(),
        notes.clone(),
        notes.clone(),
        notes.clone(),
        notes.clone(),
    );
    let router = Router::new()
        .route("/stream", get(move || streaming(streamed)))
        .route(
            "/exact",
            get(async move || {
                register(&exact);
                "12345"
            }),
        )
        .route(
            "/stuck",
            get(async move || {
                register(&stuck);
                let _held = stuck.on_drop("handler dropped");
                stuck.note("handler");
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/panics",
            get(async move || -> () {
                register(&panics);
                let _held = panics.on_drop("handler dropped");
                yields(1).await;
                panic!("as told")
            }),
        )
        .route(
            "/fails",
            get(async move || {
                register(&fails);
                let held = fails.on_drop("stream dropped");
                Body::from_stream(stream::once(async move {
                    drop(held);
                    Err::<Bytes, _>(std::io::Error::other("as told"))
                }))
            }),
        );
    tenancy.routes().universal(router).build()
}

#[tokio::test]
async fn a_streamed_body_is_polled_for_its_tenant_and_the_request_ends_with_it() {
    for (host, whose) in [("acme.app.test", "acme"), ("app.test", "central")] {
        let notes = Notes::default();
        let app = app(&notes);
        let response = send(&app, support::get(host, "/stream")).await;
        assert_eq!(notes.take(), [format!("handler for {whose}")]);
        assert_eq!(here(), "nobody");
        assert_eq!(support::text(response).await, "one two three");
        let expected = ["one", "two", "three", "stream dropped", "cleaned up"];
        assert_eq!(notes.all(), expected.map(|what| format!("{what} for {whose}")));
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_half_way_ends_the_request() {
    let notes = Notes::default();
    let response = send(&app(&notes), support::get("acme.app.test", "/stream")).await;
    let mut chunks = response.into_body().into_data_stream();
    assert_eq!(chunks.next().await.unwrap().unwrap(), "one ");
    assert_eq!(notes.take(), ["handler for acme", "one for acme"]);
    drop(chunks);
    assert_eq!(notes.all(), ["stream dropped for acme", "cleaned up for acme"]);
}

#[tokio::test]
async fn a_body_that_fails_ends_the_request() {
    let notes = Notes::default();
    let response = send(&app(&notes), support::get("acme.app.test", "/fails")).await;
    let mut chunks = response.into_body().into_data_stream();
    assert!(chunks.next().await.unwrap().is_err());
    assert_eq!(notes.all(), ["stream dropped for acme", "cleaned up for acme"]);
}

#[tokio::test]
async fn a_buffered_body_keeps_a_request_open_for_which_something_is_registered() {
    let notes = Notes::default();
    let app = app(&notes);
    let response = send(&app, support::get("acme.app.test", "/exact")).await;
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert_eq!(notes.all(), [] as [&str; 0]);
    assert_eq!(support::text(response).await, "12345");
    assert_eq!(notes.take(), ["cleaned up for acme"]);

    // A server asks an exact body no more once it has all its bytes.
    let response = send(&app, support::get("acme.app.test", "/exact")).await;
    let mut body = response.into_body();
    let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "12345");
    assert_eq!(notes.take(), ["cleaned up for acme"]);
    drop(body);
    assert_eq!(notes.all(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_head_request_is_cleaned_up_like_any_other() {
    for path in ["/exact", "/stream"] {
        let notes = Notes::default();
        let mut request = support::get("acme.app.test", path);
        *request.method_mut() = Method::HEAD;
        let response = send(&app(&notes), request).await;
        assert_eq!(response.status(), 200);
        drop(response);
        assert_eq!(notes.all().last().unwrap(), "cleaned up for acme");
        assert_eq!(
            notes
                .all()
                .iter()
                .filter(|note| note.starts_with("cleaned"))
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn a_panic_of_the_handler_is_500_and_the_request_is_cleaned_up() {
    let notes = Notes::default();
    let response = send(&app(&notes), support::get("acme.app.test", "/panics")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(notes.take(), ["handler dropped for acme"]);
    drop(response);
    assert_eq!(notes.all(), ["cleaned up for acme"]);
    assert_eq!(here(), "nobody");
}

#[tokio::test]
async fn a_panic_that_nobody_catches_leaves_no_scope_behind() {
    let notes = Notes::default();
    let tenancy = builder().disable(Stage::PanicCatch).build().unwrap();
    let app = app_of(&tenancy, &notes);
    let answer = caught(send(&app, support::get("acme.app.test", "/panics"))).await;
    assert_eq!(answer.map(|_| ()), Err("as told".to_owned()));
    assert_eq!(here(), "nobody");
    assert_eq!(notes.all(), ["handler dropped for acme", "cleaned up for acme"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_handler_in_its_scope() {
    let notes = Notes::default();
    let response = send(&app(&notes), support::get("acme.app.test", "/stuck")).await;
    assert_eq!(response.status(), 504);
    assert_eq!(notes.take(), ["handler for acme", "handler dropped for acme"]);
    drop(response);
    assert_eq!(notes.all(), ["cleaned up for acme"]);
}

#[tokio::test]
async fn dropped_at_any_await_a_request_is_cleaned_up_and_its_scope_is_left() {
    // Waits for the store, for the handler, and for each chunk of the body.
    let recorder = Recorder::default();
    let notes = Notes::default();
    let requests = std::cell::RefCell::new(0);
    let make = || {
        // A store that is asked anew for every request.
        let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
        let tenancy = Tenancy::builder(subdomains(), store)
            .listener(recorder.clone())
            .build()
            .unwrap();
        let app = app_of(&tenancy, &notes);
        *requests.borrow_mut() += 1;
        async move {
            let response = send(&app, support::get("acme.app.test", "/stream")).await;
            support::text(response).await
        }
    };
    let check = |polls: usize| {
        assert_eq!(here(), "nobody", "after {polls} polls");
        let events = recorder.take_short();
        let count = |what: &str| events.iter().filter(|event| *event == what).count();
        assert!(count("entered acme") <= 1, "{events:?}");
        assert_eq!(
            count("entered acme"),
            count("left acme"),
            "after {polls} polls: {events:?}"
        );
        let notes = notes.take();
        let began = notes.iter().any(|note| note.starts_with("handler"));
        let cleaned = notes.iter().filter(|note| *note == "cleaned up for acme").count();
        assert!(
            cleaned <= 1 && (cleaned == 1 || !began),
            "after {polls} polls: {notes:?}"
        );
        assert!(notes.iter().all(|note| note.ends_with("for acme")), "{notes:?}");
    };
    let cancelled = sweep(make, check).await;
    // Before the first poll, at the store, in the handler, before each of the three chunks.
    assert!(cancelled >= 6, "{cancelled}");
    assert_eq!(*requests.borrow(), cancelled + 1);
}

/// A body of an application's own that knows its length and runs code when it is polled.
struct ExactButAlive {
    left: Option<Bytes>,
    notes: Notes,
}

impl HttpBody for ExactButAlive {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.notes.note("polled");
        Poll::Ready(self.left.take().map(|left| Ok(Frame::data(left))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.as_ref().map_or(0, |left| left.len() as u64))
    }
}

impl IntoResponse for ExactButAlive {
    fn into_response(self) -> Response<Body> {
        Response::new(Body::new(self))
    }
}

#[tokio::test]
async fn a_live_body_of_exact_length_is_polled_in_the_scope_only_if_something_is_registered() {
    for (registered, whose) in [(false, "nobody"), (true, "acme")] {
        let notes = Notes::default();
        let of_body = notes.clone();
        let handler = async move || {
            if registered {
                put(1_u8).unwrap();
            }
            ExactButAlive {
                left: Some(Bytes::from_static(b"alive")),
                notes: of_body,
            }
        };
        let app = super::tenancy().wrap(Router::new().route("/", get(handler)));
        let response = send(&app, support::get("acme.app.test", "/")).await;
        assert_eq!(support::text(response).await, "alive");
        let notes = notes.all();
        assert!(!notes.is_empty());
        assert!(
            notes.iter().all(|note| *note == format!("polled for {whose}")),
            "{notes:?}"
        );
    }
}

/// Serves over TCP; what is registered by a request tells the channel when it is cleaned up.
async fn serve(endless: bool) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (told, events) = mpsc::unbounded_channel();
    let handler = async move || {
        let at_end = told.clone();
        on_exit(move || at_end.send(format!("cleaned up for {}", here())).unwrap()).unwrap();
        told.send(format!("began for {}", here())).unwrap();
        if !endless {
            std::future::pending::<()>().await;
        }
        let chunk = Bytes::from_static(&[b'x'; 64 * 1024]);
        Body::from_stream(stream::repeat_with(move || {
            assert_eq!(here(), "acme");
            Ok::<_, Infallible>(chunk.clone())
        }))
    };
    let exact = async || {
        put(String::from("kept")).unwrap();
        "12345"
    };
    let router = Router::new().route("/", get(handler)).route("/exact", get(exact));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, super::tenancy().wrap(router)).await });
    (address, events)
}

async fn ask(address: std::net::SocketAddr, request_line: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{request_line} HTTP/1.1\r\nHost: acme.app.test\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_request_before_the_answer_and_in_the_middle_of_the_body() {
    for in_the_body in [false, true] {
        let (address, mut events) = serve(in_the_body).await;
        let mut connection = ask(address, "GET /").await;
        assert_eq!(events.recv().await.unwrap(), "began for acme");
        if in_the_body {
            let mut some = [0; 200_000];
            connection.read_exact(&mut some).await.unwrap();
        }
        assert!(events.try_recv().is_err());
        drop(connection);
        assert_eq!(events.recv().await.unwrap(), "cleaned up for acme");
    }
}

#[tokio::test]
async fn over_the_wire_an_exact_body_with_registered_values_is_whole_and_head_has_its_length() {
    let (address, _events) = serve(false).await;
    for (line, body) in [("GET /exact", "12345"), ("HEAD /exact", "")] {
        let mut answer = String::new();
        ask(address, line)
            .await
            .read_to_string(&mut answer)
            .await
            .unwrap();
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_ascii_lowercase().contains("content-length: 5"), "{head}");
        assert_eq!(rest, body);
    }
}

#[tokio::test]
async fn an_answer_that_is_never_polled_ends_with_its_drop() {
    let notes = Notes::default();
    let app = app(&notes);
    let answered = dropped_after(0, send(&app, support::get("acme.app.test", "/stream"))).await;
    assert!(answered.is_none());
    let response = send(&app, support::get("acme.app.test", "/stream")).await;
    notes.take();
    drop(response);
    assert_eq!(notes.all(), ["stream dropped for acme", "cleaned up for acme"]);
}

#[tokio::test]
async fn requests_of_many_tenants_at_once_each_see_their_own_in_handler_and_body() {
    let handler = async || {
        let whose = current().unwrap();
        yields(fastrand::usize(..3)).await;
        assert_eq!(current().as_ref(), Some(&whose));
        Body::from_stream(stream::iter(0..5).then(move |_| {
            let whose = whose.clone();
            async move {
                yields(fastrand::usize(..3)).await;
                assert_eq!(current(), Some(whose));
                Ok::<_, Infallible>(here())
            }
        }))
    };
    let app = Arc::new(
        super::tenancy()
            .routes()
            .universal(Router::new().route("/", get(handler)))
            .build(),
    );
    let hosts = [
        ("acme.app.test", "acme"),
        ("globex.app.test", "globex"),
        ("app.test", "central"),
    ];
    let asked = (0..300).map(|number| {
        let (app, (host, whose)) = (Arc::clone(&app), hosts[number % hosts.len()]);
        async move {
            let request = Request::get("/")
                .header("host", host)
                .body(Body::empty())
                .unwrap();
            assert_eq!(support::text(send(&app, request).await).await, whose.repeat(5));
        }
    });
    futures_util::future::join_all(asked).await;
}

/// The stack relies on it: a router is called outside of the scope and polled inside.
#[tokio::test]
async fn layers_inside_of_a_router_are_called_in_the_scope() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let seen = Arc::clone(&seen);
        MapRequestLayer::new(move |request: Request<Body>| {
            let tenant = current_tenant().map(|tenant| tenant.id().to_string());
            seen.lock().unwrap().push((name, tenant));
            request
        })
    };
    let nested = Router::new().route("/deep", get(|| async { "" }).layer(note("method")));
    let fallback = ServiceBuilder::new()
        .layer(note("fallback"))
        .service(tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
    let router = Router::new()
        .nest("/nested", nested.route_layer(note("route")))
        .fallback_service(fallback)
        .layer(note("router"));
    let tenancy = super::tenancy();
    tenancy.ready().await;
    let order = Order::new([Stage::Resolve, Stage::Gate]).unwrap();
    let short = builder().order(order).build().unwrap();
    short.ready().await;
    for app in [tenancy.wrap(router.clone()), short.wrap(router.clone())] {
        for path in ["/nested/deep", "/nowhere"] {
            send(&app, support::get("acme.app.test", path)).await;
        }
    }
    let alone = short.layer(router);
    alone
        .oneshot(support::get("acme.app.test", "/nested/deep"))
        .await
        .unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2 * (3 + 2) + 3);
    assert!(
        seen.iter().all(|(_, tenant)| tenant.as_deref() == Some("acme")),
        "{seen:?}"
    );
}
