//! The thread of a purger.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use tenancy_core::Clock;

use super::{
    Plan, Purge, PurgeReason, PurgeRefused, PurgerState,
    turn::{Turn, Turns},
};
use crate::process::{Allocator, MemorySampler, Reading};

pub(super) type Outcome = Result<Purge, PurgeRefused>;

pub(super) enum Message {
    /// With the turn to do it, and who waits for it.
    Purge(PurgeReason, Turn, Option<Sender<Outcome>>),
    End,
}

pub(super) struct Worker {
    pub(super) plan: Plan,
    pub(super) sampler: MemorySampler,
    pub(super) look_every: Duration,
    pub(super) log_cleanup: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: Arc<Mutex<PurgerState>>,
    pub(super) turns: Turns,
}

impl Worker {
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(self.look_every) {
                Ok(Message::Purge(reason, turn, answer)) => {
                    let outcome = self.purge_if_allowed(reason);
                    // Before the answer: who has it may ask again.
                    drop(turn);
                    if let Some(answer) = answer {
                        // Gone: nobody wants to know.
                        let _ = answer.send(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.purge_if_due(),
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn purge_if_due(&mut self) {
        // Asked for meanwhile: done next.
        let Some(_turn) = self.turns.take() else {
            return;
        };
        let memory = self.sampler.latest();
        if let Some(reason) = self.plan.due(self.clock.monotonic(), &memory) {
            // Of an allocator that is not known nothing is ever due but by requests; it says no, and no more is to be said.
            let _ = self.purge(reason);
        }
    }

    fn purge_if_allowed(&mut self, reason: PurgeReason) -> Outcome {
        if !self.plan.may(self.clock.monotonic()) {
            return Err(PurgeRefused::TooSoon);
        }
        self.purge(reason)
    }

    fn purge(&mut self, reason: PurgeReason) -> Outcome {
        let allocator = self.sampler.allocator();
        let before = self.sampler.look();
        let began = self.clock.monotonic();
        if allocator == Allocator::Unknown {
            return Err(PurgeRefused::UnknownAllocator);
        }
        if !allocator.purge() {
            return Err(PurgeRefused::Failed);
        }
        let now = self.clock.monotonic();
        let after = self.sampler.look();
        let purge = Purge {
            reason,
            resident_before: before.resident,
            resident_after: after.resident,
            given_back: before.resident.beyond(after.resident),
            took_us: u64::try_from(now.saturating_sub(began).as_micros()).unwrap_or(u64::MAX),
            done_at_ms: after.taken_at_ms,
        };
        self.plan.done(now, after.requests, &purge);
        self.keep(purge);
        self.log(&purge, after.heap.allocated);
        Ok(purge)
    }

    fn keep(&self, purge: Purge) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.purges += 1;
        state.given_back_bytes = state
            .given_back_bytes
            .saturating_add(purge.given_back.bytes().unwrap_or(0));
        state.last = Some(purge);
    }

    fn log(&self, purge: &Purge, live: Reading) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    reason = purge.reason.as_str(),
                    given_back = %purge.given_back,
                    given_back_bytes = purge.given_back.bytes(),
                    resident_before = %purge.resident_before,
                    resident_after = %purge.resident_after,
                    live = %live,
                    took_ms = purge.took_us / 1_000,
                    "free memory was given back"
                )
            };
        }
        match self.log_cleanup {
            true => event!(info),
            false => event!(debug),
        }
    }
}
