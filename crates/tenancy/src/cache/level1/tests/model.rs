//! Against a map that knows what was put last.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Get,
    Put,
    PutTooLarge,
    Remove,
    Purge,
    Work,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize, u64, u64)>> {
    let step = prop_oneof![
        12 => Just(Step::Get),
        8 => Just(Step::Put),
        1 => Just(Step::PutTooLarge),
        3 => Just(Step::Remove),
        1 => Just(Step::Purge),
        2 => Just(Step::Work),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec((step, 0..3_usize, 0..14_u64, any::<u64>()), 1..300)
}

/// `hashes`: how many different ones there are, so that keys and shares meet.
fn check(steps: &[(Step, usize, u64, u64)], entries: u64, hashes: u64, all_is_there: bool) {
    let cache = Cache::new(&Level1Settings {
        floor_share: 0.1,
        ceiling_share: 0.4,
        max_entry_bytes: 3000,
        hot_entries: 8,
        ..settings(entries)
    });
    let shares = [cache.share(), cache.share(), cache.share()];
    let mut model = HashMap::new();
    for (step, who, key, value) in steps {
        let (share, bytes) = (&shares[*who], key.to_be_bytes());
        let hash = hash(share, *key) % hashes;
        match step {
            Step::Get => {
                for _ in 0..10 {
                    let found = cache.level1.get(share, &bytes, hash, Duration::ZERO, value_of);
                    let expected = model.get(&(*who, *key)).copied();
                    assert!(found == expected || (found.is_none() && !all_is_there));
                }
            }
            Step::Put => {
                // Of other weights too: moka has those under other keys.
                let weight = VALUE + u32::try_from(value % 3).unwrap();
                cache.level1.insert(share, &bytes, hash, entry(*value, weight));
                model.insert((*who, *key), *value);
            }
            Step::PutTooLarge => {
                cache.level1.insert(share, &bytes, hash, entry(*value, 3000));
                model.remove(&(*who, *key));
            }
            Step::Remove => {
                cache.level1.remove(share, &bytes, hash);
                model.remove(&(*who, *key));
            }
            Step::Purge => {
                cache.level1.purge(share);
                model.retain(|(whose, _), _| whose != who);
            }
            Step::Work => cache.level1.run_pending(),
            Step::Wait => cache.clock.advance(Duration::from_secs(*value % 1000)),
        }
    }
    let bytes: u64 = shares.iter().map(|share| share.bytes()).sum();
    assert_eq!(cache.level1.bytes(), bytes);
    if all_is_there {
        let weights = model.values().map(|value| WEIGHT + value % 3);
        assert_eq!(bytes, weights.sum::<u64>());
    }
    shares.iter().for_each(|share| cache.level1.purge(share));
    assert_eq!((cache.level1.bytes(), cache.kept()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn with_room_for_all_it_is_a_map(steps in steps()) {
        check(&steps, 1000, u64::MAX, true);
    }

    #[test]
    fn under_pressure_it_forgets_but_is_never_wrong(steps in steps()) {
        check(&steps, 10, u64::MAX, false);
    }

    #[test]
    fn keys_that_share_a_hash_are_never_mixed_up(steps in steps()) {
        check(&steps, 1000, 3, false);
        check(&steps, 20, 3, false);
    }
}
