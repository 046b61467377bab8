//! Where values are counted while their ten seconds last. No lock, and nothing is allocated.
//!
//! A value is counted where it stands when the bucket is incremented, the last thing that is done: whoever takes the
//! counts takes each of them once, whatever goes on meanwhile. A value that comes while counts are taken may be split: its
//! sum in the one ten seconds and its count in the next. At most one for each thread is.

use super::{
    atomics::{AtomicU32, AtomicU64, Ordering},
    gathered::Gathered,
    scale::Scale,
};

pub(super) const BUCKETS: usize = 256;

/// The values of one metric and one series that some threads record.
#[derive(Debug)]
pub(super) struct Stripe {
    buckets: [AtomicU32; BUCKETS],
    sum: AtomicU64,
    errors: AtomicU64,
    /// Bits of values: those of larger values are larger.
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Stripe {
    /// Counts a finite value that is not negative.
    #[inline]
    pub(super) fn record(&self, scale: &Scale, value: f64, is_error: bool) {
        let bits = value.to_bits();
        if self.min.load(Ordering::Relaxed) > bits {
            self.min.fetch_min(bits, Ordering::Relaxed);
        }
        if self.max.load(Ordering::Relaxed) < bits {
            self.max.fetch_max(bits, Ordering::Relaxed);
        }
        self.sum.fetch_add(scale.units_of(value), Ordering::Relaxed);
        if is_error {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        // The compiler sees that a place is always there.
        let place = usize::from(scale.place_of(value)) % BUCKETS;
        self.buckets[place].fetch_add(1, Ordering::Release);
    }

    /// Takes out what was counted. One at a time may.
    pub(super) fn take(&self, into: &mut Gathered) {
        let mut taken = 0;
        for (bucket, total) in self.buckets.iter().zip(&mut into.counts) {
            if bucket.load(Ordering::Relaxed) > 0 {
                let count = u64::from(bucket.swap(0, Ordering::Acquire));
                *total += count;
                taken += count;
            }
        }
        // What there is else is of values that are counted next time.
        if taken == 0 {
            return;
        }
        into.count += taken;
        into.sum = into.sum.saturating_add(self.sum.swap(0, Ordering::Relaxed));
        let errors = self.errors.load(Ordering::Relaxed).min(taken);
        self.errors.fetch_sub(errors, Ordering::Relaxed);
        into.errors += errors;
        into.min = into.min.min(self.min.swap(u64::MAX, Ordering::Relaxed));
        into.max = into.max.max(self.max.swap(0, Ordering::Relaxed));
    }

    /// Looks at what was counted so far.
    pub(super) fn look(&self, into: &mut Gathered) {
        let mut seen = 0;
        for (bucket, total) in self.buckets.iter().zip(&mut into.counts) {
            let count = u64::from(bucket.load(Ordering::Acquire));
            *total += count;
            seen += count;
        }
        if seen == 0 {
            return;
        }
        into.count += seen;
        into.sum = into.sum.saturating_add(self.sum.load(Ordering::Relaxed));
        into.errors += self.errors.load(Ordering::Relaxed).min(seen);
        into.min = into.min.min(self.min.load(Ordering::Relaxed));
        into.max = into.max.max(self.max.load(Ordering::Relaxed));
    }
}
