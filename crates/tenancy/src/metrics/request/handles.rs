//! Handles on what is exported, looked up once.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ::metrics::{Counter, Gauge, Histogram, Label};
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::{Method, StatusCode};

use crate::metrics::registry::Registry;

/// The route of requests that no route was matched for, or whose route nobody told.
const UNMATCHED: &str = "_unmatched";
/// Routes come from the program, so that nobody reaches this who did not write it.
const MOST_ROUTES: usize = 1_000;

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER",
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A method's place among those that are known.
#[inline]
pub(super) fn method_number(method: &Method) -> u8 {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => 9,
    }
}

fn class_number(status: StatusCode) -> usize {
    // From 100 to 999; what is above 599 has no class of its own.
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

pub(in crate::metrics) struct RequestHandles {
    active: [Gauge; METHODS.len()],
    pub(super) aborted_future: Counter,
    pub(super) aborted_body: Counter,
    routes: ArcSwap<Routes>,
    adding: Mutex<()>,
    unmatched: Arc<RouteHandles>,
}

type Routes = HashMap<Arc<str>, Arc<RouteHandles>, RandomState>;

impl RequestHandles {
    pub(in crate::metrics) fn new(registry: &Registry) -> Self {
        let active = |method| {
            let labels = vec![Label::new("method", method)];
            registry.gauge("http_server_active_requests", labels)
        };
        let aborted = |phase| {
            let labels = vec![Label::new("phase", phase)];
            registry.counter("http_server_aborted_requests_total", labels)
        };
        Self {
            active: METHODS.map(active),
            aborted_future: aborted("future"),
            aborted_body: aborted("body"),
            routes: ArcSwap::default(),
            adding: Mutex::new(()),
            unmatched: Arc::new(RouteHandles::new(UNMATCHED.into())),
        }
    }

    pub(super) fn active(&self, method: u8) -> Option<&Gauge> {
        self.active.get(usize::from(method))
    }

    pub(super) fn unmatched(&self) -> &Arc<RouteHandles> {
        &self.unmatched
    }

    /// Of a route as the program has it.
    #[inline]
    pub(super) fn route(&self, route: &str) -> Arc<RouteHandles> {
        match self.routes.load().get(route) {
            Some(handles) => Arc::clone(handles),
            None => self.add(route),
        }
    }

    #[cold]
    fn add(&self, route: &str) -> Arc<RouteHandles> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes.load();
        if let Some(handles) = routes.get(route) {
            return Arc::clone(handles);
        }
        if routes.len() >= MOST_ROUTES {
            return Arc::clone(&self.unmatched);
        }
        let name: Arc<str> = route.into();
        let handles = Arc::new(RouteHandles::new(Arc::clone(&name)));
        let mut more = Routes::clone(&routes);
        more.insert(name, Arc::clone(&handles));
        self.routes.store(Arc::new(more));
        handles
    }
}

impl fmt::Debug for RequestHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHandles").finish_non_exhaustive()
    }
}

/// Of one route. Each is asked for when there is something to be counted: most routes have one method and two classes.
pub(super) struct RouteHandles {
    name: Arc<str>,
    durations: [[OnceLock<Histogram>; CLASSES.len()]; METHODS.len()],
    request_size: OnceLock<Histogram>,
    response_size: OnceLock<Histogram>,
}

impl RouteHandles {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            durations: Default::default(),
            request_size: OnceLock::new(),
            response_size: OnceLock::new(),
        }
    }

    fn label(&self) -> Label {
        Label::new("route", self.name.to_string())
    }

    pub(super) fn record_duration(&self, registry: &Registry, method: u8, status: StatusCode, seconds: f64) {
        let (method, class) = (usize::from(method), class_number(status));
        let Some(place) = self.durations.get(method).and_then(|of| of.get(class)) else {
            return;
        };
        let make = || {
            let labels = vec![
                Label::new("method", METHODS[method]),
                self.label(),
                Label::new("status_class", CLASSES[class]),
            ];
            registry.histogram("http_server_request_duration_seconds", labels)
        };
        record(place, make, seconds);
    }

    pub(super) fn record_request_size(&self, registry: &Registry, bytes: u64) {
        let make = || registry.histogram("http_server_request_body_size_bytes", vec![self.label()]);
        record(&self.request_size, make, bytes as f64);
    }

    pub(super) fn record_response_size(&self, registry: &Registry, bytes: u64) {
        let make = || registry.histogram("http_server_response_body_size_bytes", vec![self.label()]);
        record(&self.response_size, make, bytes as f64);
    }
}

/// The recorder is asked outside of the cell: nobody waits for it there. Two who ask at once get the same series.
#[inline]
fn record(place: &OnceLock<Histogram>, make: impl FnOnce() -> Histogram, value: f64) {
    match place.get() {
        Some(histogram) => histogram.record(value),
        None => {
            let made = make();
            made.record(value);
            let _ = place.set(made);
        }
    }
}
