//! Which table comes first where some refer to others.

/// Tables by number, those that others refer to first; or those that refer to each other in a circle. A table that refers to
/// itself is in nobody's way.
pub(super) fn referred_first(
    tables: usize,
    references: impl IntoIterator<Item = (usize, usize)>,
) -> Result<Vec<usize>, Vec<usize>> {
    let mut references: Vec<_> = references
        .into_iter()
        .filter(|(from, to)| from != to && *from < tables && *to < tables)
        .collect();
    let mut left: Vec<usize> = (0..tables).collect();
    let mut order = Vec::with_capacity(tables);
    loop {
        let (free, bound): (Vec<_>, Vec<_>) = left
            .iter()
            .partition(|table| !references.iter().any(|(from, _)| from == *table));
        if free.is_empty() {
            break;
        }
        references.retain(|(_, to)| !free.contains(to));
        order.extend(free);
        left = bound;
    }
    if left.is_empty() {
        return Ok(order);
    }
    // Those that only hang on a circle are no part of it.
    loop {
        let before = left.len();
        left.retain(|table| references.iter().any(|(_, to)| to == table));
        references.retain(|(from, to)| left.contains(from) && left.contains(to));
        if left.len() == before {
            return Err(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_come_after_those_they_refer_to() {
        for (tables, references, order) in [
            (0, vec![], Ok(vec![])),
            (3, vec![], Ok(vec![0, 1, 2])),
            (3, vec![(0, 1), (1, 2)], Ok(vec![2, 1, 0])),
            (2, vec![(0, 0), (0, 1), (0, 1)], Ok(vec![1, 0])),
            (4, vec![(0, 1), (1, 0), (2, 0), (1, 3)], Err(vec![0, 1])),
            (1, vec![(0, 7)], Ok(vec![0])),
        ] {
            assert_eq!(
                referred_first(tables, references.clone()),
                order,
                "{references:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_order_keeps_every_reference(references in prop::collection::vec((0_usize..8, 0_usize..8), 0..14)) {
            match referred_first(8, references.iter().copied()) {
                Ok(order) => {
                    let at = |table| order.iter().position(|other| *other == table).unwrap();
                    prop_assert_eq!(order.len(), 8);
                    for (from, to) in references {
                        prop_assert!(from == to || at(to) < at(from));
                    }
                }
                Err(circle) => {
                    for table in &circle {
                        prop_assert!(references.iter().any(|(from, to)| from == table && circle.contains(to) && from != to));
                    }
                }
            }
        }
    }
}
