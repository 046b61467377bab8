//! Cells and histories.

use super::super::{History, Live, Sketch, gathered::Gathered, history::TICKS_IN_MINUTE, scale::Scale};
use super::sketches::sketch_of;

const LIMIT: usize = 400;

fn seconds() -> Scale {
    Scale::from_power(-20)
}

#[test]
fn what_is_recorded_is_taken_once() {
    let (live, scale) = (Live::default(), seconds());
    for (value, is_error) in [(0.010, false), (0.020, true), (0.030, false)] {
        live.record(&scale, value, is_error);
    }
    let seen = live.look(&scale);
    let taken = live.take(&scale);
    assert_eq!(seen, taken);
    assert_eq!(
        (taken.count, taken.errors, taken.min, taken.max),
        (3, 1, 0.010, 0.030)
    );
    assert!((taken.sum - 0.060).abs() < 1e-6);
    assert_eq!(live.take(&scale).count, 0);
}

#[test]
fn values_out_of_reach_are_counted_at_the_ends() {
    let (live, scale) = (Live::default(), seconds());
    for value in [0.0, f64::MIN_POSITIVE, 1e-9, 1e9, f64::MAX] {
        live.record(&scale, value, false);
    }
    let taken = live.take(&scale);
    assert_eq!((taken.count, taken.buckets.len()), (5, 2));
    assert_eq!((taken.min, taken.max), (0.0, f64::MAX));
    assert!(taken.sum.is_finite());
    assert_eq!(taken.percentile(0.0), Some(taken.percentile(0.5).unwrap()));
}

#[test]
fn sums_are_rounded_and_not_cut() {
    let (live, scale) = (Live::default(), Scale::from_power(0));
    for value in [1.06, 1.0, 1.0, 1.0] {
        live.record(&scale, value, false);
    }
    let sum = live.take(&scale).sum;
    assert_eq!(sum, 4.0625, "1.06 is nearer to 17/16 than to 16/16");
}

#[test]
fn scales_at_the_ends_of_what_numbers_can_be_count_too() {
    for power in [i32::MIN, -400, 0, 400, i32::MAX] {
        let (live, scale) = (Live::default(), Scale::from_power(power));
        for value in [0.0, 1e-300, 1.0, 1e300] {
            live.record(&scale, value, false);
        }
        let taken = live.take(&scale);
        assert_eq!(taken.count, 4);
        assert!(taken.percentile(0.5).unwrap().is_finite());
    }
}

#[test]
fn the_largest_value_is_never_below_the_smallest_whatever_was_noted() {
    let scale = Scale::from_power(0);
    // 1.1 is counted; of 1.05 in the same bucket only the largest has been noted, and 1.1 is noted as the smallest.
    let mut gathered = Gathered {
        count: 1,
        min: 1.1_f64.to_bits(),
        max: 1.05_f64.to_bits(),
        ..Gathered::default()
    };
    gathered.counts[0] = 1;
    let sketch = gathered.into_sketch(&scale);
    assert!(sketch.min <= sketch.max, "{sketch:?}");
    let mut bytes = Vec::new();
    sketch.encode(&mut bytes);
    assert_eq!(Sketch::decode(&bytes), Ok(sketch), "others can read it");
}

#[test]
fn ten_seconds_are_kept_for_ten_minutes_and_minutes_for_two_hours() {
    let mut history = History::default();
    let begin = 600_000;
    let ticks = 2 * 3600 / 10 + 300;
    for tick in begin..begin + ticks {
        history.add(tick, sketch_of(&[1.0]), LIMIT);
        if (tick + 1).is_multiple_of(TICKS_IN_MINUTE) {
            history.close_minute(tick / TICKS_IN_MINUTE, LIMIT);
        }
        history.trim(tick + 1);
        assert!(history.bytes_now() <= History::bytes_at_most(LIMIT));
    }
    let now = begin + ticks;
    let since = |back: u32| {
        let mut sum = Default::default();
        let newest = history.collect(&(now - back..=now), now, &mut sum);
        assert_eq!(newest, Some(now - 1));
        sum.count
    };
    for back in [1, 6, 30, 60] {
        assert_eq!(since(back), u64::from(back), "to ten seconds, for ten minutes");
    }
    for minutes in [11, 30, 60, 119] {
        assert_eq!(since(minutes * 6), u64::from(minutes * 6), "to a minute");
    }
    assert_eq!(since(6 * 1000), 120 * 6, "two hours at most");
}

#[test]
fn a_history_that_is_taken_over_is_added_time_by_time() {
    let (mut one, mut other) = (History::default(), History::default());
    for tick in [100, 102, 104] {
        one.add(tick, sketch_of(&[1.0]), LIMIT);
    }
    for tick in [100, 101, 104, 105] {
        other.add(tick, sketch_of(&[2.0, 4.0]), LIMIT);
    }
    one.absorb(other, LIMIT);
    for (from, expected) in [(100, 11), (101, 8), (102, 6), (104, 5), (105, 2), (106, 0)] {
        let mut sum = Default::default();
        one.collect(&(from..=106), 106, &mut sum);
        assert_eq!(sum.count, expected, "from {from}");
    }
}
