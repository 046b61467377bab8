//! The tasks that check: one for each, and one that shows that tasks run at all.

use std::{sync::Arc, time::Duration};

use tenancy_core::BoxError;
use tokio::{
    task::{JoinError, JoinHandle},
    time::{sleep, timeout},
};

use super::{
    board::Board,
    check::{Check, Finding},
};
use crate::scope::panic_message;

const BEAT: Duration = Duration::from_millis(250);

/// Shows that the runtime gives tasks their turn, and how late.
pub(super) async fn beat(board: Arc<Board>) {
    loop {
        let began = board.clock.monotonic();
        sleep(BEAT).await;
        let slept = board.clock.monotonic().saturating_sub(began);
        board.beat(slept.saturating_sub(BEAT));
    }
}

/// Runs one check for ever. Ends where it is dropped, and what it runs with it.
pub(super) async fn keep_checking(board: Arc<Board>, at: usize) {
    let Some(check) = board.checks.get(at).cloned() else {
        return;
    };
    let mut last: Option<Running> = None;
    loop {
        let began = board.clock.monotonic();
        let outcome = match last.take().filter(|last| !last.0.is_finished()) {
            Some(stuck) => {
                last = Some(stuck);
                Err("the run before still blocks its thread".to_owned())
            }
            None => run_once(&check, &mut last).await,
        };
        let took = board.clock.monotonic().saturating_sub(began);
        board.record(at, took, outcome);
        sleep(around(check.interval)).await;
    }
}

/// A run, which is ended with this. Its task ends at its next await, or where it has none, never.
struct Running(JoinHandle<Result<Finding, BoxError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One that is not done in time is left in `last`, aborted.
async fn run_once(check: &Check, last: &mut Option<Running>) -> Result<Finding, String> {
    let run = Arc::clone(&check.run);
    // In the task: the call may panic, too.
    let running = last.insert(Running(tokio::spawn(async move { run().await })));
    match timeout(check.timeout, &mut running.0).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| with_causes(&*error)),
        Ok(Err(error)) => Err(of_task(error)),
        Err(_) => {
            running.0.abort();
            Err(format!("no answer within {:?}", check.timeout))
        }
    }
}

fn of_task(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("panicked: {}", panic_message(&*panic)),
        Err(_) => "its task was ended".to_owned(),
    }
}

/// The whole chain in one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    const DEEPEST: usize = 8;
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.take(DEEPEST).map(ToString::to_string).collect();
    texts.join(": ")
}

/// Give or take a tenth.
pub(super) fn around(interval: Duration) -> Duration {
    let tenth = interval / 10;
    let most = u64::try_from(tenth.saturating_mul(2).as_nanos()).unwrap_or(u64::MAX);
    let by_chance = Duration::from_nanos(fastrand::u64(..=most));
    (interval - tenth).saturating_add(by_chance)
}
