//! Questions about the last seconds, minutes and hours.

use std::{
    collections::HashSet,
    fmt,
    ops::{Range, RangeInclusive},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt;
use tenancy_core::TenantId;

use super::{
    Sketch,
    history::{MINUTES_KEPT, TICK_SECONDS, first_tick, first_tick_of, last_tick_of, minute_of},
    outbox::{Outbox, PATIENCE},
    store::{NodeMinute, WindowStoreError},
    wire::{MinuteReader, Unreadable},
};
use crate::metrics::Metrics;

const SHORTEST: Duration = Duration::from_secs(TICK_SECONDS);
const LONGEST: Duration = Duration::from_secs(MINUTES_KEPT as u64 * 60);

/// A question about the last time, made by [`Metrics::last`](crate::metrics::Metrics::last).
///
/// Asking takes a lock that no request waits for, adds up some hundred sketches at most, and does no I/O.
#[derive(Clone, Debug)]
#[must_use = "it answers nothing until it is asked for its statistics"]
pub struct Window<'a> {
    metrics: &'a Metrics,
    length: Duration,
    metric: &'a str,
    label: Option<&'a str>,
    /// The label was said to be a tenant's id.
    of_tenant: bool,
}

impl<'a> Window<'a> {
    pub(in crate::metrics) fn new(metrics: &'a Metrics, length: Duration) -> Self {
        Self {
            metrics,
            length: length.clamp(SHORTEST, LONGEST),
            metric: crate::metrics::REQUEST_DURATION,
            label: None,
            of_tenant: false,
        }
    }

    /// Of this metric. Default: [`REQUEST_DURATION`](crate::metrics::REQUEST_DURATION).
    pub fn metric(mut self, name: &'a str) -> Self {
        self.metric = name;
        self
    }

    /// Of this tenant alone, which has to have a slot of its own. Default: of all.
    ///
    /// Where [plans](crate::metrics::TenantSlots::by_plan) have the slots no tenant has one; a tenant whose id begins with
    /// `_` never has.
    pub fn tenant(mut self, id: &'a TenantId) -> Self {
        self.label = Some(id.as_str());
        self.of_tenant = true;
        self
    }

    /// Of what is counted under this label: a tenant's id, a plan, `_other`, `_central` or `_none`.
    pub fn label(mut self, label: &'a str) -> Self {
        self.label = Some(label);
        self.of_tenant = false;
        self
    }

    /// A label that looks like the id may be a plan's, or one of the built-in ones.
    fn has_figures_of_who_was_asked_for(&self) -> bool {
        let table = &self.metrics.inner().table;
        !self.of_tenant || self.label.is_none_or(|id| table.can_have_slot(id))
    }

    /// What was measured. Where nothing was, there are no samples.
    ///
    /// # Errors
    /// When no such metric was registered, or nothing is counted under this label: a tenant without a slot is one of
    /// `_other`, and its figures are not known.
    pub fn stats(&self) -> Result<WindowStats, QueryError> {
        let inner = self.metrics.inner();
        let metric = inner.metric_at(self.metric).ok_or(QueryError {
            kind: Kind::UnknownMetric,
        })?;
        if !self.has_figures_of_who_was_asked_for() {
            return Err(QueryError { kind: Kind::NotKept });
        }
        let now = inner.rotate();
        let state = inner.state();
        let known_since = match self.label {
            None => Duration::ZERO,
            Some(label) => state
                .places
                .iter()
                .find(|place| **place.series.label() == *label)
                .map(|place| place.known_since)
                .ok_or(QueryError { kind: Kind::NotKept })?,
        };
        let tick = inner.engine.tick_at(now);
        let from = self.first_tick_back_from(tick, tick);
        let (sketch, newest) = inner
            .engine
            .collect(&state, metric, self.label, &(from..=tick), tick);
        drop(state);
        let begin = begin_of(from.max(inner.engine.born)).max(inner.engine.unix(known_since));
        let now = inner.engine.unix(now);
        Ok(told(sketch, newest, begin..now, now))
    }

    /// As [`stats`](Self::stats), of this process and of the minutes that others have left in the store. A label that this
    /// process does not keep may be another's.
    ///
    /// Of minutes that are over, for this process too: the window ends with the last of them, and has one at least. It covers
    /// what any process has written, be it that there was nothing.
    ///
    /// What the store says is not believed: minutes that nobody asked for, that are there twice, or whose figures are none of
    /// this metric are passed over and counted (`metrics_minutes_unreadable_total`).
    ///
    /// Waits for the store, five seconds at most. Cancel-safe: it only reads.
    ///
    /// # Errors
    /// When no such metric was registered, a [tenant](Self::tenant) was asked for that can have no slot, there is no store,
    /// or it does not answer or panics.
    pub async fn stats_of_all_nodes(&self) -> Result<WindowStats, QueryError> {
        let inner = self.metrics.inner();
        let metric = inner.metric_at(self.metric).ok_or(QueryError {
            kind: Kind::UnknownMetric,
        })?;
        if !self.has_figures_of_who_was_asked_for() {
            return Err(QueryError { kind: Kind::NotKept });
        }
        let outbox = inner.outbox.as_ref().ok_or(QueryError { kind: Kind::NoStore })?;
        let now = inner.rotate();
        let tick = inner.engine.tick_at(now);
        // What of the others is not known, is not counted of this one.
        let last = first_tick_of(minute_of(tick)).saturating_sub(1);
        let from = first_tick_of(minute_of(self.first_tick_back_from(last, tick)));
        let (mut sketch, mut newest) =
            inner
                .engine
                .collect(&inner.state(), metric, self.label, &(from..=last), tick);
        let mut begin = from.max(inner.engine.born);
        let asked_for = minute_of(from)..=minute_of(last);
        let minutes = read(outbox, asked_for.clone()).await?;
        let mut seen = HashSet::new();
        for minute in &minutes {
            if minute.node == outbox.node {
                continue;
            }
            let added = if !asked_for.contains(&minute.minute) {
                Err(Unreadable("nobody asked for this minute"))
            } else if !seen.insert((minute.minute, &*minute.node)) {
                Err(Unreadable("a minute is there twice"))
            } else {
                self.add_minute(minute, metric, &mut sketch)
            };
            match added {
                Ok(has_values) => {
                    // It says of this minute that there was nothing, too.
                    begin = begin.min(first_tick_of(minute.minute));
                    newest = newest.max(has_values.then(|| last_tick_of(minute.minute)));
                }
                Err(_) => outbox.unreadable.increment(1),
            }
        }
        let covered = begin_of(begin)..begin_of(last.saturating_add(1));
        Ok(told(sketch, newest, covered, inner.engine.unix(now)))
    }

    /// Nothing of a minute is added that can not be read to its end. Returns whether there was anything.
    fn add_minute(&self, minute: &NodeMinute, metric: usize, to: &mut Sketch) -> Result<bool, Unreadable> {
        let scale = self.metrics.inner().engine.scale(metric);
        let mut sum = Sketch::default();
        let mut labels = HashSet::new();
        for figures in MinuteReader::new(&minute.figures)? {
            let figures = figures?;
            if figures.metric != self.metric {
                continue;
            }
            if !labels.insert(figures.label) {
                return Err(Unreadable("figures are there twice"));
            }
            if self.label.is_none_or(|label| label == figures.label) {
                let sketch = Sketch::decode(figures.sketch)?;
                if !scale.is_some_and(|scale| scale.has_all_of(&sketch)) {
                    return Err(Unreadable("there is no such bucket of the metric"));
                }
                sum.merge(&sketch);
            }
        }
        to.merge(&sum);
        Ok(sum.count() > 0)
    }

    /// The first of the ticks that end with `last`: a minute's first where only minutes are kept.
    fn first_tick_back_from(&self, last: u32, now: u32) -> u32 {
        let ticks = u32::try_from(self.length.as_secs().div_ceil(TICK_SECONDS)).unwrap_or(u32::MAX);
        let from = last.saturating_add(1).saturating_sub(ticks);
        if from < first_tick(now) {
            first_tick_of(minute_of(from))
        } else {
            from
        }
    }
}

/// When a tick begins, since 1970.
fn begin_of(tick: u32) -> Duration {
    Duration::from_secs(u64::from(tick) * TICK_SECONDS)
}

fn told(sketch: Sketch, newest: Option<u32>, covered: Range<Duration>, now: Duration) -> WindowStats {
    WindowStats {
        sketch,
        covered: covered
            .end
            .saturating_sub(covered.start)
            .max(Duration::from_secs(1)),
        staleness: newest.map(|newest| now.saturating_sub(begin_of(newest.saturating_add(1)))),
    }
}

async fn read(outbox: &Outbox, minutes: RangeInclusive<u32>) -> Result<Vec<NodeMinute>, QueryError> {
    // A store's code may panic, at once too.
    let reading = AssertUnwindSafe(async { outbox.store.read(minutes).await });
    let away = |error| QueryError {
        kind: Kind::StoreAway(error),
    };
    match tokio::time::timeout(PATIENCE, reading.catch_unwind()).await {
        Ok(Ok(read)) => read.map_err(away),
        Ok(Err(_)) => Err(away(WindowStoreError::new("the store panicked"))),
        Err(elapsed) => Err(away(WindowStoreError::new(elapsed))),
    }
}

/// What was measured in a window.
#[derive(Clone, Debug)]
pub struct WindowStats {
    pub(in crate::metrics) sketch: Sketch,
    pub(in crate::metrics) covered: Duration,
    pub(in crate::metrics) staleness: Option<Duration>,
}

impl WindowStats {
    /// How many values there are.
    pub fn samples(&self) -> u64 {
        self.sketch.count()
    }

    /// How many of them are of failures.
    pub fn errors(&self) -> u64 {
        self.sketch.errors()
    }

    /// Their average; `None` without values. Each value counts to a 16th of the metric's lowest, and as the highest if it is
    /// above that.
    pub fn average(&self) -> Option<f64> {
        let average = self.sketch.sum() / self.samples() as f64;
        Some(average.max(self.min()?).min(self.max()?))
    }

    /// The value that this share of all does not exceed, such as 0.95; `None` without values, and for what is no share.
    /// Off by [`relative_error`](Self::relative_error) at most, for values that the metric tells apart.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        self.sketch.percentile(share)
    }

    /// The smallest value; `None` without values.
    pub fn min(&self) -> Option<f64> {
        self.sketch.min()
    }

    /// The largest value; `None` without values.
    pub fn max(&self) -> Option<f64> {
        self.sketch.max()
    }

    /// Values a second.
    pub fn rate(&self) -> f64 {
        self.samples() as f64 / self.covered.as_secs_f64()
    }

    /// Which share of the values are of failures; `None` without values.
    pub fn error_ratio(&self) -> Option<f64> {
        let samples = self.samples();
        (samples > 0).then(|| self.errors() as f64 / samples as f64)
    }

    /// How long the window is: shorter than asked for while the process is young, or where a tenant took the place of another
    /// a while ago; up to a minute longer than asked for where it begins with a full one. One second at least.
    pub fn covered(&self) -> Duration {
        self.covered
    }

    /// How old the newest value is, to ten seconds; `None` without values.
    pub fn staleness(&self) -> Option<Duration> {
        self.staleness
    }

    /// How far a percentile may be off, as a share of it: 0.059, or more where there was no room for as many buckets.
    pub fn relative_error(&self) -> f64 {
        self.sketch.relative_error()
    }
}

/// Why a window can say nothing.
#[derive(Clone, Debug)]
pub struct QueryError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    UnknownMetric,
    NotKept,
    NoStore,
    StoreAway(WindowStoreError),
}

impl QueryError {
    /// Whether no metric of this name was registered.
    pub fn is_unknown_metric(&self) -> bool {
        matches!(self.kind, Kind::UnknownMetric)
    }

    /// Whether nothing is counted under this label: the tenant has no slot.
    pub fn is_not_kept(&self) -> bool {
        matches!(self.kind, Kind::NotKept)
    }

    /// Whether there is no store to ask.
    pub fn is_no_store(&self) -> bool {
        matches!(self.kind, Kind::NoStore)
    }

    /// Whether the store did not answer.
    pub fn is_store_away(&self) -> bool {
        matches!(self.kind, Kind::StoreAway(_))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::UnknownMetric => "no metric of this name was registered",
            Kind::NotKept => "nothing is counted under this label",
            Kind::NoStore => "there is no store of windows",
            Kind::StoreAway(_) => "the store of windows did not answer",
        })
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::StoreAway(error) => Some(error),
            Kind::UnknownMetric | Kind::NotKept | Kind::NoStore => None,
        }
    }
}
