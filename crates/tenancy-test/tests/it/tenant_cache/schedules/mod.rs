//! Three processes in random schedules: slow loads, writes with flushes of every kind, messages that are lost, late, twice and in
//! any order, answers that are held back or lost, nodes that go away, a level that is emptied or fails over. Whatever a read
//! gives is compared with what was promised when it began:
//!
//! * In the process of a flush, nothing older once it has returned. (A put is a write and a flush of one key.)
//! * In the others, nothing older once the receipt's `everywhere_within` is over; where the process may think itself cut off, once
//!   the time of [`OnOutage::ServeWithin`] is over as well, which is none with [`OnOutage::Bypass`].
//! * Nothing older after a gap in the messages was heard of.
//! * Where a failover has lost the flush, once four bounds are over; if nobody is left who knew it, nothing is promised.
//! * Never a value of another tenant or key.
//!
//! `TENANCY_SCHEDULES=1500 cargo test …` runs more; `TENANCY_SCHEDULE=17 cargo test …` runs that one alone.

mod book;
mod peer;
mod schedule;

use tenancy::cache::OnOutage;

use self::schedule::Schedule;
use super::*;

/// Of each kind, unless the environment asks for more. One takes about 0.15 s of a processor in a debug build: all together 9 s.
const SCHEDULES: u64 = 12;

/// What may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dangers {
    pub(super) on_outage: OnOutage,
    pub(super) outages: bool,
    pub(super) restarts: bool,
    pub(super) failovers: bool,
}

const MESSAGES_ALONE: Dangers = Dangers {
    on_outage: OnOutage::ServeWithin(Duration::from_secs(30)),
    outages: false,
    restarts: false,
    failovers: false,
};

fn wanted(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(dangers: Dangers) {
    let seeds = match wanted("TENANCY_SCHEDULE") {
        Some(seed) => seed..seed + 1,
        None => 0..wanted("TENANCY_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let mut served = Served::default();
    for seed in seeds {
        served += Schedule::run(seed, dangers);
    }
    assert!(
        served.old > 0,
        "nothing old was ever served, so that nothing was put to the test: {dangers:?}, {served:?}"
    );
}

/// What reads have given, so that a test that tests nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    pub(super) values: u64,
    /// Of these, older than the database was when the read began; which was allowed.
    pub(super) old: u64,
}

impl std::ops::AddAssign for Served {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.old += other.old;
    }
}

#[test]
fn whatever_happens_to_messages_a_flush_is_in_effect_within_the_bound() {
    run(MESSAGES_ALONE);
}

#[test]
fn with_bypass_outages_do_not_make_the_bound_longer() {
    run(Dangers {
        on_outage: OnOutage::Bypass,
        outages: true,
        restarts: true,
        ..MESSAGES_ALONE
    });
}

#[test]
fn in_outages_nothing_is_served_for_longer_than_stated() {
    run(Dangers {
        on_outage: OnOutage::ServeWithin(Duration::from_secs(1)),
        outages: true,
        restarts: true,
        ..MESSAGES_ALONE
    });
}

#[test]
fn a_flush_that_a_failover_loses_is_in_effect_within_four_bounds() {
    run(Dangers {
        failovers: true,
        ..MESSAGES_ALONE
    });
}

#[test]
fn all_of_it_together_makes_nothing_longer() {
    run(Dangers {
        on_outage: OnOutage::Bypass,
        outages: true,
        restarts: true,
        failovers: true,
    });
}
