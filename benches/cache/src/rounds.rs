//! Rounds: whatever is compared runs in each of them, in changing order, on the same input.

use tenancy::core::{Clock, SystemClock};
use tenancy_bench::statistics::median;

/// Seconds that `work` takes.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let clock = SystemClock::new();
    work();
    clock.monotonic().as_secs_f64()
}

/// What each of `count` contenders gave in each round.
///
/// `measure` is given the round and the contender. Each begins a round once, so that none always runs behind the same other.
pub(crate) fn in_rounds(
    rounds: usize,
    count: usize,
    mut measure: impl FnMut(usize, usize) -> f64,
) -> Vec<Vec<f64>> {
    let mut found = vec![Vec::with_capacity(rounds); count];
    for round in 0..rounds {
        for step in 0..count {
            let contender = (round + step) % count;
            found[contender].push(measure(round, contender));
        }
    }
    found
}

/// The median of the rounds' ratios.
pub(crate) fn median_ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contender_runs_once_in_each_round_and_begins_one() {
        let mut order = Vec::new();
        let found = in_rounds(3, 3, |round, contender| {
            order.push(contender);
            (round * 10 + contender) as f64
        });
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(found[1], [1.0, 11.0, 21.0]);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // The second round was disturbed, and both with it.
        assert_eq!(median_ratio(&[1.0, 10.0, 1.0], &[2.0, 20.0, 2.0]), 0.5);
    }
}
