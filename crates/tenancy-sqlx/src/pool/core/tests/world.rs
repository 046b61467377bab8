//! The outside of the state machine, with numbers for connections, that checks what may never happen.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Poll, Waker},
    time::Duration,
};

use tenancy_core::TenantId;

use super::super::*;
use crate::pool::{
    breaker::{Fault, FaultKind},
    target::{Sharing, Target},
};

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn limits(budget: usize) -> Limits {
    Limits {
        budget,
        cancels_by_control: false,
        max_tenants: 100,
        max_per_tenant: None,
        max_waiting: 1_000,
        max_connects: Some(4),
        hand_overs: 10,
        idle: Duration::from_secs(60),
        lifetime: Duration::from_secs(1_800),
        heartbeat: Duration::from_secs(30),
        settle: ms(50),
        tenants_per_connection: 100,
    }
}

/// A connection as the outside sees it.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) tenant: usize,
    pub(super) held: Held<u64>,
    pub(super) must_answer: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) core: Core<u64>,
    pub(super) now: Duration,
    pub(super) targets: Vec<Target>,
    pub(super) epochs: Vec<u64>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) closings: Vec<(u64, Closing)>,
    pub(super) lent: Vec<Lent>,
    pub(super) waiters: Vec<(usize, usize)>,
    pub(super) refused: Vec<(usize, Refusal)>,
    /// Database of every socket that exists.
    sockets: BTreeMap<u64, String>,
    next_socket: u64,
    ceiling: usize,
}

impl World {
    /// Tenants of databases of their own.
    pub(super) fn new(limits: Limits, tenants: usize) -> Self {
        let targets = (0..tenants).map(|tenant| Target::database(&format!("db{tenant}")));
        Self::of(limits, targets.collect())
    }

    /// Tenants that share one database.
    pub(super) fn sharing(limits: Limits, tenants: usize) -> Self {
        let part = |tenant| Target::part("app", &format!("s{tenant}"), Sharing::Schemas);
        Self::of(limits, (0..tenants).map(part).collect())
    }

    pub(super) fn of(limits: Limits, targets: Vec<Target>) -> Self {
        Self {
            ceiling: limits.budget,
            core: Core::new(limits, fastrand::Rng::with_seed(7)),
            now: ms(1_000),
            epochs: vec![1; targets.len()],
            targets,
            tickets: Vec::new(),
            closings: Vec::new(),
            lent: Vec::new(),
            waiters: Vec::new(),
            refused: Vec::new(),
            sockets: BTreeMap::new(),
            next_socket: 0,
        }
    }

    pub(super) fn id(tenant: usize) -> TenantId {
        TenantId::new(&format!("t{tenant}")).unwrap()
    }

    pub(super) fn ask(&mut self, tenant: usize) -> Option<Refusal> {
        let (epoch, target) = (self.epochs[tenant], self.targets[tenant].clone());
        self.ask_with(tenant, epoch, &target)
    }

    pub(super) fn ask_with(&mut self, tenant: usize, epoch: u64, target: &Target) -> Option<Refusal> {
        let id = Self::id(tenant);
        let version = Version {
            incarnation: 1,
            epoch,
        };
        let ask = Ask {
            tenant: &id,
            version,
            target,
        };
        let mut effects = Effects::new();
        let asked = self.core.ask(&ask, self.now, &mut effects);
        let refusal = match asked {
            Asked::Ready(grant) => {
                self.take(tenant, grant);
                None
            }
            Asked::Queued(waiter) => {
                self.waiters.push((tenant, waiter));
                None
            }
            Asked::Refused(refusal) => Some(refusal),
        };
        self.apply(effects);
        refusal
    }

    fn take(&mut self, tenant: usize, grant: Grant<u64>) {
        let socket = grant.held.connection;
        let database = &self.sockets[&socket];
        assert_eq!(
            database,
            self.targets[tenant].database_name(),
            "a connection of another tenant's database"
        );
        assert!(
            self.lent.iter().all(|lent| lent.held.connection != socket),
            "two hold the same connection"
        );
        self.lent.push(Lent {
            tenant,
            held: grant.held,
            must_answer: grant.must_answer,
        });
    }

    pub(super) fn apply(&mut self, effects: Effects<u64>) {
        for work in effects.work {
            match work {
                Work::Open(ticket) => self.tickets.push(ticket),
                Work::Close(socket, closing) => {
                    let is_lent = self.lent.iter().any(|lent| lent.held.connection == socket);
                    assert!(!is_lent, "a connection in use was closed");
                    self.closings.push((socket, closing));
                }
            }
        }
        self.check();
    }

    pub(super) fn give_back(&mut self, place: usize) {
        let lent = self.lent.swap_remove(place);
        let mut effects = Effects::new();
        self.core.give_back(lent.held, self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn discard(&mut self, place: usize) {
        let lent = self.lent.swap_remove(place);
        let mut effects = Effects::new();
        let (socket, closing) = self.core.discard(lent.held, self.now, &mut effects);
        self.closings.push((socket, closing));
        self.apply(effects);
    }

    pub(super) fn connected(&mut self, place: usize) {
        let ticket = self.tickets.remove(place);
        let socket = self.next_socket;
        self.next_socket += 1;
        self.sockets
            .insert(socket, ticket.target().database_name().to_owned());
        let mut effects = Effects::new();
        self.core.connected(ticket, socket, self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn failed(&mut self, place: usize, kind: FaultKind) {
        let ticket = self.tickets.remove(place);
        let mut effects = Effects::new();
        self.core
            .connect_failed(ticket, &Fault::new(kind), self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn closed(&mut self, place: usize) {
        let (socket, closing) = self.closings.remove(place);
        self.sockets.remove(&socket);
        let mut effects = Effects::new();
        self.core.closed(closing, self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn cancel(&mut self, place: usize) {
        let (_, waiter) = self.waiters.remove(place);
        let mut effects = Effects::new();
        self.core.cancel(waiter, self.now, &mut effects);
        self.apply(effects);
    }

    /// Takes what was given to waiters. Returns to which tenants, in the order of asking.
    pub(super) fn poll_all(&mut self) -> Vec<usize> {
        let mut served = Vec::new();
        for (tenant, waiter) in std::mem::take(&mut self.waiters) {
            match self.core.poll(waiter, &mut Some(Waker::noop().clone())) {
                Poll::Ready(Ok(grant)) => {
                    self.take(tenant, grant);
                    served.push(tenant);
                }
                Poll::Ready(Err(refusal)) => self.refused.push((tenant, refusal)),
                Poll::Pending => self.waiters.push((tenant, waiter)),
            }
        }
        self.check();
        served
    }

    pub(super) fn tick(&mut self, later: Duration) {
        self.now += later;
        let mut effects = Effects::new();
        self.core.tick(self.now, &mut effects);
        self.apply(effects);
    }

    /// The tenant's record changes: it is in another database from now on.
    pub(super) fn move_away(&mut self, tenant: usize, target: Target) {
        self.epochs[tenant] += 1;
        self.targets[tenant] = target;
        let version = Version {
            incarnation: 1,
            epoch: self.epochs[tenant],
        };
        // What was given before the move and not yet taken was given rightly.
        self.poll_all_before_move(tenant);
        let mut effects = Effects::new();
        self.core
            .retire(&Self::id(tenant), version, self.now, &mut effects);
        self.apply(effects);
    }

    fn poll_all_before_move(&mut self, tenant: usize) {
        let (of_tenant, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|&(waiting, _)| waiting == tenant);
        self.waiters = others;
        for (_, waiter) in of_tenant {
            match self.core.poll(waiter, &mut Some(Waker::noop().clone())) {
                Poll::Ready(Ok(Grant { held, must_answer })) => self.lent.push(Lent {
                    tenant,
                    held,
                    must_answer,
                }),
                Poll::Ready(Err(refusal)) => self.refused.push((tenant, refusal)),
                Poll::Pending => self.waiters.push((tenant, waiter)),
            }
        }
    }

    pub(super) fn set_budget(&mut self, budget: usize) {
        self.ceiling = self.used().max(budget);
        let mut effects = Effects::new();
        self.core.set_budget(budget, self.now, &mut effects);
        self.apply(effects);
    }

    /// Sockets that exist or are about to.
    pub(super) fn used(&self) -> usize {
        self.sockets.len() + self.tickets.len()
    }

    /// Lets everything that was begun end well, until nothing moves.
    pub(super) fn settle(&mut self) {
        for _ in 0..2_000 {
            while !self.tickets.is_empty() {
                self.connected(0);
            }
            while !self.closings.is_empty() {
                self.closed(0);
            }
            self.poll_all();
            while !self.lent.is_empty() {
                self.give_back(0);
            }
            self.tick(ms(500));
            if self.waiters.is_empty() && self.tickets.is_empty() && self.closings.is_empty() {
                return;
            }
        }
        panic!("{} wait for ever: {:#?}", self.waiters.len(), self.core.counts());
    }

    pub(super) fn check(&mut self) {
        let core = &self.core;
        assert_eq!(core.open, self.used(), "a permit was lost or made");
        assert!(self.used() <= self.ceiling, "over the budget");
        self.ceiling = self.used().max(core.limits.budget).min(self.ceiling);
        assert_eq!(core.opening, self.tickets.len());
        assert_eq!(core.closing, self.closings.len());
        assert!(
            core.opening <= core.limits.connects(),
            "too many connects at once"
        );
        assert!(core.seats.len() <= core.limits.max_tenants, "too many tenants");
        self.check_entries();
    }

    fn check_entries(&self) {
        let core = &self.core;
        let (mut wishes, mut demand, mut idle, mut waiting) = (0, 0, 0, 0);
        let turns: BTreeSet<usize> = core.turns.values().copied().collect();
        assert_eq!(turns.len(), core.turns.len(), "a tenant has two turns");
        for (index, entry) in &core.entries {
            assert_eq!(entry.seat.is_some(), entry.open() > 0);
            assert_eq!(entry.turn.is_some(), turns.contains(&index));
            assert_eq!(
                entry.turn.is_some(),
                !entry.queue.is_empty(),
                "{entry:?} waits without a turn"
            );
            assert!(
                entry.queue.is_empty() || entry.idle.is_empty(),
                "{entry:?} waits beside an idle connection"
            );
            assert!(
                entry.open() <= core.limits.per_tenant() || self.ceiling != core.limits.budget,
                "{entry:?} has too many"
            );
            assert!(entry.demand <= entry.wish);
            wishes += entry.wish;
            demand += entry.demand;
            idle += entry.idle.len();
            waiting += entry.queue.len();
        }
        assert_eq!(
            (core.wishes, core.demand, core.idle, core.waiting),
            (wishes, demand, idle, waiting)
        );
        let could_open = core.limits.budget > core.open && core.opening < core.limits.connects();
        let full = core.seats.len() >= core.limits.max_tenants;
        assert!(
            !could_open || core.wishes == 0 || full || !core.breaker.is_closed() || core.shut_down,
            "a permit is free while somebody waits: {core:#?}"
        );
    }
}
