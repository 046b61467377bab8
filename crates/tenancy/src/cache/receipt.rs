use std::{fmt, sync::Arc, time::Duration};

use tenancy_core::Clock;
use tokio::{sync::watch, time::sleep};

/// How far a flush has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// The shared level has not heard of it.
    Pending,
    /// By this time of the clock no process serves anything older.
    EverywhereBy(Duration),
}

/// What a flush was given: in this process it is in effect already.
///
/// In other processes it is once they have heard of it, usually within milliseconds, and at the latest after the cache's
/// [`staleness_bound`](super::CacheSettings::staleness_bound), whatever messages are lost. A process that is cut off from the
/// shared level can hear nothing: it serves what its [`OnOutage`](super::OnOutage) allows.
#[derive(Clone)]
pub struct FlushReceipt {
    version: u64,
    reach: watch::Receiver<Reach>,
    clock: Arc<dyn Clock>,
}

impl FlushReceipt {
    pub(crate) fn new(version: u64, reach: watch::Receiver<Reach>, clock: Arc<dyn Clock>) -> Self {
        Self {
            version,
            reach,
            clock,
        }
    }

    /// The number of this flush: later ones of the same scope have higher numbers. Without a shared level they count for as long
    /// as this process keeps the scope, which is some minutes after its last use.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the shared level has not heard of it yet. It is told again and again in the background for as long as this
    /// process lives.
    pub fn is_pending(&self) -> bool {
        matches!(*self.reach.borrow(), Reach::Pending)
    }

    /// In how long it is in effect everywhere, counted from now: zero where it is. `None` while it is pending.
    pub fn everywhere_within(&self) -> Option<Duration> {
        match *self.reach.borrow() {
            Reach::Pending => None,
            Reach::EverywhereBy(by) => Some(by.saturating_sub(self.clock.monotonic())),
        }
    }

    /// Waits until it is in effect everywhere: the barrier for what must not be seen afterwards, such as a right that was taken
    /// away. As long as the shared level is away this waits; give it a limit of your own. Cancel-safe.
    ///
    /// # Errors
    /// When the cache ended while the flush was pending.
    pub async fn everywhere(&self) -> Result<(), FlushAbandoned> {
        let mut reach = self.reach.clone();
        let seen = reach
            .wait_for(|reach| matches!(reach, Reach::EverywhereBy(_)))
            .await;
        let by = match seen.map(|reach| *reach) {
            Ok(Reach::EverywhereBy(by)) => by,
            Ok(Reach::Pending) | Err(_) => return Err(FlushAbandoned { _private: () }),
        };
        loop {
            let left = by.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left).await;
        }
    }
}

impl fmt::Debug for FlushReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushReceipt")
            .field("version", &self.version)
            .field("everywhere_within", &self.everywhere_within())
            .finish()
    }
}

/// The cache ended before the shared level had heard of a flush.
#[derive(Debug)]
pub struct FlushAbandoned {
    _private: (),
}

impl fmt::Display for FlushAbandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cache ended before the shared level had heard of the flush")
    }
}

impl std::error::Error for FlushAbandoned {}
