//! A request under way. Whatever becomes of it, gauges come back.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::handles::{RouteHandles, method_number};
use crate::{
    metrics::{hub::Inner, series::Outcome, series::Series},
    scope::with_current,
};

/// Counted as active until it is dropped.
pub(super) struct Watch {
    inner: Arc<Inner>,
    series: Arc<Series>,
    route: Option<Arc<RouteHandles>>,
    began: Duration,
    request_size: Option<u64>,
    method: u8,
    reached: Reached,
    has_no_body: bool,
}

/// How far the request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Nothing,
    Head,
    End,
}

impl Watch {
    pub(super) fn begin(
        inner: &Arc<Inner>,
        series: Arc<Series>,
        method: &Method,
        route: Option<&str>,
        request_size: Option<u64>,
    ) -> Self {
        let watch = Self {
            route: route.map(|route| inner.requests.route(route)),
            began: inner.clock.monotonic(),
            inner: Arc::clone(inner),
            series,
            request_size,
            method: method_number(method),
            reached: Reached::Nothing,
            has_no_body: *method == Method::HEAD,
        };
        watch.series.active.increment(1.0);
        if let Some(active) = watch.inner.requests.active(watch.method) {
            active.increment(1.0);
        }
        watch
    }

    /// Asks which route it is, if that was not known when it began: the router tells it, further in.
    fn learn_route(&mut self) {
        if self.route.is_some() {
            return;
        }
        let route = with_current(|current| current.and_then(|current| current.route().cloned()));
        self.route = route.map(|route| self.inner.requests.route(route.as_str()));
    }

    /// The head of the response is there.
    pub(super) fn head(&mut self, status: StatusCode, response_size: Option<u64>) {
        let outcome = match status.as_u16() {
            500.. => Outcome::Server,
            400..500 => Outcome::Client,
            _ => Outcome::Ok,
        };
        self.reached = Reached::Head;
        self.has_no_body |= matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.learn_route();
        let Self { inner, series, .. } = self;
        let seconds = inner.clock.monotonic().saturating_sub(self.began).as_secs_f64();
        series.count(outcome);
        series.duration.record(seconds);
        if let Some(live) = series.live.first() {
            inner.engine.record(live, 0, seconds, outcome == Outcome::Server);
        }
        let route = self.route.as_ref().unwrap_or_else(|| inner.requests.unmatched());
        route.record_duration(&inner.registry, self.method, status, seconds);
        if let Some(bytes) = self.request_size {
            route.record_request_size(&inner.registry, bytes);
        }
        if let Some(bytes) = response_size {
            route.record_response_size(&inner.registry, bytes);
        }
    }

    /// The service failed, or panicked, without a response: further out that becomes a 500, or the connection ends.
    pub(super) fn failed(&mut self) {
        self.head(StatusCode::INTERNAL_SERVER_ERROR, None);
        self.reached = Reached::End;
    }

    /// Whether no server asks for the body of such a response, whatever there is of it.
    pub(super) fn has_no_body(&self) -> bool {
        self.has_no_body
    }

    /// The response has ended.
    pub(super) fn end(&mut self) {
        self.reached = Reached::End;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.series.active.decrement(1.0);
        if let Some(active) = self.inner.requests.active(self.method) {
            active.decrement(1.0);
        }
        match self.reached {
            Reached::Nothing => {
                self.series.count(Outcome::Aborted);
                self.inner.requests.aborted_future.increment(1);
            }
            Reached::Head => self.inner.requests.aborted_body.increment(1),
            Reached::End => {}
        }
    }
}

/// Counts a panic of the service as a failure. Whoever catches it is further out: here only the future is dropped, as if the
/// client had gone.
pub(super) struct PanicGuard<'a>(Option<&'a mut Watch>);

impl<'a> PanicGuard<'a> {
    pub(super) fn over(watch: Option<&'a mut Watch>) -> Self {
        Self(watch)
    }

    /// There was no panic.
    pub(super) fn pass(mut self) {
        self.0 = None;
    }
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            watch.failed();
        }
    }
}
