//! A recorder that tests can look into.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Every series by its name and labels, such as `requests{tenant=acme}`.
#[derive(Clone, Default)]
pub(super) struct Recorded(Arc<Mutex<BTreeMap<String, Arc<Figures>>>>);

/// Of a counter or gauge its value, of a histogram sum and number of values.
#[derive(Default)]
struct Figures {
    value: Mutex<f64>,
    samples: AtomicU64,
}

impl Recorded {
    fn at(&self, key: &Key) -> Arc<Figures> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    pub(super) fn value(&self, name: &str) -> Option<f64> {
        let figures = self.0.lock().unwrap().get(name).cloned()?;
        let value = *figures.value.lock().unwrap();
        Some(value)
    }

    pub(super) fn samples(&self, name: &str) -> u64 {
        let figures = self.0.lock().unwrap().get(name).cloned();
        figures.map_or(0, |figures| figures.samples.load(Ordering::SeqCst))
    }
}

impl CounterFn for Figures {
    fn increment(&self, by: u64) {
        *self.value.lock().unwrap() += by as f64;
    }

    fn absolute(&self, value: u64) {
        *self.value.lock().unwrap() = value as f64;
    }
}

impl GaugeFn for Figures {
    fn increment(&self, by: f64) {
        *self.value.lock().unwrap() += by;
    }

    fn decrement(&self, by: f64) {
        *self.value.lock().unwrap() -= by;
    }

    fn set(&self, value: f64) {
        *self.value.lock().unwrap() = value;
    }
}

impl HistogramFn for Figures {
    fn record(&self, value: f64) {
        *self.value.lock().unwrap() += value;
        self.samples.fetch_add(1, Ordering::SeqCst);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.at(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.at(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.at(key))
    }
}
