//! The busiest of those that have no series, by the space-saving algorithm of Metwally and others (2005).

use tenancy_core::TenantId;

/// Counts of as many tenants as there is room for. One that comes when it is full takes the place of the one with the
/// fewest, and its count: what it may have too much is kept beside it.
#[derive(Debug)]
pub(super) struct Candidates {
    room: usize,
    entries: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    id: TenantId,
    count: f64,
    too_much: f64,
}

impl Candidate {
    fn at_least(&self) -> f64 {
        self.count - self.too_much
    }
}

impl Candidates {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            entries: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, id: &TenantId, requests: f64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == *id) {
            entry.count += requests;
            return;
        }
        let fewest = if self.entries.len() < self.room {
            None
        } else {
            let entries = self.entries.iter_mut();
            entries.min_by(|one, other| one.count.total_cmp(&other.count))
        };
        match fewest {
            Some(entry) => {
                let too_much = entry.count;
                *entry = Candidate {
                    id: id.clone(),
                    count: too_much + requests,
                    too_much,
                };
            }
            None if self.room > 0 => self.entries.push(Candidate {
                id: id.clone(),
                count: requests,
                too_much: 0.0,
            }),
            None => {}
        }
    }

    /// Makes everything that was counted before count less.
    pub(super) fn decay(&mut self, factor: f64) {
        for entry in &mut self.entries {
            entry.count *= factor;
            entry.too_much *= factor;
        }
        self.entries.retain(|entry| entry.count >= 1.0);
    }

    /// Takes the one that certainly had the most requests, if they were more than these.
    pub(super) fn take_busier_than(&mut self, requests: f64) -> Option<(TenantId, f64)> {
        let entries = self.entries.iter().enumerate();
        let (place, busiest) =
            entries.max_by(|(_, one), (_, other)| one.at_least().total_cmp(&other.at_least()))?;
        if busiest.at_least() <= requests {
            return None;
        }
        let taken = self.entries.swap_remove(place);
        let at_least = taken.at_least();
        Some((taken.id, at_least))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> TenantId {
        TenantId::new(&format!("t{number}")).unwrap()
    }

    #[test]
    fn the_busiest_is_found_though_most_come_once() {
        let mut candidates = Candidates::new(8);
        for round in 0..200_u8 {
            candidates.add(&id(0), 1.0);
            candidates.add(&id(round.saturating_add(1)), 1.0);
        }
        let (busiest, requests) = candidates.take_busier_than(10.0).unwrap();
        assert_eq!(busiest, id(0));
        assert!(requests <= 200.0);
        assert!(
            candidates.take_busier_than(10.0).is_none(),
            "nobody else was busy"
        );
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let mut candidates = Candidates::new(8);
        candidates.add(&id(0), 100.0);
        for _ in 0..10 {
            candidates.decay(0.5);
        }
        assert!(candidates.take_busier_than(0.0).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nobody_is_credited_with_more_than_it_had(room in 1_usize..6, comers in proptest::collection::vec(0_u8..12, 0..200)) {
            let mut candidates = Candidates::new(room);
            let mut had = [0.0; 12];
            for comer in &comers {
                candidates.add(&id(*comer), 1.0);
                had[usize::from(*comer)] += 1.0;
            }
            while let Some((taken, requests)) = candidates.take_busier_than(0.0) {
                let number: usize = taken.as_str()[1..].parse().unwrap();
                prop_assert!(requests <= had[number]);
            }
        }
    }
}
