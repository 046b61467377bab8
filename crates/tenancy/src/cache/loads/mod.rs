//! Loading a value once for all who want it at the same time, in a task of its own.

mod error;
mod nest;
mod response;
#[cfg(test)]
mod tests;

use std::{
    any::TypeId,
    collections::{HashMap, hash_map::Entry},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tenancy_core::BoxError;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout_at},
};

pub use self::error::LoadError;
use self::{error::Fault, nest::Nest};
use super::{key::CacheKey, shared::EntryName, versions::Stamp};
use crate::scope;

/// What loads of one scope may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadSettings {
    /// How long a load may take, with the wait for its turn.
    pub(crate) deadline: Duration,
    /// From when on a loader that has not ended is thought to hang, so that the next caller starts another.
    pub(crate) takeover_after: Duration,
    /// How many loaders run at the same time.
    pub(crate) at_once: usize,
    /// How many values are loaded or wait for their turn.
    pub(crate) most: usize,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            takeover_after: Duration::from_secs(5),
            at_once: 16,
            most: 1024,
        }
    }
}

/// What is loaded: one value, of one type, as of one moment. After a flush it is another one, so that nobody who came
/// later is given what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    value_type: TypeId,
    kind: &'static str,
    name: EntryName,
    stamp: Stamp,
    span: Option<u64>,
    changes: Option<u64>,
}

impl FlightKey {
    /// Allocates once.
    pub(crate) fn new<V: 'static>(key: &CacheKey<V>, stamp: Stamp) -> Self {
        Self {
            value_type: TypeId::of::<V>(),
            kind: key.kind(),
            name: key.entry_name(),
            stamp,
            span: None,
            changes: None,
        }
    }

    /// Of a load in a span of time in which nobody can say whether the stamp is the newest: others join it only within the span.
    pub(crate) fn within(self, span: Option<u64>) -> Self {
        Self { span, ..self }
    }

    /// Whether both are of one entry, as of whatever moment.
    fn is_of_same_value(&self, other: &Self) -> bool {
        self.value_type == other.value_type && self.kind == other.kind && self.name == other.name
    }

    /// Of a value whose tags are known only once it is loaded: nobody joins who came after any flush of the scope.
    pub(crate) fn begun_after(self, changes: u64) -> Self {
        Self {
            changes: Some(changes),
            ..self
        }
    }

    /// Of a load that nobody joins.
    pub(crate) fn alone<V: 'static>(kind: &'static str, stamp: Stamp) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            value_type: TypeId::of::<V>(),
            kind,
            name: EntryName::new(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes()),
            stamp,
            span: None,
            changes: None,
        }
    }
}

type Outcome<T> = Result<T, LoadError>;
type Landed<T> = watch::Sender<Option<Outcome<T>>>;
pub(crate) type LoadFuture<T> = BoxFuture<'static, Result<T, BoxError>>;

/// The loads of one scope. Whoever hangs up only stops waiting.
pub(crate) struct Loads<T> {
    board: Arc<Board<T>>,
}

struct Board<T> {
    /// Unique in the process.
    id: u64,
    settings: LoadSettings,
    turns: Semaphore,
    aloft: Mutex<HashMap<FlightKey, Aloft<T>>>,
}

/// A value that is being loaded.
struct Aloft<T> {
    landed: Arc<Landed<T>>,
    loaders: u8,
    /// When the loader that was started last got its turn.
    last_began: Option<Instant>,
    /// Told when somebody waits for it who has a turn: it must not wait for one.
    is_urgent: Arc<Notify>,
}

impl<T: Clone + Send + Sync + 'static> Loads<T> {
    pub(crate) fn new(settings: LoadSettings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            board: Arc::new(Board {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                settings,
                turns: Semaphore::new(settings.at_once),
                aloft: Mutex::default(),
            }),
        }
    }

    /// How many loaders run at the same time.
    pub(crate) fn at_once(&self) -> usize {
        self.board.settings.at_once
    }

    /// Whether a value of this name is being loaded, or waits for it. Looks at all loads.
    pub(crate) fn is_aloft(&self, name: &EntryName) -> bool {
        self.board.aloft().keys().any(|key| key.name == *name)
    }

    /// How many values are being loaded, or wait for it.
    #[cfg(test)]
    pub(crate) fn aloft(&self) -> usize {
        self.board.aloft().len()
    }

    /// Whether the caller is within a load of these.
    pub(crate) fn has_turn(&self) -> bool {
        Nest::current().is_some_and(|outer| outer.has_turn_of(self.board.id))
    }

    /// Joins the load of `key`, or starts it.
    ///
    /// What `start` returns is polled in a task of its own, once it is its turn; a loader that seems to hang gets one
    /// other beside it. The first value wakes all who wait; an error only if no other loader runs. Between a caller's
    /// look into the cache and this call a load may have ended: let the load look once more.
    ///
    /// Within another load of these, none waits for a turn: its caller has one, and keeps it meanwhile.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if there is nothing to join.
    pub(crate) fn join(&self, key: FlightKey, start: impl FnOnce() -> LoadFuture<T>) -> Flight<T> {
        let kind = key.kind;
        let outer = Nest::current();
        if outer
            .as_ref()
            .is_some_and(|outer| outer.loads_value(self.board.id, &key))
        {
            return Flight::failed(kind, Fault::Circular);
        }
        match self.board.join(key, outer) {
            Joined::Flies(landed) => Flight { kind, landed },
            Joined::Start(loader, landed) => {
                // From here on the loader ends the flight when it is dropped, also if `start` panics.
                let load = start();
                tokio::spawn(loader.run(load));
                Flight { kind, landed }
            }
            Joined::Full => Flight::failed(kind, Fault::Busy),
        }
    }
}

/// The wait for a load. Dropping it, polled or not, leaves the load alone.
pub(crate) struct Flight<T> {
    kind: &'static str,
    landed: watch::Receiver<Option<Outcome<T>>>,
}

impl<T> Flight<T> {
    fn failed(kind: &'static str, fault: Fault) -> Self {
        Self {
            kind,
            landed: watch::channel(Some(Err(LoadError::new(kind, fault)))).1,
        }
    }
}

impl<T: Clone> Flight<T> {
    pub(crate) async fn outcome(mut self) -> Outcome<T> {
        let landed = self.landed.wait_for(Option::is_some).await;
        let outcome = landed.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(LoadError::new(self.kind, Fault::Abandoned)))
    }
}

enum Joined<T> {
    Flies(watch::Receiver<Option<Outcome<T>>>),
    Start(Loader<T>, watch::Receiver<Option<Outcome<T>>>),
    Full,
}

impl<T> Board<T> {
    fn aloft(&self) -> MutexGuard<'_, HashMap<FlightKey, Aloft<T>>> {
        self.aloft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, key: FlightKey, outer: Option<Arc<Nest>>) -> Joined<T> {
        let has_turn = outer.as_ref().is_some_and(|outer| outer.has_turn_of(self.id));
        let mut aloft = self.aloft();
        let is_full = aloft.len() >= self.settings.most;
        let flight = match aloft.entry(key.clone()) {
            Entry::Vacant(_) if is_full => return Joined::Full,
            Entry::Vacant(place) => place.insert(Aloft::new()),
            Entry::Occupied(flight) => flight.into_mut(),
        };
        let receiver = flight.landed.subscribe();
        if has_turn {
            flight.is_urgent.notify_one();
        }
        if !flight.needs_a_loader(self.settings.takeover_after) {
            return Joined::Flies(receiver);
        }
        flight.loaders += 1;
        flight.last_began = None;
        let loader = Loader {
            board: Arc::clone(self),
            landed: Arc::clone(&flight.landed),
            is_urgent: Arc::clone(&flight.is_urgent),
            key,
            outer,
            has_landed: false,
        };
        Joined::Start(loader, receiver)
    }
}

impl<T> Aloft<T> {
    fn new() -> Self {
        Self {
            landed: Arc::new(watch::Sender::new(None)),
            loaders: 0,
            last_began: None,
            is_urgent: Arc::default(),
        }
    }

    fn needs_a_loader(&self, takeover_after: Duration) -> bool {
        match self.loaders {
            0 => true,
            1 => self
                .last_began
                .is_some_and(|began| began.elapsed() >= takeover_after),
            _ => false,
        }
    }
}

/// One run of a loader. It ends its part of the flight when it is dropped, by whatever way: nobody waits in vain.
struct Loader<T> {
    board: Arc<Board<T>>,
    landed: Arc<Landed<T>>,
    is_urgent: Arc<Notify>,
    key: FlightKey,
    outer: Option<Arc<Nest>>,
    has_landed: bool,
}

impl<T> Loader<T> {
    async fn run(mut self, load: LoadFuture<T>) {
        let deadline = Instant::now() + self.board.settings.deadline;
        let outcome = self.load_until(deadline, load).await;
        self.land(outcome);
    }

    async fn load_until(&self, deadline: Instant, load: LoadFuture<T>) -> Result<T, Fault> {
        let turn = timeout_at(deadline, async {
            tokio::select! {
                biased;
                turn = self.board.turns.acquire() => turn.ok(),
                () = self.is_urgent.notified() => None,
            }
        })
        .await;
        // A loader that has no time left is not called.
        if turn.is_err() || Instant::now() >= deadline {
            return Err(Fault::Busy);
        }
        self.begin();
        let load = Nest::run(self.board.id, &self.key, self.outer.clone(), load);
        match timeout_at(deadline, AssertUnwindSafe(load).catch_unwind()).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(Fault::Failed(error.into())),
            Ok(Err(panic)) => Err(Fault::Panicked(scope::panic_message(&*panic).into())),
            Err(_) => Err(Fault::TimedOut),
        }
    }

    fn begin(&self) {
        if let Some(flight) = self.board.aloft().get_mut(&self.key)
            && Arc::ptr_eq(&flight.landed, &self.landed)
        {
            flight.last_began = Some(Instant::now());
        }
    }

    fn land(&mut self, outcome: Result<T, Fault>) {
        self.has_landed = true;
        if self.ends_the_flight(outcome.is_ok()) {
            let outcome = outcome.map_err(|fault| LoadError::new(self.key.kind, fault));
            self.landed.send_replace(Some(outcome));
        }
    }

    fn ends_the_flight(&self, with_a_value: bool) -> bool {
        let mut aloft = self.board.aloft();
        let Some(flight) = aloft.get_mut(&self.key) else {
            return false;
        };
        // The other loader may have landed before, and the present flight be a later one.
        if !Arc::ptr_eq(&flight.landed, &self.landed) {
            return false;
        }
        flight.loaders -= 1;
        let ends = with_a_value || flight.loaders == 0;
        if ends {
            aloft.remove(&self.key);
        }
        ends
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        if !self.has_landed {
            self.land(Err(Fault::Abandoned));
        }
    }
}
