//! What was counted before: ten seconds each for ten minutes, then a minute each, as bytes.

use std::{collections::VecDeque, ops::RangeInclusive};

use super::sketch::Sketch;

/// Of ten seconds.
pub(crate) const TICK_SECONDS: u64 = 10;
pub(super) const TICKS_IN_MINUTE: u32 = 6;
const MINUTES_IN_TICKS: u32 = 10;
pub(crate) const MINUTES_KEPT: u32 = 120;
/// Ten minutes, what the first of them has more, and the one that is being added.
const MOST_TICKS: usize = (MINUTES_IN_TICKS as usize + 1) * TICKS_IN_MINUTE as usize + 1;
const MOST_MINUTES: usize = MINUTES_KEPT as usize + 2;
/// What an allocator keeps beside each block.
const BESIDE: usize = 16;
const ENTRY: usize = size_of::<Entry>();

/// The number of a tick or a minute since 1970, and an encoded sketch.
type Entry = (u32, Box<[u8]>);

/// One metric of one series. Times without values take nothing.
#[derive(Debug, Default)]
pub(crate) struct History {
    ticks: VecDeque<Entry>,
    minutes: VecDeque<Entry>,
}

/// The first tick that is kept as such: a minute's first.
pub(super) fn first_tick(now: u32) -> u32 {
    minute_of(now)
        .saturating_sub(MINUTES_IN_TICKS)
        .saturating_mul(TICKS_IN_MINUTE)
}

pub(crate) fn minute_of(tick: u32) -> u32 {
    tick / TICKS_IN_MINUTE
}

pub(super) fn first_tick_of(minute: u32) -> u32 {
    minute.saturating_mul(TICKS_IN_MINUTE)
}

pub(super) fn last_tick_of(minute: u32) -> u32 {
    first_tick_of(minute).saturating_add(TICKS_IN_MINUTE - 1)
}

impl History {
    pub(super) const MOST_ENTRIES: usize = MOST_TICKS + MOST_MINUTES;

    /// What one takes at most where a sketch takes no more than this.
    pub(super) fn bytes_at_most(sketch: usize) -> usize {
        size_of::<Self>() + Self::MOST_ENTRIES * (ENTRY + BESIDE + sketch)
    }

    pub(super) fn bytes_now(&self) -> usize {
        let entries = self.ticks.iter().chain(&self.minutes);
        let sketches: usize = entries.map(|(_, bytes)| bytes.len() + BESIDE).sum();
        size_of::<Self>() + (self.ticks.capacity() + self.minutes.capacity()) * ENTRY + sketches
    }

    pub(super) fn has_tick(&self, tick: u32) -> bool {
        self.ticks.back().is_some_and(|(last, _)| *last == tick)
    }

    /// Adds to the newest tick.
    pub(super) fn add(&mut self, tick: u32, mut sketch: Sketch, limit: usize) {
        if sketch.count() == 0 {
            return;
        }
        if self.has_tick(tick)
            && let Some((_, bytes)) = self.ticks.pop_back()
        {
            sketch.merge(&decoded(&bytes));
        }
        put(&mut self.ticks, tick, &mut sketch, limit, MOST_TICKS);
    }

    pub(super) fn sum_of_ticks(&self, minute: u32) -> Sketch {
        let mut sketch = Sketch::default();
        let ticks = self.ticks.iter().filter(|(tick, _)| minute_of(*tick) == minute);
        for (_, bytes) in ticks {
            sketch.merge(&decoded(bytes));
        }
        sketch
    }

    /// All values of this minute, which is over.
    pub(super) fn close_minute(&mut self, minute: u32, limit: usize) -> Option<&[u8]> {
        let mut sketch = self.sum_of_ticks(minute);
        if sketch.count() == 0 {
            return None;
        }
        put(&mut self.minutes, minute, &mut sketch, limit, MOST_MINUTES);
        self.minutes.back().map(|(_, bytes)| &**bytes)
    }

    pub(super) fn trim(&mut self, now: u32) {
        let first = first_tick(now);
        while self.ticks.front().is_some_and(|(tick, _)| *tick < first) {
            self.ticks.pop_front();
        }
        let first = minute_of(now).saturating_sub(MINUTES_KEPT);
        while self.minutes.front().is_some_and(|(minute, _)| *minute < first) {
            self.minutes.pop_front();
        }
    }

    /// Adds what there is of some ticks; where only minutes are left, since the beginning of the first one's minute. Returns
    /// the newest tick with values.
    pub(super) fn collect(&self, asked: &RangeInclusive<u32>, now: u32, into: &mut Sketch) -> Option<u32> {
        let first = first_tick(now);
        let mut newest = None;
        for (minute, bytes) in &self.minutes {
            if (minute_of(*asked.start())..minute_of(first)).contains(minute) {
                into.merge(&decoded(bytes));
                newest = Some(minute * TICKS_IN_MINUTE + TICKS_IN_MINUTE - 1);
            }
        }
        for (tick, bytes) in &self.ticks {
            if *tick >= first && asked.contains(tick) {
                into.merge(&decoded(bytes));
                newest = Some(*tick);
            }
        }
        newest
    }

    /// Takes over what another one has: of a series that is no more.
    pub(in crate::metrics) fn absorb(&mut self, other: Self, limit: usize) {
        absorb(&mut self.ticks, other.ticks, limit, MOST_TICKS);
        absorb(&mut self.minutes, other.minutes, limit, MOST_MINUTES);
    }
}

fn absorb(into: &mut VecDeque<Entry>, from: VecDeque<Entry>, limit: usize, room: usize) {
    for (number, bytes) in from {
        let place = into.partition_point(|(present, _)| *present < number);
        match into.get_mut(place) {
            Some((present, kept)) if *present == number => {
                let mut sketch = decoded(kept);
                sketch.merge(&decoded(&bytes));
                *kept = sketch.encode_within(limit);
            }
            _ => {
                reserve(into, room);
                into.insert(place, (number, bytes));
            }
        }
    }
}

fn put(into: &mut VecDeque<Entry>, number: u32, sketch: &mut Sketch, limit: usize, room: usize) {
    reserve(into, room);
    into.push_back((number, sketch.encode_within(limit)));
}

/// At once, so that no more is reserved than ever used.
fn reserve(entries: &mut VecDeque<Entry>, room: usize) {
    if entries.capacity() == 0 {
        entries.reserve_exact(room);
    }
}

/// What was encoded here can be decoded.
fn decoded(bytes: &[u8]) -> Sketch {
    Sketch::decode(bytes).unwrap_or_default()
}
