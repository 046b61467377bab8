use std::collections::BTreeMap;

use super::{super::*, current};

#[test]
fn a_stamp_has_each_slot_once_in_order_however_it_is_asked_for() {
    let versions = current();
    versions.hear(100, 200, &[Cell::Slot(3)], FlushMode::Hard);
    let stamp = versions.stamp(&[9, 3, 9, 3, 3, 9]);
    assert_eq!(stamp, versions.stamp(&[3, 9]));
    assert_eq!(stamp.slots().collect::<Vec<_>>(), [(3, 200), (9, 0)]);
    assert_eq!(stamp.base(), 100);
}

#[test]
fn a_stamp_of_a_put_has_the_number_that_the_put_was_given() {
    let versions = current();
    for slots in [&[1, 2][..], &[1, 7], &[7, 9], &[1, 2, 3, 9], &[1, 2, 3, 7, 9]] {
        let stamp = versions.stamp(slots).with_slot(7, 500);
        let mut expected: BTreeMap<_, _> = slots.iter().map(|slot| (*slot, 0)).collect();
        expected.insert(7, 500);
        assert_eq!(stamp.slots().collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(
            Stamp::from_parts(100, &stamp.slots().collect::<Vec<_>>()),
            Some(stamp)
        );
    }
}

#[test]
fn parts_that_no_stamp_has_are_refused() {
    for slots in [
        &[(4096, 1)][..],
        &[(1, 1), (1, 1)],
        &[(2, 1), (1, 1)],
        &[(1, stamp::NUMBER_LIMIT)],
    ] {
        assert_eq!(Stamp::from_parts(1, slots), None, "{slots:?}");
    }
    assert_eq!(Stamp::from_parts(stamp::NUMBER_LIMIT, &[]), None);
}
