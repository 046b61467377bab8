use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many samples are kept: 32,640 slopes between pairs of them, a fraction of a millisecond.
const KEPT: usize = 256;

/// With fewer, nothing is said.
const ENOUGH: usize = 8;

/// By how much the live heap grows with requests.
///
/// The slope is that of Theil and Sen: the median of the slopes between all pairs of samples. A burst, a purge or a cache that
/// is flushed moves it little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Growth {
    /// Bytes for 1,000 requests; less than 0 where the heap shrinks. `None` until there are 8 samples after the warm-up, and
    /// where the allocator does not say what is live.
    pub bytes_per_1000_requests: Option<i64>,
    /// From how many samples.
    pub samples: usize,
    /// Over how many requests.
    pub requests: u64,
}

/// Samples of the live heap, and the slope through them. At most 256, the oldest go.
///
/// ```
/// use tenancy_memory::process::GrowthMeter;
///
/// let mut meter = GrowthMeter::new(1_000);
/// for requests in (0..20_000).step_by(1_000) {
///     // 2 bytes leak with each request.
///     meter.record(requests, 50_000_000 + 2 * requests);
/// }
/// assert_eq!(meter.growth().bytes_per_1000_requests, Some(2_000));
/// ```
#[derive(Clone, Debug)]
pub struct GrowthMeter {
    warm_up: u64,
    /// The first count of requests that was seen, from which the warm-up counts.
    first: Option<u64>,
    /// Requests and live bytes; requests only rise.
    samples: VecDeque<(u64, u64)>,
}

impl GrowthMeter {
    /// Looks away until so many requests have been: caches fill, pools are opened.
    pub fn new(warm_up: u64) -> Self {
        Self {
            warm_up,
            first: None,
            samples: VecDeque::new(),
        }
    }

    /// Makes room for all samples, for who measures so exactly that their own memory counts.
    pub fn reserve(&mut self) {
        self.samples.reserve_exact(KEPT);
    }

    /// Adds a sample: the requests so far and the bytes that are live. Where no request was since the last one, it takes its
    /// place. A count that went back begins anew.
    pub fn record(&mut self, requests: u64, live: u64) {
        let first = *self.first.get_or_insert(requests);
        let last = self.samples.back().map_or(first, |last| last.0);
        if requests < last {
            *self = Self::new(self.warm_up);
            self.first = Some(requests);
            return;
        }
        if requests - first < self.warm_up {
            return;
        }
        if self.samples.back().is_some_and(|last| last.0 == requests) {
            self.samples.pop_back();
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back((requests, live));
    }

    /// The samples that are kept: requests and live bytes, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.samples.iter().copied()
    }

    /// The slope through the samples. Allocates up to 256 KiB for a moment.
    pub fn growth(&self) -> Growth {
        let requests = match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.0 - first.0,
            _ => 0,
        };
        Growth {
            bytes_per_1000_requests: self.slope(),
            samples: self.samples.len(),
            requests,
        }
    }

    fn slope(&self) -> Option<i64> {
        if self.samples.len() < ENOUGH {
            return None;
        }
        let count = self.samples.len();
        let mut slopes = Vec::with_capacity(count * (count - 1) / 2);
        for (at, earlier) in self.samples.iter().enumerate() {
            for later in self.samples.range(at + 1..) {
                slopes.push(slope_between(*earlier, *later));
            }
        }
        // Saturates; a slope is never NaN, since requests differ.
        Some((1_000.0 * median(&mut slopes)).round() as i64)
    }
}

fn slope_between((requests, live): (u64, u64), (later, more): (u64, u64)) -> f64 {
    (more as f64 - live as f64) / (later - requests) as f64
}

fn median(values: &mut [f64]) -> f64 {
    let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slope_of(samples: impl IntoIterator<Item = (u64, u64)>) -> Option<i64> {
        let mut meter = GrowthMeter::new(0);
        for (requests, live) in samples {
            meter.record(requests, live);
        }
        meter.growth().bytes_per_1000_requests
    }

    #[test]
    fn a_leak_of_some_bytes_in_each_request_is_found_to_the_byte() {
        assert_eq!(slope_of((0..100).map(|at| (at * 10, 1 << 30))), Some(0));
        assert_eq!(
            slope_of((0..100).map(|at| (at * 10, 5_000 + at * 70))),
            Some(7_000)
        );
        assert_eq!(
            slope_of((0..100).map(|at| (at * 10, 90_000 - at * 70))),
            Some(-7_000)
        );
    }

    #[test]
    fn what_stands_out_does_not_count() {
        let samples = (0..100).map(|at| {
            let burst = if at % 7 == 0 { 50_000_000 } else { 0 };
            (at * 10, 1_000_000 + at * 30 + burst)
        });
        let slope = slope_of(samples).unwrap();
        assert!((2_500..=3_500).contains(&slope), "{slope}");
    }

    #[test]
    fn what_fills_up_during_the_warm_up_does_not_count() {
        let filling = |requests: u64| 1_000_000 + 4_096 * requests.min(1_000);
        let samples = |count| (0..count).map(move |at| (at * 50, filling(at * 50)));
        let mut cold = GrowthMeter::new(0);
        let mut warm = GrowthMeter::new(1_000);
        for (requests, live) in samples(40) {
            cold.record(requests, live);
            warm.record(requests, live);
        }
        assert!(cold.growth().bytes_per_1000_requests.unwrap() > 100_000);
        assert_eq!(warm.growth().bytes_per_1000_requests, Some(0));
    }

    #[test]
    fn the_warm_up_begins_with_the_first_sample() {
        let mut meter = GrowthMeter::new(100);
        for at in 0..10 {
            meter.record(1_000_000 + at * 50, 1);
        }
        assert_eq!(meter.samples().count(), 8);
    }

    #[test]
    fn too_few_samples_say_nothing_nor_does_a_server_without_requests() {
        assert_eq!(slope_of((0..7).map(|at| (at, at))), None);
        assert_eq!(slope_of((0..100).map(|at| (5, at))), None);
        assert_eq!(GrowthMeter::new(0).growth(), Growth::default());
    }

    #[test]
    fn samples_are_bounded_and_the_oldest_go() {
        let mut meter = GrowthMeter::new(0);
        for at in 0..1_000 {
            // It leaked once, and was mended.
            meter.record(at, if at < 500 { at * 1_000 } else { 500_000 });
        }
        let growth = meter.growth();
        assert_eq!((growth.samples, growth.requests), (256, 255));
        assert_eq!(growth.bytes_per_1000_requests, Some(0));
    }

    #[test]
    fn a_count_that_went_back_begins_anew() {
        let mut meter = GrowthMeter::new(10);
        meter.record(100, 1);
        meter.record(200, 1);
        meter.record(5, 1);
        assert_eq!(meter.samples().count(), 0);
        meter.record(15, 1);
        assert_eq!(meter.samples().count(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_samples_panic(samples in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..300), warm_up: u64) {
            let mut meter = GrowthMeter::new(warm_up);
            for (requests, live) in samples {
                meter.record(requests, live);
            }
            let _ = meter.growth();
        }
    }
}
