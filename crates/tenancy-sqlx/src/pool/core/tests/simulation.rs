//! The state machine under load, in a time of its own: all connections share the processors of one machine, as those of a
//! server do, so that opening one is what everything else waits for.

use std::{
    collections::HashSet,
    task::{Poll, Waker},
    time::Duration,
};

use tenancy_core::TenantId;

use super::{super::*, world::limits};
use crate::pool::target::Target;

const PROCESSORS: f64 = 2.0;

/// Milliseconds of a processor, about what PostgreSQL 15 takes.
const OPEN: f64 = 9.0;
const CLOSE: f64 = 1.5;
const FIRST_REQUEST: f64 = 2.0;
const REQUEST: f64 = 0.7;
const RESET: f64 = 0.35;
/// Milliseconds on the way.
const NETWORK: f64 = 2.0;

enum Job {
    Open(Ticket),
    Close(Closing),
    Request(usize, Held<u64>),
    Reset(Held<u64>),
    Ask(usize),
}

/// One that asks, is served, and asks again.
struct Asker {
    /// `None`: some more often than others.
    tenant: Option<usize>,
    /// Milliseconds between two requests, by half as much more or less.
    pause: f64,
    asks_for: usize,
    since: f64,
}

struct Served {
    tenant: usize,
    took: f64,
}

struct Simulation {
    core: Core<u64>,
    random: fastrand::Rng,
    /// Milliseconds.
    now: f64,
    /// Milliseconds that a request waits for something other than a processor.
    work: f64,
    /// With what is left to do of each.
    running: Vec<(f64, Job)>,
    /// With when it goes on, and what is to do then.
    asleep: Vec<(f64, f64, Job)>,
    waiting: Vec<(usize, usize)>,
    askers: Vec<Asker>,
    tenants: Vec<(TenantId, Target)>,
    /// Sums of how often each tenant is asked for: the second half as often as the first.
    popularity: Vec<f64>,
    fresh: HashSet<u64>,
    served: Vec<Served>,
    refused: usize,
    /// Opened for tenants that had one.
    further: u64,
}

impl Simulation {
    fn new(limits: Limits, tenants: usize) -> Self {
        let mut sum = 0.0;
        let popularity = (1..=tenants).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let named = |tenant| {
            let id = TenantId::new(&format!("t{tenant}")).unwrap();
            (id, Target::database(&format!("db{tenant}")))
        };
        Self {
            core: Core::new(limits, fastrand::Rng::with_seed(7)),
            random: fastrand::Rng::with_seed(1),
            now: 0.0,
            work: 0.0,
            running: Vec::new(),
            asleep: Vec::new(),
            waiting: Vec::new(),
            askers: Vec::new(),
            tenants: (0..tenants).map(named).collect(),
            popularity: popularity.collect(),
            fresh: HashSet::new(),
            served: Vec::new(),
            refused: 0,
            further: 0,
        }
    }

    fn add(&mut self, tenant: Option<usize>, pause: f64) {
        let number = self.askers.len();
        self.askers.push(Asker {
            tenant,
            pause,
            asks_for: 0,
            since: 0.0,
        });
        let starts = self.now + self.random.f64() * pause;
        self.asleep.push((starts, 0.0, Job::Ask(number)));
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.now / 1e3)
    }

    fn ask(&mut self, number: usize) {
        let any = self.random.f64() * self.popularity[self.popularity.len() - 1];
        let any = self.popularity.partition_point(|sum| *sum <= any);
        let asker = &mut self.askers[number];
        asker.since = self.now;
        asker.asks_for = asker.tenant.unwrap_or(any);
        let (tenant, target) = &self.tenants[asker.asks_for];
        let ask = Ask {
            tenant,
            version: Version {
                incarnation: 1,
                epoch: 1,
            },
            target,
        };
        let mut effects = Effects::new();
        match self.core.ask(&ask, self.time(), &mut effects) {
            Asked::Ready(grant) => self.serve(number, grant.held),
            Asked::Queued(waiter) => self.waiting.push((number, waiter)),
            Asked::Refused(_) => self.refused += 1,
        }
        self.apply(effects);
    }

    fn serve(&mut self, number: usize, held: Held<u64>) {
        let is_first = self.fresh.remove(&held.connection);
        let takes = REQUEST + if is_first { FIRST_REQUEST } else { 0.0 };
        self.asleep
            .push((self.now + self.work, takes, Job::Request(number, held)));
    }

    fn apply(&mut self, effects: Effects<u64>) {
        for work in effects.work {
            let (takes, job) = match work {
                Work::Open(ticket) => {
                    self.further += u64::from(self.core.entries[ticket.entry].open() > 1);
                    (OPEN, Job::Open(ticket))
                }
                Work::Close(_, closing) => (CLOSE, Job::Close(closing)),
            };
            self.asleep.push((self.now + NETWORK, takes, job));
        }
        for (number, waiter) in std::mem::take(&mut self.waiting) {
            match self.core.poll(waiter, &mut Some(Waker::noop().clone())) {
                Poll::Ready(Ok(grant)) => self.serve(number, grant.held),
                Poll::Ready(Err(_)) => self.refused += 1,
                Poll::Pending => self.waiting.push((number, waiter)),
            }
        }
    }

    fn end(&mut self, job: Job) {
        let (now, mut effects) = (self.time(), Effects::new());
        match job {
            Job::Open(ticket) => {
                let socket = self.core.counts().opens;
                self.fresh.insert(socket);
                self.core.connected(ticket, socket, now, &mut effects);
            }
            Job::Close(closing) => self.core.closed(closing, now, &mut effects),
            Job::Request(number, held) => {
                let asker = &self.askers[number];
                self.served.push(Served {
                    tenant: asker.asks_for,
                    took: self.now - asker.since,
                });
                self.running.push((RESET, Job::Reset(held)));
                let pause = asker.pause * (0.5 + self.random.f64());
                self.asleep.push((self.now + pause, 0.0, Job::Ask(number)));
            }
            Job::Reset(held) => self.core.give_back(held, now, &mut effects),
            Job::Ask(number) => self.ask(number),
        }
        self.apply(effects);
    }

    fn run(&mut self, seconds: f64) {
        let end = self.now + seconds * 1e3;
        let mut tick = self.now;
        while self.now < end {
            let share = (PROCESSORS / self.running.len() as f64).min(1.0);
            let soonest = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::INFINITY, f64::min);
            let ends = self.now + soonest(&mut self.running.iter().map(|job| job.0)) / share;
            let wakes = soonest(&mut self.asleep.iter().map(|job| job.0));
            let next = ends.min(wakes).min(tick).max(self.now);
            for job in &mut self.running {
                job.0 -= (next - self.now) * share;
            }
            self.now = next;
            if let Some(place) = self.asleep.iter().position(|job| job.0 <= next) {
                let (_, takes, job) = self.asleep.swap_remove(place);
                self.running.push((takes, job));
            }
            if let Some(place) = self.running.iter().position(|job| job.0 <= 1e-9) {
                let (_, job) = self.running.swap_remove(place);
                self.end(job);
            }
            if tick <= next {
                let mut effects = Effects::new();
                let due = self.core.tick(self.time(), &mut effects);
                self.apply(effects);
                tick = next + due.map_or(1e3, |due| due.as_secs_f64() * 1e3);
            }
        }
    }

    /// Milliseconds that such a share of the requests for such tenants took at most.
    fn percentile(&self, share: f64, is_meant: impl Fn(usize) -> bool) -> f64 {
        let meant = self.served.iter().filter(|served| is_meant(served.tenant));
        let mut took: Vec<f64> = meant.map(|served| served.took).collect();
        took.sort_by(f64::total_cmp);
        took[(took.len() as f64 * share) as usize]
    }
}

/// Three times as many databases as connections, and twice as many requests at a time.
fn crowded(connects: usize) -> Simulation {
    crowded_by_chance(connects, 1)
}

fn crowded_by_chance(connects: usize, seed: u64) -> Simulation {
    let mut simulation = Simulation::new(
        Limits {
            max_connects: Some(connects),
            ..limits(100)
        },
        300,
    );
    simulation.random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        simulation.add(None, 0.0);
    }
    simulation.run(12.0);
    simulation
}

#[test]
fn where_connections_are_short_few_are_opened_for_tenants_that_have_one() {
    for connects in [4, 16, 32] {
        let simulation = crowded(connects);
        let (opens, further) = (simulation.core.counts().opens, simulation.further);
        assert!(further * 20 <= opens, "{connects}: {further} of {opens}");
        let served = simulation.served.len();
        assert!(served as u64 >= 4 * opens, "{connects}: {served} with {opens}");
    }
}

#[test]
fn those_who_wait_for_their_tenants_connection_wait_for_about_as_long() {
    for connects in [4, 16, 32] {
        let simulation = crowded(connects);
        let [most, nearly_all] = [0.9, 0.99].map(|share| simulation.percentile(share, |_| true));
        assert!(
            nearly_all <= 1.3 * most,
            "{connects}: {nearly_all} against {most}"
        );
        assert_eq!(simulation.refused, 0, "{connects}");
    }
}

#[test]
fn the_tenant_that_is_asked_for_most_waits_no_longer_than_others() {
    for (connects, seed) in [(12, 4), (16, 4), (20, 1), (24, 3)] {
        let mut simulation = crowded_by_chance(connects, seed);
        simulation.served.clear();
        simulation.run(5.0);
        let most = simulation.percentile(0.99, |tenant| tenant == 0);
        let others = simulation.percentile(0.99, |tenant| tenant != 0);
        assert!(most <= others, "{connects}: {most} ms against {others} ms");
    }
}

#[test]
fn what_may_be_opened_next_is_not_closed_long_before() {
    for connects in [4, 16, 32] {
        let mut simulation = crowded(connects);
        let mut most = 0;
        for _ in 0..200 {
            simulation.run(0.01);
            let counts = simulation.core.counts();
            let nobodys = counts.budget - counts.open + counts.closing;
            most = most.max((nobodys + counts.opening).saturating_sub(connects));
        }
        assert!(
            most <= connects / 4 + 1,
            "{connects}: {most} more than could be opened"
        );
    }
}

/// Milliseconds that nearly all requests of ninety-nine tenants take at most, beside so many of another at a time.
fn beside_a_flood(budget: usize, floods: usize) -> f64 {
    let limits = Limits {
        max_connects: None,
        ..limits(budget)
    };
    let mut simulation = Simulation::new(limits, 100);
    simulation.work = 20.0;
    for tenant in 1..100 {
        simulation.add(Some(tenant), 900.0);
    }
    for _ in 0..floods {
        simulation.add(Some(0), 0.0);
    }
    simulation.run(3.0);
    simulation.served.clear();
    simulation.run(12.0);
    assert_eq!(simulation.refused, 0, "{budget}");
    simulation.percentile(0.99, |tenant| tenant != 0)
}

#[test]
fn one_that_floods_makes_the_others_wait_little_longer() {
    for budget in [20, 40, 80, 150] {
        let (alone, beside) = (beside_a_flood(budget, 0), beside_a_flood(budget, 300));
        assert!(
            beside <= 1.5 * alone,
            "{budget}: {beside} ms beside a flood, {alone} ms alone"
        );
    }
}
