//! What is put into a full cache for the first time.

use super::*;

const ENTRIES: u64 = 1000;

fn full() -> (Cache, Arc<Share>) {
    let cache = Cache::of_entries(ENTRIES);
    let share = cache.share();
    (0..=ENTRIES).for_each(|key| cache.put(&share, key, key));
    cache.settle();
    (cache, share)
}

fn present(cache: &Cache, share: &Share, keys: std::ops::Range<u64>) -> usize {
    keys.filter(|key| cache.get(share, *key).is_some()).count()
}

#[test]
fn a_newcomer_that_is_asked_for_stays_and_the_others_leave() {
    let (cache, share) = full();
    cache.put(&share, 5_000, 5_000);
    assert_eq!(cache.get(&share, 5_000), Some(5_000));
    (6_000..6_300).for_each(|key| cache.put(&share, key, key));
    cache.settle();
    assert_eq!(cache.get(&share, 5_000), Some(5_000));
    let left = present(&cache, &share, 6_000..6_300);
    assert!((4..=16).contains(&left), "{left}");
    // moka was not troubled with those that left.
    assert!(present(&cache, &share, 0..ENTRIES) > 970);
}

#[test]
fn a_key_that_is_put_in_again_goes_to_moka() {
    let (cache, share) = full();
    for _ in 0..3 {
        // Longer than newcomers are waited for.
        (6_000..6_040).for_each(|key| cache.put(&share, key, key));
    }
    cache.settle();
    let stay = present(&cache, &share, 6_000..6_040);
    assert!(stay > 30, "{stay}");
}

#[test]
fn newcomers_count_within_the_bound_and_leave_when_they_are_removed() {
    let (cache, share) = full();
    for key in 6_000..9_000 {
        cache.put(&share, key, key);
        assert!(cache.level1.bytes() <= ENTRIES * WEIGHT * 11 / 10);
    }
    cache.settle();
    assert!(cache.level1.bytes() <= ENTRIES * WEIGHT * 101 / 100);
    cache.remove(&share, 8_999);
    assert_eq!(cache.get(&share, 8_999), None);
    cache.level1.purge(&share);
    assert_eq!((cache.level1.bytes(), share.bytes()), (0, 0));
    assert_eq!(present(&cache, &share, 6_000..9_000), 0);
}
