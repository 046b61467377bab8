//! Flushes that the shared level has not heard of yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time::sleep};

use super::{Account, Hub};
use crate::cache::{
    receipt::Reach,
    shared::{Cell, FlushMode, ScopeName},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// At most one entry for each scope, with at most one mark for each cell, however many flushes there were.
#[derive(Default)]
pub(super) struct Retries(Mutex<State>);

#[derive(Default)]
struct State {
    untold: HashMap<ScopeName, Untold>,
    is_running: bool,
}

struct Untold {
    account: Arc<Account>,
    /// Counts what was added, so that what came while it was told is told again.
    additions: u64,
    cells: HashMap<Cell, FlushMode>,
    reach: watch::Sender<Reach>,
}

impl Retries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when it has been told.
    pub(super) fn add(
        &self,
        hub: &Arc<Hub>,
        account: &Arc<Account>,
        cells: &[Cell],
        mode: FlushMode,
    ) -> watch::Receiver<Reach> {
        let mut state = self.state();
        let untold = state
            .untold
            .entry(account.name.clone())
            .or_insert_with(|| Untold {
                account: Arc::clone(account),
                additions: 0,
                cells: HashMap::new(),
                reach: watch::channel(Reach::Pending).0,
            });
        untold.additions += 1;
        for cell in cells {
            let known = untold.cells.entry(*cell).or_insert(mode);
            if mode == FlushMode::Hard {
                *known = mode;
            }
        }
        let reach = untold.reach.subscribe();
        drop(state);
        self.go_on(hub);
        reach
    }

    /// Starts the task if there is something to tell and it does not run.
    pub(super) fn go_on(&self, hub: &Arc<Hub>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut state = self.state();
        if state.is_running || state.untold.is_empty() {
            return;
        }
        state.is_running = true;
        // A runtime that is shutting down drops the task at once, which takes the lock.
        drop(state);
        let teller = Teller {
            hub: Arc::downgrade(hub),
            is_over: false,
        };
        hub.spawn(&runtime, teller.tell_all());
    }

    fn scopes(&self) -> Vec<ScopeName> {
        self.state().untold.keys().cloned().collect()
    }

    fn get(&self, scope: &ScopeName) -> Option<(Arc<Account>, u64, HashMap<Cell, FlushMode>)> {
        let state = self.state();
        let untold = state.untold.get(scope)?;
        Some((
            Arc::clone(&untold.account),
            untold.additions,
            untold.cells.clone(),
        ))
    }

    /// What was added meanwhile stays.
    fn told(&self, scope: &ScopeName, additions: u64, everywhere_by: Duration) {
        let mut state = self.state();
        let is_all = state
            .untold
            .get(scope)
            .is_some_and(|untold| untold.additions == additions);
        if is_all && let Some(untold) = state.untold.remove(scope) {
            drop(state);
            untold.reach.send_replace(Reach::EverywhereBy(everywhere_by));
        }
    }

    /// Ends the task under the lock under which the next one is begun.
    fn is_over(&self) -> bool {
        let mut state = self.state();
        state.is_running = !state.untold.is_empty();
        !state.is_running
    }
}

impl Hub {
    async fn tell(&self, scope: &ScopeName) {
        let Some((account, additions, cells)) = self.retries.get(scope) else {
            return;
        };
        for mode in [FlushMode::Hard, FlushMode::Soft] {
            let of_mode: Vec<_> = cells
                .iter()
                .filter(|(_, of)| **of == mode)
                .map(|(cell, _)| *cell)
                .collect();
            if !of_mode.is_empty() && self.try_to_raise(&account, of_mode, mode).await.is_err() {
                return;
            }
        }
        self.retries.told(scope, additions, self.everywhere_by());
    }
}

/// The task. Where it ends with its runtime, before all is told, the next one may begin.
struct Teller {
    hub: Weak<Hub>,
    is_over: bool,
}

impl Teller {
    async fn tell_all(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            let Some(hub) = self.hub.upgrade() else {
                return;
            };
            for scope in hub.retries.scopes() {
                hub.tell(&scope).await;
            }
            if hub.retries.is_over() {
                self.is_over = true;
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(hub) = self.hub.upgrade()
        {
            hub.retries.state().is_running = false;
        }
    }
}
