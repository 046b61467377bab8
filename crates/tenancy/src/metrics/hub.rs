//! What counts: one for a program, shared by all that measure.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::metrics::{Counter, Gauge};
use tenancy_core::Clock;

use super::{
    builder::MetricsBuilder,
    registry::Registry,
    request::RequestHandles,
    series::Series,
    spec::MetricSpec,
    table::{SlotTable, State, lock},
    window::{Engine, Outbox, TICK_SECONDS, Window},
};
use crate::{
    Tenant,
    scope::{Scope, current},
};

/// Counts requests and an application's own figures, for each tenant that has a slot and for all together.
///
/// A cheap handle; all clones count together. Made by [`builder`](Self::builder), once for a program. See the
/// [module](super).
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) specs: Box<[MetricSpec]>,
    pub(super) registry: Registry,
    pub(super) table: SlotTable,
    pub(super) engine: Engine,
    pub(super) requests: RequestHandles,
    pub(super) outbox: Option<Outbox>,
    state: Mutex<State>,
    /// The ten seconds that are counted at the moment.
    open: AtomicU32,
    /// Held by who ends them.
    rotating: Mutex<()>,
    slots_in_use: Gauge,
    unknown_names: Counter,
    unusable_values: Counter,
}

impl Inner {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        specs: Vec<MetricSpec>,
        registry: Registry,
        table: (SlotTable, State),
        engine: Engine,
        outbox: Option<Outbox>,
    ) -> Self {
        let (table, state) = table;
        registry.describe();
        Self {
            open: AtomicU32::new(engine.tick_at(clock.monotonic_coarse())),
            slots_in_use: registry.gauge("tenant_slots_in_use", Vec::new()),
            unknown_names: registry.counter("metrics_unknown_names_total", Vec::new()),
            unusable_values: registry.counter("metrics_unusable_values_total", Vec::new()),
            requests: RequestHandles::new(&registry),
            rotating: Mutex::new(()),
            state: Mutex::new(state),
            specs: specs.into(),
            clock,
            registry,
            table,
            engine,
            outbox,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn metric_at(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.name == name)
    }

    #[inline]
    pub(super) fn series_of(&self, tenant: &Tenant) -> Arc<Series> {
        match self.table.seated(tenant) {
            Some(series) => series,
            None => self.find_series_of(tenant),
        }
    }

    #[cold]
    fn find_series_of(&self, tenant: &Tenant) -> Arc<Series> {
        let now = self.clock.monotonic_coarse();
        self.table
            .seat(tenant, &self.state, |label| self.make_series(label), now)
    }

    fn make_series(&self, label: &Arc<str>) -> Series {
        Series::new(label, &self.specs, &self.registry)
    }

    pub(super) fn series_of_scope(&self, scope: Option<&Scope>) -> Arc<Series> {
        match scope {
            Some(Scope::Tenant(tenant)) => self.series_of(tenant),
            Some(Scope::Central) => Arc::clone(self.table.central()),
            None => Arc::clone(self.table.unresolved()),
        }
    }

    /// Ends ten seconds that are over. Returns the time.
    pub(super) fn rotate(&self) -> Duration {
        let now = self.clock.monotonic_coarse();
        let tick = self.engine.tick_at(now);
        if self.open.load(Ordering::Acquire) >= tick {
            return now;
        }
        let rotating = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.load(Ordering::Acquire);
        if open >= tick {
            return now;
        }
        let mut state = self.state();
        let rotated = self.engine.rotate(&mut state, open, tick, now);
        self.open.store(tick, Ordering::Release);
        let exchanges = self.table.judge(&mut state, now, rotated.elapsed);
        let slots = state.slots_in_use();
        drop(state);
        // What follows calls the recorder.
        if let (Some(outbox), Some((minute, figures))) = (&self.outbox, rotated.minute) {
            outbox.add(minute, figures);
        }
        self.table.exchange(
            exchanges,
            &self.state,
            |label| self.make_series(label),
            now,
            self.engine.limit,
        );
        self.slots_in_use.set(u32::try_from(slots).unwrap_or(u32::MAX));
        drop(rotating);
        now
    }

    /// What there is of the minute that has begun is to be written too.
    fn send_open_minute(&self) {
        let Some(outbox) = &self.outbox else { return };
        let now = self.rotate();
        // Nobody sends the whole minute before this part of it.
        let _rotating = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let open = self.open.load(Ordering::Acquire);
        let (minute, figures) = self.engine.open_minute(&mut state, open, now);
        drop(state);
        outbox.add(minute, figures);
    }

    async fn flush(&self) -> bool {
        match &self.outbox {
            Some(outbox) => outbox.flush().await,
            None => true,
        }
    }
}

impl Metrics {
    /// Collects settings.
    pub fn builder() -> MetricsBuilder {
        MetricsBuilder::new()
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Counts a value of the application's own, for the [current](crate::scope::current) tenant, or as `_central` or
    /// `_none` where there is none.
    ///
    /// The name has to be registered with [`MetricsBuilder::metric`]: a value of another name is dropped and counted
    /// (`metrics_unknown_names_total`), and so is one that is negative, infinite or no number
    /// (`metrics_unusable_values_total`). Takes no lock and reads no clock; allocates only at a label's first value.
    pub fn record(&self, name: &str, value: f64) {
        self.record_as(name, value, false);
    }

    /// As [`record`](Self::record), of something that failed: counts for
    /// [`error_ratio`](super::WindowStats::error_ratio).
    pub fn record_error(&self, name: &str, value: f64) {
        self.record_as(name, value, true);
    }

    fn record_as(&self, name: &str, value: f64, is_error: bool) {
        let inner = &*self.inner;
        // The built-in ones are not the application's to fill.
        let Some(metric) = inner.metric_at(name).filter(|metric| *metric > 0) else {
            inner.unknown_names.increment(1);
            return;
        };
        if !(value.is_finite() && value >= 0.0) {
            inner.unusable_values.increment(1);
            return;
        }
        // Zero may have a sign.
        let value = value.abs();
        let series = inner.series_of_scope(current().as_ref());
        if let Some(live) = series.live.get(metric) {
            inner.engine.record(live, metric, value, is_error);
        }
        if let Some(histogram) = series.own.get(metric - 1) {
            histogram.record(value);
        }
    }

    /// What was measured in the last seconds, minutes or hours: ten seconds at least, two hours at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenancy::metrics::Metrics;
    ///
    /// let metrics = Metrics::builder().build()?;
    /// let requests = metrics.last(Duration::from_secs(300)).stats()?;
    /// assert_eq!((requests.samples(), requests.average()), (0, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last(&self, length: Duration) -> Window<'_> {
        Window::new(self, length)
    }

    /// Ends ten seconds that are over, and judges which tenants are busiest, every ten seconds: in a task that ends with the
    /// last clone of this handle, or with the runtime.
    ///
    /// Questions end them too, and without it no value is lost. But then the busiest are judged only when somebody asks, and
    /// what was counted since the last question lies in the ten seconds of that one: short windows do not have it, and one
    /// that has those ten seconds has it all.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(TICK_SECONDS) / 10);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match weak.upgrade() {
                    Some(inner) => inner.rotate(),
                    None => return,
                };
            }
        });
        if self.inner.outbox.is_some() {
            tokio::spawn(flush_for_ever(Arc::downgrade(&self.inner)));
        }
    }

    /// Writes minutes that are over into the store, as the task of [`start`](Self::start) does. Returns whether none waits
    /// any more; true also without a store.
    ///
    /// Gives up after five seconds without an answer. Cancel-safe: what was not answered waits still, and writing twice
    /// is harmless.
    pub async fn flush(&self) -> bool {
        self.inner.rotate();
        self.inner.flush().await
    }

    /// As [`flush`](Self::flush), with what there is of the minute that has begun: when a process ends, after its last
    /// request. Counting goes on; a minute that is over takes the place of what was written of it here.
    pub async fn close(&self) -> bool {
        self.inner.send_open_minute();
        self.inner.flush().await
    }

    /// Ends what is over now, as the task of [`start`](Self::start) does: for tests that move the clock.
    pub fn rotate(&self) {
        self.inner.rotate();
    }

    /// The labels under which tenants, or plans, are counted at the moment, sorted; without `_other`, `_central` and
    /// `_none`. Allocates; takes a lock that no request waits for.
    pub fn labels(&self) -> Vec<String> {
        let state = self.inner.state();
        let own = state.places.iter().skip(super::table::FIXED_PLACES);
        let mut labels: Vec<String> = own.map(|place| place.series.label().to_string()).collect();
        drop(state);
        labels.sort();
        labels
    }

    /// How many bytes the figures of all windows take at the moment: never more than
    /// [`MetricsBuilder::max_bytes`].
    pub fn bytes_of_windows(&self) -> usize {
        self.inner.engine.bytes_now(&self.inner.state())
    }
}

/// In a task of its own: a store that does not answer keeps nothing from being rotated.
async fn flush_for_ever(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_SECONDS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.flush().await;
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("metrics", &self.inner.specs)
            .finish_non_exhaustive()
    }
}
