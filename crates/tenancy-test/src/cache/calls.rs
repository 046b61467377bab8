//! What was asked of a level, counted.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// A call of a [`SharedLevel`](tenancy::cache::shared::SharedLevel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LevelCall {
    /// `renew`, of however many scopes.
    Renew,
    /// `fetch`, of however many entries.
    Fetch,
    /// `store`, of however many entries.
    Store,
    /// `raise`, of however many cells.
    Raise,
    /// `teach`.
    Teach,
    /// `discard`, of however many entries.
    Discard,
    /// `listen`.
    Listen,
    /// `claim`.
    Claim,
    /// `release`.
    Release,
    /// `heat`, of however many scopes.
    Heat,
    /// `hottest`.
    Hottest,
    /// `report`, of however many scopes.
    Report,
    /// `reports`.
    Reports,
}

/// How many calls there were of each kind, failed and dropped ones included.
///
/// ```
/// use tenancy_test::cache::LevelCalls;
///
/// assert_eq!(LevelCalls::default().total(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelCalls {
    /// Of `renew`.
    pub renew: u64,
    /// Of `fetch`.
    pub fetch: u64,
    /// Of `store`.
    pub store: u64,
    /// Of `raise`.
    pub raise: u64,
    /// Of `teach`.
    pub teach: u64,
    /// Of `discard`.
    pub discard: u64,
    /// Of `listen`.
    pub listen: u64,
    /// Of `claim`.
    pub claim: u64,
    /// Of `release`.
    pub release: u64,
    /// Of `heat`.
    pub heat: u64,
    /// Of `hottest`.
    pub hottest: u64,
    /// Of `report`.
    pub report: u64,
    /// Of `reports`.
    pub reports: u64,
}

impl LevelCalls {
    /// All together.
    pub fn total(&self) -> u64 {
        let of_entries = self.renew + self.fetch + self.store + self.raise + self.teach + self.discard;
        let of_work = self.claim + self.release + self.heat + self.hottest + self.report + self.reports;
        of_entries + self.listen + of_work
    }
}

#[derive(Default)]
pub(super) struct Counter([AtomicU64; 13]);

impl Counter {
    pub(super) fn count(&self, call: LevelCall) {
        self.0[call as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn calls(&self) -> LevelCalls {
        let of = |call: LevelCall| self.0[call as usize].load(Ordering::Relaxed);
        LevelCalls {
            renew: of(LevelCall::Renew),
            fetch: of(LevelCall::Fetch),
            store: of(LevelCall::Store),
            raise: of(LevelCall::Raise),
            teach: of(LevelCall::Teach),
            discard: of(LevelCall::Discard),
            listen: of(LevelCall::Listen),
            claim: of(LevelCall::Claim),
            release: of(LevelCall::Release),
            heat: of(LevelCall::Heat),
            hottest: of(LevelCall::Hottest),
            report: of(LevelCall::Report),
            reports: of(LevelCall::Reports),
        }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calls().fmt(f)
    }
}
