//! How an entry comes that this process does not have: from the shared level, or by loading it.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tenancy_core::BoxError;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tracing::Instrument as _;

use super::{
    Cache, CacheKey, CacheValue, EntryOptions, LoadError, Loaded,
    fill::{Life, longest},
    handle::Whose,
    hub::AnyValue,
    loads::{Flight, FlightKey},
    look::{Found, Stale},
    options::Slots,
    versions::{Snapshot, Stamp},
};
use crate::{
    memory::Metering,
    scope::{self, Scope, metered},
};

/// Two clocks that read an entry's end differ by less.
const CLEARLY: Duration = Duration::from_millis(100);

/// What is needed for loading one entry, in a task of its own.
pub(super) struct Job<V> {
    pub(super) cache: Cache,
    pub(super) key: CacheKey<V>,
    pub(super) life: Life,
    pub(super) slots: Vec<u16>,
    /// Not if it has just not answered: nobody waits for it twice.
    pub(super) asks_shared: bool,
    pub(super) _spare_turn: Option<OwnedSemaphorePermit>,
    manner: Manner,
    /// Told when the value is kept.
    kept: Arc<AtomicBool>,
}

/// How an entry is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// What it depends on is known before.
    Value,
    /// It says so itself, once it is loaded.
    TaggedLate,
    /// The same, of a whole response.
    Page,
}

/// A value, and how it was had.
pub(crate) struct Remembered<V> {
    pub(crate) value: Arc<V>,
    pub(crate) how: How,
    /// Whether this caller's own load has made it, and it was kept.
    pub(crate) is_kept: bool,
}

impl<V> Remembered<V> {
    fn fresh(value: Arc<V>) -> Self {
        Self {
            value,
            how: How::Fresh,
            is_kept: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It was here.
    Fresh,
    /// It was here, and is flushed softly or too old.
    Stale,
    /// By a flight that this caller has begun. The value may have been in the shared level.
    Led,
    /// By another caller's.
    Joined,
}

/// What the numbers were before a load.
enum Before {
    Stamp(Stamp),
    All(Snapshot),
}

/// What came of making sure of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    NotNeeded,
    Done,
    Failed,
}

impl Cache {
    /// Asks the shared level, and where needed whether this process is up to date.
    pub(super) async fn get_slowly<V: CacheValue>(&self, key: &CacheKey<V>) -> Option<Arc<V>> {
        self.hub.run();
        let renewal = self.renew_if_lapsed().await;
        if renewal != Renewal::NotNeeded
            && let Found::Fresh { value, .. } = self.look_while(key, renewal == Renewal::Failed)
        {
            return Some(value);
        }
        let value = match renewal {
            Renewal::Failed => None,
            Renewal::NotNeeded | Renewal::Done => self.fetch_one(key, self.wanted()).await,
        };
        if value.is_none() && self.warming.is_none() {
            self.account.counters.misses.add();
        }
        value
    }

    pub(super) async fn get_missing<V: CacheValue>(
        &self,
        keys: &[CacheKey<V>],
        values: &mut [Option<Arc<V>>],
    ) {
        self.hub.run();
        let renewal = self.renew_if_lapsed().await;
        if renewal != Renewal::NotNeeded {
            for (key, value) in keys.iter().zip(values.iter_mut()) {
                if value.is_none()
                    && let Found::Fresh { value: found, .. } =
                        self.look_while(key, renewal == Renewal::Failed)
                {
                    *value = Some(found);
                }
            }
        }
        if renewal != Renewal::Failed {
            self.fetch_missing(keys, values, self.wanted()).await;
        }
        if self.warming.is_some() {
            return;
        }
        for _ in values.iter().filter(|value| value.is_none()) {
            self.account.counters.misses.add();
        }
    }

    /// Makes sure that the numbers of this process are the newest, if that can be had.
    pub(super) async fn renew_if_lapsed(&self) -> Renewal {
        let Some(link) = &self.hub.link else {
            return Renewal::NotNeeded;
        };
        if self.account.versions.holds_lease(self.now()) {
            return Renewal::NotNeeded;
        }
        match self.hub.renew(link, &self.account).await {
            Ok(()) => Renewal::Done,
            Err(_) => Renewal::Failed,
        }
    }

    pub(super) async fn remember_slowly<V, E, Loading>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
        load: impl FnOnce() -> Loading + Send + 'static,
        found: Found<V>,
    ) -> Result<Arc<V>, LoadError>
    where
        V: CacheValue,
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<V, E>> + Send + 'static,
    {
        let load = async move || load().await.map(Loaded::new);
        let remembered = self.remember_with(key, options, load, found, Manner::Value).await;
        remembered.map(|remembered| remembered.value)
    }

    /// What is here and fresh, unless this caller is to load it anew: then what is left of its time.
    pub(crate) fn peek<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
    ) -> Result<Arc<V>, Option<Duration>> {
        let found = self.look(key);
        match (self.serves_at_once(&found, options), found) {
            (Some(value), _) => Ok(value),
            (None, Found::Fresh { early, .. }) => Err(early),
            (None, Found::Stale(_) | Found::Unsure | Found::Nothing) => Err(None),
        }
    }

    /// Since 1970: for what leaves the process.
    pub(crate) fn unix_time(&self) -> Duration {
        self.hub.clock.unix_time()
    }

    /// Of a whole response, unless it is here and fresh. `early`: what a [`peek`](Self::peek) said, for chance decides once.
    pub(crate) async fn remember_page<V, E, Loading>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
        early: Option<Duration>,
        load: impl FnOnce() -> Loading + Send + 'static,
    ) -> Result<Remembered<V>, LoadError>
    where
        V: CacheValue,
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        let found = match self.look(key) {
            Found::Fresh { value, .. } => Found::Fresh { value, early },
            found => found,
        };
        if let Some(value) = self.serves_at_once(&found, options) {
            return Ok(Remembered::fresh(value));
        }
        self.remember_with(key, options, load, found, Manner::Page).await
    }

    pub(super) async fn remember_with<V, E, Loading>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
        load: impl FnOnce() -> Loading + Send + 'static,
        mut found: Found<V>,
        manner: Manner,
    ) -> Result<Remembered<V>, LoadError>
    where
        V: CacheValue,
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        self.hub.run();
        let renewal = match &found {
            Found::Fresh { .. } => Renewal::NotNeeded,
            Found::Stale(_) | Found::Unsure | Found::Nothing => self.renew_if_lapsed().await,
        };
        if renewal != Renewal::NotNeeded {
            found = self.look_while(key, renewal == Renewal::Failed);
            if let Some(value) = self.serves_at_once(&found, options) {
                return Ok(Remembered::fresh(value));
            }
        }
        let slots = slots_of(key, options);
        let spare_turn = self.spare_turn().await;
        // Before the stamp: what is read under a lease is known to be the newest.
        let span = self.span_without_lease();
        // Before the load, and before the question to the shared level.
        let changes = self.account.versions.changes();
        let stamp = self.account.versions.stamp(&slots);
        let flight = FlightKey::new(key, stamp).within(span);
        let (loads, flight) = match manner {
            Manner::Value => (&self.account.loads, flight),
            Manner::TaggedLate => (&self.account.loads, flight.begun_after(changes)),
            Manner::Page => (&self.account.page_loads, flight.begun_after(changes)),
        };
        let job = Job {
            cache: self.clone(),
            key: key.clone(),
            life: Life::of(options, &self.hub.settings),
            slots,
            asks_shared: renewal != Renewal::Failed,
            _spare_turn: spare_turn,
            manner,
            kept: Arc::default(),
        };
        let kept = Arc::clone(&job.kept);
        let early = match &found {
            Found::Fresh { early, .. } => *early,
            Found::Stale(_) | Found::Unsure | Found::Nothing => None,
        };
        let mut is_leader = false;
        let flight = loads.join(flight, || {
            is_leader = true;
            let metering = match manner {
                // What stays of a load is the cache's, not the request's that happens to ask first.
                Manner::Value | Manner::TaggedLate => Metering::of_cache(),
                // A handler runs there.
                Manner::Page => Metering::carried(),
            };
            // The caller's span: the load runs in another task.
            Box::pin(metered(job.run(load, early), metering).in_current_span())
        });
        self.note_flight(is_leader, early.is_some());
        let awaited = if is_leader { How::Led } else { How::Joined };
        let (value, how) = match found {
            // A recipe has ended when all is there.
            _ if self.warming.is_some() => (typed(key, flight.outcome().await)?, awaited),
            // The load goes on by itself.
            Found::Fresh { value, .. } => (value, How::Fresh),
            Found::Stale(stale) => match self.wait_beside(key, stale, flight).await? {
                Beside::Stale(value) => (value, How::Stale),
                Beside::New(value) => (value, awaited),
            },
            Found::Unsure | Found::Nothing => match flight.outcome().await {
                // The shared level may have had a stale one, which is here now.
                Err(error) => self.found_after(key, error)?,
                loaded => (typed(key, loaded)?, awaited),
            },
        };
        // Of a caller that is given another one's value the own load may still run.
        let is_kept = how == How::Led && kept.load(Ordering::Acquire);
        Ok(Remembered { value, how, is_kept })
    }

    /// Without a lease a load may have begun before a flush that this process has not heard of, so that only those join it who come
    /// within the time in which nobody is promised to hear of one.
    fn span_without_lease(&self) -> Option<u64> {
        let now = self.now();
        let span = || now.as_millis() / self.hub.settings.staleness_bound.as_millis().max(1);
        (!self.account.versions.holds_lease(now)).then(|| u64::try_from(span()).unwrap_or(u64::MAX))
    }

    /// Requests have turns of their own, that recipes do not take; who joins what a recipe loads does not wait for its turn.
    pub(super) async fn spare_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.warming.as_ref()?;
        // One that loads within a load has one.
        if self.account.loads.has_turn() {
            return None;
        }
        let turns = &self.account.warm_state(&self.hub.warmer).spare_turns;
        Arc::clone(turns).acquire_owned().await.ok()
    }

    fn note_flight(&self, is_leader: bool, is_early: bool) {
        if self.warming.is_some() {
            return;
        }
        let counters = &self.account.counters;
        match (is_leader, is_early) {
            (true, true) => counters.early_refreshes.add(),
            (false, false) => counters.coalesced.add(),
            // Whether it is a miss the shared level has to say.
            (true, false) | (false, true) => {}
        }
    }

    fn found_after<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        error: LoadError,
    ) -> Result<(Arc<V>, How), LoadError> {
        match self.look(key) {
            Found::Fresh { value, .. } => Ok((value, How::Fresh)),
            Found::Stale(stale) => {
                self.account.counters.stale.add();
                scope::note_stale();
                Ok((stale.value, How::Stale))
            }
            Found::Unsure | Found::Nothing => Err(error),
        }
    }

    /// The new value if it comes soon, else the stale one. What was flushed hard meanwhile is not served.
    async fn wait_beside<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        stale: Stale<V>,
        flight: Flight<AnyValue>,
    ) -> Result<Beside<V>, LoadError> {
        if stale.is_flushed {
            return Ok(self.serve_stale(stale));
        }
        let mut loading = pin!(flight.outcome());
        let loaded = match timeout(self.hub.settings.soft_timeout, &mut loading).await {
            Ok(Err(_)) | Err(_) if self.is_still_usable(&stale) => {
                return Ok(self.serve_stale(stale));
            }
            Ok(loaded) => loaded,
            // There is nothing to serve any more: as if there had been nothing.
            Err(_) => loading.await,
        };
        typed(key, loaded).map(Beside::New)
    }

    fn serve_stale<V>(&self, stale: Stale<V>) -> Beside<V> {
        self.account.counters.stale.add();
        // A page that is made of it is no newer.
        scope::note_stale();
        Beside::Stale(stale.value)
    }
}

/// What came of a load beside a stale value.
enum Beside<V> {
    Stale(Arc<V>),
    New(Arc<V>),
}

impl<V: CacheValue> Job<V> {
    async fn run<E, Loading>(
        self,
        load: impl FnOnce() -> Loading + Send + 'static,
        early: Option<Duration>,
    ) -> Result<AnyValue, BoxError>
    where
        E: Into<BoxError> + 'static,
        Loading: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        // It may have been loaded, or put, since the caller looked.
        if early.is_none()
            && let Some(value) = self.cache.get_now(&self.key)
        {
            return Ok(AnyValue::new(value));
        }
        // Who loads early wants one that lives on for longer: here an entry may end sooner than in the shared level.
        let for_longer_than = match &self.cache.warming {
            Some(warming) => warming.wanted(),
            None => early.map_or(Duration::ZERO, |left| left * 2 + CLEARLY),
        };
        if self.asks_shared
            && let Some(value) = self.cache.fetch_one(&self.key, for_longer_than).await
        {
            return Ok(AnyValue::new(value));
        }
        // Again: the answer of the shared level may have raised numbers, and it is still before the load.
        let before = self.numbers_before();
        let began = self.cache.now();
        self.cache.account.counters.loads.add();
        if early.is_none() && self.cache.warming.is_none() {
            self.cache.account.counters.misses.add();
        }
        let (loaded, saw_stale) = self
            .cache
            .in_scope(async move { (load().await, scope::has_seen_stale()) })
            .await;
        match loaded {
            // Made of what is old already: it is as good as that for those who wait, and not for those who come.
            Ok(loaded) if saw_stale && !loaded.says_nothing_of_values => {
                let value = self.keep(loaded.ttl(Duration::ZERO), before, began);
                Ok(AnyValue::new(value).of_stale())
            }
            Ok(loaded) => Ok(AnyValue::new(self.keep(loaded, before, began))),
            Err(error) => {
                self.cache.account.counters.failed_loads.add();
                Err(error.into())
            }
        }
    }

    fn numbers_before(&self) -> Before {
        let versions = &self.cache.account.versions;
        match self.manner {
            Manner::Value => Before::Stamp(versions.stamp(&self.slots)),
            Manner::TaggedLate | Manner::Page => Before::All(versions.snapshot()),
        }
    }

    fn keep(&self, loaded: Loaded<V>, before: Before, began: Duration) -> Arc<V> {
        let mut life = match loaded.ttl {
            Some(ttl) => self.life.with_ttl(ttl),
            None => self.life,
        };
        life.stale = loaded.stale_for.map_or(life.stale, longest);
        let stamp = match before {
            Before::Stamp(stamp) => stamp,
            Before::All(snapshot) => snapshot.stamp(&self.slots_with(&loaded.slots)),
        };
        let kept = self.cache.keep(&self.key, loaded.value, stamp, life, began);
        // Before the flight ends, by which it is seen.
        self.kept.store(kept.is_kept, Ordering::Release);
        self.cache.store_later(kept.to_share.into_iter().collect());
        kept.value
    }

    fn slots_with(&self, late: &Slots) -> Vec<u16> {
        self.slots.iter().copied().chain(late.iter()).collect()
    }
}

impl Cache {
    /// The scope and its part of the cache are open in every poll.
    pub(super) async fn in_scope<T>(&self, load: impl Future<Output = T> + Send) -> T {
        let scope = match &self.whose {
            Whose::Tenant(tenant) => Scope::Tenant(tenant.clone()),
            Whose::Central => Scope::Central,
        };
        scope::run_load(scope, load).await
    }
}

pub(super) fn slots_of<V>(key: &CacheKey<V>, options: &EntryOptions) -> Vec<u16> {
    let own = key.slot();
    options.slots.iter().chain([own]).collect()
}

/// The key of a load has the type of its value in it. Who is given what was made of a stale value has seen one.
pub(super) fn typed<V: Send + Sync + 'static, K>(
    key: &CacheKey<K>,
    loaded: Result<AnyValue, LoadError>,
) -> Result<Arc<V>, LoadError> {
    let loaded = loaded?;
    if loaded.is_of_stale {
        scope::note_stale();
    }
    let value = loaded.value.downcast::<V>();
    value.map_err(|_| LoadError::abandoned(key.kind()))
}
