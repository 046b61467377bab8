//! Ends ten seconds and minutes, and adds up what was asked for.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    time::Duration,
};

use super::{
    History, Live, Sketch,
    history::{TICK_SECONDS, minute_of},
    scale::Scale,
    wire::{MinuteFigures, MinuteWriter},
};
use crate::metrics::{
    spec::MetricSpec,
    table::{OTHER_PLACE, Retired, State},
};

/// Fewer bytes have no room for the figures of one bucket.
const SMALLEST_SKETCH: usize = 96;
/// More are never needed.
const LARGEST_SKETCH: usize = 1_600;
/// Those of requests that began before their tenant lost its place are over by then.
const RETIRED_AT_LEAST: Duration = Duration::from_secs(60);
const RETIRED_AT_MOST: Duration = Duration::from_secs(2 * 3600);

/// What stays the same while figures come and go.
#[derive(Debug)]
pub(crate) struct Engine {
    scales: Box<[Scale]>,
    names: Box<[Box<str>]>,
    /// From monotonic time to time since 1970, as it was at the start.
    offset: Duration,
    /// Of one sketch, in bytes.
    pub(in crate::metrics) limit: usize,
    pub(super) born: u32,
}

/// Ticks and minutes that are over.
pub(crate) struct Rotated {
    pub(in crate::metrics) elapsed: Duration,
    /// The number of a minute that is over, and its figures.
    pub(in crate::metrics) minute: Option<(u32, Vec<u8>)>,
}

impl Engine {
    /// `None` if figures of so many series do not fit.
    pub(in crate::metrics) fn new(
        specs: &[MetricSpec],
        series: usize,
        max_bytes: usize,
        unix_minus_monotonic: Duration,
        now: Duration,
    ) -> Option<Self> {
        let scales = specs
            .iter()
            .map(|spec| Scale::from_power(spec.lowest.log2().floor() as i32));
        let mut engine = Self {
            scales: scales.collect(),
            names: specs.iter().map(|spec| spec.name.as_ref().into()).collect(),
            offset: unix_minus_monotonic,
            limit: sketch_limit(specs.len().saturating_mul(series), max_bytes)?,
            born: 0,
        };
        engine.born = engine.tick_at(now);
        Some(engine)
    }

    pub(super) fn scale(&self, metric: usize) -> Option<&Scale> {
        self.scales.get(metric)
    }

    pub(super) fn unix(&self, monotonic: Duration) -> Duration {
        monotonic.saturating_add(self.offset)
    }

    pub(in crate::metrics) fn tick_at(&self, monotonic: Duration) -> u32 {
        u32::try_from(self.unix(monotonic).as_secs() / TICK_SECONDS).unwrap_or(u32::MAX)
    }

    #[inline]
    pub(in crate::metrics) fn record(&self, live: &Live, metric: usize, value: f64, is_error: bool) {
        if let Some(scale) = self.scales.get(metric) {
            live.record(scale, value, is_error);
        }
    }

    /// Ends the ten seconds that began at `open`; those of `now` have begun.
    pub(in crate::metrics) fn rotate(
        &self,
        state: &mut State,
        open: u32,
        tick: u32,
        now: Duration,
    ) -> Rotated {
        self.take_all(state, open, now);
        let minute = minute_of(open);
        let closed = (minute < minute_of(tick)).then(|| (minute, self.close_minute(state, minute)));
        for place in &mut state.places {
            for history in &mut place.histories {
                history.trim(tick);
            }
        }
        Rotated {
            elapsed: Duration::from_secs(u64::from(tick.saturating_sub(open)) * TICK_SECONDS),
            minute: closed,
        }
    }

    fn take_all(&self, state: &mut State, open: u32, now: Duration) {
        for place in &mut state.places {
            let metrics = place
                .series
                .live
                .iter()
                .zip(&mut place.histories)
                .zip(&self.scales);
            for ((live, history), scale) in metrics {
                history.add(open, live.take(scale), self.limit);
            }
        }
        self.drain_retired(state, open, now);
    }

    /// The minute of the ten seconds that began at `open`, as far as it has come, and its figures.
    pub(in crate::metrics) fn open_minute(
        &self,
        state: &mut State,
        open: u32,
        now: Duration,
    ) -> (u32, Vec<u8>) {
        self.take_all(state, open, now);
        let minute = minute_of(open);
        let mut writer = MinuteWriter::new();
        for place in &state.places {
            for (metric, history) in self.names.iter().zip(&place.histories) {
                let mut sketch = history.sum_of_ticks(minute);
                if sketch.count() > 0 {
                    writer.put(&MinuteFigures {
                        label: place.series.label(),
                        metric,
                        sketch: &sketch.encode_within(self.limit),
                    });
                }
            }
        }
        (minute, writer.into_bytes())
    }

    /// What was counted under labels that are no more belongs to the others.
    fn drain_retired(&self, state: &mut State, open: u32, now: Duration) {
        let State { places, retired, .. } = state;
        let Some(other) = places.get_mut(OTHER_PLACE) else {
            return;
        };
        retired.retain(|Retired { series, since }| {
            let age = now.saturating_sub(*since);
            // Looked at first: who has it no more has counted by now.
            let has_users = Arc::strong_count(series) > 1;
            // Reading the number orders nothing: what they have counted before is seen from here on.
            fence(Ordering::Acquire);
            for ((live, history), scale) in series.live.iter().zip(&mut other.histories).zip(&self.scales) {
                history.add(open, live.take(scale), self.limit);
            }
            age < RETIRED_AT_LEAST || (has_users && age < RETIRED_AT_MOST)
        });
    }

    /// One without values too: it says that there was nothing.
    fn close_minute(&self, state: &mut State, minute: u32) -> Vec<u8> {
        let mut writer = MinuteWriter::new();
        for place in &mut state.places {
            for (metric, history) in self.names.iter().zip(&mut place.histories) {
                if let Some(sketch) = history.close_minute(minute, self.limit) {
                    writer.put(&MinuteFigures {
                        label: place.series.label(),
                        metric,
                        sketch,
                    });
                }
            }
        }
        writer.into_bytes()
    }

    /// All there is of a metric in some ticks, of one label or of all, and the newest tick with values.
    pub(super) fn collect(
        &self,
        state: &State,
        metric: usize,
        label: Option<&str>,
        asked: &RangeInclusive<u32>,
        now: u32,
    ) -> (Sketch, Option<u32>) {
        let mut sum = Sketch::default();
        let mut newest = None;
        let Some(scale) = self.scales.get(metric) else {
            return (sum, newest);
        };
        let is_asked_for = |of: &str| label.is_none_or(|label| label == of);
        for place in state
            .places
            .iter()
            .filter(|place| is_asked_for(place.series.label()))
        {
            if let Some(history) = place.histories.get(metric) {
                newest = newest.max(history.collect(asked, now, &mut sum));
            }
            if asked.contains(&now) {
                newest = newest.max(add_live(&place.series.live, metric, scale, now, &mut sum));
            }
        }
        if asked.contains(&now) && is_asked_for(crate::metrics::slots::OTHER) {
            for Retired { series, .. } in &state.retired {
                newest = newest.max(add_live(&series.live, metric, scale, now, &mut sum));
            }
        }
        (sum, newest)
    }

    pub(in crate::metrics) fn bytes_now(&self, state: &State) -> usize {
        let series = state.places.iter().map(|place| &place.series);
        let retired = state.retired.iter().map(|retired| &retired.series);
        let live = series.chain(retired).flat_map(|series| series.live.iter());
        let histories = state.places.iter().flat_map(|place| place.histories.iter());
        live.map(Live::bytes_now).sum::<usize>() + histories.map(History::bytes_now).sum::<usize>()
    }
}

fn add_live(live: &[Live], metric: usize, scale: &Scale, now: u32, sum: &mut Sketch) -> Option<u32> {
    let sketch = live.get(metric)?.look(scale);
    sum.merge(&sketch);
    (sketch.count() > 0).then_some(now)
}

/// How many bytes a sketch may take so that all that is kept takes no more than this.
fn sketch_limit(pairs: usize, max_bytes: usize) -> Option<usize> {
    let for_each = max_bytes.checked_div(pairs)?;
    // Twice: those of a label that is no more stay for a while.
    let left = for_each.checked_sub(2 * Live::bytes_at_most() + History::bytes_at_most(0))?;
    let limit = left / History::MOST_ENTRIES;
    (limit >= SMALLEST_SKETCH).then(|| limit.min(LARGEST_SKETCH))
}
