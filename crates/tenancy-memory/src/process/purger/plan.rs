//! When it is time. No clock and no allocator: what there is to know is given.

use std::time::Duration;

use super::{Purge, PurgeReason};
use crate::process::{Allocator, ProcessMemory};

/// The least time between any two purges, whoever asks: for a client of the admin address, too.
const LEAST: Duration = Duration::from_secs(1);

/// The longest pause after purges that were in vain.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) over: Option<u64>,
    pub(super) after_requests: Option<u64>,
    pub(super) min_interval: Duration,
}

#[derive(Debug)]
pub(super) struct Plan {
    terms: Terms,
    /// When the last purge was done, on the monotonic clock.
    last: Option<Duration>,
    /// Requests up to then.
    requests: u64,
    /// How long nothing is purged for the threshold; longer after each one in vain.
    pause: Duration,
}

impl Plan {
    pub(super) fn new(terms: Terms) -> Self {
        let terms = Terms {
            min_interval: terms.min_interval.max(LEAST),
            ..terms
        };
        Self {
            pause: terms.min_interval,
            terms,
            last: None,
            requests: 0,
        }
    }

    /// Why these terms are never met, where that is so. `memory` is what was seen at the start.
    pub(super) fn hopeless(&self, allocator: Allocator, memory: &ProcessMemory) -> Option<&'static str> {
        if allocator == Allocator::Unknown {
            return Some(
                "free memory is never given back: the allocator is not known; build with feature `jemalloc`, `mimalloc` or `glibc` of tenancy-memory",
            );
        }
        let is_unseen = self.terms.over.is_some() && memory.beyond_live.bytes().is_none();
        is_unseen.then_some(
            "free memory is not given back by threshold: the allocator does not say what is live; purge after a number of requests, or use jemalloc",
        )
    }

    /// Whether a purge is due that nobody asked for.
    pub(super) fn due(&self, now: Duration, memory: &ProcessMemory) -> Option<PurgeReason> {
        let over = self.terms.over;
        let is_over = over.is_some_and(|over| memory.beyond_live.bytes().is_some_and(|bytes| bytes > over));
        if is_over && self.is_past(now, self.pause) {
            return Some(PurgeReason::Threshold);
        }
        let since = memory.requests.saturating_sub(self.requests);
        let are_enough = self.terms.after_requests.is_some_and(|wanted| since >= wanted);
        (are_enough && self.is_past(now, self.terms.min_interval)).then_some(PurgeReason::Requests)
    }

    /// Whether one that somebody asked for may be done.
    pub(super) fn may(&self, now: Duration) -> bool {
        self.is_past(now, LEAST)
    }

    pub(super) fn done(&mut self, now: Duration, requests: u64, purge: &Purge) {
        self.last = Some(now);
        self.requests = requests;
        let worth = self.terms.over.unwrap_or(0) / 10;
        let was_in_vain = purge.given_back.bytes().is_none_or(|bytes| bytes < worth);
        self.pause = match was_in_vain && purge.reason == PurgeReason::Threshold {
            true => {
                let longer = self.pause.saturating_mul(2).min(LONGEST);
                longer.max(self.terms.min_interval)
            }
            false => self.terms.min_interval,
        };
    }

    fn is_past(&self, now: Duration, pause: Duration) -> bool {
        self.last.is_none_or(|last| now.saturating_sub(last) >= pause)
    }
}
