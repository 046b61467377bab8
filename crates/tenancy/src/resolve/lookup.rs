//! From a key to a tenant: at once where the answer is known, through one call of the store where it is not.
//!
//! Known is what the complete snapshot says while it follows the store, or what a bounded cache has kept. What is
//! not known is asked once for all who wait, in a task of its own: a client that hangs up neither wastes nor
//! poisons the answer. Asking for unknown keys has a budget; over it the answer is "could not tell".

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{Equivalent, sync::Cache};
use tenancy_core::{ChangeMark, ChangeSignal, KeyKind, StoreError, TenantId, TenantKey};
use tokio::sync::{Notify, watch};

use super::{
    directory::{Directory, Generation},
    settings::ResolveSettings,
};
use crate::{Tenant, home::Home, limit::Gcra, store::ErasedStore};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// The complete snapshot of a store that can be watched.
    Snapshot,
    /// The bounded cache, for a store that can not.
    Cache,
    /// The store itself, just now.
    Store,
    /// What was known before the store went away.
    Stale,
    /// Nobody asked: a [layer](crate::stack::StageLayer::for_tenant) says it of every request.
    Given,
}

impl Source {
    /// `snapshot`, `cache`, `store`, `stale` or `given`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Cache => "cache",
            Self::Store => "store",
            Self::Stale => "stale",
            Self::Given => "given",
        }
    }
}

/// How far the snapshot can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Trust {
    /// There is none, or nobody keeps it up to date.
    None = 0,
    /// It is complete and follows the store.
    Fresh = 1,
    /// It was complete; the store does not answer now.
    Stale = 2,
}

pub(crate) struct Lookup {
    pub(crate) home: Arc<Home>,
    pub(crate) store: Arc<dyn ErasedStore>,
    pub(crate) signal: Option<ChangeSignal>,
    pub(crate) directory: Directory,
    pub(crate) settings: ResolveSettings,
    trust: AtomicU8,
    /// Monotonic milliseconds of the moment for which the snapshot was last known to be right.
    verified_at: AtomicU64,
    pub(crate) trust_changed: Notify,
    /// Until the list was read once, or could not be: requests wait a moment for it rather than ask one by one.
    first_list_is_due: AtomicBool,
    pub(crate) followed: AtomicBool,
    /// Number of the last change that the snapshot has.
    pub(crate) change_number: AtomicU64,
    /// That change: where to go on when the task that follows the store has to be started again.
    mark: Mutex<ChangeMark>,
    known: Cache<TenantKey<'static>, Known, foldhash::quality::RandomState>,
    absent: Cache<TenantKey<'static>, u64, foldhash::quality::RandomState>,
    flights: Mutex<HashMap<FlightKey, watch::Receiver<Option<Answer>>>>,
    budget: Gcra,
}

/// What was found, and until when; in monotonic milliseconds.
#[derive(Clone)]
struct Known {
    tenant: Tenant,
    fresh_until: u64,
    /// Later than `fresh_until` while the store is away.
    ask_again_at: Arc<AtomicU64>,
    usable_until: u64,
}

type FlightKey = (TenantKey<'static>, Generation);
type Answer = Result<Option<Tenant>, CouldNotTell>;

/// A key that borrows, to look up one that owns.
#[derive(Hash)]
struct KeyRef<'a>(KeyKind, &'a str);

impl Equivalent<TenantKey<'static>> for KeyRef<'_> {
    fn equivalent(&self, key: &TenantKey<'static>) -> bool {
        key.kind() == self.0 && key.value() == self.1
    }
}

/// The store could not be asked, or did not answer.
#[derive(Clone, Debug)]
pub(crate) struct CouldNotTell {
    pub(crate) over_budget: bool,
    pub(crate) retry_after: Duration,
    detail: Arc<str>,
}

impl CouldNotTell {
    fn over_budget(wait: Duration) -> Self {
        Self {
            over_budget: true,
            retry_after: wait.max(Duration::from_secs(1)),
            detail: "too many look-ups of unknown keys".into(),
        }
    }

    fn store(detail: impl Into<Arc<str>>) -> Self {
        Self {
            over_budget: false,
            retry_after: Duration::from_secs(1),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for CouldNotTell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What can be said of a key without asking anybody.
pub(crate) enum Now {
    Tenant(Tenant, Source),
    NoSuchTenant,
    MustAsk,
}

impl Lookup {
    pub(crate) fn new(home: Arc<Home>, store: Arc<dyn ErasedStore>, settings: ResolveSettings) -> Self {
        let settings = settings.within_reason();
        let cache = |capacity| {
            Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(foldhash::quality::RandomState::default())
        };
        Self {
            signal: store.signal(),
            directory: Directory::new(Arc::clone(&home)),
            trust: AtomicU8::new(Trust::None as u8),
            verified_at: AtomicU64::new(0),
            trust_changed: Notify::new(),
            first_list_is_due: AtomicBool::new(store.signal().is_some()),
            followed: AtomicBool::new(false),
            change_number: AtomicU64::new(0),
            mark: Mutex::new(ChangeMark::NONE),
            known: Cache::builder()
                .max_capacity(settings.cache_capacity)
                .time_to_live(settings.max_stale.max(settings.cache_ttl))
                .build_with_hasher(foldhash::quality::RandomState::default()),
            absent: cache(settings.negative_capacity),
            flights: Mutex::default(),
            budget: Gcra::per_second(settings.misses_per_second, settings.miss_burst),
            home,
            store,
            settings,
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        match self.trust.load(Ordering::Acquire) {
            1 => Trust::Fresh,
            2 => Trust::Stale,
            _ => Trust::None,
        }
    }

    pub(crate) fn set_trust(&self, trust: Trust) {
        if self.trust.swap(trust as u8, Ordering::AcqRel) != trust as u8 {
            let following = trust == Trust::Fresh;
            self.home
                .emit(|| crate::event::Event::CatalogueFollowed { following });
            self.trust_changed.notify_waiters();
        }
    }

    /// Notes that the snapshot was right at `moment`.
    pub(crate) fn verified(&self, moment: Duration) {
        self.verified_at.store(millis(moment), Ordering::Release);
    }

    pub(crate) fn mark(&self) -> ChangeMark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which changes the snapshot has.
    pub(crate) fn set_mark(&self, mark: ChangeMark) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        self.change_number.store(mark.number, Ordering::Release);
    }

    /// Since when the snapshot could not be compared with the store.
    pub(crate) fn unverified_for(&self) -> Duration {
        let now = millis(self.home.clock.monotonic());
        Duration::from_millis(now.saturating_sub(self.verified_at.load(Ordering::Acquire)))
    }

    /// The tenant of raw bytes, if the snapshot is complete and has them as a key. `None` says nothing.
    #[inline]
    pub(crate) fn find_raw(&self, kind: KeyKind, value: &[u8]) -> Option<Tenant> {
        if self.trust.load(Ordering::Acquire) != Trust::Fresh as u8 {
            return None;
        }
        self.directory.find_raw(kind, value)
    }

    /// The hot path. Neither waits nor allocates; reads the clock only where no complete snapshot is followed.
    pub(crate) fn find_now(self: &Arc<Self>, kind: KeyKind, value: &str) -> Now {
        if self.trust.load(Ordering::Acquire) == Trust::Fresh as u8 {
            return match self.directory.find(kind, value) {
                Some(tenant) => Now::Tenant(tenant, Source::Snapshot),
                None => Now::NoSuchTenant,
            };
        }
        self.find_without_fresh_snapshot(kind, value)
    }

    #[cold]
    fn find_without_fresh_snapshot(self: &Arc<Self>, kind: KeyKind, value: &str) -> Now {
        if self.signal.is_some() {
            self.follow();
            let usable = self.trust() == Trust::Stale && self.unverified_for() <= self.settings.max_stale;
            let known = usable.then(|| self.directory.find(kind, value)).flatten();
            return known.map_or(Now::MustAsk, |tenant| Now::Tenant(tenant, Source::Stale));
        }
        let now = self.now();
        if let Some(known) = self.known.get(&KeyRef(kind, value)) {
            return if now < known.fresh_until {
                Now::Tenant(known.tenant, Source::Cache)
            } else if now < known.ask_again_at.load(Ordering::Acquire) {
                Now::Tenant(known.tenant, Source::Stale)
            } else {
                Now::MustAsk
            };
        }
        match self.absent.get(&KeyRef(kind, value)) {
            Some(until) if now < until => Now::NoSuchTenant,
            _ => Now::MustAsk,
        }
    }

    /// Waits for the first list of a store that can be watched, for a quarter of the time that a request may wait.
    pub(crate) async fn first_list(&self) {
        let list = async {
            loop {
                let changed = self.trust_changed.notified();
                if !self.first_list_is_due.load(Ordering::Acquire) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(self.settings.resolve_timeout / 4, list)
            .await
            .is_err()
        {
            self.first_list_is_over();
        }
    }

    /// The list was read, or could not be, or takes too long.
    pub(crate) fn first_list_is_over(&self) {
        if self.first_list_is_due.swap(false, Ordering::AcqRel) {
            self.trust_changed.notify_waiters();
        }
    }

    /// Asks the store, together with all others who ask for the same key. Dropping the future leaves the question
    /// running for them.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        key: TenantKey<'static>,
    ) -> Result<Option<(Tenant, Source)>, CouldNotTell> {
        let answer = match self.join_flight(&key, self.known.contains_key(&key)) {
            Ok(flight) => self.wait_for(flight).await,
            Err(refused) => Err(refused),
        };
        match answer {
            Ok(tenant) => Ok(tenant.map(|tenant| (tenant, Source::Store))),
            Err(error) => {
                let stale = self.stale(&key).ok_or(error)?;
                Ok(Some((stale, Source::Stale)))
            }
        }
    }

    /// What was known before the store went away. Looked up after the store has failed, not before it was asked: it
    /// may have been forgotten since.
    fn stale(&self, key: &TenantKey<'static>) -> Option<Tenant> {
        let known = self.known.get(key)?;
        let now = self.now();
        if now >= known.usable_until {
            return None;
        }
        // Not asked again by each request while the store is away.
        let retry_at = now + millis(self.settings.stale_retry);
        known
            .ask_again_at
            .fetch_max(retry_at.min(known.usable_until), Ordering::AcqRel);
        Some(known.tenant)
    }

    async fn wait_for(&self, mut flight: watch::Receiver<Option<Answer>>) -> Answer {
        match tokio::time::timeout(self.settings.resolve_timeout, flight.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer
                .clone()
                .unwrap_or_else(|| Err(CouldNotTell::store("the look-up ended without an answer"))),
            Ok(Err(_)) => Err(CouldNotTell::store("the look-up panicked")),
            Err(_) => Err(CouldNotTell::store("the store did not answer in time")),
        }
    }

    fn join_flight(
        self: &Arc<Self>,
        key: &TenantKey<'static>,
        known: bool,
    ) -> Result<watch::Receiver<Option<Answer>>, CouldNotTell> {
        let flight_key = (key.clone(), self.directory.generation());
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&flight_key) {
            return Ok(flight.clone());
        }
        if flights.len() >= self.settings.max_flights {
            return Err(CouldNotTell::over_budget(Duration::from_secs(1)));
        }
        if !known {
            self.budget
                .take(self.home.clock.monotonic())
                .map_err(CouldNotTell::over_budget)?;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(flight_key.clone(), receiver.clone());
        let landing = Landing {
            lookup: Arc::clone(self),
            key: flight_key,
        };
        drop(flights);
        tokio::spawn(fly(landing, sender));
        Ok(receiver)
    }

    /// Reads a record until it is one that no invalidation has overtaken.
    async fn load(&self, key: &TenantKey<'static>) -> Answer {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let read_at = self.directory.generation();
            let found = tokio::time::timeout(self.settings.load_timeout, self.store.find(key))
                .await
                .map_err(|_| CouldNotTell::store("the store did not answer in time"))?
                .map_err(|error| CouldNotTell::store(describe(&error)))?;
            match found {
                Some(record) => {
                    let remembered = self
                        .directory
                        .adopt(record, read_at, |tenant| self.remember(key, tenant));
                    if let Some(tenant) = remembered {
                        return Ok(Some(tenant));
                    }
                }
                None => {
                    self.directory
                        .remember_absence(read_at, || self.remember_absence(key));
                    if self.directory.generation() == read_at {
                        return Ok(None);
                    }
                }
            }
        }
        Err(CouldNotTell::store("the tenant kept changing while it was read"))
    }

    fn remember(&self, key: &TenantKey<'static>, tenant: &Tenant) {
        if self.signal.is_some() {
            return;
        }
        let now = self.now();
        let fresh_until = now + millis(jittered(self.settings.cache_ttl));
        self.absent.invalidate(key);
        self.known.insert(
            key.clone(),
            Known {
                tenant: tenant.clone(),
                fresh_until,
                ask_again_at: Arc::new(AtomicU64::new(fresh_until)),
                usable_until: now + millis(self.settings.max_stale),
            },
        );
    }

    fn remember_absence(&self, key: &TenantKey<'static>) {
        if self.signal.is_some() {
            return;
        }
        self.known.invalidate(key);
        self.absent.insert(
            key.clone(),
            self.now() + millis(jittered(self.settings.negative_ttl)),
        );
    }

    /// Forgets one tenant of a store that does not say what changed. The next request asks.
    pub(crate) fn forget(&self, id: &TenantId) {
        self.directory.forget(id);
        let of_tenant: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.tenant.id() == id)
            .map(|(key, _)| TenantKey::clone(&key))
            .collect();
        for key in of_tenant {
            self.known.invalidate(&key);
        }
        self.absent.invalidate_all();
    }

    /// The tenant of an id, for code that runs outside of requests.
    pub(crate) async fn by_id(self: &Arc<Self>, id: &TenantId) -> Result<Option<Tenant>, CouldNotTell> {
        match self.find_now(KeyKind::Id, id.as_str()) {
            Now::Tenant(tenant, _) => Ok(Some(tenant)),
            Now::NoSuchTenant => Ok(None),
            Now::MustAsk => {
                self.first_list().await;
                if let Now::Tenant(tenant, _) = self.find_now(KeyKind::Id, id.as_str()) {
                    return Ok(Some(tenant));
                }
                let key = TenantKey::id(id).into_owned();
                Ok(self.ask(key).await?.map(|(tenant, _)| tenant))
            }
        }
    }

    fn now(&self) -> u64 {
        millis(self.home.clock.monotonic())
    }
}

/// Asks the store once and tells everybody. Runs in a task of its own.
async fn fly(landing: Landing, sender: watch::Sender<Option<Answer>>) {
    let answer = landing.lookup.load(&landing.key.0).await;
    sender.send_replace(Some(answer));
}

/// Takes the flight off the board, also when the store panics.
struct Landing {
    lookup: Arc<Lookup>,
    key: FlightKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.lookup.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
    }
}

fn describe(error: &StoreError) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Takes up to a tenth off, so that what was loaded together does not expire together.
fn jittered(ttl: Duration) -> Duration {
    ttl.mul_f64(1.0 - 0.1 * fastrand::f64())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
