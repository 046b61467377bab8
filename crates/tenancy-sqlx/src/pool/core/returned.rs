//! What comes back: connections that were lent, opened or closed.

use std::time::Duration;

use super::{Closing, Core, Effects, Grant, Held, Refusal, Ticket, Waiting, entry::Idle, pace};
use crate::pool::{
    breaker::{Backoff, Fault, FaultKind},
    target::Sharing,
};

impl<C> Core<C> {
    /// A lent connection that carries nothing of its use. Goes to one that waits, or rests.
    pub(crate) fn give_back(&mut self, held: Held<C>, now: Duration, effects: &mut Effects<C>) {
        let index = held.entry;
        let entry = &mut self.entries[index];
        entry.leased -= 1;
        entry.used_at = now;
        let in_use = now.saturating_sub(held.lent_at);
        entry.in_use = Some(entry.in_use.map_or(in_use, |mean| pace::mean(mean, in_use)));
        self.pace.in_use = pace::mean(self.pace.in_use, in_use);
        if self.keeps(&held, now) {
            self.place(held, now, effects);
        } else {
            self.close(held, effects);
        }
        // On the warm path nothing that is derived has changed.
        if self.waiting > 0 || self.entries[index].open() == 0 {
            self.refresh(index, now);
            self.pump(now, effects);
        }
    }

    fn keeps(&self, held: &Held<C>, now: Duration) -> bool {
        !self.shut_down
            && held.generation == self.entries[held.entry].generation
            && now < held.expires_at
            && self.open - self.closing <= self.limits.for_tenants()
            && held.served.len() <= self.limits.tenants_per_connection
    }

    /// A lent connection that is not to be used again. It is the caller's to close.
    pub(crate) fn discard(&mut self, held: Held<C>, now: Duration, effects: &mut Effects<C>) -> (C, Closing) {
        self.entries[held.entry].leased -= 1;
        self.closing += 1;
        self.counts.closes += 1;
        self.refresh(held.entry, now);
        self.pump(now, effects);
        (held.connection, Closing(()))
    }

    /// It is closed, and the server had time to notice.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the permit is given back: it exists once"
    )]
    pub(crate) fn closed(&mut self, closing: Closing, now: Duration, effects: &mut Effects<C>) {
        let Closing(()) = closing;
        self.closing -= 1;
        self.open -= 1;
        self.pump(now, effects);
    }

    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used once")]
    pub(crate) fn connected(
        &mut self,
        ticket: Ticket,
        connection: C,
        now: Duration,
        effects: &mut Effects<C>,
    ) {
        let index = ticket.entry;
        self.opening -= 1;
        self.counts.opens += 1;
        self.pace.to_open = pace::mean(self.pace.to_open, now.saturating_sub(ticket.started));
        self.breaker.succeeded();
        let lifetime = self.limits.lifetime.mul_f64(0.9 + 0.2 * self.jitter.f64());
        let entry = &mut self.entries[index];
        entry.opening -= 1;
        let is_current = entry.generation == ticket.generation;
        if is_current {
            entry.breaker.succeeded();
        }
        let held = Held {
            connection,
            entry: index,
            generation: ticket.generation,
            expires_at: now + lifetime,
            lent_at: now,
            served: if entry.target.sharing() == Sharing::Schemas {
                vec![entry.serial]
            } else {
                Vec::new()
            },
        };
        if self.keeps(&held, now) {
            self.place(held, now, effects);
        } else {
            self.close(held, effects);
        }
        self.refresh(index, now);
        self.pump(now, effects);
    }

    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used once")]
    pub(crate) fn connect_failed(
        &mut self,
        ticket: Ticket,
        fault: &Fault,
        now: Duration,
        effects: &mut Effects<C>,
    ) {
        let index = ticket.entry;
        self.opening -= 1;
        self.open -= 1;
        self.entries[index].opening -= 1;
        self.note_failure(&ticket, fault, now);
        self.refresh(index, now);
        match fault.kind {
            FaultKind::Missing | FaultKind::Refused => self.refuse_hopeless(index, fault, now, effects),
            FaultKind::Unreachable => self.refuse_all_hopeless(fault, now, effects),
            FaultKind::Crowded | FaultKind::Abandoned => {}
        }
        self.pump(now, effects);
    }

    fn note_failure(&mut self, ticket: &Ticket, fault: &Fault, now: Duration) {
        self.counts.failed_opens += 1;
        let jitter = self.jitter.f64();
        let entry = &mut self.entries[ticket.entry];
        let is_current = entry.generation == ticket.generation;
        match fault.kind {
            // An answer of the server: it is there. Of an old target it says nothing about the new one.
            FaultKind::Missing | FaultKind::Refused => {
                self.breaker.succeeded();
                if is_current {
                    let backoff = Backoff::NEGATIVE_ANSWER;
                    entry
                        .breaker
                        .failed(fault.clone(), ticket.started, now, backoff, jitter);
                }
            }
            FaultKind::Crowded | FaultKind::Unreachable => {
                entry.breaker.abandoned(now);
                let backoff = Backoff::OUTAGE;
                self.breaker
                    .failed(fault.clone(), ticket.started, now, backoff, jitter);
            }
            FaultKind::Abandoned => {
                entry.breaker.abandoned(now);
                self.breaker.abandoned(now);
            }
        }
    }

    /// Those of a tenant that has connections go on waiting for these.
    fn refuse_hopeless(&mut self, index: usize, fault: &Fault, now: Duration, effects: &mut Effects<C>) {
        let entry = &self.entries[index];
        if entry.open() > 0 || entry.queue.is_empty() {
            return;
        }
        let retry_after = [&entry.breaker, &self.breaker]
            .into_iter()
            .find_map(|breaker| breaker.admits(now).err());
        let refusal = Refusal::Failed {
            fault: fault.clone(),
            retry_after: retry_after.unwrap_or_default(),
        };
        self.refuse_all(index, &refusal, now, effects);
    }

    fn refuse_all_hopeless(&mut self, fault: &Fault, now: Duration, effects: &mut Effects<C>) {
        let waiting: Vec<usize> = self.turns.values().copied().collect();
        for index in waiting {
            self.refuse_hopeless(index, fault, now, effects);
        }
    }

    /// To the waiter of its tenant that waits for longest.
    pub(super) fn hand_over(&mut self, mut held: Held<C>, now: Duration, effects: &mut Effects<C>) {
        let index = held.entry;
        let entry = &mut self.entries[index];
        let Some(waiter) = entry.queue.pop_front() else {
            return self.rest(held, now);
        };
        entry.leased += 1;
        held.lent_at = now;
        self.counts.hand_overs += 1;
        let grant = Grant {
            held,
            must_answer: false,
        };
        self.answer(waiter, Waiting::Granted(grant), effects);
        self.refresh(index, now);
    }

    pub(super) fn rest(&mut self, held: Held<C>, now: Duration) {
        self.idle += 1;
        self.entries[held.entry].idle.push_back(Idle { held, since: now });
    }
}
