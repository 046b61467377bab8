//! Responses over a real server, which asks no body for more than it needs.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, StatusCode, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, service_fn};

use super::Fixture;
use crate::metrics::RequestMetricsLayer;

const ACTIVE: &str = "http_server_active_requests{method=GET}";
const ANSWERED: &str = "http_server_request_duration_seconds{method=GET,route=_unmatched,status_class=2xx}";
const ABORTED: &str = "http_server_aborted_requests_total{phase=body}";

/// Whose length the body does not know.
fn streamed() -> Body {
    let frames = stream::iter(["0123", "456789"]).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    Body::from_stream(frames)
}

fn with_trailers() -> Body {
    let data = Frame::data(Bytes::from_static(b"0123456789"));
    let trailers = Frame::trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        http::HeaderValue::from_static("7"),
    )]));
    // The stream does not know that nothing follows.
    let frames = stream::iter([data, trailers]).chain(stream::pending());
    Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>)))
}

fn answer(path: &str) -> Response {
    match path {
        "/announced" => ([(CONTENT_LENGTH, "10")], streamed()).into_response(),
        "/empty" => ([(CONTENT_LENGTH, "0")], streamed()).into_response(),
        "/chunked" => streamed().into_response(),
        "/trailers" => ([("trailer", "x-sum")], with_trailers()).into_response(),
        "/not-modified" => (StatusCode::NOT_MODIFIED, streamed()).into_response(),
        _ => {
            let never = stream::pending::<Result<Bytes, Infallible>>();
            ([(CONTENT_LENGTH, "10")], Body::from_stream(never)).into_response()
        }
    }
}

/// Sends a request and reads until the server ends the connection.
async fn ask(fixture: &Fixture, method: &str, path: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let service =
        service_fn(|request: Request<Body>| async move { Ok::<_, Infallible>(answer(request.uri().path())) });
    let service = RequestMetricsLayer::new(&fixture.metrics).layer(service);
    let serving = tokio::spawn(axum::serve(listener, tower::make::Shared::new(service)).into_future());
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    serving.abort();
    read
}

#[tokio::test]
async fn no_response_that_was_sent_to_its_end_counts_as_aborted() {
    let fixture = Fixture::new(|builder| builder);
    for (method, path, end) in [
        ("GET", "/announced", "0123456789"),
        ("GET", "/chunked", "0\r\n\r\n"),
        ("GET", "/trailers", "x-sum: 7\r\n\r\n"),
        ("GET", "/empty", "\r\n\r\n"),
        ("GET", "/not-modified", "\r\n\r\n"),
        ("HEAD", "/announced", "\r\n\r\n"),
        ("HEAD", "/chunked", "\r\n\r\n"),
    ] {
        let read = ask(&fixture, method, path).await;
        assert!(read.ends_with(end), "{method} {path}: {read}");
        assert_eq!(fixture.recorded.value(ABORTED), Some(0.0), "{method} {path}");
        assert_eq!(fixture.recorded.value(ACTIVE), Some(0.0), "{method} {path}");
    }
    let counted = "tenant_requests_total{tenant=_none,outcome=ok}";
    assert_eq!(fixture.recorded.value(counted), Some(7.0));
}

#[tokio::test]
async fn a_client_that_goes_before_the_end_is_counted_as_gone() {
    let fixture = Fixture::new(|builder| builder);
    let head_is_sent = async {
        while fixture.recorded.samples(ANSWERED) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        read = ask(&fixture, "GET", "/never") => panic!("it has no end: {read}"),
        () = head_is_sent => {}
    }
    while fixture.recorded.value(ABORTED) != Some(1.0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.recorded.value(ACTIVE), Some(0.0));
}
