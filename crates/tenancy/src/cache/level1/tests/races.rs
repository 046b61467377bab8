//! One writer for each key, and readers: no reader sees what was gone before it began to look.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::*;

const KEYS: u64 = 60;
/// No value is this.
const REMOVED: u64 = 1 << 62;

/// What each key held when its last change had returned, and what it may be changing to.
struct Truth {
    settled: Vec<AtomicU64>,
    begun: Vec<AtomicU64>,
}

fn write(cache: &Cache, share: &Arc<Share>, truth: &Truth, keys: std::ops::Range<u64>, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for change in 1..2_500_u64 {
        let key = chance.u64(keys.clone());
        truth.begun[key as usize].store(change, Ordering::SeqCst);
        if chance.u8(..) < 60 {
            cache.remove(share, key);
            truth.settled[key as usize].store(change | REMOVED, Ordering::SeqCst);
        } else {
            cache.put(share, key, change);
            truth.settled[key as usize].store(change, Ordering::SeqCst);
        }
    }
}

fn read(cache: &Cache, share: &Arc<Share>, truth: &Truth, done: &AtomicBool, seed: u64) -> u64 {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut hits = 0;
    while !done.load(Ordering::SeqCst) {
        let key = chance.u64(..KEYS);
        let settled = truth.settled[key as usize].load(Ordering::SeqCst);
        let found = cache.get(share, key);
        let begun = truth.begun[key as usize].load(Ordering::SeqCst);
        if let Some(found) = found {
            hits += 1;
            // What was removed does not come back; what was replaced neither.
            let oldest = if settled & REMOVED == 0 {
                settled
            } else {
                (settled & !REMOVED) + 1
            };
            assert!((oldest..=begun).contains(&found), "{found} of {oldest}..={begun}");
        }
    }
    hits
}

/// Evictions go on all the while, and what is evicted is kept in part.
fn race(entries: u64, floor_share: f32) {
    let cache = Cache::new(&Level1Settings {
        floor_share,
        hot_entries: 32,
        ..settings(entries)
    });
    let (share, noise) = (cache.share(), cache.share());
    let truth = Truth {
        settled: (0..KEYS).map(|_| AtomicU64::new(REMOVED)).collect(),
        begun: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&cache, &share, &truth, &done, 1));
        let noise = scope.spawn(|| (0..2_500).for_each(|key| _ = cache.get_or_put(&noise, key % 300)));
        let writers = [0..KEYS / 2, KEYS / 2..KEYS].map(|keys| {
            let (cache, share, truth) = (&cache, &share, &truth);
            scope.spawn(move || write(cache, share, truth, keys.clone(), keys.start))
        });
        for writer in writers {
            writer.join().unwrap();
        }
        noise.join().unwrap();
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
    cache.settle();
    assert_eq!(cache.level1.bytes(), share.bytes() + noise.bytes());
    cache.level1.purge(&share);
    cache.level1.purge(&noise);
    assert_eq!((cache.level1.bytes(), cache.kept()), (0, 0));
    assert_eq!((share.bytes(), share.kept_bytes()), (0, 0));
    assert_eq!(cache.level1.tiers.hot.len(), 0);
}

#[test]
fn readers_never_see_what_was_gone_before_they_looked() {
    race(1000, 0.0);
}

#[test]
fn nor_while_entries_are_evicted_and_kept() {
    race(40, 0.5);
}

#[test]
fn writers_of_one_key_leave_one_entry() {
    let cache = Cache::of_entries(100);
    let share = cache.share();
    thread::scope(|scope| {
        for writer in 0..3 {
            let (cache, share) = (&cache, &share);
            scope.spawn(move || {
                for round in 0..1_000 {
                    cache.put(share, round % 3, writer);
                    if round % 7 == 0 {
                        cache.remove(share, round % 3);
                    }
                }
            });
        }
    });
    assert!(share.bytes() <= 3 * WEIGHT);
    (0..3).for_each(|key| cache.put(&share, key, 9));
    assert!((0..3).all(|key| cache.get(&share, key) == Some(9)));
    assert_eq!(cache.level1.bytes(), 3 * WEIGHT);
    (0..3).for_each(|key| cache.remove(&share, key));
    cache.settle();
    assert_eq!(
        (cache.level1.bytes(), cache.level1.moka.weighted_size()),
        (0, cache.level1.ballast.weight())
    );
}

#[test]
fn of_two_that_get_hot_at_one_place_at_once_nothing_stays_there_once_they_are_gone() {
    // All keys have the same few places.
    let cache = Cache::new(&Level1Settings {
        hot_entries: 1,
        ..settings(100)
    });
    let (share, together) = (cache.share(), Barrier::new(2));
    let left = AtomicU64::new(0);
    thread::scope(|scope| {
        for key in 0..2 {
            let (cache, share, together, left) = (&cache, &share, &together, &left);
            scope.spawn(move || {
                for _ in 0..1_500 {
                    cache.put(share, key, key);
                    let slot = share.find(&key.to_be_bytes(), hash(share, key)).unwrap();
                    together.wait();
                    cache.level1.tiers.hot.promote(&slot);
                    together.wait();
                    cache.remove(share, key);
                    together.wait();
                    left.fetch_add(cache.level1.tiers.hot.len() as u64, Ordering::Relaxed);
                    together.wait();
                }
            });
        }
    });
    assert_eq!(left.into_inner(), 0);
}

#[test]
fn one_gets_hot_at_a_time_and_nobody_waits_for_it() {
    let cache = Cache::of_entries(100);
    let share = cache.share();
    cache.put(&share, 1, 1);
    let slot = share.find(&1_u64.to_be_bytes(), hash(&share, 1)).unwrap();
    let hot = &cache.level1.tiers.hot;
    let other = hot.hold_promotions();
    hot.promote(&slot);
    assert!(!hot.holds(&slot));
    drop(other);
    hot.promote(&slot);
    assert!(hot.holds(&slot));
}
