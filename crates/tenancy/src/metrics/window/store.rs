//! Where processes leave their minutes for each other.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};

use super::history::MINUTES_KEPT;

/// Keeps minutes of processes for two hours, for windows over all of them: Redis, a database, or
/// [this process's memory](MemoryWindowStore).
///
/// Each process writes its own minutes only, those without values too, so that others know of it; and each of them whole: writing twice is harmless, and no two write the same. What a
/// store says is never believed: bytes that are no figures are passed over.
pub trait WindowStore: Send + Sync + fmt::Debug + 'static {
    /// Keeps a node's minute, in the place of what was there. Minutes are counted since 1970-01-01 UTC.
    fn put<'a>(
        &'a self,
        minute: u32,
        node: &'a str,
        figures: &'a [u8],
    ) -> BoxFuture<'a, Result<(), WindowStoreError>>;

    /// What all nodes have written of these minutes, in any order.
    fn read(&self, minutes: RangeInclusive<u32>) -> BoxFuture<'_, Result<Vec<NodeMinute>, WindowStoreError>>;
}

/// A minute of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMinute {
    /// Minutes since 1970-01-01 UTC.
    pub minute: u32,
    /// Which process it is of.
    pub node: String,
    /// As it was written.
    pub figures: Bytes,
}

/// A store did not do what it was asked to.
#[derive(Clone, Debug)]
pub struct WindowStoreError {
    source: Arc<dyn Error + Send + Sync>,
}

impl WindowStoreError {
    /// For implementations: what went wrong.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into().into(),
        }
    }
}

impl fmt::Display for WindowStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store of windows did not answer as it should")
    }
}

impl Error for WindowStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Minutes in this process's memory: for tests, and for several [`Metrics`](crate::metrics::Metrics) in one process. Clones share
/// them.
#[derive(Clone, Default)]
pub struct MemoryWindowStore {
    minutes: Arc<Mutex<BTreeMap<(u32, String), Bytes>>>,
}

impl MemoryWindowStore {
    /// Without any.
    pub fn new() -> Self {
        Self::default()
    }
}

impl WindowStore for MemoryWindowStore {
    fn put<'a>(
        &'a self,
        minute: u32,
        node: &'a str,
        figures: &'a [u8],
    ) -> BoxFuture<'a, Result<(), WindowStoreError>> {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.insert((minute, node.to_owned()), Bytes::copy_from_slice(figures));
        let first = minute.saturating_sub(MINUTES_KEPT);
        minutes.retain(|(minute, _), _| *minute >= first);
        ready(Ok(())).boxed()
    }

    fn read(&self, minutes: RangeInclusive<u32>) -> BoxFuture<'_, Result<Vec<NodeMinute>, WindowStoreError>> {
        let kept = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let asked_for = kept.iter().filter(|((minute, _), _)| minutes.contains(minute));
        let read = asked_for.map(|((minute, node), figures)| NodeMinute {
            minute: *minute,
            node: node.clone(),
            figures: figures.clone(),
        });
        ready(Ok(read.collect())).boxed()
    }
}

impl fmt::Debug for MemoryWindowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWindowStore").finish_non_exhaustive()
    }
}
