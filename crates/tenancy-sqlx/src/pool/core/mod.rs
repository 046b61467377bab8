//! The pool of one server as a state machine: no I/O, no clock, no code of others. It runs under one lock.
//!
//! A permit is the right to one open connection. It is taken when a [`Ticket`] to open one is given out, goes with the
//! connection ([`Held`]) through idle and leased, and comes back when the caller says that the [`Closing`] one is
//! closed. Tickets, held connections and closing ones exist once each, so that a permit is in one place at a time:
//!
//! ```text
//! free ──ask──▶ Ticket ──connected──▶ Held ⇄ idle ──evicted, expired──▶ Closing ──closed──▶ free
//!                  └────connect failed────────────────────────────────────────────────────▶ free
//! ```
//!
//! Only idle connections are ever closed from here; one that is held is its holder's alone. Whoever finds none waits in
//! the queue of its tenant. Tenants take turns ([`turns`]): a connection that comes back goes to its own tenant for a
//! bounded number of times while others wait, then to the tenant whose turn it is. Connections that may be shared are
//! handed on; of others the permit is: it is closed, and the permit opens one for the next in turn.
//!
//! A tenant that has a connection gets another one where a permit is free. Another tenant's is closed for it only if its
//! own would not come round to all who wait in the time that opening one takes ([`pace`]): opening is by far the most
//! expensive thing here, and those who have none come first.
//!
//! Between calls: an entry that has idle connections has no waiters, and if permits are free and connects are allowed,
//! nobody waits who could use one.

mod entry;
mod figures;
mod pace;
mod parts;
mod returned;
#[cfg(test)]
mod tests;
mod turns;
mod upkeep;

use std::{
    collections::{BTreeMap, HashMap},
    task::{Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tenancy_core::TenantId;

use self::{entry::Entry, pace::Pace, parts::Refusal as R};
pub(crate) use self::{
    figures::{Counts, TenantCounts},
    parts::{Ask, Asked, Closing, Effects, Grant, Held, Refusal, Ticket, Version, Work},
};
use super::{
    breaker::{Breaker, FaultKind},
    target::Sharing,
};

/// The settings that decide.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// With the connection for cancelling, if there may be one.
    pub(crate) budget: usize,
    /// Whether statements are cancelled through a connection that is kept for it.
    pub(crate) cancels_by_control: bool,
    pub(crate) max_tenants: usize,
    /// `None`: a quarter of the budget, from 1 to 20.
    pub(crate) max_per_tenant: Option<usize>,
    pub(crate) max_waiting: usize,
    /// `None`: a quarter of the budget, from 4 to 24.
    pub(crate) max_connects: Option<usize>,
    pub(crate) hand_overs: usize,
    pub(crate) idle: Duration,
    pub(crate) lifetime: Duration,
    /// Idle for longer than this, a connection is asked whether it lives before it is given out.
    pub(crate) heartbeat: Duration,
    /// Idle for shorter than this, it is not taken away for another tenant.
    pub(crate) settle: Duration,
    pub(crate) tenants_per_connection: usize,
}

/// From this budget on, one connection of it is for cancelling.
const BUDGET_WITH_CONTROL: usize = 4;

impl Limits {
    fn has_control(&self) -> bool {
        self.cancels_by_control && self.budget >= BUDGET_WITH_CONTROL
    }

    fn for_tenants(&self) -> usize {
        self.budget - usize::from(self.has_control())
    }

    fn per_tenant(&self) -> usize {
        let chosen = self.max_per_tenant.unwrap_or_else(|| (self.budget / 4).min(20));
        chosen.clamp(1, self.for_tenants().max(1))
    }

    /// While connections are short, so that one tenant's are not what the others lack.
    fn per_tenant_while_short(&self) -> usize {
        (self.per_tenant() / 3).max(1)
    }

    fn connects(&self) -> usize {
        self.max_connects
            .unwrap_or_else(|| (self.budget / 4).clamp(4, 24))
    }
}

#[derive(Debug)]
struct Waiter<C> {
    entry: usize,
    since: Duration,
    state: Waiting<C>,
}

#[derive(Debug)]
enum Waiting<C> {
    Queued(Option<Waker>),
    Granted(Grant<C>),
    Refused(Refusal),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Core<C> {
    limits: Limits,
    entries: Slab<Entry<C>>,
    by_tenant: HashMap<TenantId, usize>,
    waiters: Slab<Waiter<C>>,
    /// Tenants that wait, in the order in which they are served.
    turns: BTreeMap<u64, usize>,
    next_turn: u64,
    /// Tenants with open connections, in no order.
    seats: Vec<usize>,
    /// Concerns all tenants of the server.
    breaker: Breaker,
    /// Idle connections from before this may be dead.
    suspect_before: Duration,
    open: usize,
    idle: usize,
    opening: usize,
    closing: usize,
    waiting: usize,
    /// Sums of what the entries could use, and of what they need.
    wishes: usize,
    demand: usize,
    /// Until when connections count as short: one was closed lately for a tenant that had few.
    short_until: Duration,
    pace: Pace,
    next_serial: u64,
    sweep_from: usize,
    counts: Counts,
    jitter: fastrand::Rng,
    shut_down: bool,
}

impl<C> Core<C> {
    pub(crate) fn new(limits: Limits, jitter: fastrand::Rng) -> Self {
        Self {
            limits,
            entries: Slab::new(),
            by_tenant: HashMap::new(),
            waiters: Slab::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            seats: Vec::new(),
            breaker: Breaker::new(),
            suspect_before: Duration::ZERO,
            open: 0,
            idle: 0,
            opening: 0,
            closing: 0,
            waiting: 0,
            wishes: 0,
            demand: 0,
            short_until: Duration::ZERO,
            pace: Pace {
                to_open: pace::FIRST_GUESS,
                in_use: pace::FIRST_GUESS,
            },
            next_serial: 0,
            sweep_from: 0,
            counts: Counts::default(),
            jitter,
            shut_down: false,
        }
    }

    /// Whether the budget leaves room for the connection that is for cancelling.
    pub(crate) fn has_control(&self) -> bool {
        self.limits.has_control()
    }

    /// Own idle connection, else open one, else take over an idle one that may be shared, else wait, and have the
    /// connection that was idle for longest closed for it.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>, now: Duration, effects: &mut Effects<C>) -> Asked<C> {
        if self.shut_down {
            return Asked::Refused(R::ShutDown);
        }
        let Some(index) = self.enter(ask, now, effects) else {
            return Asked::Refused(R::Moved);
        };
        self.entries[index].used_at = now;
        if let Some(grant) = self.take_own(index, now, effects) {
            return Asked::Ready(grant);
        }
        let refusal = self.refusal_to_open(index, now);
        if (refusal.is_some() || !self.may_open_at_once(index, now))
            && let Some(grant) = self.take_shared(index, now)
        {
            // The one before may have given up its seat.
            self.pump(now, effects);
            return Asked::Ready(grant);
        }
        match refusal {
            Some(refusal) if self.entries[index].open() == 0 => return Asked::Refused(refusal),
            _ if self.entries[index].queue.len() >= self.limits.max_waiting => {
                self.counts.refused_full += 1;
                return Asked::Refused(R::QueueFull);
            }
            _ => {}
        }
        let waiter = self.queue_up(index, now, effects);
        self.pump(now, effects);
        Asked::Queued(waiter)
    }

    /// The entry of the asker, brought to its target. `None`: the asker's record is older than what is known.
    fn enter(&mut self, ask: &Ask<'_>, now: Duration, effects: &mut Effects<C>) -> Option<usize> {
        let Some(&index) = self.by_tenant.get(ask.tenant) else {
            self.next_serial += 1;
            let entry = Entry::new(
                ask.tenant.clone(),
                self.next_serial,
                ask.version,
                ask.target.clone(),
            );
            let index = self.entries.insert(entry);
            self.by_tenant.insert(ask.tenant.clone(), index);
            effects.upkeep = true;
            return Some(index);
        };
        let entry = &mut self.entries[index];
        let same_target = entry.target == *ask.target && entry.version.incarnation == ask.version.incarnation;
        // Stores need not count epochs: of two records of the same number, the one that is asked with now is newer.
        if ask.version < entry.version && !same_target {
            return None;
        }
        entry.version = entry.version.max(ask.version);
        if !same_target {
            entry.target = ask.target.clone();
            self.raise_generation(index, now, effects);
        }
        Some(index)
    }

    fn take_own(&mut self, index: usize, now: Duration, effects: &mut Effects<C>) -> Option<Grant<C>> {
        while let Some(idle) = self.entries[index].idle.pop_back() {
            self.idle -= 1;
            if now < idle.held.expires_at {
                return Some(self.lend(index, idle, now));
            }
            self.close(idle.held, effects);
            self.refresh(index, now);
        }
        None
    }

    /// The connection of another tenant that was idle for longest, if this one may use it.
    fn take_shared(&mut self, index: usize, now: Duration) -> Option<Grant<C>> {
        let entry = &self.entries[index];
        if entry.target.sharing() == Sharing::Never || entry.open() >= self.limits.per_tenant() {
            return None;
        }
        let seated = entry.seat.is_some() || self.seats.len() < self.limits.max_tenants;
        let from = self
            .seats
            .iter()
            .copied()
            .filter(|&other| {
                let other = &self.entries[other];
                (seated || other.open() == 1)
                    && other.target.shares_with(&entry.target)
                    && other.idle.front().is_some_and(|idle| {
                        now < idle.held.expires_at && self.may_serve(&idle.held, entry.serial)
                    })
            })
            .min_by_key(|&other| self.entries[other].idle.front().map(|idle| idle.since))?;
        let mut idle = self.entries[from].idle.pop_front()?;
        self.idle -= 1;
        self.refresh(from, now);
        self.point_at(&mut idle.held, index);
        let grant = self.lend(index, idle, now);
        self.refresh(index, now);
        Some(grant)
    }

    fn lend(&mut self, index: usize, idle: entry::Idle<C>, now: Duration) -> Grant<C> {
        self.entries[index].leased += 1;
        let mut held = idle.held;
        held.lent_at = now;
        let must_answer =
            now.saturating_sub(idle.since) >= self.limits.heartbeat || idle.since < self.suspect_before;
        Grant { held, must_answer }
    }

    /// Makes the connection another tenant's. It was reset, so that it carries nothing of the one before.
    fn point_at(&mut self, held: &mut Held<C>, index: usize) {
        let entry = &self.entries[index];
        held.entry = index;
        held.generation = entry.generation;
        if entry.target.sharing() == Sharing::Schemas && !held.served.contains(&entry.serial) {
            held.served.push(entry.serial);
        }
        self.counts.re_points += 1;
    }

    fn may_serve(&self, held: &Held<C>, serial: u64) -> bool {
        held.served.len() < self.limits.tenants_per_connection || held.served.contains(&serial)
    }

    /// Why opening is not tried at the moment. A server without room is no reason to refuse: one may be given back.
    fn refusal_to_open(&self, index: usize, now: Duration) -> Option<Refusal> {
        [&self.entries[index].breaker, &self.breaker]
            .into_iter()
            .find_map(|breaker| {
                let retry_after = breaker.admits(now).err()?;
                let fault = breaker
                    .fault()
                    .filter(|fault| fault.kind != FaultKind::Crowded)?
                    .clone();
                Some(R::Failed { fault, retry_after })
            })
    }

    fn queue_up(&mut self, index: usize, now: Duration, effects: &mut Effects<C>) -> usize {
        let waiter = self.waiters.insert(Waiter {
            entry: index,
            since: now,
            state: Waiting::Queued(None),
        });
        effects.upkeep |= self.waiting == 0;
        self.waiting += 1;
        self.entries[index].queue.push_back(waiter);
        self.refresh(index, now);
        waiter
    }

    /// The answer for one that waits. After `Ready` its number is free.
    ///
    /// `waker` is exchanged for the one of before: dropping a waker may run any code, so that it is not done here.
    pub(crate) fn poll(
        &mut self,
        waiter: usize,
        waker: &mut Option<Waker>,
    ) -> Poll<Result<Grant<C>, Refusal>> {
        if let Waiting::Queued(kept) = &mut self.waiters[waiter].state {
            std::mem::swap(kept, waker);
            return Poll::Pending;
        }
        match self.waiters.remove(waiter).state {
            Waiting::Granted(grant) => Poll::Ready(Ok(grant)),
            Waiting::Refused(refusal) => Poll::Ready(Err(refusal)),
            Waiting::Queued(_) => Poll::Pending,
        }
    }

    /// Nobody waits under this number any more. What was given to it already goes to somebody else.
    pub(crate) fn cancel(&mut self, waiter: usize, now: Duration, effects: &mut Effects<C>) {
        let Waiter { entry, state, .. } = self.waiters.remove(waiter);
        match state {
            Waiting::Queued(waker) => {
                effects.let_go.extend(waker);
                let queue = &mut self.entries[entry].queue;
                if let Some(place) = queue.iter().position(|&other| other == waiter) {
                    queue.remove(place);
                    self.waiting -= 1;
                }
                self.refresh(entry, now);
                // It may have waited for a seat, and others behind it.
                self.pump(now, effects);
            }
            Waiting::Granted(grant) => self.give_back(grant.held, now, effects),
            Waiting::Refused(_) => {}
        }
    }

    /// Whether waiting on is worth it though the time is over: the answer is there, or a connection is being opened.
    pub(crate) fn is_about_to_be_answered(&self, waiter: usize) -> bool {
        let waiter = &self.waiters[waiter];
        !matches!(waiter.state, Waiting::Queued(_)) || self.entries[waiter.entry].opening > 0
    }

    fn answer(&mut self, waiter: usize, answer: Waiting<C>, effects: &mut Effects<C>) {
        self.waiting -= 1;
        if let Waiting::Queued(Some(waker)) = std::mem::replace(&mut self.waiters[waiter].state, answer) {
            effects.wake.push(waker);
        }
    }

    fn refuse_all(&mut self, index: usize, refusal: &Refusal, now: Duration, effects: &mut Effects<C>) {
        while let Some(waiter) = self.entries[index].queue.pop_front() {
            self.answer(waiter, Waiting::Refused(refusal.clone()), effects);
        }
        self.refresh(index, now);
    }

    /// Brings what is derived from an entry up to date. Called after each change of one.
    fn refresh(&mut self, index: usize, now: Duration) {
        self.refresh_turn(index);
        self.refresh_demand(index, now);
        self.refresh_seat(index);
    }

    fn refresh_turn(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        match entry.turn {
            None if !entry.queue.is_empty() => self.move_to_end(index),
            Some(turn) if entry.queue.is_empty() => {
                entry.turn = None;
                self.turns.remove(&turn);
            }
            _ => {}
        }
    }

    fn refresh_demand(&mut self, index: usize, now: Duration) {
        let entry = &self.entries[index];
        let (mut wish, mut demand) = (0, 0);
        if let Some(&oldest) = entry.queue.front()
            && entry.breaker.admits(now).is_ok()
        {
            let unanswered = entry.queue.len().saturating_sub(entry.opening);
            wish = unanswered.min(self.most_for_one(now).saturating_sub(entry.open()));
            let pace = Pace {
                in_use: entry.in_use.unwrap_or(self.pace.in_use),
                ..self.pace
            };
            let waited = now.saturating_sub(self.waiters[oldest].since);
            demand = pace.connections_needed(entry, waited).min(wish);
        }
        let entry = &mut self.entries[index];
        self.wishes = self.wishes - entry.wish + wish;
        self.demand = self.demand - entry.demand + demand;
        (entry.wish, entry.demand) = (wish, demand);
    }

    fn refresh_seat(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        match (entry.open() > 0, entry.seat) {
            (true, None) => {
                entry.seat = Some(self.seats.len());
                self.seats.push(index);
            }
            (false, Some(seat)) => {
                entry.seat = None;
                self.seats.swap_remove(seat);
                if let Some(&moved) = self.seats.get(seat) {
                    self.entries[moved].seat = Some(seat);
                }
            }
            _ => {}
        }
    }

    /// Begins to close: from here the connection is nobody's, and its permit is still taken.
    fn close(&mut self, held: Held<C>, effects: &mut Effects<C>) {
        self.closing += 1;
        self.counts.closes += 1;
        effects.work.push(Work::Close(held.connection, Closing(())));
    }
}
