//! Who is counted under which label.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::metrics::Counter;
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    registry::Registry,
    series::{Seat, Series},
    slots::{CENTRAL, OTHER, Policy, TenantSlots, UNRESOLVED, is_label},
    spec::MetricSpec,
    top::Candidates,
    window::History,
};
use crate::Tenant;

/// Places of [`State::places`] that are always there.
pub(super) const OTHER_PLACE: usize = 0;
const CENTRAL_PLACE: usize = 1;
const UNRESOLVED_PLACE: usize = 2;
pub(super) const FIXED_PLACES: usize = 3;
/// A newcomer must be this much busier than the one whose place it takes.
const BUSIER: f64 = 1.5;
const HALF_LIFE: Duration = Duration::from_secs(600);
const MOST_EXCHANGED_AT_ONCE: usize = 10;
/// A tenant that has none may be among them, and one that was exchanged comes back into the list.
const CANDIDATES_FOR_EACH_PLACE: usize = 4;

type Assigned = HashMap<Arc<str>, Arc<Series>, RandomState>;

pub(super) struct SlotTable {
    policy: Policy,
    hold: Duration,
    /// Tells seats that hold from those that may not. Of no two tables the same.
    version: AtomicU64,
    assigned: ArcSwap<Assigned>,
    fixed: [Arc<Series>; FIXED_PLACES],
    candidates: Mutex<Candidates>,
    overflow: Counter,
}

/// What is changed by one at a time. No request waits for it.
#[derive(Default)]
pub(super) struct State {
    pub(super) places: Vec<Place>,
    /// Labels whose series are being made.
    reserved: HashSet<Arc<str>>,
    /// Series that are no more, for requests that began with them. At most as many as there are places.
    pub(super) retired: Vec<Retired>,
}

/// A label with all that was counted under it.
pub(super) struct Place {
    pub(super) series: Arc<Series>,
    pub(super) histories: Box<[History]>,
    since: Duration,
    /// Of what it had before it came, nobody knows. Zero where it had nothing.
    pub(super) known_since: Duration,
    requests: f64,
}

pub(super) struct Retired {
    pub(super) series: Arc<Series>,
    pub(super) since: Duration,
}

/// Who takes whose place.
pub(super) struct Exchange {
    leaves: Arc<Series>,
    comes: Arc<str>,
    requests: f64,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn empty_histories(series: &Series) -> Box<[History]> {
    series.live.iter().map(|_| History::default()).collect()
}

impl Place {
    fn new(series: Arc<Series>, since: Duration) -> Self {
        Self {
            histories: empty_histories(&series),
            series,
            since,
            known_since: Duration::ZERO,
            requests: 0.0,
        }
    }
}

impl SlotTable {
    pub(super) fn new(slots: TenantSlots, specs: &[MetricSpec], registry: &Registry) -> (Self, State) {
        let fixed =
            [OTHER, CENTRAL, UNRESOLVED].map(|label| Arc::new(Series::new(&label.into(), specs, registry)));
        let places = fixed
            .iter()
            .map(|series| Place::new(Arc::clone(series), Duration::ZERO));
        let state = State {
            places: places.collect(),
            ..State::default()
        };
        let table = Self {
            candidates: Mutex::new(Candidates::new(match slots.policy {
                Policy::Top(_) => slots.places().saturating_mul(CANDIDATES_FOR_EACH_PLACE),
                _ => 0,
            })),
            policy: slots.policy,
            hold: slots.hold,
            version: AtomicU64::new(next_version()),
            assigned: ArcSwap::default(),
            fixed,
            overflow: registry.counter("tenant_overflow_total", Vec::new()),
        };
        (table, state)
    }

    pub(super) fn other(&self) -> &Arc<Series> {
        &self.fixed[OTHER_PLACE]
    }

    pub(super) fn central(&self) -> &Arc<Series> {
        &self.fixed[CENTRAL_PLACE]
    }

    pub(super) fn unresolved(&self) -> &Arc<Series> {
        &self.fixed[UNRESOLVED_PLACE]
    }

    /// The one under which a tenant is counted, if the control block has it and it holds still.
    #[inline]
    pub(super) fn seated(&self, tenant: &Tenant) -> Option<Arc<Series>> {
        let version = self.version.load(Ordering::Acquire);
        let seat = tenant.metrics_seat().load();
        let seat = seat.as_ref().filter(|seat| seat.version == version)?;
        let series = seat.series()?;
        if seat.is_other {
            if let Some(uses) = seat.note_use() {
                self.offer(tenant, uses);
            }
        } else {
            series.note_use();
        }
        Some(series)
    }

    #[cold]
    fn offer(&self, tenant: &Tenant, uses: f64) {
        if let Policy::Top(_) = self.policy
            && is_label(tenant.id().as_str())
            && let Ok(mut candidates) = self.candidates.try_lock()
        {
            candidates.add(tenant.id(), uses);
        }
    }

    /// Finds a tenant's label, or gives it one, and remembers it in its control block. Waits for nobody who rotates.
    pub(super) fn seat(
        &self,
        tenant: &Tenant,
        state: &Mutex<State>,
        make: impl Fn(&Arc<str>) -> Series,
        now: Duration,
    ) -> Arc<Series> {
        // Read first: who takes the place meanwhile makes this seat an old one.
        let version = self.version.load(Ordering::Acquire);
        let series = match self.label_of(tenant) {
            None => Some(Arc::clone(self.other())),
            Some(label) => match self.assigned.load().get(&label) {
                Some(series) => Some(Arc::clone(series)),
                None => self.open(&label, state, make, now),
            },
        };
        let Some(series) = series else {
            return Arc::clone(self.other());
        };
        let is_other = Arc::ptr_eq(&series, self.other());
        let seat = Seat::new(version, &series, is_other);
        tenant.metrics_seat().store(Some(Arc::new(seat)));
        series
    }

    fn label_of(&self, tenant: &Tenant) -> Option<Arc<str>> {
        let label: Arc<str> = match &self.policy {
            Policy::Off => return None,
            Policy::Allow(tenants) => tenants.get(tenant.id())?.as_str().into(),
            Policy::Tier(_) => tenant.record().plan.as_deref()?.into(),
            Policy::Top(_) | Policy::All(_) => tenant.id().as_str().into(),
        };
        is_label(&label).then_some(label)
    }

    /// Whether a tenant of this id can ever be counted under it.
    pub(super) fn can_have_slot(&self, id: &str) -> bool {
        !matches!(self.policy, Policy::Tier(_)) && is_label(id)
    }

    fn places(&self) -> usize {
        match &self.policy {
            Policy::Off => 0,
            Policy::Allow(tenants) => tenants.len(),
            Policy::Tier(most) | Policy::Top(most) | Policy::All(most) => *most,
        }
    }

    /// A new series, if there is room; `_other` if there is none; `None` if that can not be said without waiting.
    fn open(
        &self,
        label: &Arc<str>,
        state: &Mutex<State>,
        make: impl Fn(&Arc<str>) -> Series,
        now: Duration,
    ) -> Option<Arc<Series>> {
        let reservation = match self.reserve(label, state)? {
            Reserved::Found(series) => return Some(series),
            Reserved::Full => {
                self.overflow.increment(1);
                return Some(Arc::clone(self.other()));
            }
            Reserved::Room(reservation) => reservation,
        };
        // The recorder is called by this: not under the lock.
        let series = Arc::new(make(label));
        let mut state = lock(state);
        state.places.push(Place::new(Arc::clone(&series), now));
        self.publish(&state);
        drop(state);
        drop(reservation);
        Some(series)
    }

    fn reserve<'a>(&self, label: &Arc<str>, state: &'a Mutex<State>) -> Option<Reserved<'a>> {
        let mut held = match state.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if let Some(place) = held.places.iter().find(|place| place.series.label() == label) {
            return Some(Reserved::Found(Arc::clone(&place.series)));
        }
        if held.places.len() + held.reserved.len() >= self.places() + FIXED_PLACES {
            return Some(Reserved::Full);
        }
        if !held.reserved.insert(Arc::clone(label)) {
            return None;
        }
        Some(Reserved::Room(Reservation {
            state,
            label: Arc::clone(label),
        }))
    }

    fn publish(&self, state: &State) {
        let own = state.places.iter().skip(FIXED_PLACES);
        let assigned = own.map(|place| (Arc::clone(place.series.label()), Arc::clone(&place.series)));
        self.assigned.store(Arc::new(assigned.collect()));
    }

    /// Judges anew who is busy; to be carried out by [`exchange`](Self::exchange).
    pub(super) fn judge(&self, state: &mut State, now: Duration, elapsed: Duration) -> Vec<Exchange> {
        let factor = (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        for place in &mut state.places {
            place.requests = place.requests * factor + place.series.take_uses() as f64;
        }
        match self.policy {
            Policy::Top(_) => self.compare(state, now, factor),
            Policy::Tier(_) => {
                // A plan may have changed.
                self.outdate_seats();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn compare(&self, state: &State, now: Duration, factor: f64) -> Vec<Exchange> {
        let mut candidates = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        candidates.decay(factor);
        let own = state.places.iter().skip(FIXED_PLACES);
        let mut may_leave: Vec<&Place> = own
            .filter(|place| now.saturating_sub(place.since) >= self.hold)
            .collect();
        may_leave.sort_by(|one, other| one.requests.total_cmp(&other.requests));
        let mut exchanges = Vec::new();
        // Each that leaves keeps its cells for a while: there is memory for as many as there are places.
        let room = self.places().saturating_sub(state.retired.len());
        for place in may_leave.into_iter().take(room.min(MOST_EXCHANGED_AT_ONCE)) {
            let Some((id, requests)) = candidates.take_busier_than(place.requests * BUSIER) else {
                break;
            };
            let label: Arc<str> = id.as_str().into();
            if self.assigned.load().contains_key(&label) {
                continue;
            }
            exchanges.push(Exchange {
                leaves: Arc::clone(&place.series),
                comes: label,
                requests,
            });
        }
        exchanges
    }

    /// Gives places to others. What was counted under a label that leaves goes into `_other`, so that totals stay.
    pub(super) fn exchange(
        &self,
        exchanges: Vec<Exchange>,
        state: &Mutex<State>,
        make: impl Fn(&Arc<str>) -> Series,
        now: Duration,
        limit: usize,
    ) {
        if exchanges.is_empty() {
            return;
        }
        let made: Vec<_> = exchanges
            .into_iter()
            .map(|exchange| (Arc::new(make(&exchange.comes)), exchange))
            .collect();
        let mut state = lock(state);
        for (series, exchange) in made {
            state.replace(&series, &exchange, now, limit);
        }
        self.publish(&state);
        drop(state);
        self.outdate_seats();
    }

    fn outdate_seats(&self) {
        self.version.store(next_version(), Ordering::Release);
    }
}

impl State {
    pub(super) fn slots_in_use(&self) -> usize {
        self.places.len().saturating_sub(FIXED_PLACES)
    }

    fn replace(&mut self, series: &Arc<Series>, exchange: &Exchange, now: Duration, limit: usize) {
        let is_there = |label| self.places.iter().any(|place| place.series.label() == label);
        if is_there(&exchange.comes) {
            return;
        }
        let mut places = self.places.iter_mut();
        let Some(place) = places.find(|place| Arc::ptr_eq(&place.series, &exchange.leaves)) else {
            return;
        };
        place.series = Arc::clone(series);
        place.since = now;
        place.known_since = now;
        place.requests = exchange.requests;
        let left = std::mem::replace(&mut place.histories, empty_histories(series));
        if let Some(other) = self.places.get_mut(OTHER_PLACE) {
            for (history, left) in other.histories.iter_mut().zip(left) {
                history.absorb(left, limit);
            }
        }
        self.retired.push(Retired {
            series: Arc::clone(&exchange.leaves),
            since: now,
        });
    }
}

enum Reserved<'a> {
    Found(Arc<Series>),
    Full,
    Room(Reservation<'a>),
}

/// Room that is taken while a series is made; given back also if that panics.
struct Reservation<'a> {
    state: &'a Mutex<State>,
    label: Arc<str>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        lock(self.state).reserved.remove(&self.label);
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
