//! Which values of a metric are told apart.

use super::{
    cells::BUCKETS,
    sketch::{SUB_BUCKET_BITS, Sketch, index_of},
};

const OCTAVES: i32 = BUCKETS as i32 >> SUB_BUCKET_BITS;
/// Sums are kept in parts of the lowest value, so that they can be added by one instruction.
const UNITS_IN_LOWEST: f64 = 16.0;

/// 32 octaves of values, from a lowest power of two. What lies below is counted as the lowest, what lies above as the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    base: u16,
    top: f64,
    units: f64,
}

impl Scale {
    /// From a power of two; what is out of reach is moved into it.
    pub(super) fn from_power(power: i32) -> Self {
        let power = power.clamp(-500, 500);
        let lowest = f64::from(power).exp2();
        Self {
            base: index_of(lowest),
            top: f64::from(power + OCTAVES).exp2(),
            units: UNITS_IN_LOWEST / lowest,
        }
    }

    #[inline]
    pub(super) fn place_of(&self, value: f64) -> u8 {
        index_of(value).saturating_sub(self.base).min(u16::from(u8::MAX)) as u8
    }

    #[inline]
    pub(super) fn units_of(&self, value: f64) -> u64 {
        // To the nearest: each is off by half a unit at most, as often up as down.
        (value.min(self.top) * self.units + 0.5) as u64
    }

    pub(super) fn value_of_units(&self, units: u64) -> f64 {
        units as f64 / self.units
    }

    pub(super) fn index_at(&self, place: usize) -> u16 {
        self.base + place as u16
    }

    /// Whether all buckets are of values that are told apart here.
    pub(super) fn has_all_of(&self, sketch: &Sketch) -> bool {
        let first = self.base >> sketch.shift;
        let last = (self.base + (BUCKETS as u16 - 1)) >> sketch.shift;
        // They ascend.
        let ends = sketch.buckets.first().zip(sketch.buckets.last());
        ends.is_none_or(|((from, _), (to, _))| *from >= first && *to <= last)
    }

    /// Where the values of a bucket begin: those of the first at zero.
    pub(super) fn begin_of(&self, index: u16) -> f64 {
        if index == self.base {
            0.0
        } else {
            super::sketch::lower_bound(index, 0)
        }
    }

    /// Whether a bucket has also what lies above.
    pub(super) fn is_last(&self, index: u16) -> bool {
        usize::from(index - self.base) + 1 == BUCKETS
    }
}
