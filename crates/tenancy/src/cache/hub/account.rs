//! What one process keeps of a scope.

use std::{
    any::Any,
    sync::{
        Arc, Weak,
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
        statistics::Counters,
        versions::ScopeVersions,
    },
    tenant::ControlBlock,
};

/// A value of whichever type.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

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
    fn is_gone(&self) -> bool {
        let tenant = self.block.upgrade().map(Tenant::new);
        tenant.is_none_or(|tenant| {
            tenant.status() == TenantStatus::Deleted || tenant.incarnation() != self.incarnation
        })
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
    owner: Option<Owner>,
    /// One renewal at a time.
    pub(super) renewing: tokio::sync::Mutex<()>,
    /// When a renewal failed last, so that those who waited for it do not each wait for another.
    pub(super) failed_at: AtomicU64,
    /// When it was used last, in milliseconds.
    used_at: AtomicU64,
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
            owner,
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
            failed_at: AtomicU64::new(0),
            used_at: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
            soft_flushed_at: AtomicU64::new(0),
        }
    }

    /// Whether its tenant was deleted, or is another incarnation now: nobody can ask for what is in it.
    pub(super) fn is_orphaned(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_gone)
    }

    /// Written a few times a second at most, so that processors do not pass it around.
    #[inline]
    pub(crate) fn note_use(&self, now: Duration) {
        let now = milliseconds(now);
        if now > self.used_at.load(Ordering::Relaxed) + 100 {
            self.used_at.store(now, Ordering::Relaxed);
        }
    }

    /// It counts as used until then.
    pub(super) fn note_use_until(&self, until: Duration) {
        self.used_at.fetch_max(milliseconds(until), Ordering::Relaxed);
    }

    pub(super) fn was_used_within(&self, time: Duration, now: Duration) -> bool {
        let used_at = Duration::from_millis(self.used_at.load(Ordering::Relaxed));
        now.saturating_sub(used_at) <= time
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

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
