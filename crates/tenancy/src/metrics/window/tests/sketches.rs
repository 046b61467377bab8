//! Sketches: what they know exactly, what to a share, and what they make of bytes.

use proptest::prelude::*;

use super::super::{
    sketch::{COARSEST, Sketch, index_of},
    wire::{MinuteFigures, MinuteReader, MinuteWriter},
};

/// As the cells count.
pub(super) fn sketch_of(values: &[f64]) -> Sketch {
    let mut sum = Sketch::default();
    for value in values {
        sum.merge(&Sketch {
            count: 1,
            errors: u64::from(*value > 1.0),
            sum: *value,
            min: *value,
            max: *value,
            shift: 0,
            buckets: vec![(index_of(*value), 1)],
        });
    }
    sum
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    // From a millionth to a million, as many of each size.
    proptest::collection::vec((-20.0..20.0_f64).prop_map(f64::exp2), 1..120)
}

fn encoded(sketch: &Sketch) -> Vec<u8> {
    let mut bytes = Vec::new();
    sketch.encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_percentile_is_off_by_no_more_than_the_error_that_is_told(mut values in values(), share in 0.0..=1.0_f64, shift in 0_u8..6) {
        let mut sketch = sketch_of(&values);
        sketch.coarsen_to(shift);
        values.sort_by(f64::total_cmp);
        let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
        let exact = values[rank - 1];
        let told = sketch.percentile(share).unwrap();
        let error = (told - exact).abs() / exact;
        prop_assert!(error <= sketch.relative_error() + 1e-9, "{told} for {exact}, off by {error}");
    }

    #[test]
    fn it_is_all_one_in_which_order_values_and_sketches_are_added(one in values(), other in values(), shift in 0_u8..4) {
        let (mut first, second) = (sketch_of(&one), sketch_of(&other));
        first.coarsen_to(shift);
        let (mut forth, mut back) = (first.clone(), second.clone());
        forth.merge(&second);
        back.merge(&first);
        prop_assert_eq!(&forth.buckets, &back.buckets);
        let mut all = sketch_of(&[one, other].concat());
        all.coarsen_to(shift);
        prop_assert_eq!(&forth.buckets, &all.buckets);
        prop_assert_eq!((forth.count, forth.errors, forth.min, forth.max), (all.count, all.errors, all.min, all.max));
        prop_assert!((forth.sum - all.sum).abs() <= all.sum * 1e-9);
    }

    #[test]
    fn what_was_written_is_read(values in values(), shift in 0_u8..=COARSEST) {
        let mut sketch = sketch_of(&values);
        sketch.coarsen_to(shift);
        prop_assert_eq!(Sketch::decode(&encoded(&sketch)), Ok(sketch));
    }

    #[test]
    fn a_limit_of_bytes_is_kept_and_no_value_lost(values in values(), limit in 96_usize..300) {
        let mut sketch = sketch_of(&values);
        let bytes = sketch.encode_within(limit);
        prop_assert!(bytes.len() <= limit);
        let read = Sketch::decode(&bytes).unwrap();
        prop_assert_eq!(read.count, values.len() as u64);
        prop_assert_eq!(read.buckets.iter().map(|(_, count)| count).sum::<u64>(), values.len() as u64);
    }

    #[test]
    fn bytes_of_anybody_make_no_panic_and_what_is_read_of_them_can_be_worked_with(
        values in values(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        junk in proptest::collection::vec(any::<u8>(), 0..40),
        share in 0.0..=1.0_f64,
    ) {
        let mut bytes = encoded(&sketch_of(&values));
        for (place, byte) in &cuts {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        for hostile in [&bytes[..], &bytes[..bytes.len() / 2], &junk, &[&bytes[..], &junk].concat()] {
            if let Ok(read) = Sketch::decode(hostile) {
                let mut sum = sketch_of(&values);
                sum.merge(&read);
                sum.merge(&read);
                sum.coarsen_to(COARSEST);
                let percentile = sum.percentile(share).unwrap();
                prop_assert!(percentile.is_finite() && percentile >= 0.0);
                prop_assert!(read.relative_error() <= 1.0);
                prop_assert_eq!(Sketch::decode(&encoded(&read)), Ok(read));
            }
            if let Ok(minute) = MinuteReader::new(hostile) {
                prop_assert!(minute.count() <= hostile.len());
            }
        }
    }
}

#[test]
fn counts_that_are_too_large_to_be_added_stay_at_the_largest() {
    let mut hostile = sketch_of(&[1.0]);
    (hostile.count, hostile.sum, hostile.buckets[0].1) = (u64::MAX, f64::MAX, u64::MAX);
    let twin = hostile.clone();
    hostile.merge(&twin);
    assert_eq!((hostile.count, hostile.sum), (u64::MAX, f64::MAX));
    assert_eq!(hostile.percentile(0.5), Some(1.0));
}

#[test]
fn bytes_of_another_version_are_refused() {
    let mut bytes = encoded(&sketch_of(&[0.5]));
    bytes[0] += 1;
    let error = Sketch::decode(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "the figures are of another version");
    assert!(MinuteReader::new(&[9]).is_err());
    assert!(MinuteReader::new(&[]).is_err());
}

#[test]
fn a_minute_is_read_as_it_was_written() {
    let figures = [("acme", "http.request.duration"), ("_other", "checkout.total")];
    let sketch = encoded(&sketch_of(&[0.1, 0.2]));
    let mut writer = MinuteWriter::new();
    for (label, metric) in figures {
        writer.put(&MinuteFigures {
            label,
            metric,
            sketch: &sketch,
        });
    }
    let bytes = writer.into_bytes();
    let read: Result<Vec<_>, _> = MinuteReader::new(&bytes).unwrap().collect();
    let read = read.unwrap();
    let names: Vec<_> = read.iter().map(|read| (read.label, read.metric)).collect();
    assert_eq!(names, figures);
    assert!(read.iter().all(|read| read.sketch == sketch));
}

#[test]
fn percentiles_of_nothing_and_of_no_share_are_none() {
    assert_eq!(Sketch::default().percentile(0.5), None);
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(sketch_of(&[1.0]).percentile(share), None);
    }
    assert_eq!(sketch_of(&[0.0, 0.0]).percentile(0.5), Some(0.0));
}
