//! What is counted under one label, by whoever has it at the moment.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use ::metrics::{Counter, Gauge, Histogram, Label};

use super::{registry::Registry, spec::MetricSpec, window::Live};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Client,
    Server,
    Aborted,
}

const OUTCOMES: [&str; 4] = ["ok", "client", "server", "aborted"];

/// Of one holder of a slot. The next holder gets another one, so that a request which began under the former is counted
/// for the former.
pub(crate) struct Series {
    label: Arc<str>,
    /// One for each metric, in the order of their definition.
    pub(super) live: Box<[Live]>,
    uses: AtomicU64,
    outcomes: [Counter; 4],
    pub(super) duration: Histogram,
    pub(super) active: Gauge,
    /// Of the metrics behind the built-in ones.
    pub(super) own: Box<[Histogram]>,
}

impl Series {
    /// Calls the recorder: no lock may be held.
    pub(super) fn new(label: &Arc<str>, specs: &[MetricSpec], registry: &Registry) -> Self {
        let tenant = || Label::new("tenant", label.to_string());
        let counter = |outcome| {
            let labels = vec![tenant(), Label::new("outcome", outcome)];
            registry.counter("tenant_requests_total", labels)
        };
        let own = specs.iter().skip(1);
        Self {
            live: specs.iter().map(|_| Live::default()).collect(),
            uses: AtomicU64::new(0),
            outcomes: OUTCOMES.map(counter),
            duration: registry.histogram("tenant_request_duration_seconds", vec![tenant()]),
            active: registry.gauge("tenant_active_requests", vec![tenant()]),
            own: own
                .map(|spec| registry.histogram(spec.exported_name(), vec![tenant()]))
                .collect(),
            label: Arc::clone(label),
        }
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    #[inline]
    pub(super) fn note_use(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take_uses(&self) -> u64 {
        self.uses.swap(0, Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].increment(1);
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series").field(&self.label).finish()
    }
}

/// Under which label a tenant is counted, as its control block remembers it.
pub(crate) struct Seat {
    /// It holds for as long as the table says the same.
    pub(super) version: u64,
    /// Weak: a tenant that comes no more keeps no cells.
    series: Weak<Series>,
    pub(super) is_other: bool,
    uses: AtomicU32,
}

impl Seat {
    pub(super) fn new(version: u64, series: &Arc<Series>, is_other: bool) -> Self {
        Self {
            version,
            series: Arc::downgrade(series),
            is_other,
            uses: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn series(&self) -> Option<Arc<Series>> {
        self.series.upgrade()
    }

    /// How many uses are to be told now; most times none.
    #[inline]
    pub(super) fn note_use(&self) -> Option<f64> {
        let uses = self.uses.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        uses.is_multiple_of(USES_TOLD).then_some(f64::from(USES_TOLD))
    }
}

/// Of a tenant without a series: each of them would have to lock the list of the busiest.
const USES_TOLD: u32 = 16;
