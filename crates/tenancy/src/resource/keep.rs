//! Where objects are kept: one bounded map for the process, and for each tenant what it has in it.
//!
//! Nothing of a user's is run, made or dropped while a lock of this file is held.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::watch;

use super::{Object, Outcome, Slot};

/// Where one object is kept. Places are never used again: a block has a number of its own, and a version counts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    block: u64,
    version: u64,
    slot: Slot,
}

/// The objects of all tenants of one stack.
pub(crate) struct Resources {
    shared: Arc<Shared>,
}

struct Shared {
    objects: Cache<Place, Object>,
    next_block: AtomicU64,
    /// What tenants left behind whose blocks are gone. Dropped when the next object is made: blocks are freed
    /// anywhere, also while the map is at work.
    orphans: Mutex<Vec<Place>>,
}

impl Resources {
    pub(crate) fn at_most(limit: u64) -> Self {
        let objects = Cache::builder()
            .max_capacity(limit)
            // The default policy may turn a new object away.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self {
            shared: Arc::new(Shared {
                objects,
                next_block: AtomicU64::new(0),
                orphans: Mutex::default(),
            }),
        }
    }

    pub(crate) fn of_new_tenant(&self) -> TenantResources {
        TenantResources {
            block: self.shared.next_block.fetch_add(1, Ordering::Relaxed),
            version: AtomicU64::new(0),
            state: Mutex::default(),
            shared: Arc::clone(&self.shared),
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.shared.objects.run_pending_tasks();
        self.shared.objects.entry_count()
    }
}

impl Shared {
    fn drop_objects(&self, places: &[Place]) {
        // What a user's drop does is not ours: it must not take the task down that follows the catalogue.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            for place in places {
                self.objects.invalidate(place);
            }
            self.objects.run_pending_tasks();
        }));
        if dropped.is_err() {
            tracing::error!("an object of a tenant panicked while it was dropped");
        }
    }

    fn take_orphans(&self) -> Vec<Place> {
        std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one tenant has.
pub(crate) struct TenantResources {
    block: u64,
    /// Counts the changes of the record. What was begun before a change is not kept after it.
    version: AtomicU64,
    state: Mutex<State>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    kept: Vec<Place>,
    flights: HashMap<Place, watch::Receiver<Option<Outcome>>>,
}

/// What there is to do for who wants an object.
pub(super) enum Begun {
    There(Object),
    Flies(watch::Receiver<Option<Outcome>>),
    Start(
        Place,
        watch::Sender<Option<Outcome>>,
        watch::Receiver<Option<Outcome>>,
    ),
}

impl TenantResources {
    pub(super) fn begin(&self, slot: Slot) -> Begun {
        loop {
            let place = Place {
                block: self.block,
                version: self.version.load(Ordering::Acquire),
                slot,
            };
            if let Some(object) = self.shared.objects.get(&place) {
                return Begun::There(object);
            }
            let mut state = self.lock();
            if let Some(landed) = state.flights.get(&place) {
                return Begun::Flies(landed.clone());
            }
            // It may have landed since. (`get` may drop other objects, which must not happen under the lock.)
            if !self.shared.objects.contains_key(&place) {
                let (flight, landed) = watch::channel(None);
                state.flights.insert(place, landed.clone());
                return Begun::Start(place, flight, landed);
            }
        }
    }

    /// Takes a flight off the board, and keeps what it made unless the tenant has changed since it began.
    pub(super) fn end(&self, place: Place, object: Option<&Object>) {
        if let Some(object) = object {
            self.shared.objects.insert(place, Arc::clone(object));
        }
        let mut state = self.lock();
        state.flights.remove(&place);
        let is_current = place.version == self.version.load(Ordering::Acquire);
        if object.is_some() && is_current {
            state.kept.retain(|kept| kept.slot != place.slot);
            state.kept.push(place);
        }
        drop(state);
        if object.is_some() {
            let mut gone = self.shared.take_orphans();
            gone.extend((!is_current).then_some(place));
            self.shared.drop_objects(&gone);
        }
    }

    /// From now on, nobody is given what was made before.
    pub(crate) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops what is outdated. Runs the drops of users' types: no lock may be held.
    pub(crate) fn drop_outdated(&self) {
        let mut state = self.lock();
        let version = self.version.load(Ordering::Acquire);
        let (kept, gone) = state.kept.iter().partition(|place| place.version == version);
        state.kept = kept;
        drop(state);
        self.shared.drop_objects(&gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TenantResources {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut self.lock().kept);
        let mut orphans = self.shared.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.extend(kept);
    }
}
