use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from: the machine in production, a hand-moved clock in tests.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Time since some fixed moment in this process. Never goes back; what time-outs and ages are judged by.
    fn monotonic(&self) -> Duration;

    /// [`monotonic`](Self::monotonic), as it was at the last tick: cheaper, never ahead of it, never goes back. For what is
    /// read on every hit of a cache.
    ///
    /// It is behind by one tick of the machine at most, 1 to 10 ms, while the machine runs; a virtual machine whose processors
    /// were held up may be some ticks late. What rests on it needs that much room. Default: [`monotonic`](Self::monotonic).
    fn monotonic_coarse(&self) -> Duration {
        self.monotonic()
    }

    /// Time since 1970-01-01 UTC. May jump; only for what leaves the process, such as a cookie's expiry.
    fn unix_time(&self) -> Duration;
}

/// The machine's clocks. On Linux, [`monotonic_coarse`](Clock::monotonic_coarse) reads `CLOCK_MONOTONIC_COARSE`.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
    /// The same moment or a little later, on the scale that the coarse clock has too.
    #[cfg(target_os = "linux")]
    started_on_scale: Duration,
}

impl SystemClock {
    /// Starts counting now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            // Read second, and from the fine clock: so the coarse one can't be ahead of it.
            #[cfg(target_os = "linux")]
            started_on_scale: read(ClockId::Monotonic),
        }
    }
}

#[cfg(target_os = "linux")]
fn read(clock: ClockId) -> Duration {
    // Neither clock is ever below zero; if one were, it would stand still.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    #[cfg(target_os = "linux")]
    fn monotonic_coarse(&self) -> Duration {
        read(ClockId::MonotonicCoarse).saturating_sub(self.started_on_scale)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn unix_time(&self) -> Duration {
        // A machine set to before 1970 gets 1970: everything that expires has then expired later, never earlier.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that stands still until it is moved, for tests.
///
/// ```
/// use std::time::Duration;
/// use tenancy_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.monotonic(), Duration::from_secs(3));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    monotonic: AtomicU64,
    wall_offset: AtomicU64,
}

impl ManualClock {
    /// Starts at zero, on 2001-09-09T01:46:40Z (a billion seconds).
    pub fn new() -> Self {
        Self {
            monotonic: AtomicU64::new(0),
            wall_offset: AtomicU64::new(1_000_000_000_000),
        }
    }

    /// Moves both clocks forward. Steps below a millisecond are dropped.
    pub fn advance(&self, by: Duration) {
        self.monotonic.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Makes the wall clock jump forward without moving the monotonic one.
    pub fn jump_wall_clock(&self, by: Duration) {
        self.wall_offset.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
    }

    fn unix_time(&self) -> Duration {
        self.monotonic() + Duration::from_millis(self.wall_offset.load(Ordering::SeqCst))
    }
}

/// A clock that a test holds on to, so that it can move it.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }

    fn monotonic_coarse(&self) -> Duration {
        (**self).monotonic_coarse()
    }

    fn unix_time(&self) -> Duration {
        (**self).unix_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_jump_leaves_the_monotonic_clock_alone() {
        let clock = ManualClock::new();
        let before = clock.unix_time();
        clock.jump_wall_clock(Duration::from_secs(3600));
        assert_eq!(clock.monotonic(), Duration::ZERO);
        assert_eq!(clock.unix_time() - before, Duration::from_secs(3600));
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::new();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
        assert!(clock.unix_time() > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn the_coarse_clock_follows_the_fine_one_and_is_never_ahead() {
        let clock = SystemClock::new();
        let mut last = Duration::ZERO;
        while last < Duration::from_millis(30) {
            let coarse = clock.monotonic_coarse();
            assert!(coarse >= last);
            assert!(coarse <= clock.monotonic());
            last = coarse;
        }
    }

    #[test]
    fn a_clock_without_a_coarse_one_uses_its_fine_one() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(3));
        assert_eq!(clock.monotonic_coarse(), Duration::from_secs(3));
    }
}
