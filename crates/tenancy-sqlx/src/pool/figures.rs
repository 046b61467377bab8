use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::core::{Counts, TenantCounts};

/// What one server's pool has, and what it did since it was made.
///
/// Read under one lock, so that the parts fit together: `open` is `idle + leased + dirty + opening + closing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolFigures {
    /// The most that may be open for tenants: the server's budget without the connection for cancelling.
    pub budget: usize,
    /// The budget that this process has a share of; `budget` is what the share leaves for tenants, 0 without one. `None`
    /// where no other process shares it.
    pub shared_budget: Option<usize>,
    /// How often the share was given up, because the catalogue could not be asked for more time.
    pub shares_lost: u64,
    /// Tenants that have connections.
    pub tenants: usize,
    /// Connections that exist, are being opened or are being closed. Never more than the budget, but for a moment after
    /// it was made smaller.
    pub open: usize,
    /// Ready for use.
    pub idle: usize,
    /// In use.
    pub leased: usize,
    /// Given back, not reset yet.
    pub dirty: usize,
    /// Being opened.
    pub opening: usize,
    /// Being closed.
    pub closing: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Whether opening is not tried at the moment, because the server failed.
    pub breaker_open: bool,
    /// Connections opened.
    pub opens: u64,
    /// Connects that failed.
    pub failed_opens: u64,
    /// Connections closed, however.
    pub closes: u64,
    /// Connections closed so that another tenant could open one.
    pub evictions: u64,
    /// Connections that went to a waiting request.
    pub hand_overs: u64,
    /// Connections that went to another tenant of the same database.
    pub re_points: u64,
    /// Requests refused because so many of their tenant waited already.
    pub refused_full: u64,
    /// Connections reset after use.
    pub resets: u64,
    /// Abandoned statements cancelled on the server.
    pub cancels: u64,
    /// Connections closed because their last use left something that can not be taken away.
    pub stained: u64,
    /// Connections closed without a good-bye, because they did not answer.
    pub closed_hard: u64,
    /// Connections whose reset another session answered: a pooler stands in between.
    pub other_sessions: u64,
}

/// The same of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantFigures {
    /// Ready for use.
    pub idle: usize,
    /// In use, or not reset yet.
    pub leased: usize,
    /// Being opened.
    pub opening: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Whether opening is not tried at the moment: its database is missing, or its login refused.
    pub breaker_open: bool,
}

impl From<TenantCounts> for TenantFigures {
    fn from(counts: TenantCounts) -> Self {
        Self {
            idle: counts.idle,
            leased: counts.leased,
            opening: counts.opening,
            waiting: counts.waiting,
            breaker_open: counts.breaker_open,
        }
    }
}

/// What is counted outside of the lock.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) dirty: AtomicUsize,
    pub(super) resets: AtomicU64,
    pub(super) cancels: AtomicU64,
    pub(super) stained: AtomicU64,
    pub(super) closed_hard: AtomicU64,
    pub(super) other_sessions: AtomicU64,
}

impl Tallies {
    pub(super) fn count(tally: &AtomicU64) -> u64 {
        tally.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn with(&self, counts: Counts) -> PoolFigures {
        let held = counts
            .open
            .saturating_sub(counts.idle + counts.opening + counts.closing);
        let dirty = self.dirty.load(Ordering::Relaxed).min(held);
        let read = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        PoolFigures {
            budget: counts.budget,
            shared_budget: None,
            shares_lost: 0,
            tenants: counts.tenants,
            open: counts.open,
            idle: counts.idle,
            leased: held - dirty,
            dirty,
            opening: counts.opening,
            closing: counts.closing,
            waiting: counts.waiting,
            breaker_open: counts.breaker_open,
            opens: counts.opens,
            failed_opens: counts.failed_opens,
            closes: counts.closes,
            evictions: counts.evictions,
            hand_overs: counts.hand_overs,
            re_points: counts.re_points,
            refused_full: counts.refused_full,
            resets: read(&self.resets),
            cancels: read(&self.cancels),
            stained: read(&self.stained),
            closed_hard: read(&self.closed_hard),
            other_sessions: read(&self.other_sessions),
        }
    }
}
