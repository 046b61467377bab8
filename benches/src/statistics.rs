//! Medians, percentiles, and how sure one can be of them.

/// The value below which `share` of the samples lie, by nearest rank. NaN without samples.
pub fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1).min(last))
        .copied()
        .unwrap_or(f64::NAN)
}

/// The middle value; the mean of the two middle ones where there are two. NaN without samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(sorted[middle - 1], *upper),
    }
}

/// A median and the interval in which it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median of the samples.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// Percentile bootstrap of the median: 10,000 resamples with a fixed seed, so that one set of samples has one answer.
pub fn bootstrap_median(samples: &[f64]) -> Estimate {
    const RESAMPLES: usize = 10_000;
    let mut random = fastrand::Rng::with_seed(7);
    let mut resample = vec![0.0; samples.len()];
    let medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for place in &mut resample {
                *place = random.choice(samples).copied().unwrap_or(f64::NAN);
            }
            median(&resample)
        })
        .collect();
    Estimate {
        median: median(samples),
        low: percentile(&medians, 0.025),
        high: percentile(&medians, 0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[5.0]), 5.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 0.5), 50.0);
        assert_eq!(percentile(&samples, 0.99), 99.0);
        assert_eq!(percentile(&samples, 1.0), 100.0);
        assert_eq!(percentile(&samples, 0.0), 1.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_interval_holds_the_median_and_shrinks_with_more_samples() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut samples = |count| -> Vec<f64> { (0..count).map(|_| 1.0 + random.f64()).collect() };
        let few = bootstrap_median(&samples(10));
        let many = bootstrap_median(&samples(200));
        for estimate in [few, many] {
            assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        }
        assert!(many.high - many.low < few.high - few.low);
        assert!((many.median - 1.5).abs() < 0.2, "{many:?}");
    }

    #[test]
    fn equal_samples_leave_no_doubt_and_one_set_has_one_answer() {
        let estimate = bootstrap_median(&[2.0; 7]);
        assert_eq!((estimate.low, estimate.median, estimate.high), (2.0, 2.0, 2.0));
        let samples = [1.0, 5.0, 2.0, 4.0];
        assert_eq!(bootstrap_median(&samples), bootstrap_median(&samples));
    }
}
