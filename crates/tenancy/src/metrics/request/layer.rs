//! The layer that watches requests.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::MatchedPath,
};
use http::{HeaderMap, Request, Response, header::CONTENT_LENGTH};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::WatchedBody,
    watch::{PanicGuard, Watch},
};
use crate::{metrics::Metrics, resolve::Resolution};

/// Counts requests for their tenants. See the [module](crate::metrics).
///
/// Where several of these stand one inside of the other, the outermost counts: no request is counted twice.
#[derive(Clone, Debug)]
pub struct RequestMetricsLayer {
    metrics: Metrics,
}

impl RequestMetricsLayer {
    /// Counts with this.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for RequestMetricsLayer {
    type Service = RequestMetrics<S>;

    fn layer(&self, inner: S) -> RequestMetrics<S> {
        RequestMetrics {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// The service of [`RequestMetricsLayer`]. Allocates nothing for a response whose length is known.
#[derive(Clone)]
pub struct RequestMetrics<S> {
    inner: S,
    metrics: Metrics,
}

impl<S: fmt::Debug> fmt::Debug for RequestMetrics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetrics")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequestMetrics<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: HttpBody,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RequestMetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let is_counted_already = request.extensions_mut().insert(Counted).is_some();
        let mut watch = (!is_counted_already).then(|| begin(&self.metrics, &request));
        let guard = PanicGuard::over(watch.as_mut());
        let inner = self.inner.call(request);
        guard.pass();
        RequestMetricsFuture { inner, watch }
    }
}

/// In the extensions of a request that a layer further out counts. Without size, so that it is not allocated.
#[derive(Clone, Copy)]
struct Counted;

fn begin<B: HttpBody>(metrics: &Metrics, request: &Request<B>) -> Watch {
    let inner = metrics.inner();
    let series = match request.extensions().get::<Resolution>() {
        Some(resolution) => match resolution.tenant() {
            Some(tenant) => inner.series_of(tenant),
            None if resolution.is_central() => Arc::clone(inner.table.central()),
            None => Arc::clone(inner.table.unresolved()),
        },
        None => Arc::clone(inner.table.unresolved()),
    };
    let route = request.extensions().get::<MatchedPath>();
    let size = request.body().size_hint().exact();
    Watch::begin(
        inner,
        series,
        request.method(),
        route.map(MatchedPath::as_str),
        size,
    )
}

pin_project! {
    /// The future of [`RequestMetrics`]. Dropping it, at any await, counts the request as aborted; a panic in it, as 500.
    pub struct RequestMetricsFuture<F> {
        #[pin]
        inner: F,
        watch: Option<Watch>,
    }
}

impl<F, ResBody, E> Future for RequestMetricsFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let guard = PanicGuard::over(this.watch.as_mut());
        let polled = this.inner.poll(cx);
        guard.pass();
        let answer = ready!(polled);
        let Some(mut watch) = this.watch.take() else {
            // Counted further out, or polled again after its end.
            return Poll::Ready(answer.map(|response| response.map(Body::new)));
        };
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                watch.failed();
                return Poll::Ready(Err(error));
            }
        };
        let size = response.body().size_hint().exact();
        watch.head(response.status(), size);
        let announced = announced_length(response.headers());
        if size.is_some() || announced == Some(0) || watch.has_no_body() || response.body().is_end_stream() {
            watch.end();
            return Poll::Ready(Ok(response.map(Body::new)));
        }
        Poll::Ready(Ok(
            response.map(|body| Body::new(WatchedBody::new(body, watch, announced)))
        ))
    }
}

/// The length that the server will hold to, whatever the body says of itself.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl<F> fmt::Debug for RequestMetricsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetricsFuture").finish_non_exhaustive()
    }
}
