//! Hears on PostgreSQL that something changed, a little before the next poll. Losing it costs that time and nothing else.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tenancy_core::ChangeSignal;
use tokio::task::AbortHandle;

pub(super) const CHANNEL: &str = "tenancy_changes";
/// One change; its number follows.
pub(super) const NOTIFY: &str = "SELECT pg_notify('tenancy_changes', ?)";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The task that listens. It ends with this.
#[derive(Debug)]
pub(super) struct Listener(AbortHandle);

impl Listener {
    pub(super) fn start(options: PgConnectOptions, connect: Duration, signal: ChangeSignal) -> Self {
        Self(tokio::spawn(listen(Arc::new(options), connect, signal)).abort_handle())
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn listen(options: Arc<PgConnectOptions>, connect: Duration, signal: ChangeSignal) {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Err(error) = hear(&options, connect, &signal, &mut pause).await {
            tracing::debug!(%error, "changes of other processes are seen by polling alone for a while");
        }
        tokio::time::sleep(pause.mul_f64(0.75 + 0.5 * jitter())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A pool of its own, of one: the listener sits on its connection, and no reader waits for it.
async fn hear(
    options: &PgConnectOptions,
    connect: Duration,
    signal: &ChangeSignal,
    pause: &mut Duration,
) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(connect)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    *pause = FIRST_PAUSE;
    // What was announced before it listened was not heard.
    signal.wake(0);
    while let Some(heard) = listener.try_recv().await? {
        let number = heard.payload().parse().ok();
        // What this process has announced itself, its readers have heard of.
        if number != Some(signal.newest()) {
            signal.wake(number.unwrap_or(0));
        }
    }
    Ok(())
}

/// From 0 to 1. Processes that lost the same server do not all come back at once.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
