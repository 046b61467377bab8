//! Minutes on their way into a store. No request waits for it.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::metrics::Counter;
use futures_util::FutureExt;

use super::store::WindowStore;

/// A store that is away for longer loses minutes.
const MOST_WAITING: usize = 10;
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Outbox {
    pub(super) store: Arc<dyn WindowStore>,
    /// Of no other process, nor of this one after a restart: what was written before stays.
    pub(super) node: String,
    waiting: Mutex<VecDeque<(u32, Arc<[u8]>)>>,
    dropped: Counter,
    pub(super) unreadable: Counter,
}

impl Outbox {
    pub(in crate::metrics) fn new(
        store: Arc<dyn WindowStore>,
        node: &str,
        dropped: Counter,
        unreadable: Counter,
    ) -> Self {
        Self {
            store,
            node: format!("{node}-{:08x}", fastrand::u32(..)),
            waiting: Mutex::default(),
            dropped,
            unreadable,
        }
    }

    /// In the place of what waits of the same minute. Drops the oldest where too many wait.
    pub(in crate::metrics) fn add(&self, minute: u32, figures: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(present, _)| *present != minute);
        waiting.push_back((minute, figures.into()));
        let too_many = waiting.len() > MOST_WAITING;
        if too_many {
            waiting.pop_front();
        }
        drop(waiting);
        if too_many {
            self.dropped.increment(1);
        }
    }

    fn first(&self) -> Option<(u32, Arc<[u8]>)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.front().cloned()
    }

    /// More of the same minute may have come meanwhile: that stays.
    fn remove(&self, written: &Arc<[u8]>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, figures)| !Arc::ptr_eq(figures, written));
    }

    /// Writes what waits, the oldest first, until the store fails. Returns whether nothing waits any more. What was not
    /// answered when this is dropped is written again.
    pub(in crate::metrics) async fn flush(&self) -> bool {
        while let Some((minute, figures)) = self.first() {
            // A store's code may panic, at once too.
            let writing = AssertUnwindSafe(async { self.store.put(minute, &self.node, &figures).await });
            match tokio::time::timeout(PATIENCE, writing.catch_unwind()).await {
                Ok(Ok(Ok(()))) => self.remove(&figures),
                Ok(Ok(Err(error))) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a minute of windows waits"
                    );
                    return false;
                }
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }
}
