//! Which tenants have series of their own.

use std::{collections::BTreeSet, time::Duration};

use tenancy_core::TenantId;

/// The label of tenants that have no series of their own.
pub const OTHER: &str = "_other";
/// The label of what is outside of any tenant.
pub const CENTRAL: &str = "_central";
/// The label of requests of which nobody knows whose they are.
pub const UNRESOLVED: &str = "_none";

/// The most slots there may be.
pub(super) const MOST_SLOTS: usize = 2_000;

/// Which tenants have series of their own, under the label `tenant`. All others share `_other`.
///
/// Labels are made of ids and plans from the catalogue, never of what a client sent. Central requests are `_central`;
/// those of which nobody knows whose they are, `_none`. A tenant whose id begins with `_` is in `_other`, so that no id
/// can be taken for one of these.
///
/// ```
/// use std::time::Duration;
/// use tenancy::metrics::TenantSlots;
///
/// let busiest = TenantSlots::top(50).held_for(Duration::from_secs(1800));
/// assert_eq!(busiest.most_series(), 53); // and `_other`, `_central`, `_none`
/// ```
#[derive(Clone, Debug)]
pub struct TenantSlots {
    pub(super) policy: Policy,
    pub(super) hold: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Policy {
    Off,
    Allow(BTreeSet<TenantId>),
    Tier(usize),
    Top(usize),
    All(usize),
}

impl Default for TenantSlots {
    /// The 100 busiest.
    fn default() -> Self {
        Self::top(100)
    }
}

impl TenantSlots {
    fn of(policy: Policy) -> Self {
        Self {
            policy,
            hold: Duration::from_secs(3600),
        }
    }

    /// No tenant has any: all are `_other`.
    pub fn off() -> Self {
        Self::of(Policy::Off)
    }

    /// These have, and no others.
    pub fn allow(tenants: impl IntoIterator<Item = TenantId>) -> Self {
        Self::of(Policy::Allow(tenants.into_iter().collect()))
    }

    /// One for each plan, as records have them: at most this many; the plans that come later share `_other`, and so do
    /// tenants without a plan. A tenant that changes its plan is counted with the new one within ten seconds.
    pub fn by_plan(most: usize) -> Self {
        Self::of(Policy::Tier(most))
    }

    /// The busiest. While there is room the first that come have one; afterwards a tenant takes the place of the least busy one
    /// when it has had one and a half times its requests, with those of ten minutes ago counted half. Whoever has a place
    /// keeps it for [an hour](Self::held_for).
    pub fn top(most: usize) -> Self {
        Self::of(Policy::Top(most))
    }

    /// The first that come, for ever: for services that have few tenants.
    pub fn all(most: usize) -> Self {
        Self::of(Policy::All(most))
    }

    /// How long a tenant keeps its place at least. Default: one hour.
    ///
    /// An exporter keeps the series of tenants that have lost theirs: at most as many as there are places for each time of
    /// this length, so that a longer one is cheaper. Never let it forget what is idle: handles are kept, and what they
    /// count after that is lost to it.
    #[must_use]
    pub fn held_for(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// How many values the label `tenant` has at most at any one time.
    pub fn most_series(&self) -> usize {
        self.places().saturating_add(3)
    }

    /// Beside the three that are always there.
    pub(super) fn places(&self) -> usize {
        match &self.policy {
            Policy::Off => 0,
            Policy::Allow(tenants) => tenants.len(),
            Policy::Tier(most) | Policy::Top(most) | Policy::All(most) => *most,
        }
    }
}

/// Whether a text from the catalogue can be a label.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && !text.starts_with('_') && !text.chars().any(char::is_control)
}
