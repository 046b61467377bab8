//! Settings of what is counted.

use std::{fmt, sync::Arc};

use ::metrics::Recorder;
use tenancy_core::{Clock, SystemClock};

use super::{
    hub::{Inner, Metrics},
    registry::{Registry, is_built_in},
    slots::{MOST_SLOTS, TenantSlots},
    spec::MetricSpec,
    table::SlotTable,
    window::{Engine, Outbox, WindowStore},
};

const DEFAULT_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Collects the settings of [`Metrics`]. [`build`](Self::build) checks them.
#[must_use = "build it"]
pub struct MetricsBuilder {
    slots: TenantSlots,
    specs: Vec<MetricSpec>,
    clock: Option<Arc<dyn Clock>>,
    registry: Registry,
    max_bytes: usize,
    store: Option<(Arc<dyn WindowStore>, String)>,
}

impl MetricsBuilder {
    pub(super) fn new() -> Self {
        Self {
            slots: TenantSlots::default(),
            specs: vec![MetricSpec::request_duration()],
            clock: None,
            registry: Registry::default(),
            max_bytes: DEFAULT_MAX_BYTES,
            store: None,
        }
    }

    /// Which tenants have series of their own. Default: the 100 busiest.
    pub fn slots(mut self, slots: TenantSlots) -> Self {
        self.slots = slots;
        self
    }

    /// Registers a figure of the application's own, for [`Metrics::record`].
    pub fn metric(mut self, spec: MetricSpec) -> Self {
        self.specs.push(spec);
        self
    }

    /// Where time comes from; give the stack's clock if it has one of its own. Default: the machine.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Exports by this recorder. Default: the one that is the program's own when figures are first counted under a label;
    /// so install that before [`build`](Self::build).
    pub fn recorder(mut self, recorder: impl Recorder + Send + Sync + 'static) -> Self {
        self.registry = Registry(Some(Arc::new(recorder)));
        self
    }

    /// What all windows together may take, in bytes. Default: 32 MiB, enough for nine metrics and 100 slots.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Leaves minutes that are over in a store, under this name and what tells this start of the process from others.
    /// Default: in none. [`Metrics::start`] writes them.
    pub fn store(mut self, store: impl WindowStore, node: impl Into<String>) -> Self {
        self.store = Some((Arc::new(store), node.into()));
        self
    }

    /// Builds it. Starts nothing: see [`Metrics::start`].
    ///
    /// # Errors
    /// When settings are impossible. All mistakes are named at once.
    pub fn build(self) -> Result<Metrics, MetricsError> {
        let mut mistakes = self.mistakes();
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let now = clock.monotonic_coarse();
        let offset = clock.unix_time().saturating_sub(now);
        let series = self.slots.most_series();
        let engine = Engine::new(&self.specs, series, self.max_bytes, offset, now);
        if engine.is_none() {
            mistakes.push(format!(
                "{} bytes are too few for windows of {} metrics and {series} labels: raise max_bytes, or have fewer slots",
                self.max_bytes,
                self.specs.len(),
            ));
        }
        match engine {
            Some(engine) if mistakes.is_empty() => {
                let table = SlotTable::new(self.slots, &self.specs, &self.registry);
                let outbox = self
                    .store
                    .map(|(store, node)| outbox(store, &node, &self.registry));
                let inner = Inner::new(clock, self.specs, self.registry, table, engine, outbox);
                Ok(Metrics::new(inner))
            }
            _ => Err(MetricsError { mistakes }),
        }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes: Vec<String> = self.specs.iter().filter_map(MetricSpec::mistakes).collect();
        let mut names: Vec<String> = self.specs.iter().map(MetricSpec::exported_name).collect();
        names.sort();
        for pair in names.windows(2) {
            if let [one, other] = pair
                && one == other
            {
                mistakes.push(format!("there are two metrics that are exported as {one}"));
            }
        }
        for name in names.iter().filter(|name| is_built_in(name)) {
            mistakes.push(format!("{name} is the name of a built-in metric"));
        }
        if let Some((_, node)) = &self.store
            && !is_node(node)
        {
            let cut: String = node.chars().take(64).collect();
            mistakes.push(format!(
                "{cut:?} is no name of a node: letters, digits, '.', '_' and '-', 64 at most"
            ));
        }
        if self.slots.places() > MOST_SLOTS {
            let places = self.slots.places();
            mistakes.push(format!(
                "{places} slots for tenants are too many: {MOST_SLOTS} at most"
            ));
        }
        mistakes
    }
}

fn is_node(name: &str) -> bool {
    let is_node_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_node_byte)
}

fn outbox(store: Arc<dyn WindowStore>, node: &str, registry: &Registry) -> Outbox {
    let dropped = registry.counter("metrics_minutes_dropped_total", Vec::new());
    let unreadable = registry.counter("metrics_minutes_unreadable_total", Vec::new());
    Outbox::new(store, node, dropped, unreadable)
}

impl fmt::Debug for MetricsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsBuilder")
            .field("slots", &self.slots)
            .field("metrics", &self.specs)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// Settings of metrics that can not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsError {
    mistakes: Vec<String>,
}

impl MetricsError {
    /// Everything that is wrong with them.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }
}

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of metrics are not valid")?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for MetricsError {}
