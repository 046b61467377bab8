//! A distribution of values: how many fell into each of fixed buckets.
//!
//! A bucket is an eighth of an octave: eight between 1 and 2, eight between 2 and 4. Its number is what stands in front of
//! the bits of the number, so that no logarithm is taken. Numbers are the same for every metric and every process, so
//! that any two sketches can be added.

/// Bits of the mantissa that tell the buckets of one octave apart.
pub(super) const SUB_BUCKET_BITS: u32 = 3;
const BITS_WITHIN_A_BUCKET: u32 = 52 - SUB_BUCKET_BITS;
/// The first number that no finite value has.
pub(super) const END_OF_INDICES: u16 = 2047 << SUB_BUCKET_BITS;
/// With this many bits less, one bucket has everything.
pub(super) const COARSEST: u8 = 14;

/// The bucket of a finite value that is not negative.
#[inline]
pub(super) fn index_of(value: f64) -> u16 {
    (value.to_bits() >> BITS_WITHIN_A_BUCKET) as u16
}

/// How often values fell into which bucket, with what is known exactly: count, sum, smallest and largest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sketch {
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// By how many bits the buckets are coarser than they were made.
    pub(super) shift: u8,
    /// Ascending, none twice, none empty.
    pub(super) buckets: Vec<(u16, u64)>,
}

impl Sketch {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    pub(crate) fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// Adds what another one has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        let shift = self.shift.max(other.shift);
        self.coarsen_to(shift);
        let by = shift - other.shift;
        self.buckets = added(
            &self.buckets,
            other.buckets.iter().map(|(index, count)| (index >> by, *count)),
        );
        self.count = self.count.saturating_add(other.count);
        self.errors = self.errors.saturating_add(other.errors);
        // Two sums of what others sent may be infinite together.
        self.sum = (self.sum + other.sum).min(f64::MAX);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Makes buckets wider: fewer bytes, larger error.
    pub(super) fn coarsen_to(&mut self, shift: u8) {
        if shift <= self.shift {
            return;
        }
        let by = shift - self.shift;
        self.shift = shift;
        let former = std::mem::take(&mut self.buckets);
        self.buckets = added(&[], former.into_iter().map(|(index, count)| (index >> by, count)));
    }

    /// The value that this share of all values does not exceed: 0.95 for the 95th percentile. `None` without values, and
    /// for what is no share.
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&share) {
            return None;
        }
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = 0_u64;
        for (index, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(middle_of(*index, self.shift).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// How far a percentile may be off, as a share of it.
    pub(crate) fn relative_error(&self) -> f64 {
        let ratio = match u32::from(self.shift) {
            shift if shift <= SUB_BUCKET_BITS => {
                1.0 + f64::from(1_u32 << shift) / f64::from(1_u32 << SUB_BUCKET_BITS)
            }
            shift => f64::from(1_u32 << (shift - SUB_BUCKET_BITS)).exp2(),
        };
        if ratio.is_finite() {
            (ratio - 1.0) / (ratio + 1.0)
        } else {
            1.0
        }
    }
}

/// Where a bucket begins; the end of one is where the next begins.
pub(super) fn lower_bound(index: u16, shift: u8) -> f64 {
    let index = (u64::from(index) << shift).min(u64::from(END_OF_INDICES));
    f64::from_bits(index << BITS_WITHIN_A_BUCKET).min(f64::MAX)
}

/// As far from the one end as from the other, as a share of each.
fn middle_of(index: u16, shift: u8) -> f64 {
    let (from, to) = (
        lower_bound(index, shift),
        lower_bound(index.saturating_add(1), shift),
    );
    if from <= 0.0 {
        return 0.0;
    }
    // 2ab/(a+b), written so that nothing overflows.
    from * (2.0 / (from / to + 1.0))
}

/// Two ascending lists as one. The second may have an index several times in a row.
fn added(one: &[(u16, u64)], other: impl Iterator<Item = (u16, u64)>) -> Vec<(u16, u64)> {
    let mut sum: Vec<(u16, u64)> = Vec::with_capacity(one.len().max(other.size_hint().0));
    let mut push = |(index, count): (u16, u64)| match sum.last_mut() {
        Some((last, total)) if *last == index => *total = total.saturating_add(count),
        _ => sum.push((index, count)),
    };
    let mut one = one.iter().copied().peekable();
    for bucket in other {
        while let Some(smaller) = one.next_if(|(index, _)| *index <= bucket.0) {
            push(smaller);
        }
        push(bucket);
    }
    one.for_each(push);
    sum
}
