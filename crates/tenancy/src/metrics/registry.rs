//! The recorder that figures are exported by.

use std::sync::Arc;

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};

const METADATA: Metadata<'static> = Metadata::new("tenancy", Level::INFO, Some("tenancy::metrics"));

/// The one that was given, or the program's own at the time of asking.
#[derive(Clone, Default)]
pub(super) struct Registry(pub(super) Option<Arc<dyn Recorder + Send + Sync>>);

impl Registry {
    fn with<R>(&self, ask: impl FnOnce(&dyn Recorder) -> R) -> R {
        match &self.0 {
            Some(recorder) => ask(&**recorder),
            None => ::metrics::with_recorder(ask),
        }
    }

    pub(super) fn counter(&self, name: impl Into<SharedString>, labels: Vec<Label>) -> Counter {
        let key = key(name.into(), labels);
        self.with(|recorder| recorder.register_counter(&key, &METADATA))
    }

    pub(super) fn gauge(&self, name: impl Into<SharedString>, labels: Vec<Label>) -> Gauge {
        let key = key(name.into(), labels);
        self.with(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    pub(super) fn histogram(&self, name: impl Into<SharedString>, labels: Vec<Label>) -> Histogram {
        let key = key(name.into(), labels);
        self.with(|recorder| recorder.register_histogram(&key, &METADATA))
    }

    /// Tells the recorder what the figures are.
    pub(super) fn describe(&self) {
        use Kind::{Count, Gauge, Histogram};
        self.with(|recorder| {
            for (kind, name, unit, text) in DESCRIPTIONS {
                let (name, text) = (KeyName::from_const_str(name), SharedString::from(text));
                match kind {
                    Count => recorder.describe_counter(name, Some(unit), text),
                    Gauge => recorder.describe_gauge(name, Some(unit), text),
                    Histogram => recorder.describe_histogram(name, Some(unit), text),
                }
            }
        });
    }
}

/// Whether a name is exported for what is measured anyway.
pub(super) fn is_built_in(name: &str) -> bool {
    DESCRIPTIONS.iter().any(|(_, built_in, ..)| *built_in == name)
}

fn key(name: SharedString, labels: Vec<Label>) -> Key {
    Key::from_parts(name, labels)
}

#[derive(Clone, Copy)]
enum Kind {
    Count,
    Gauge,
    Histogram,
}

const DESCRIPTIONS: [(Kind, &str, Unit, &str); 14] = [
    (
        Kind::Histogram,
        "http_server_request_duration_seconds",
        Unit::Seconds,
        "Time until the head of the response was ready",
    ),
    (
        Kind::Gauge,
        "http_server_active_requests",
        Unit::Count,
        "Requests whose response has not ended",
    ),
    (
        Kind::Histogram,
        "http_server_request_body_size_bytes",
        Unit::Bytes,
        "Bodies of requests whose length was announced",
    ),
    (
        Kind::Histogram,
        "http_server_response_body_size_bytes",
        Unit::Bytes,
        "Bodies of responses whose length was known",
    ),
    (
        Kind::Count,
        "http_server_aborted_requests_total",
        Unit::Count,
        "Requests that were dropped before their end",
    ),
    (
        Kind::Count,
        "tenant_requests_total",
        Unit::Count,
        "Requests of a tenant, by how they ended",
    ),
    (
        Kind::Histogram,
        "tenant_request_duration_seconds",
        Unit::Seconds,
        "Time until the head of the response was ready",
    ),
    (
        Kind::Gauge,
        "tenant_active_requests",
        Unit::Count,
        "Requests of a tenant whose response has not ended",
    ),
    (
        Kind::Gauge,
        "tenant_slots_in_use",
        Unit::Count,
        "Tenants, or plans, that have series of their own",
    ),
    (
        Kind::Count,
        "tenant_overflow_total",
        Unit::Count,
        "How often a tenant was counted as another for want of room",
    ),
    (
        Kind::Count,
        "metrics_unknown_names_total",
        Unit::Count,
        "Values that were dropped, for nobody registered their name",
    ),
    (
        Kind::Count,
        "metrics_unusable_values_total",
        Unit::Count,
        "Values that were dropped, for they are negative or no numbers",
    ),
    (
        Kind::Count,
        "metrics_minutes_dropped_total",
        Unit::Count,
        "Minutes of windows that were dropped, for the store was away for too long",
    ),
    (
        Kind::Count,
        "metrics_minutes_unreadable_total",
        Unit::Count,
        "Minutes of other processes that are no figures of this version",
    ),
];
