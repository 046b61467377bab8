//! Requests that take more than they should, named in the log.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy_memory::Usage;

use super::{
    account::Keeper,
    settings::{Measure, MemorySettings},
};
use crate::{Tenant, event::Event, limit::Gcra};

/// How many limits there are. Routes and tenants share them by their hash: memory stays bounded, whoever comes.
const LIMITS: usize = 1_024;

pub(super) struct Warnings {
    /// Allocated at the first warning.
    limits: OnceLock<Box<[Gcra]>>,
    interval: Duration,
    unsaid: AtomicU64,
}

impl Warnings {
    pub(super) fn every(interval: Duration) -> Self {
        Self {
            limits: OnceLock::new(),
            interval,
            unsaid: AtomicU64::new(0),
        }
    }

    pub(super) fn is_large(&self, usage: &Usage, settings: &MemorySettings) -> bool {
        measured(usage, settings.measure) > settings.warn_over
    }

    fn limit(&self, route: Option<&str>, tenant: Option<&Tenant>) -> Option<&Gcra> {
        // Routes and ids are the application's own: no client chooses what they hash to.
        let hash = foldhash::fast::FixedState::default().hash_one((route, tenant.map(Tenant::id)));
        let at = usize::try_from(hash % LIMITS as u64).unwrap_or(0);
        let limits = self
            .limits
            .get_or_init(|| (0..LIMITS).map(|_| Gcra::once_in(self.interval)).collect());
        limits.get(at)
    }
}

fn measured(usage: &Usage, measure: Measure) -> u64 {
    match measure {
        Measure::Peak => usage.peak_sum,
        Measure::Allocated => usage.allocated,
    }
}

impl Keeper {
    #[cold]
    pub(super) fn warn(&self, usage: &Usage, route: Option<&str>, tenant: Option<&Tenant>) {
        self.home.emit(|| Event::LargeRequest {
            route: route.map(str::to_owned),
            tenant: tenant.map(|tenant| tenant.id().clone()),
            usage: *usage,
        });
        if !self.settings.log_memory {
            return;
        }
        let limit = self.warnings.limit(route, tenant);
        if limit.is_none_or(|limit| limit.take(self.home.clock.monotonic()).is_err()) {
            self.warnings.unsaid.fetch_add(1, Ordering::Relaxed);
            return;
        }
        tracing::warn!(
            route,
            tenant = tenant.map(tracing::field::display),
            memory_used = %Bytes(measured(usage, self.settings.measure)),
            peak = usage.peak_sum,
            allocated = usage.allocated,
            allocations = usage.allocations,
            retained = usage.retained(),
            complete = usage.complete,
            unsaid = self.warnings.unsaid.swap(0, Ordering::Relaxed),
            "high memory use of a request"
        );
    }
}

/// Bytes as people read them: `1.5 MiB`.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // By whole numbers, so that every u64 is exact up to the one decimal.
        let power = (self.0.ilog2() / 10) as usize;
        let unit = 1_u128 << (10 * power);
        let tenths = (u128::from(self.0) * 10 + unit / 2) / unit;
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_people_read_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_576, "1.0 MiB"),
            (2_621_440, "2.5 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
