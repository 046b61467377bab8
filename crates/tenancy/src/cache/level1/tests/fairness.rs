//! Tenants beside each other.

use super::*;

const ENTRIES: u64 = 1000;

/// A fair share is 3 % of the whole, and there is no hurry.
fn fair() -> Level1Settings {
    Level1Settings {
        floor_share: 0.03,
        ceiling_share: 0.5,
        ..settings(ENTRIES)
    }
}

/// Hits of each, in percent: a quiet tenant that has 2 % of the room in keys and takes 0.5 % of the traffic, and a
/// neighbour that has ten times the room in keys.
fn side_by_side(settings: &Level1Settings, neighbour: bool, quiet: bool) -> (f64, f64) {
    let cache = Cache::new(settings);
    let (few, many) = (cache.share(), cache.share());
    let mut zipf = Zipf::new(10 * ENTRIES as usize, 0.9, 1);
    let mut chance = fastrand::Rng::with_seed(2);
    let (mut few_hits, mut few_asked, mut many_hits, mut many_asked) = (0, 0, 0, 0);
    let rounds = 40_000;
    for round in 0..rounds {
        // Half of it to warm up.
        let counts = u64::from(round > rounds / 2);
        if chance.u32(..200) == 0 {
            if quiet {
                let hit = cache.get_or_put(&few, chance.u64(..ENTRIES / 50));
                few_hits += u64::from(hit) * counts;
                few_asked += counts;
            }
        } else if neighbour {
            many_hits += u64::from(cache.get_or_put(&many, zipf.next())) * counts;
            many_asked += counts;
        }
    }
    assert!(cache.level1.bytes() <= ENTRIES * WEIGHT * 11 / 10);
    (percent(few_hits, few_asked), percent(many_hits, many_asked))
}

fn percent(hits: u64, asked: u64) -> f64 {
    100.0 * hits as f64 / asked.max(1) as f64
}

#[test]
fn a_quiet_tenant_keeps_its_entries_beside_a_loud_one_that_loses_next_to_nothing() {
    let (quiet_alone, _) = side_by_side(&fair(), false, true);
    let (_, loud_alone) = side_by_side(&fair(), true, false);
    let (quiet, loud) = side_by_side(&fair(), true, true);
    assert!(quiet >= 0.99 * quiet_alone, "{quiet} of {quiet_alone}");
    assert!(loud >= loud_alone - 1.0, "{loud} of {loud_alone}");
    // Without a floor it does not: the test would see it.
    let (unprotected, _) = side_by_side(&settings(ENTRIES), true, true);
    assert!(unprotected < 0.97 * quiet_alone, "{unprotected} of {quiet_alone}");
}

#[test]
fn a_share_alone_may_have_everything_whatever_its_ceiling() {
    let cache = Cache::new(&Level1Settings {
        ceiling_share: 0.1,
        ..settings(ENTRIES)
    });
    let share = cache.share();
    (0..ENTRIES).for_each(|key| cache.put(&share, key, key));
    assert_eq!(share.bytes(), ENTRIES * WEIGHT);
    (0..2 * ENTRIES).for_each(|key| cache.put(&share, key, key));
    cache.settle();
    assert!(share.bytes() > ENTRIES * WEIGHT * 9 / 10);
}

/// How much a share that asks for three times as much as another has in the end, as a part of the whole.
fn part_of_the_greedy(ceiling_share: f32) -> f64 {
    let cache = Cache::new(&Level1Settings {
        ceiling_share,
        ..settings(ENTRIES)
    });
    let (greedy, other) = (cache.share(), cache.share());
    let mut asked = Zipf::new(3 * ENTRIES as usize, 0.7, 3);
    for round in 0..20_000 {
        let share = if round % 4 == 0 { &other } else { &greedy };
        cache.get_or_put(share, asked.next());
    }
    cache.settle();
    greedy.bytes() as f64 / (ENTRIES * WEIGHT) as f64
}

#[test]
fn a_greedy_share_is_held_to_its_ceiling_while_others_need_room() {
    let held = part_of_the_greedy(0.5);
    let free = part_of_the_greedy(1.0);
    assert!(held <= 0.55, "{held}");
    assert!(free > 0.65, "{free}");
}

/// A cache that is full of what a loud share asks for again and again, and a share of which `entries` were evicted.
fn beside_a_loud_one(settings: &Level1Settings, entries: u64) -> (Cache, Arc<Share>, Arc<Share>) {
    let cache = Cache::new(settings);
    let (loud, quiet) = (cache.share(), cache.share());
    for _ in 0..4 {
        (0..ENTRIES).for_each(|key| _ = cache.get_or_put(&loud, key));
    }
    (0..entries).for_each(|key| cache.put(&quiet, key, key));
    cache.settle();
    (cache, loud, quiet)
}

#[test]
fn what_a_floor_keeps_is_served_replaced_and_removed_as_all_else() {
    let (cache, loud, quiet) = beside_a_loud_one(&fair(), 20);
    assert!(quiet.kept_bytes() > 0);
    assert_eq!(quiet.bytes(), 20 * WEIGHT);
    assert!((0..20).all(|key| cache.get(&quiet, key) == Some(key)));
    assert!((0..20).all(|key| cache.get(&loud, key) != Some(u64::MAX)));
    cache.put(&quiet, 3, 33);
    assert_eq!(cache.get(&quiet, 3), Some(33));
    cache.remove(&quiet, 4);
    assert_eq!(cache.get(&quiet, 4), None);
    cache.settle();
    assert_eq!((cache.get(&quiet, 3), cache.get(&quiet, 4)), (Some(33), None));
    // The ballast follows in steps.
    assert!(cache.level1.bytes() <= ENTRIES * WEIGHT * 101 / 100);
    cache.level1.purge(&quiet);
    assert_eq!((quiet.bytes(), cache.kept()), (0, 0));
    assert!((0..20).all(|key| cache.get(&quiet, key).is_none()));
}

#[test]
fn a_floor_keeps_no_more_than_it_is() {
    let (_cache, _, quiet) = beside_a_loud_one(&fair(), 300);
    let floor = ENTRIES * WEIGHT * 3 / 100;
    assert!(quiet.kept_bytes() <= floor);
    assert!(quiet.bytes() > floor - 3 * WEIGHT, "{}", quiet.bytes());
    assert!(quiet.evicted() > 200);
}

#[test]
fn a_sleeping_tenant_gives_back_what_its_floor_reserved() {
    let (cache, loud, quiet) = beside_a_loud_one(&fair(), 30);
    let before = quiet.kept_bytes();
    cache.clock.advance(Duration::from_secs(601));
    cache.settle();
    assert!(quiet.kept_bytes() <= before / 2 + WEIGHT);
    cache.clock.advance(Duration::from_secs(6000));
    cache.settle();
    assert_eq!((quiet.kept_bytes(), cache.kept()), (0, 0));
    // moka has all the room again.
    (0..3 * ENTRIES).for_each(|key| _ = cache.get_or_put(&loud, key));
    cache.settle();
    assert!(loud.bytes() > ENTRIES * WEIGHT * 95 / 100, "{}", loud.bytes());
}

#[test]
fn a_tenant_that_uses_its_entries_does_not_lose_them_to_time() {
    let (cache, _, quiet) = beside_a_loud_one(&fair(), 20);
    for _ in 0..20 {
        cache.clock.advance(Duration::from_secs(500));
        assert_eq!(cache.get(&quiet, 5), Some(5));
        cache.settle();
    }
    assert!((0..20).all(|key| cache.get(&quiet, key) == Some(key)));
}

#[test]
fn all_floors_together_leave_half_of_the_room() {
    let cache = Cache::new(&Level1Settings {
        floor_share: 0.1,
        ..settings(ENTRIES)
    });
    let loud = cache.share();
    for _ in 0..3 {
        (0..ENTRIES).for_each(|key| _ = cache.get_or_put(&loud, key));
    }
    let quiet: Vec<_> = (0..40).map(|_| cache.share()).collect();
    for key in 0..40 {
        quiet.iter().for_each(|share| cache.put(share, key, key));
        assert!(cache.kept() <= ENTRIES * WEIGHT / 2);
    }
    cache.settle();
    assert!(cache.kept() > ENTRIES * WEIGHT / 4);
    // The ballast follows in steps.
    assert!(cache.level1.bytes() <= ENTRIES * WEIGHT * 101 / 100);
    // Nobody got all of it, and nobody nothing.
    assert!(
        quiet
            .iter()
            .all(|share| share.bytes() > 0 && share.kept_bytes() <= 100 * WEIGHT)
    );
}

#[test]
fn tenants_that_are_forgotten_reserve_nothing() {
    let (cache, loud, quiet) = beside_a_loud_one(&fair(), 20);
    assert!(cache.kept() > 0);
    drop(quiet);
    assert_eq!(cache.kept(), 0);
    cache.settle();
    assert!(!cache.level1.tiers.any_keepers());
    assert_eq!(cache.level1.bytes(), loud.bytes());
}
