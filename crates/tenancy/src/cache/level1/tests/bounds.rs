use std::{sync::atomic::Ordering, thread};

use super::*;

#[test]
fn what_is_too_large_is_not_kept_and_what_was_there_is_gone() {
    let cache = Cache::new(&Level1Settings {
        max_entry_bytes: 2000,
        ..settings(10)
    });
    let share = cache.share();
    cache.put_weighing(&share, 1, 1, 2000 - OVERHEAD - 8);
    assert_eq!(cache.get(&share, 1), Some(1));
    cache.put_weighing(&share, 1, 2, 2000 - OVERHEAD - 7);
    assert_eq!(cache.get(&share, 1), None);
    cache.put_weighing(&share, 2, 2, u32::MAX);
    assert_eq!(cache.get(&share, 2), None);
    assert_eq!(cache.level1.bytes(), 0);
}

#[test]
fn a_cache_without_room_keeps_nothing() {
    let cache = Cache::of_entries(0);
    let share = cache.share();
    (0..50).for_each(|key| cache.put(&share, key, key));
    assert!((0..50).all(|key| cache.get(&share, key).is_none()));
    assert_eq!(cache.level1.bytes(), 0);
}

#[test]
fn two_writers_that_use_keys_again_stay_within_the_bound() {
    const ENTRIES: u64 = 200;
    // With what is kept outside of moka as well.
    let cache = Cache::new(&Level1Settings {
        floor_share: 0.2,
        ..settings(ENTRIES)
    });
    let shares = [cache.share(), cache.share()];
    let most = std::sync::atomic::AtomicU64::new(0);
    thread::scope(|scope| {
        for (seed, share) in shares.iter().enumerate() {
            let (cache, most) = (&cache, &most);
            scope.spawn(move || {
                let mut chance = fastrand::Rng::with_seed(seed as u64);
                for _ in 0..6_000 {
                    // Small ones, and some that are a tenth of the whole.
                    let weight = if chance.u8(..) < 10 {
                        6 * VALUE
                    } else {
                        chance.u32(1..2 * VALUE)
                    };
                    cache.put_weighing(share, chance.u64(..ENTRIES * 3), 1, weight);
                    most.fetch_max(cache.level1.bytes(), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(most.into_inner() <= ENTRIES * WEIGHT * 11 / 10);
    cache.settle();
    let bytes = cache.level1.bytes();
    assert!(
        bytes <= ENTRIES * WEIGHT * 101 / 100 && bytes > ENTRIES * WEIGHT / 2,
        "{bytes}"
    );
    assert_eq!(bytes, shares.iter().map(|share| share.bytes()).sum::<u64>());
    shares.iter().for_each(|share| cache.level1.purge(share));
    assert_eq!((cache.level1.bytes(), cache.kept()), (0, 0));
    cache.settle();
    // Nor does moka count anything but the ballast.
    assert_eq!(cache.level1.moka.weighted_size(), cache.level1.ballast.weight());
}

#[test]
fn large_entries_stay_within_the_bound_without_waiting_for_a_batch() {
    let cache = Cache::of_entries(40);
    let share = cache.share();
    for key in 0..300 {
        cache.put(&share, key, key);
        assert!(cache.level1.bytes() <= 44 * WEIGHT, "{}", cache.level1.bytes());
    }
    assert!(share.evicted() >= 300 - 44);
}
