//! Sums over the whole process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters;

/// Parts publish what their thread has counted outside of them from this many bytes on: a few atomics for many requests.
const WORTH_PUBLISHING: u64 = 16 * 1024;

#[derive(Debug)]
struct Sums {
    allocated: AtomicU64,
    freed: AtomicU64,
}

impl Sums {
    const fn new() -> Self {
        Self {
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
        }
    }

    fn add(&self, allocated: u64, freed: u64) {
        self.allocated.fetch_add(allocated, Ordering::Relaxed);
        self.freed.fetch_add(freed, Ordering::Relaxed);
    }

    fn read(&self) -> Totals {
        Totals {
            allocated: self.allocated.load(Ordering::Relaxed),
            freed: self.freed.load(Ordering::Relaxed),
        }
    }
}

static ATTRIBUTED: Sums = Sums::new();
static UNATTRIBUTED: Sums = Sums::new();

/// Bytes since the process began. Both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Bytes that were allocated.
    pub allocated: u64,
    /// Bytes that were freed.
    pub freed: u64,
}

/// What was counted in this process, in parts and outside of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessTotals {
    /// In parts that have ended, of accounts and purposes.
    pub attributed: Totals,
    /// Outside of all parts: how much the accounts do not explain.
    ///
    /// Each thread adds its own when a part ends on it, and when this is asked for on it. What threads do on which neither happens, such as those
    /// of a driver's own pool, is missing: a lower bound.
    pub unattributed: Totals,
}

/// The sums of this process.
pub fn process_totals() -> ProcessTotals {
    publish(0);
    ProcessTotals {
        attributed: ATTRIBUTED.read(),
        unattributed: UNATTRIBUTED.read(),
    }
}

pub(crate) fn add_attributed(allocated: u64, freed: u64) {
    ATTRIBUTED.add(allocated, freed);
    publish(WORTH_PUBLISHING);
}

fn publish(at_least: u64) {
    if let Some((allocated, freed)) = counters::take_unpublished(at_least) {
        UNATTRIBUTED.add(allocated, freed);
    }
}
