use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;

/// Tells readers in this process that a store has changed, and tells writers when the readers have caught up.
///
/// It carries numbers, never data: a lost or repeated signal costs at most a look at the store.
/// Clones share one signal.
///
/// A writer calls [`announce`](Self::announce) after its commit and waits, so that the request after a
/// change sees it. A reader holds a [`ChangeSubscription`], waits for a higher number, reads the store's
/// changes, and says how far it got.
///
/// ```
/// # async fn example() {
/// use std::time::Duration;
/// use tenancy_core::ChangeSignal;
///
/// let signal = ChangeSignal::new();
/// let mut reader = signal.subscribe();
/// let writer = tokio::spawn({
///     let signal = signal.clone();
///     async move { signal.announce(7, Duration::from_secs(1)).await }
/// });
/// assert_eq!(reader.changed().await, 7);
/// reader.applied(7);
/// assert!(writer.await.unwrap(), "all readers have caught up");
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(example());
/// ```
#[derive(Clone, Debug)]
pub struct ChangeSignal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    newest: watch::Sender<u64>,
    readers: Mutex<Vec<Weak<watch::Sender<u64>>>>,
}

impl ChangeSignal {
    /// A signal at number 0, without readers.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                newest: watch::Sender::new(0),
                readers: Mutex::new(Vec::new()),
            }),
        }
    }

    /// The highest number announced in this process.
    pub fn newest(&self) -> u64 {
        *self.shared.newest.borrow()
    }

    /// Wakes the readers, without waiting. A number that is not higher than the newest still wakes them:
    /// a store that was restored from a backup announces lower numbers.
    pub fn wake(&self, number: u64) {
        self.shared
            .newest
            .send_modify(|newest| *newest = number.max(*newest));
    }

    /// Wakes the readers and waits until each has applied `number`, or until `limit` has passed.
    /// Returns whether all have. Dropping the future changes nothing for the readers.
    pub async fn announce(&self, number: u64, limit: Duration) -> bool {
        self.wake(number);
        let readers = self.live_readers();
        let all = async {
            for mut reader in readers {
                // An error means that the reader is gone: nobody is left who could be behind.
                let _ = reader.wait_for(|applied| *applied >= number).await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Begins to listen, from the number that is newest now.
    pub fn subscribe(&self) -> ChangeSubscription {
        let applied = Arc::new(watch::Sender::new(0));
        let mut readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&applied));
        ChangeSubscription {
            newest: self.shared.newest.subscribe(),
            applied,
        }
    }

    fn live_readers(&self) -> Vec<watch::Receiver<u64>> {
        let readers = self.shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers
            .iter()
            .filter_map(Weak::upgrade)
            .map(|applied| applied.subscribe())
            .collect()
    }
}

impl Default for ChangeSignal {
    fn default() -> Self {
        Self::new()
    }
}

/// A reader's end of a [`ChangeSignal`].
#[derive(Debug)]
pub struct ChangeSubscription {
    newest: watch::Receiver<u64>,
    applied: Arc<watch::Sender<u64>>,
}

impl ChangeSubscription {
    /// Waits for the next signal and returns the newest number. Signals between two calls count once.
    /// Never returns once the signal itself is gone. Cancel-safe.
    pub async fn changed(&mut self) -> u64 {
        match self.newest.changed().await {
            Ok(()) => *self.newest.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Says that everything up to `number` is visible to requests now.
    pub fn applied(&self, number: u64) {
        self.applied.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn announce_waits_for_every_reader() {
        let signal = ChangeSignal::new();
        let (a, b) = (signal.subscribe(), signal.subscribe());
        a.applied(5);
        assert!(!signal.announce(5, Duration::from_secs(1)).await, "b is behind");
        b.applied(9);
        assert!(signal.announce(5, Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_goes_away_holds_nobody_up() {
        let signal = ChangeSignal::new();
        drop(signal.subscribe());
        assert!(signal.announce(5, Duration::from_secs(1)).await);

        let late = signal.subscribe();
        let waiting = tokio::spawn({
            let signal = signal.clone();
            async move { signal.announce(6, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(late);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_lower_number_wakes_too() {
        let signal = ChangeSignal::new();
        signal.wake(10);
        let mut reader = signal.subscribe();
        signal.wake(3);
        assert_eq!(reader.changed().await, 10);
    }
}
