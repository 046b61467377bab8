//! What stands between a node and the level: calls that fail, calls that wait, answers that are held back.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tenancy::cache::shared::SharedError;
use tokio::sync::{Notify, oneshot};

use super::calls::LevelCall;

/// What becomes of an answer that is held back.
#[derive(Debug)]
enum Fate {
    Comes,
    IsLost,
}

#[derive(Debug, Default)]
struct State {
    is_away: bool,
    is_frozen: bool,
    holds_answers: bool,
    held: VecDeque<HeldAnswer>,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Something has changed for calls that wait.
    for_calls: Notify,
    /// An answer was held back.
    for_holders: Notify,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the level may be asked.
    pub(super) async fn pass(&self) -> Result<(), SharedError> {
        loop {
            // Before the look at the state, so that no change in between is missed.
            let changed = self.for_calls.notified();
            {
                let state = self.state();
                if state.is_away {
                    return Err(away());
                }
                if !state.is_frozen {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Returns when the answer may come.
    pub(super) async fn answer(&self, call: LevelCall) -> Result<(), SharedError> {
        let fate = {
            let mut state = self.state();
            if !state.holds_answers {
                return Ok(());
            }
            let (sender, fate) = oneshot::channel();
            state.held.push_back(HeldAnswer { call, fate: sender });
            fate
        };
        self.for_holders.notify_waiters();
        match fate.await {
            Ok(Fate::Comes) | Err(_) => Ok(()),
            Ok(Fate::IsLost) => Err(SharedError::message("the test has lost the answer")),
        }
    }

    pub(super) fn set_away(&self, is_away: bool) {
        let lost = {
            let mut state = self.state();
            state.is_away = is_away;
            if is_away {
                std::mem::take(&mut state.held)
            } else {
                VecDeque::new()
            }
        };
        for answer in lost {
            answer.lose();
        }
        self.for_calls.notify_waiters();
    }

    pub(super) fn set_frozen(&self, is_frozen: bool) {
        self.state().is_frozen = is_frozen;
        self.for_calls.notify_waiters();
    }

    pub(super) fn hold_answers(&self) {
        self.state().holds_answers = true;
    }

    pub(super) fn stop_holding(&self) {
        let held = {
            let mut state = self.state();
            state.holds_answers = false;
            std::mem::take(&mut state.held)
        };
        for answer in held {
            answer.release();
        }
    }

    pub(super) async fn held_answer(&self) -> HeldAnswer {
        loop {
            let changed = self.for_holders.notified();
            let held = self.state().held.pop_front();
            match held {
                Some(held) => return held,
                None => changed.await,
            }
        }
    }
}

fn away() -> SharedError {
    SharedError::message("the test has taken the shared level away")
}

/// An answer that has been worked out and has not come yet: the level has done what was asked.
///
/// Dropped, it comes.
#[must_use = "dropped, the answer comes at once"]
pub struct HeldAnswer {
    call: LevelCall,
    fate: oneshot::Sender<Fate>,
}

impl HeldAnswer {
    /// What was asked.
    pub fn call(&self) -> LevelCall {
        self.call
    }

    /// Whether the asker waits no more.
    pub fn is_given_up(&self) -> bool {
        self.fate.is_closed()
    }

    /// Lets it come.
    pub fn release(self) {
        // Whoever has given up hears nothing.
        let _ = self.fate.send(Fate::Comes);
    }

    /// Loses it: the asker gets an error for what was done.
    pub fn lose(self) {
        let _ = self.fate.send(Fate::IsLost);
    }
}

impl fmt::Debug for HeldAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldAnswer")
            .field("call", &self.call)
            .field("is_given_up", &self.is_given_up())
            .finish()
    }
}
