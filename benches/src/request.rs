//! One request as a browser sends it, and the function around what is counted.

use std::{
    convert::Infallible,
    hint::black_box,
    iter,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderName, HeaderValue, Request, Response, StatusCode, header::HOST},
};
use tower::{Service, ServiceExt};

use crate::Failure;

/// What Chrome sends beside `Host` when somebody types an address.
pub(crate) const BROWSER_HEADERS: [(&str, &str); 12] = [
    (
        "sec-ch-ua",
        r#""Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99""#,
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", r#""Linux""#),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
];

/// A browser's GET of `/`, with all header values in one buffer, as hyper reads them.
#[derive(Clone)]
pub(crate) struct BrowserRequest {
    text: String,
    host: usize,
}

impl BrowserRequest {
    pub(crate) fn to(host: &str) -> Self {
        let values = BROWSER_HEADERS.iter().map(|(_, value)| *value);
        Self {
            text: iter::once(host).chain(values).collect(),
            host: host.len(),
        }
    }

    pub(crate) fn build(&self) -> Result<Request<Body>, Failure> {
        let buffer = Bytes::copy_from_slice(self.text.as_bytes());
        let mut from = 0;
        let mut next = |length| {
            let value = HeaderValue::from_maybe_shared(buffer.slice(from..from + length));
            from += length;
            value
        };
        let mut request = Request::new(Body::empty());
        let headers = request.headers_mut();
        headers.insert(HOST, next(self.host)?);
        for (name, value) in BROWSER_HEADERS {
            headers.insert(HeaderName::from_static(name), next(value.len())?);
        }
        Ok(request)
    }
}

/// Gives the allocator of glibc some free blocks of each size that it keeps in lists of the thread (up to 1,032 bytes), as a
/// server has them that has run for a while. Whether one is at hand would else depend on what was allocated before, and
/// one that is not costs more than a stage of the stack.
/// <https://sourceware.org/glibc/wiki/MallocInternals#Thread_Local_Cache_.28tcache.29>
pub(crate) fn fill_allocator() {
    for size in (16..=1_032).step_by(16) {
        drop(black_box([(); 32].map(|()| Vec::<u8>::with_capacity(size))));
    }
}

/// Runs what is counted. Callgrind switches on where this function begins and off where it ends, by its name.
#[inline(never)]
pub(crate) fn counted_request(send: &mut dyn FnMut() -> Option<StatusCode>) -> Option<StatusCode> {
    // Keeps the call from becoming a jump.
    black_box(send())
}

/// Takes one request through a service as `axum::serve` does it, by a clone of the service and `oneshot`, reads the
/// answer's body, and drops both. Polled by hand: what is not ready at once is an error.
#[inline(never)]
pub(crate) fn send<S, B>(service: &S, request: Request<Body>) -> Option<StatusCode>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody + Unpin,
{
    let mut context = Context::from_waker(Waker::noop());
    let future = pin!(service.clone().oneshot(request));
    let Poll::Ready(Ok(response)) = future.poll(&mut context) else {
        return None;
    };
    let status = response.status();
    let mut body = pin!(response.into_body());
    while !body.is_end_stream() {
        match body.as_mut().poll_frame(&mut context) {
            Poll::Ready(Some(frame)) => drop(black_box(frame)),
            Poll::Ready(None) => break,
            Poll::Pending => return None,
        }
    }
    Some(status)
}
