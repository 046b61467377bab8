use tenancy_core::TenantId;

use super::Core;

/// What happened since the start, and, when read, what is there now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) budget: usize,
    pub(crate) tenants: usize,
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) opening: usize,
    pub(crate) closing: usize,
    pub(crate) waiting: usize,
    pub(crate) breaker_open: bool,
    pub(crate) opens: u64,
    pub(crate) failed_opens: u64,
    pub(crate) closes: u64,
    pub(crate) evictions: u64,
    pub(crate) hand_overs: u64,
    pub(crate) re_points: u64,
    pub(crate) refused_full: u64,
}

/// The same of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantCounts {
    pub(crate) idle: usize,
    pub(crate) leased: usize,
    pub(crate) opening: usize,
    pub(crate) waiting: usize,
    pub(crate) breaker_open: bool,
}

impl<C> Core<C> {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            budget: self.limits.for_tenants(),
            tenants: self.seats.len(),
            open: self.open,
            idle: self.idle,
            opening: self.opening,
            closing: self.closing,
            waiting: self.waiting,
            breaker_open: !self.breaker.is_closed(),
            ..self.counts
        }
    }

    pub(crate) fn counts_of(&self, tenant: &TenantId) -> Option<TenantCounts> {
        let entry = &self.entries[*self.by_tenant.get(tenant)?];
        Some(TenantCounts {
            idle: entry.idle.len(),
            leased: entry.leased,
            opening: entry.opening,
            waiting: entry.queue.len(),
            breaker_open: !entry.breaker.is_closed(),
        })
    }
}
