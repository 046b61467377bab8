use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_stamp_of_a_snapshot_is_the_stamp_of_its_moment_whatever_is_flushed_later(
        before in prop::collection::vec(prop::collection::vec(0_u16..80, 0..4), 0..12),
        after in prop::collection::vec(prop::collection::vec(0_u16..80, 0..4), 0..6),
        slots in prop::collection::vec(0_u16..90, 0..7),
    ) {
        let versions = ScopeVersions::alone(1);
        let flush = |slots: &Vec<u16>| {
            // No slot: everything.
            let cells: Vec<_> = match slots[..] {
                [] => vec![Cell::Base],
                _ => slots.iter().copied().map(Cell::Slot).collect(),
            };
            let _ = versions.raise_alone(&cells, FlushMode::Hard);
        };
        before.iter().for_each(flush);
        let (snapshot, stamp) = (versions.snapshot(), versions.stamp(&slots));
        let changes = versions.changes();
        after.iter().for_each(flush);
        prop_assert_eq!(snapshot.stamp(&slots), stamp.clone());
        let is_hit = after.iter().any(|flushed| {
            flushed.is_empty() || flushed.iter().any(|slot| slots.contains(slot))
        });
        let expected = if is_hit { Judgement::Dead } else { Judgement::Fresh };
        prop_assert_eq!(versions.judge(&snapshot.stamp(&slots)), expected);
        prop_assert_eq!(versions.changes() == changes, after.is_empty());
    }
}

#[test]
fn what_is_heard_twice_or_late_is_counted_where_it_raises_a_cell() {
    let versions = ScopeVersions::shared();
    let hear = |number: u64, slot: u16| versions.hear(0, number, &[Cell::Slot(slot)], FlushMode::Hard);
    hear(200, 1);
    let first = versions.changes();
    hear(200, 1);
    assert_eq!(versions.changes(), first);
    // Of before, heard after: a load that began in between may be older than what it says.
    hear(100, 2);
    assert_ne!(versions.changes(), first);
}
