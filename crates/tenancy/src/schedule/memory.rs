use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tenancy_core::{Clock, LockStore, StoreError, SystemClock};

/// Leases in memory: for tests, and for services of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryLocks {
    clock: Arc<dyn Clock>,
    held: Arc<Mutex<HashMap<Box<str>, Held>>>,
}

#[derive(Debug)]
struct Held {
    holder: Box<str>,
    until: Duration,
}

impl MemoryLocks {
    /// Nothing is held.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// The same, by a clock of yours.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            held: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl LockStore for MemoryLocks {
    async fn try_acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.monotonic();
        let mut held = self.lock();
        let is_taken = |held: &Held| held.until > now && *held.holder != *holder;
        if held.get(name).is_some_and(is_taken) {
            return Ok(false);
        }
        // Locks that were left to run out, and of tenants that are gone.
        if held.len() == held.capacity() {
            held.retain(|_, held| held.until > now);
        }
        let lease = Held {
            holder: holder.into(),
            until: now.saturating_add(ttl),
        };
        held.insert(name.into(), lease);
        Ok(true)
    }

    async fn renew(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = self.clock.monotonic();
        match self.lock().get_mut(name) {
            Some(held) if held.until > now && *held.holder == *holder => {
                held.until = now.saturating_add(ttl);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let mut held = self.lock();
        if held.get(name).is_some_and(|held| *held.holder == *holder) {
            held.remove(name);
        }
        Ok(())
    }
}
