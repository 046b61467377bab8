//! What several threads have counted, on its way into a sketch.

use super::{
    cells::BUCKETS,
    scale::Scale,
    sketch::{Sketch, lower_bound},
};

#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) counts: [u64; BUCKETS],
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) sum: u64,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            errors: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

impl Gathered {
    pub(super) fn into_sketch(self, scale: &Scale) -> Sketch {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let buckets: Vec<(u16, u64)> = filled
            .map(|(place, count)| (scale.index_at(place), *count))
            .collect();
        let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else {
            return Sketch::default();
        };
        let smallest = self.smallest(scale, *first);
        Sketch {
            count: self.count,
            errors: self.errors,
            sum: scale.value_of_units(self.sum),
            min: smallest,
            // Each may have been noted for a value that is counted next time.
            max: self.largest(scale, *last).max(smallest),
            shift: 0,
            buckets,
        }
    }

    /// What was noted may be of a value that is counted in the next ten seconds: then it lies outside of the bucket.
    fn smallest(&self, scale: &Scale, first: u16) -> f64 {
        let (from, to) = (scale.begin_of(first), lower_bound(first + 1, 0));
        let noted = f64::from_bits(self.min);
        if self.min < u64::MAX && noted >= from && (noted <= to || scale.is_last(first)) {
            noted
        } else {
            lower_bound(first, 0)
        }
    }

    fn largest(&self, scale: &Scale, last: u16) -> f64 {
        let (from, to) = (scale.begin_of(last), lower_bound(last + 1, 0));
        let noted = f64::from_bits(self.max);
        if noted >= from && (noted <= to || scale.is_last(last)) {
            noted
        } else {
            to
        }
    }
}
