//! The body limit: exact, before the handler where the length is announced, and as tower-http's layer has it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::DefaultBodyLimit,
    http::{Request, Response, StatusCode},
    routing::post,
};
use futures_util::{StreamExt, stream};
use tenancy::{
    rejection::{Rejection, RejectionReason},
    stack::{Stage, StageLayer},
};
use tower::{Layer, Service, ServiceExt};
use tower_http::limit::RequestBodyLimitLayer;

use crate::{
    scopes::builder,
    support::{self, send},
};

const LIMIT: usize = 10;

/// How a body comes.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Its length is known and announced.
    Announced,
    /// Its length is known to this process and not announced.
    Buffered,
    /// In chunks of so many bytes, unannounced.
    Chunked(usize),
    /// In chunks, with a `Content-Length` that is no number.
    Nonsense,
}

const FORMS: [Form; 6] = [
    Form::Announced,
    Form::Buffered,
    Form::Chunked(1),
    Form::Chunked(7),
    Form::Chunked(1000),
    Form::Nonsense,
];

fn sent(path: &str, form: Form, length: usize) -> Request<Body> {
    let bytes = Bytes::from(vec![b'x'; length]);
    let request = Request::post(path).header("host", "acme.app.test");
    let chunks = |size: usize| {
        let chunks: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        Body::from_stream(stream::iter(chunks).map(Ok::<_, Infallible>))
    };
    match form {
        Form::Announced => request
            .header("content-length", length)
            .body(Body::from(bytes.clone())),
        Form::Buffered => request.body(Body::from(bytes.clone())),
        Form::Chunked(size) => request.body(chunks(size)),
        Form::Nonsense => request.header("content-length", "ten").body(chunks(4)),
    }
    .unwrap()
}

/// Handlers that read all, count what comes, or do not look. Counts its calls.
fn reading(calls: &Arc<AtomicUsize>) -> Router {
    let counted = |calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        move || calls.fetch_add(1, Ordering::Relaxed)
    };
    let (of_blind, of_counting) = (counted(calls), counted(calls));
    let counting = async move |body: Body| {
        of_counting();
        let mut chunks = body.into_data_stream();
        let (mut bytes, mut failed) = (0, false);
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => bytes += chunk.len(),
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        format!("{bytes} failed={failed}")
    };
    Router::new()
        .route("/whole", post(async |body: Bytes| body.len().to_string()))
        .route("/count", post(counting))
        .route(
            "/blind",
            post(async move || {
                of_blind();
            }),
        )
        .layer(DefaultBodyLimit::disable())
}

async fn outcome<S, B>(
    service: &S,
    calls: &AtomicUsize,
    request: Request<Body>,
) -> (StatusCode, usize, String)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    calls.store(0, Ordering::Relaxed);
    let response = service.clone().oneshot(request).await.unwrap().map(Body::new);
    let status = response.status();
    let text = support::text(response).await;
    (status, calls.load(Ordering::Relaxed), text)
}

#[tokio::test]
async fn at_every_boundary_and_in_every_form_it_does_as_the_layer_of_tower_http() {
    let calls = Arc::new(AtomicUsize::new(0));
    let ours = StageLayer::body_limit(LIMIT as u64).layer(reading(&calls));
    let theirs = RequestBodyLimitLayer::new(LIMIT).layer(reading(&calls));
    let mut refused = 0;
    for form in FORMS {
        for length in [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT, 5000] {
            for path in ["/whole", "/count", "/blind"] {
                let case = format!("{form:?} {length} {path}");
                let of_ours = outcome(&ours, &calls, sent(path, form, length)).await;
                let of_theirs = outcome(&theirs, &calls, sent(path, form, length)).await;
                // Known lengths we refuse also where they are not announced.
                let known_better = matches!(form, Form::Buffered) && length > LIMIT;
                if known_better {
                    assert_eq!((of_ours.0.as_u16(), of_ours.1), (413, 0), "{case}");
                } else {
                    assert_eq!((of_ours.0, of_ours.1), (of_theirs.0, of_theirs.1), "{case}");
                    if of_ours.0 == 200 {
                        assert_eq!(of_ours.2, of_theirs.2, "{case}");
                    }
                }
                assert!(
                    path != "/whole" || (of_ours.0 == 413) == (length > LIMIT),
                    "{case}"
                );
                refused += usize::from(of_ours.0 == 413);
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn an_announced_length_is_refused_before_the_handler_and_a_counted_one_when_it_is_passed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let tenancy = builder().body_limit(LIMIT as u64).build().unwrap();
    let app = tenancy.wrap(reading(&calls));
    for (path, form, length, status, called) in [
        ("/blind", Form::Announced, LIMIT, 200, 1),
        ("/blind", Form::Announced, LIMIT + 1, 413, 0),
        ("/blind", Form::Chunked(4), LIMIT + 1, 200, 1),
        ("/count", Form::Chunked(4), LIMIT + 1, 200, 1),
        ("/whole", Form::Chunked(4), LIMIT, 200, 0),
        ("/whole", Form::Chunked(4), LIMIT + 1, 413, 0),
    ] {
        let (got, calls, text) = outcome(&app, &calls, sent(path, form, length)).await;
        assert_eq!(
            (got.as_u16(), calls),
            (status, called),
            "{path} {form:?} {length}"
        );
        if path == "/count" {
            assert_eq!(text, "8 failed=true", "no byte above the limit is handed on");
        }
    }
    let response = send(&app, sent("/blind", Form::Announced, LIMIT + 1)).await;
    let reason = response.extensions().get::<Rejection>().unwrap().reason();
    assert_eq!(reason, RejectionReason::BodyTooLarge);
}

#[tokio::test]
async fn a_lie_about_the_length_does_not_get_more_through() {
    let calls = Arc::new(AtomicUsize::new(0));
    let app = StageLayer::body_limit(LIMIT as u64).layer(reading(&calls));
    let mut request = sent("/whole", Form::Chunked(4), 100);
    request
        .headers_mut()
        .insert("content-length", "3".parse().unwrap());
    assert_eq!(outcome(&app, &calls, request).await.0, 413);
}

#[tokio::test]
async fn the_limit_may_be_nothing_or_everything() {
    let calls = Arc::new(AtomicUsize::new(0));
    for (limit, length, status) in [(0, 0, 200), (0, 1, 413), (u64::MAX, 100_000, 200)] {
        let tenancy = builder().body_limit(limit).build().unwrap();
        let app = tenancy.wrap(reading(&calls));
        for form in FORMS {
            let got = outcome(&app, &calls, sent("/whole", form, length)).await.0;
            assert_eq!(got, status, "{limit} {length} {form:?}");
        }
    }
    let unlimited = builder().body_limit(0).disable(Stage::BodyLimit).build().unwrap();
    let got = outcome(
        &unlimited.wrap(reading(&calls)),
        &calls,
        sent("/whole", Form::Announced, 100),
    )
    .await;
    assert_eq!(got.0, 200);
}
