//! What happens without anybody asking: expiry, moves, a new budget, the end.

use std::time::Duration;

use tenancy_core::TenantId;

use super::{Core, Effects, Refusal, Version};

/// How long an entry without connections is kept, so that a tenant that comes back is found.
const KEEP_ENTRY: Duration = Duration::from_secs(60);
/// How long it is remembered that a tenant went elsewhere: longer than any request holds an old record.
const KEEP_RAISED: Duration = Duration::from_secs(600);
/// How many entries one tick looks at, so that the lock is held shortly.
const SWEEP: usize = 1_000;
/// While somebody waits: for breakers that let a probe through and connections that settle.
const BUSY_TICK: Duration = Duration::from_millis(25);
const QUIET_TICK: Duration = Duration::from_secs(1);

impl<C> Core<C> {
    /// Closes what is too old, forgets what is of no use, and tries again for those who wait. Returns when to come
    /// again, or `None` if there is nothing to look after until the next [`Effects::upkeep`].
    pub(crate) fn tick(&mut self, now: Duration, effects: &mut Effects<C>) -> Option<Duration> {
        self.close_expired(now, effects);
        self.forget_unused(now);
        self.refresh_waiting(now);
        self.pump(now, effects);
        if self.waiting > 0 {
            Some(BUSY_TICK)
        } else if self.open > 0 || !self.entries.is_empty() {
            Some(QUIET_TICK)
        } else {
            None
        }
    }

    /// What is derived from the time as well.
    fn refresh_waiting(&mut self, now: Duration) {
        let waiting: Vec<usize> = self.turns.values().copied().collect();
        for index in waiting {
            self.refresh(index, now);
        }
    }

    fn close_expired(&mut self, now: Duration, effects: &mut Effects<C>) {
        for place in (0..self.seats.len()).rev() {
            let index = self.seats[place];
            let keep_idle = self.limits.idle;
            let entry = &mut self.entries[index];
            for _ in 0..entry.idle.len() {
                let Some(idle) = entry.idle.pop_front() else {
                    break;
                };
                if now < idle.since + keep_idle && now < idle.held.expires_at {
                    entry.idle.push_back(idle);
                    continue;
                }
                self.idle -= 1;
                self.closing += 1;
                self.counts.closes += 1;
                let closing = super::Closing(());
                effects
                    .work
                    .push(super::Work::Close(idle.held.connection, closing));
            }
            self.refresh(index, now);
        }
    }

    fn forget_unused(&mut self, now: Duration) {
        let end = self.entries.capacity();
        if self.sweep_from >= end {
            self.sweep_from = 0;
        }
        let until = end.min(self.sweep_from + SWEEP);
        for index in self.sweep_from..until {
            let forgettable = self
                .entries
                .get(index)
                .is_some_and(|entry| entry.is_forgettable(now, KEEP_ENTRY, KEEP_RAISED));
            if forgettable {
                let entry = self.entries.remove(index);
                self.by_tenant.remove(&entry.tenant);
            }
        }
        self.sweep_from = until;
    }

    /// The tenant is elsewhere now, or nowhere: what is idle closes, what is held closes when it comes back, and who waits
    /// is told to ask anew.
    pub(super) fn raise_generation(&mut self, index: usize, now: Duration, effects: &mut Effects<C>) {
        let entry = &mut self.entries[index];
        entry.generation = entry.generation.wrapping_add(1);
        entry.raised_at = Some(now);
        entry.breaker.succeeded();
        while let Some(held) = self.take_idle_of(index, now) {
            self.close(held, effects);
        }
        self.refuse_all(index, &Refusal::Moved, now, effects);
    }

    /// Ends all use of what an older record than `version` leads to. Askers with an older one are refused.
    pub(crate) fn retire(
        &mut self,
        tenant: &TenantId,
        version: Version,
        now: Duration,
        effects: &mut Effects<C>,
    ) {
        let Some(&index) = self.by_tenant.get(tenant) else {
            return;
        };
        let entry = &mut self.entries[index];
        entry.version = entry.version.max(version);
        self.raise_generation(index, now, effects);
        self.pump(now, effects);
    }

    /// A connection was found dead: those that have been idle since before are asked before they are given out.
    pub(crate) fn suspect_idle(&mut self, now: Duration) {
        self.suspect_before = now;
    }

    /// Shrinking closes idle connections at once, and held ones when they come back.
    pub(crate) fn set_budget(&mut self, budget: usize, now: Duration, effects: &mut Effects<C>) {
        self.limits.budget = budget;
        while self.open - self.closing > self.limits.for_tenants()
            && let Some(index) = self.seat_of_oldest_idle()
            && let Some(held) = self.take_idle_of(index, now)
        {
            self.close(held, effects);
        }
        self.refresh_waiting(now);
        self.pump(now, effects);
    }

    fn seat_of_oldest_idle(&self) -> Option<usize> {
        let idle = self
            .seats
            .iter()
            .filter_map(|&index| Some((self.entries[index].idle.front()?.since, index)));
        idle.min().map(|(_, index)| index)
    }

    /// Nothing is given out from now on. What is held closes when it comes back.
    pub(crate) fn shut_down(&mut self, now: Duration, effects: &mut Effects<C>) {
        self.shut_down = true;
        while let Some(index) = self.seat_of_oldest_idle()
            && let Some(held) = self.take_idle_of(index, now)
        {
            self.close(held, effects);
        }
        while let Some((_, &index)) = self.turns.first_key_value() {
            self.refuse_all(index, &Refusal::ShutDown, now, effects);
        }
    }

    /// Whether every permit is back.
    pub(crate) fn is_closed(&self) -> bool {
        self.open == 0
    }
}
