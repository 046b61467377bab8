//! When to leave a server or a tenant's database alone after it failed.

use std::{sync::Arc, time::Duration};

use tenancy_core::BoxError;

/// Why no connection could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The tenant's database does not exist.
    Missing,
    /// The server does not let this login in.
    Refused,
    /// The server has no room for another connection; those that are open work.
    Crowded,
    /// The server did not answer, or something else went wrong that concerns all of its tenants.
    Unreachable,
    /// Nobody tried to the end: the task was dropped.
    Abandoned,
}

/// A failed connect. Cloned for everyone who waited for it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) cause: Option<Arc<BoxError>>,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind) -> Self {
        Self { kind, cause: None }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(Arc::new(cause.into()));
        self
    }
}

/// How long to wait after the first failure in a row, and at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// For what may come back at any moment.
    pub(super) const OUTAGE: Self = Self {
        first: Duration::from_millis(100),
        most: Duration::from_secs(30),
    };
    /// For a definite answer, which a change of the catalogue takes back earlier.
    pub(super) const NEGATIVE_ANSWER: Self = Self {
        first: Duration::from_secs(1),
        most: Duration::from_secs(5),
    };

    /// Doubles with each failure. `jitter` is from 0 to 1 and takes away up to a quarter, so that processes that failed
    /// together do not come back together.
    fn after(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let wait = self.first.saturating_mul(1 << doublings).min(self.most);
        wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { since: Duration, until: Duration },
    Probing { since: Duration, backoff: Duration },
}

/// Lets everything through until something fails; then nothing for a while; then exactly one probe, which decides.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    failures: u32,
    fault: Option<Fault>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            fault: None,
        }
    }

    /// Whether an attempt may begin.
    ///
    /// # Errors
    /// How long to stay away.
    pub(super) fn admits(&self, now: Duration) -> Result<(), Duration> {
        match self.state {
            State::Open { until, .. } if now < until => Err(until - now),
            State::Closed | State::Open { .. } => Ok(()),
            State::Probing { backoff, .. } => Err(backoff),
        }
    }

    /// Notes that an attempt begins that was admitted.
    pub(super) fn attempt(&mut self, now: Duration) {
        if let State::Open { since, until } = self.state {
            self.state = State::Probing {
                since: now,
                backoff: until - since,
            };
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Attempts that began before the present state say nothing new: several fail together.
    pub(super) fn failed(
        &mut self,
        fault: Fault,
        started: Duration,
        now: Duration,
        backoff: Backoff,
        jitter: f64,
    ) {
        match self.state {
            State::Open { .. } => return,
            State::Probing { since, .. } if started < since => return,
            State::Closed | State::Probing { .. } => {}
        }
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(fault);
        self.state = State::Open {
            since: now,
            until: now + backoff.after(self.failures, jitter),
        };
    }

    /// A probe ended without an answer: the next one may begin.
    pub(super) fn abandoned(&mut self, now: Duration) {
        if let State::Probing { since, .. } = self.state {
            self.state = State::Open { since, until: now };
        }
    }

    /// Why it is open.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether its last failure is so long ago that it may be forgotten.
    pub(super) fn is_quiet(&self, now: Duration) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until, .. } => now >= until + Backoff::OUTAGE.most,
            State::Probing { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn down() -> Fault {
        Fault::new(FaultKind::Unreachable)
    }

    #[test]
    fn it_waits_twice_as_long_after_each_failed_probe_up_to_the_most() {
        let mut breaker = Breaker::new();
        let mut now = ms(1_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(breaker.admits(now), Ok(()));
            breaker.attempt(now);
            breaker.failed(down(), now, now, Backoff::OUTAGE, 0.0);
            let wait = breaker.admits(now).unwrap_err();
            waits.push(u64::try_from(wait.as_millis()).unwrap());
            now += wait;
        }
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000
            ]
        );
    }

    #[test]
    fn exactly_one_probe_is_let_through_and_decides() {
        let mut breaker = Breaker::new();
        breaker.failed(down(), ms(0), ms(10), Backoff::OUTAGE, 0.0);
        assert_eq!(breaker.admits(ms(60)), Err(ms(50)));
        assert_eq!(breaker.admits(ms(110)), Ok(()));
        breaker.attempt(ms(110));
        assert_eq!(breaker.admits(ms(110)), Err(ms(100)), "a probe is under way");
        breaker.succeeded();
        assert_eq!(breaker.admits(ms(110)), Ok(()));
        assert!(breaker.fault().is_none());
    }

    #[test]
    fn attempts_that_fail_together_count_once() {
        let mut breaker = Breaker::new();
        for _ in 0..4 {
            breaker.failed(down(), ms(0), ms(10), Backoff::OUTAGE, 0.0);
        }
        assert_eq!(breaker.admits(ms(10)), Err(ms(100)));
        breaker.attempt(ms(110));
        breaker.failed(down(), ms(5), ms(120), Backoff::OUTAGE, 0.0);
        assert!(
            breaker.admits(ms(10_000)).is_err(),
            "the probe is still under way: an older attempt does not decide"
        );
    }

    #[test]
    fn a_probe_that_was_dropped_lets_the_next_one_through() {
        let mut breaker = Breaker::new();
        breaker.failed(down(), ms(0), ms(0), Backoff::NEGATIVE_ANSWER, 0.0);
        breaker.attempt(ms(1_000));
        breaker.abandoned(ms(1_001));
        assert_eq!(breaker.admits(ms(1_001)), Ok(()));
    }

    #[test]
    fn jitter_takes_away_a_quarter_at_most() {
        for (jitter, expected) in [(0.0, ms(1_000)), (0.5, ms(875)), (1.0, ms(750)), (7.0, ms(750))] {
            assert_eq!(Backoff::NEGATIVE_ANSWER.after(1, jitter), expected);
        }
    }
}
