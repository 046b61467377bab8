/// Divides a budget among those who have a want of it, and returns the parts in their order. Their sum is never over the
/// budget.
///
/// Nobody gets more than it wants before all have that, and of those who want more than there is, nobody gets more than
/// another that wants more. What nobody wants is divided too, evenly, so that one who wants more tomorrow has it already.
pub(crate) fn divide(budget: u64, wants: &[u64]) -> Vec<u64> {
    let mut parts = vec![0; wants.len()];
    let mut by_want: Vec<usize> = (0..wants.len()).collect();
    by_want.sort_by_key(|&at| wants[at]);
    let mut left = budget;
    let mut others = wants.len() as u64;
    for &at in &by_want {
        // The remainder goes to the last ones, which want most.
        parts[at] = wants[at].min(left / others);
        left -= parts[at];
        others -= 1;
    }
    let mut others = wants.len() as u64;
    for &at in by_want.iter().rev() {
        let spare = left.div_ceil(others);
        parts[at] += spare;
        left -= spare;
        others -= 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everybody_has_what_it_wants_and_the_rest_evenly_or_else_as_much_as_the_others() {
        for (budget, wants, parts) in [
            (100, vec![5], vec![100]),
            (100, vec![1, 1], vec![50, 50]),
            (100, vec![80, 10], vec![85, 15]),
            (100, vec![80, 80], vec![50, 50]),
            (100, vec![10, 80, 80], vec![10, 45, 45]),
            (10, vec![1; 10], vec![1; 10]),
            (3, vec![5, 5], vec![1, 2]),
            (2, vec![1, 1, 1], vec![0, 1, 1]),
            (0, vec![4, 4], vec![0, 0]),
            (7, vec![], vec![]),
        ] {
            assert_eq!(divide(budget, &wants), parts, "{budget} among {wants:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_budget_and_who_wants_little_has_it(
            budget in 0_u64..300,
            wants in prop::collection::vec(0_u64..200, 1..20),
        ) {
            let parts = divide(budget, &wants);
            prop_assert_eq!(parts.iter().sum::<u64>(), budget);
            let fair = budget / wants.len() as u64;
            for (part, want) in parts.iter().zip(&wants) {
                prop_assert!(*part >= fair.min(*want));
            }
        }
    }
}
