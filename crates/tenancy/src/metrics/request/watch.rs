//! A request under way. Whatever becomes of it, gauges come back.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::handles::{RouteHandles, method_number};
use crate::metrics::{hub::Inner, series::Outcome, series::Series};

/// Counted as active until it is dropped.
pub(super) struct Watch {
    inner: Arc<Inner>,
    series: Arc<Series>,
    pub(super) route: Option<Arc<RouteHandles>>,
    began: Duration,
    request_size: Option<u64>,
    method: u8,
    reached: Reached,
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
        };
        watch.series.active.increment(1.0);
        if let Some(active) = watch.inner.requests.active(watch.method) {
            active.increment(1.0);
        }
        watch
    }

    /// Says which route it is, if that was not known when it began.
    pub(super) fn set_route(&mut self, route: &str) {
        self.route = Some(self.inner.requests.route(route));
    }

    /// The head of the response is there.
    pub(super) fn head(&mut self, status: StatusCode, response_size: Option<u64>) {
        let outcome = match status.as_u16() {
            500.. => Outcome::Server,
            400..500 => Outcome::Client,
            _ => Outcome::Ok,
        };
        self.reached = Reached::Head;
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

    /// The service failed without a response.
    pub(super) fn failed(&mut self) {
        self.reached = Reached::End;
        self.series.count(Outcome::Server);
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
