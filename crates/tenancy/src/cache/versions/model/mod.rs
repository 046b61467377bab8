//! Three processes and a server in random schedules: slow and lost answers, messages that are lost, late, twice and in any
//! order, flushes that nobody acknowledges, clocks that differ, failovers that lose changes. After each step, what a process
//! would serve is compared with what was promised.

mod server;
mod world;

use self::world::{Dangers, World};

/// More, for a long run: `TENANCY_CACHE_SCHEDULES=100000 cargo test …`
fn schedules() -> u64 {
    let wanted = std::env::var("TENANCY_CACHE_SCHEDULES").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(40)
}

fn run(dangers: Dangers) {
    for seed in 0..schedules() {
        let mut world = World::new(seed, dangers);
        world.run();
        world.come_to_rest();
    }
}

#[test]
fn no_process_with_a_lease_serves_what_was_flushed_longer_ago_than_the_bound() {
    run(Dangers::default());
}

#[test]
fn a_process_that_begins_anew_knows_what_was_flushed() {
    run(Dangers {
        restarts: true,
        ..Dangers::default()
    });
}

#[test]
fn what_a_failover_loses_is_taught_by_those_who_know_it() {
    run(Dangers {
        failovers: true,
        ..Dangers::default()
    });
}

#[test]
fn a_failover_to_a_clock_that_is_behind_changes_nothing() {
    run(Dangers {
        failovers: true,
        clocks_step: true,
        ..Dangers::default()
    });
}

#[test]
fn numbers_that_are_lost_as_a_whole_are_taught_by_those_who_know_them() {
    run(Dangers {
        failovers: true,
        all_is_lost: true,
        ..Dangers::default()
    });
}
