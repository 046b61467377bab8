//! Whose turn it is: deficit round robin over the tenants that wait.
//!
//! A tenant at its turn gets one connection and the credit to keep it, or others of its own, for a number of requests.
//! A tenant without credit passes on what comes back. Thus a tenant with a thousand waiters gets, each round, a bounded
//! multiple of what one with a single waiter gets, and connections are not reopened for every request.

use std::time::Duration;

use super::{Core, Effects, Held, Ticket, Work, entry::Entry};
use crate::pool::target::Sharing;

/// For so long after one was closed for a tenant that had few, connections count as short.
const SHORT: Duration = Duration::from_secs(1);

impl<C> Core<C> {
    fn spare(&self) -> usize {
        self.limits.for_tenants().saturating_sub(self.open)
    }

    /// Whether an asker need not wait for anything but its own connect.
    pub(super) fn may_open_at_once(&self, index: usize, now: Duration) -> bool {
        self.spare() > 0
            && self.opening < self.limits.connects()
            && self.entries[index].open() < self.most_for_one(now)
            && self.has_or_may_take_seat(index)
            && self.demand == 0
    }

    /// How many connections one tenant may have at the moment.
    pub(super) fn most_for_one(&self, now: Duration) -> usize {
        if now < self.short_until {
            self.limits.per_tenant_while_short()
        } else {
            self.limits.per_tenant()
        }
    }

    fn has_or_may_take_seat(&self, index: usize) -> bool {
        self.entries[index].seat.is_some() || self.seats.len() < self.limits.max_tenants
    }

    /// The first in turn who needs a connection of its own.
    fn next_in_need(&self) -> Option<usize> {
        (self.demand > 0).then(|| self.first_in_turn(|entry| entry.demand > 0))?
    }

    /// The first who needs one, else the first who could use one.
    fn next_to_open_for(&self) -> Option<usize> {
        let could_use = || (self.wishes > 0).then(|| self.first_in_turn(|entry| entry.wish > 0))?;
        self.next_in_need().or_else(could_use)
    }

    /// Those who wait for a connection of their own tenant that is in use stand in the line, too: at most as many as have
    /// connections. So do those whose breaker is open: they keep their turn, and wish for nothing until a
    /// [`tick`](Core::tick) finds that one may be tried.
    fn first_in_turn(&self, is_meant: impl Fn(&Entry<C>) -> bool) -> Option<usize> {
        let mut in_turn = self.turns.values().copied();
        in_turn.find(|&index| is_meant(&self.entries[index]))
    }

    /// It was served: the others are, before it is again.
    fn turn_is_taken(&mut self, index: usize) {
        self.entries[index].credit = self.limits.hand_overs;
        self.move_to_end(index);
    }

    pub(super) fn move_to_end(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        if let Some(turn) = entry.turn.replace(self.next_turn) {
            self.turns.remove(&turn);
        }
        self.turns.insert(self.next_turn, index);
        self.next_turn += 1;
    }

    /// Does what free permits allow: opens for those in turn, then closes idle connections of others for them.
    pub(super) fn pump(&mut self, now: Duration, effects: &mut Effects<C>) {
        if self.shut_down {
            return;
        }
        loop {
            self.open_in_turn(now, effects);
            let Some((held, for_whom)) = self.next_to_evict(now) else {
                return;
            };
            self.evict(held, for_whom, now, effects);
        }
    }

    /// Closes a connection for another tenant. Whoever has a good share already makes nothing short: nobody lacks the idle
    /// connections that it takes the place of.
    fn evict(&mut self, held: Held<C>, for_whom: usize, now: Duration, effects: &mut Effects<C>) {
        self.counts.evictions += 1;
        if self.entries[for_whom].open() < self.limits.per_tenant_while_short() {
            self.short_until = now + SHORT;
        }
        self.close(held, effects);
    }

    fn open_in_turn(&mut self, now: Duration, effects: &mut Effects<C>) {
        while self.spare() > 0
            && self.opening < self.limits.connects()
            && self.breaker.admits(now).is_ok()
            && let Some(next) = self.next_to_open_for()
        {
            // Those behind do not overtake one that waits for a seat: they might keep all of them for ever.
            if !self.has_or_may_take_seat(next) {
                return;
            }
            self.turn_is_taken(next);
            self.start_to_open(next, now, effects);
        }
    }

    /// With the tenant that it is closed for.
    fn next_to_evict(&mut self, now: Duration) -> Option<(Held<C>, usize)> {
        let next = self.next_in_need()?;
        if self.wants_room(next, now) {
            Some((self.take_oldest_idle(next, now)?, next))
        } else {
            None
        }
    }

    fn start_to_open(&mut self, index: usize, now: Duration, effects: &mut Effects<C>) {
        self.open += 1;
        self.opening += 1;
        effects.upkeep |= self.open == 1;
        let entry = &mut self.entries[index];
        entry.opening += 1;
        entry.breaker.attempt(now);
        self.breaker.attempt(now);
        let ticket = Ticket::new(index, entry.generation, now, entry.target.clone());
        self.refresh(index, now);
        effects.work.push(Work::Open(ticket));
    }

    /// Whether a connection is to be closed for the one whose turn it is. Not more than can soon be opened: what is
    /// closed too early is of no use to anybody.
    pub(super) fn wants_room(&self, next: usize, now: Duration) -> bool {
        let coming = self.spare() + self.closing;
        let connects = self.limits.connects();
        let is_soon_opened = coming + self.opening < connects + (connects / 4).max(1);
        let wants_permit = self.demand > coming && is_soon_opened;
        let wants_seat = !self.has_or_may_take_seat(next);
        (wants_permit || wants_seat) && self.breaker.admits(now).is_ok()
    }

    /// Of another tenant than the one it is for. One that is for a seat must be the last of its tenant.
    fn take_oldest_idle(&mut self, for_whom: usize, now: Duration) -> Option<Held<C>> {
        let wants_seat = !self.has_or_may_take_seat(for_whom);
        let settled = now.checked_sub(self.limits.settle)?;
        let (_, from) = self
            .seats
            .iter()
            .filter(|&&index| index != for_whom && (!wants_seat || self.entries[index].open() == 1))
            .filter_map(|&index| Some((self.entries[index].idle.front()?.since, index)))
            .filter(|&(since, _)| since <= settled)
            .min()?;
        self.take_idle_of(from, now)
    }

    pub(super) fn take_idle_of(&mut self, index: usize, now: Duration) -> Option<Held<C>> {
        let idle = self.entries[index].idle.pop_front()?;
        self.idle -= 1;
        self.refresh(index, now);
        Some(idle.held)
    }

    /// Decides who gets a connection that nobody holds: see the [module](self).
    pub(super) fn place(&mut self, mut held: Held<C>, now: Duration, effects: &mut Effects<C>) {
        let owner = held.entry;
        let own_waits = !self.entries[owner].queue.is_empty();
        if let Some(other) = self.who_lacks_what_it_has(owner, now) {
            self.evict(held, other, now, effects);
            return self.refresh(owner, now);
        }
        if own_waits && self.entries[owner].credit > 0 {
            self.entries[owner].credit -= 1;
            return self.hand_over(held, now, effects);
        }
        if let Some(next) = self.next_to_share(&held) {
            if next != owner {
                self.point_at(&mut held, next);
                // The seat of the one before may be free now.
                self.refresh(owner, now);
            }
            self.entries[next].credit = self.limits.hand_overs.saturating_sub(1);
            return self.hand_over(held, now, effects);
        }
        if let Some(next) = self.next_in_need()
            && next != owner
            && self.wants_room(next, now)
        {
            if own_waits {
                self.move_to_end(owner);
            }
            self.evict(held, next, now, effects);
            return self.refresh(owner, now);
        }
        if own_waits {
            // Nobody else is waiting for it: that is a round, too. But whoever needs another one keeps the place in the line:
            // at its end again and again, it would never get it.
            self.entries[owner].credit = self.limits.hand_overs;
            if self.entries[owner].demand == 0 {
                self.move_to_end(owner);
            }
            self.hand_over(held, now, effects);
        } else {
            self.rest(held, now);
        }
    }

    /// Who waits for a permit while the tenant, with the connection it has just given back, has more than it may while they are
    /// short. An idle one of a third tenant may be closed for that as well: what is given up here spares the next.
    /// Connections that others can share go round anyway.
    fn who_lacks_what_it_has(&self, owner: usize, now: Duration) -> Option<usize> {
        let entry = &self.entries[owner];
        let most = self.limits.per_tenant_while_short();
        let has_too_many = entry.open() >= most && entry.target.sharing() == Sharing::Never;
        if !has_too_many || self.spare() > 0 || self.breaker.admits(now).is_err() {
            return None;
        }
        let other = self.next_in_need()?;
        (other != owner && self.entries[other].open() < most).then_some(other)
    }

    /// The first in turn who waits and may use this very connection; its turn is taken.
    fn next_to_share(&mut self, held: &Held<C>) -> Option<usize> {
        let owner = &self.entries[held.entry];
        if self.waiting == 0 || !owner.target.shares_with(&owner.target) {
            return None;
        }
        let frees_seat = owner.open() == 0;
        let mut in_turn = self.turns.values().copied();
        let index = in_turn.find(|&index| {
            let entry = &self.entries[index];
            let may_have_another = index == held.entry
                || (entry.open() < self.limits.per_tenant()
                    && (frees_seat || self.has_or_may_take_seat(index)));
            debug_assert!(!entry.queue.is_empty(), "who does not wait has no turn");
            may_have_another && entry.target.shares_with(&owner.target) && self.may_serve(held, entry.serial)
        })?;
        self.move_to_end(index);
        Some(index)
    }
}
