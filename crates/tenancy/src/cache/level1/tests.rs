mod bounds;
mod fairness;
mod model;
mod newcomers;
mod races;

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tenancy_core::ManualClock;

use super::{Entry, Level1, Level1Settings, Share, entry::OVERHEAD};
use crate::cache::versions::Stamp;

/// What an entry weighs that `Cache` puts: its key of 8 bytes and this come to 1,000.
const VALUE: u32 = 1000 - OVERHEAD - 8;
const WEIGHT: u64 = 1000;

/// Level 1 with a clock, and numbers for keys and values.
struct Cache {
    level1: Level1,
    clock: Arc<ManualClock>,
}

impl Cache {
    fn new(settings: &Level1Settings) -> Self {
        let clock = Arc::new(ManualClock::new());
        let of_level1: Arc<ManualClock> = Arc::clone(&clock);
        Self {
            level1: Level1::new(settings, of_level1),
            clock,
        }
    }

    fn of_entries(entries: u64) -> Self {
        Self::new(&settings(entries))
    }

    fn share(&self) -> Arc<Share> {
        self.level1.share()
    }

    fn put(&self, share: &Arc<Share>, key: u64, value: u64) {
        self.put_weighing(share, key, value, VALUE);
    }

    fn put_weighing(&self, share: &Arc<Share>, key: u64, value: u64, weight: u32) {
        self.level1
            .insert(share, &key.to_be_bytes(), hash(share, key), entry(value, weight));
    }

    fn get(&self, share: &Share, key: u64) -> Option<u64> {
        let now = tenancy_core::Clock::monotonic(&*self.clock);
        self.level1
            .get(share, &key.to_be_bytes(), hash(share, key), now, value_of)
    }

    fn remove(&self, share: &Share, key: u64) {
        self.level1.remove(share, &key.to_be_bytes(), hash(share, key));
    }

    /// Whether it was there; if not, it is now.
    fn get_or_put(&self, share: &Arc<Share>, key: u64) -> bool {
        let hit = self.get(share, key).is_some();
        if !hit {
            self.put(share, key, key);
        }
        hit
    }

    fn is_hot(&self, share: &Share, key: u64) -> bool {
        share
            .find(&key.to_be_bytes(), hash(share, key))
            .is_some_and(|slot| self.level1.tiers.hot.holds(&slot))
    }

    fn kept(&self) -> u64 {
        self.level1.tiers.kept.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn settle(&self) {
        for _ in 0..4 {
            self.level1.run_pending();
        }
    }
}

fn settings(entries: u64) -> Level1Settings {
    Level1Settings {
        max_bytes: entries * WEIGHT,
        hot_entries: usize::try_from(entries / 3).unwrap(),
        floor_share: 0.0,
        ceiling_share: 1.0,
        ..Level1Settings::default()
    }
}

fn entry(value: u64, weight: u32) -> Entry {
    Entry {
        value: Arc::new(value),
        stamp: Stamp::from_parts(1, &[]).unwrap(),
        valid_at: Duration::ZERO,
        fresh_until: Duration::MAX,
        calm_until: Duration::MAX,
        usable_until: Duration::MAX,
        load_cost: Duration::ZERO,
        weight,
    }
}

fn value_of(entry: &Entry) -> u64 {
    *entry.value.downcast_ref::<u64>().unwrap()
}

/// The same in each run: what chance does here shall be the same as well.
fn hash(share: &Share, key: u64) -> u64 {
    static FIRST: OnceLock<foldhash::quality::FixedState> = OnceLock::new();
    let mut hasher = FIRST
        .get_or_init(|| foldhash::quality::FixedState::with_seed(7))
        .build_hasher();
    hasher.write_u64(share.id());
    hasher.write_u64(key);
    hasher.finish()
}

/// Keys of which the first are asked for most.
struct Zipf {
    sums: Vec<f64>,
    chance: fastrand::Rng,
}

impl Zipf {
    fn new(keys: usize, exponent: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        Self {
            sums,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    fn next(&mut self) -> u64 {
        let at = self.chance.f64() * self.sums.last().unwrap();
        self.sums.partition_point(|sum| *sum < at) as u64
    }
}

#[test]
fn what_was_put_is_found_by_its_share_alone() {
    let cache = Cache::of_entries(10);
    let (mine, other) = (cache.share(), cache.share());
    cache.put(&mine, 1, 11);
    assert_eq!(cache.get(&mine, 1), Some(11));
    assert_eq!(cache.get(&mine, 2), None);
    assert_eq!(cache.get(&other, 1), None);
    // Also if both have one hash: the whole key and the share are compared.
    let read = |share: &Share, key: &[u8]| {
        cache
            .level1
            .get(share, key, hash(&mine, 1), Duration::ZERO, value_of)
    };
    assert_eq!(read(&mine, &1_u64.to_be_bytes()), Some(11));
    assert_eq!(read(&other, &1_u64.to_be_bytes()), None);
    assert_eq!(read(&mine, &2_u64.to_be_bytes()), None);
}

#[test]
fn what_takes_the_place_of_something_lighter_or_heavier_is_found() {
    let cache = Cache::of_entries(100);
    let share = cache.share();
    for (value, weight) in [(1, VALUE), (2, VALUE + 1), (3, VALUE), (4, VALUE - 1)] {
        cache.put_weighing(&share, 7, value, weight);
        assert_eq!(cache.get(&share, 7), Some(value));
    }
    cache.remove(&share, 7);
    assert_eq!(cache.get(&share, 7), None);
    cache.put_weighing(&share, 7, 5, VALUE);
    assert_eq!(cache.get(&share, 7), Some(5));
}

#[test]
fn an_entry_that_is_asked_for_often_is_hot_and_leaves_with_what_was_put_in_its_place() {
    let cache = Cache::of_entries(10);
    let share = cache.share();
    cache.put(&share, 1, 1);
    (0..200).for_each(|_| assert_eq!(cache.get(&share, 1), Some(1)));
    assert!(cache.is_hot(&share, 1));
    cache.put(&share, 1, 2);
    assert_eq!(cache.get(&share, 1), Some(2));
    (0..200).for_each(|_| assert_eq!(cache.get(&share, 1), Some(2)));
    cache.remove(&share, 1);
    assert_eq!(cache.get(&share, 1), None);
    assert_eq!(cache.level1.tiers.hot.len(), 0);
    assert_eq!((cache.level1.bytes(), share.bytes()), (0, 0));
}

#[test]
fn what_is_gone_is_served_by_no_tier_that_still_points_to_it() {
    let cache = Cache::of_entries(10);
    let share = cache.share();
    for key in [1, 2] {
        cache.put(&share, key, key);
    }
    (0..200).for_each(|_| assert_eq!(cache.get(&share, 1), Some(1)));
    assert!(cache.is_hot(&share, 1) && !cache.is_hot(&share, 2));
    for key in [1, 2] {
        let slot = share.find(&u64::to_be_bytes(key), hash(&share, key)).unwrap();
        assert!(share.drop_slot(&slot));
        assert_eq!(cache.get(&share, key), None);
    }
}

#[test]
fn a_hit_of_the_hot_tier_does_not_allocate() {
    let cache = Cache::of_entries(100);
    let share = cache.share();
    (0..30).for_each(|key| cache.put(&share, key, key));
    for _ in 0..300 {
        (0..30).for_each(|key| assert!(cache.get(&share, key).is_some()));
    }
    assert!((0..30).all(|key| cache.is_hot(&share, key)));
    let used = allocation_counter::measure(|| {
        for _ in 0..300 {
            (0..30).for_each(|key| assert!(cache.get(&share, key).is_some()));
        }
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn an_entry_that_was_evicted_is_not_served_from_the_hot_tier() {
    let cache = Cache::of_entries(60);
    let share = cache.share();
    for round in 0..40_u64 {
        for key in round * 40..round * 40 + 60 {
            (0..12).for_each(|_| _ = cache.get_or_put(&share, key));
        }
    }
    cache.settle();
    let living =
        (0..40 * 40 + 60).filter(|key| share.find(&u64::to_be_bytes(*key), hash(&share, *key)).is_some());
    let found = (0..40 * 40 + 60).filter(|key| cache.get(&share, *key).is_some());
    assert_eq!(found.count(), living.count());
    assert!(cache.level1.tiers.hot.len() > 4);
    assert!(cache.level1.bytes() <= 60 * WEIGHT);
}

#[test]
fn without_a_hot_tier_all_is_the_same() {
    let cache = Cache::new(&Level1Settings {
        hot_entries: 0,
        ..settings(10)
    });
    let share = cache.share();
    cache.put(&share, 1, 1);
    (0..100).for_each(|_| assert_eq!(cache.get(&share, 1), Some(1)));
    cache.remove(&share, 1);
    assert_eq!(cache.get(&share, 1), None);
}

#[test]
fn purging_a_share_leaves_the_others_alone() {
    let cache = Cache::of_entries(100);
    let (gone, stays) = (cache.share(), cache.share());
    (0..20).for_each(|key| cache.put(&gone, key, key));
    (0..20).for_each(|key| cache.put(&stays, key, key));
    cache.level1.purge(&gone);
    assert!((0..20).all(|key| cache.get(&gone, key).is_none() && cache.get(&stays, key) == Some(key)));
    assert_eq!((gone.bytes(), stays.bytes()), (0, 20 * WEIGHT));
    assert_eq!(cache.level1.bytes(), 20 * WEIGHT);
    cache.put(&gone, 1, 5);
    assert_eq!(cache.get(&gone, 1), Some(5));
}

#[test]
fn the_entries_of_an_account_that_nobody_has_any_more_count_no_more() {
    let cache = Cache::of_entries(100);
    let share = cache.share();
    let value = Arc::new(5_u64);
    let mut kept = entry(0, VALUE);
    kept.value = Arc::<u64>::clone(&value);
    cache.level1.insert(&share, b"key", 77, kept);
    (0..100).for_each(|_| _ = cache.level1.get(&share, b"key", 77, Duration::ZERO, |_| ()));
    assert_eq!(cache.level1.tiers.hot.len(), 1);
    drop(share);
    assert_eq!(cache.level1.bytes(), 0);
    assert_eq!(cache.level1.tiers.hot.len(), 0);
}
