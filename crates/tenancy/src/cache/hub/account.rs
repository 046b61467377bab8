//! What one process keeps of a scope.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy_core::TenantStatus;

use crate::{
    Tenant,
    cache::{
        level1::Share,
        loads::{LoadSettings, Loads},
        shared::ScopeName,
        statistics::{CacheStatistics, Counters},
        versions::ScopeVersions,
        warm::{WarmState, Warmer},
    },
    tenant::ControlBlock,
};

/// So that the first use counts on a clock that begins at zero: a second, in nanoseconds.
const OFFSET: u64 = 1_000_000_000;

/// How often a use is noted at most, in nanoseconds.
const NOTED_EVERY: u64 = 100_000_000;

/// A value of whichever type, as a load gives it.
#[derive(Clone)]
pub(crate) struct AnyValue {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    /// Made of a value that was served stale.
    pub(crate) is_of_stale: bool,
}

impl AnyValue {
    pub(crate) fn new(value: Arc<impl Any + Send + Sync>) -> Self {
        Self {
            value,
            is_of_stale: false,
        }
    }

    pub(crate) fn of_stale(self) -> Self {
        Self {
            is_of_stale: true,
            ..self
        }
    }
}

/// A handler does more than one load, and waits more: so many pages are made at once for each load that may run.
const PAGES_FOR_EACH_LOAD: usize = 4;

/// What a semaphore can count, and far more than there will be.
const MOST_PAGES_AT_ONCE: usize = 1 << 20;

/// One incarnation of a tenant.
pub(super) struct Owner {
    pub(super) block: Weak<ControlBlock>,
    pub(super) incarnation: u64,
}

impl Owner {
    /// Nobody, where this process does not know the tenant at the moment: that says nothing of whether it is there.
    fn known(&self) -> Option<Tenant> {
        self.block.upgrade().map(Tenant::new)
    }

    fn is_gone(&self, tenant: &Tenant) -> bool {
        tenant.status() == TenantStatus::Deleted || tenant.incarnation() != self.incarnation
    }
}

/// Of one scope; all handles of a process on it share it.
pub(crate) struct Account {
    pub(crate) name: ScopeName,
    pub(crate) versions: ScopeVersions,
    pub(crate) share: Arc<Share>,
    pub(crate) loads: Loads<AnyValue>,
    /// Of whole responses. Apart, for the handler that makes one may itself wait for loads: both taking turns at one place could
    /// wait for each other.
    pub(crate) page_loads: Loads<AnyValue>,
    pub(crate) counters: Counters,
    /// Whose it is; the central account's is nobody.
    owner: Mutex<Option<Owner>>,
    /// One renewal at a time.
    pub(super) renewing: tokio::sync::Mutex<()>,
    /// Counts renewals that failed, so that those who waited for one do not each wait for another. Written while `renewing`.
    pub(super) failures: AtomicU64,
    /// When it was used last, in nanoseconds plus [`OFFSET`]; 0: never.
    used_at: AtomicU64,
    /// In how many tenths of a second it was used, about.
    uses: AtomicU64,
    /// Until when its lease is renewed though nobody uses it, in milliseconds.
    renewed_until: AtomicU64,
    /// Until when it is kept though nobody uses it, in milliseconds.
    kept_until: AtomicU64,
    /// What others were told that this process has counted.
    reported: Mutex<CacheStatistics>,
    /// Of its warming; made when there are recipes.
    warm: OnceLock<Box<WarmState>>,
    /// Whether the renewal of leases knows it.
    is_listed: AtomicBool,
    /// When the last soft flush was heard of, in nanoseconds plus one; 0: never.
    soft_flushed_at: AtomicU64,
}

impl Account {
    pub(super) fn new(
        name: ScopeName,
        owner: Option<Owner>,
        versions: ScopeVersions,
        share: Arc<Share>,
        loads: LoadSettings,
    ) -> Self {
        Self {
            name,
            owner: Mutex::new(owner),
            versions,
            share,
            loads: Loads::new(loads),
            page_loads: Loads::new(LoadSettings {
                at_once: loads
                    .at_once
                    .saturating_mul(PAGES_FOR_EACH_LOAD)
                    .min(MOST_PAGES_AT_ONCE),
                ..loads
            }),
            counters: Counters::default(),
            renewing: tokio::sync::Mutex::new(()),
            failures: AtomicU64::new(0),
            used_at: AtomicU64::new(0),
            uses: AtomicU64::new(0),
            renewed_until: AtomicU64::new(0),
            kept_until: AtomicU64::new(0),
            reported: Mutex::default(),
            warm: OnceLock::new(),
            is_listed: AtomicBool::new(false),
            soft_flushed_at: AtomicU64::new(0),
        }
    }

    /// The tenant is known by another control block now.
    pub(super) fn set_owner(&self, owner: Option<Owner>) {
        *self.owner() = owner;
    }

    /// Whether its tenant was deleted, or is another incarnation now: nobody can ask for what is in it.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.with_tenant(|owner, tenant| owner.is_gone(tenant))
            .unwrap_or(false)
    }

    /// Whose it is, if it is a tenant's that is still there.
    pub(crate) fn tenant(&self) -> Option<Tenant> {
        self.with_tenant(|owner, tenant| (!owner.is_gone(tenant)).then(|| tenant.clone()))
            .flatten()
    }

    /// The lock is free again before the tenant is let go, which may run any code.
    fn with_tenant<T>(&self, look: impl FnOnce(&Owner, &Tenant) -> T) -> Option<T> {
        let owner = self.owner();
        let tenant = owner.as_ref().and_then(Owner::known);
        let seen = owner
            .as_ref()
            .zip(tenant.as_ref())
            .map(|(owner, tenant)| look(owner, tenant));
        drop(owner);
        seen
    }

    fn owner(&self) -> MutexGuard<'_, Option<Owner>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Written a few times a second at most, so that processors do not pass it around.
    #[inline]
    pub(crate) fn note_use(&self, now: Duration) {
        let now = nanoseconds(now).saturating_add(OFFSET);
        if now > self.used_at.load(Ordering::Relaxed).saturating_add(NOTED_EVERY) {
            self.used_at.store(now, Ordering::Relaxed);
            self.uses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// In how many tenths of a second requests have asked for something of it, about.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Its lease is renewed until then.
    pub(super) fn renew_until(&self, until: Duration) {
        self.renewed_until
            .fetch_max(milliseconds(until), Ordering::Relaxed);
    }

    /// It is kept until then.
    pub(super) fn keep_until(&self, until: Duration) {
        self.kept_until.fetch_max(milliseconds(until), Ordering::Relaxed);
    }

    pub(super) fn is_kept(&self, now: Duration) -> bool {
        milliseconds(now) <= self.kept_until.load(Ordering::Relaxed)
    }

    /// Whether it is in use: a request has asked for something, or it was flushed here and others may have to be told.
    pub(super) fn was_used_within(&self, time: Duration, now: Duration) -> bool {
        milliseconds(now) <= self.renewed_until.load(Ordering::Relaxed) || self.was_asked_within(time, now)
    }

    /// Whether a request has asked for something of it.
    pub(crate) fn was_asked_within(&self, time: Duration, now: Duration) -> bool {
        let Some(used_at) = self.used_at.load(Ordering::Relaxed).checked_sub(OFFSET) else {
            return false;
        };
        now.saturating_sub(Duration::from_nanos(used_at)) <= time
    }

    pub(crate) fn warm_state(&self, warmer: &Warmer) -> &WarmState {
        let make = || Box::new(WarmState::new(warmer.recipes.len(), self.loads.at_once()));
        self.warm.get_or_init(make)
    }

    /// What this process has counted.
    pub(crate) fn statistics(&self) -> CacheStatistics {
        self.counters.read(self.share.bytes(), self.share.evicted())
    }

    pub(super) fn reported(&self) -> CacheStatistics {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_reported(&self, counted: CacheStatistics) {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    }

    pub(super) fn forget_warmth(&self) {
        if let Some(state) = self.warm.get() {
            state.forget();
        }
    }

    /// Whether the caller is the one who is to put it on the list.
    pub(super) fn begin_to_be_listed(&self) -> bool {
        !self.is_listed.load(Ordering::Relaxed) && !self.is_listed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_to_be_listed(&self) {
        self.is_listed.store(false, Ordering::Release);
    }

    pub(crate) fn note_soft_flush(&self, now: Duration) {
        self.soft_flushed_at
            .fetch_max(nanoseconds(now) + 1, Ordering::AcqRel);
    }

    /// Whether what a soft flush has made stale may still be served.
    pub(crate) fn is_in_grace(&self, grace: Duration, now: Duration) -> bool {
        match self.soft_flushed_at.load(Ordering::Acquire) {
            0 => false,
            at => now.saturating_sub(Duration::from_nanos(at - 1)) < grace,
        }
    }
}

#[inline]
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
