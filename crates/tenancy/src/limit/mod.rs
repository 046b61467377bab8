//! Rates, kept in one atomic each.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A rate limit by the generic cell rate algorithm (ITU-T I.371): `rate` per second on average, `burst` at once.
///
/// One atomic holds the time at which the bucket would be full again. No lock, no timer, no task.
#[derive(Debug)]
pub(crate) struct Gcra {
    full_again_at: AtomicU64,
    interval: u64,
    tolerance: u64,
}

impl Gcra {
    pub(crate) fn per_second(rate: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.max(1));
        Self {
            full_again_at: AtomicU64::new(0),
            interval,
            tolerance: interval * u64::from(burst.max(1)),
        }
    }

    /// One in so much time, no more at once.
    #[cfg(feature = "memory")]
    pub(crate) fn once_in(interval: Duration) -> Self {
        // Half of the scale, so that the time of the next one can be written, too.
        let interval = u64::try_from(interval.as_nanos())
            .unwrap_or(u64::MAX)
            .min(u64::MAX / 4);
        Self {
            full_again_at: AtomicU64::new(0),
            interval,
            tolerance: interval,
        }
    }

    /// Takes one permit, or says how long until there is one.
    pub(crate) fn take(&self, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut present = self.full_again_at.load(Ordering::Relaxed);
        loop {
            let next = present.max(now) + self.interval;
            if next > now + self.tolerance {
                return Err(Duration::from_nanos(next - now - self.tolerance));
            }
            match self.full_again_at.compare_exchange_weak(
                present,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(changed) => present = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bucket that drips continuously, in exact arithmetic.
    struct Model {
        level: u64,
        at: u64,
    }

    proptest! {
        #[test]
        fn agrees_with_a_leaking_bucket(rate in 1_u32..1000, burst in 1_u32..50, gaps in proptest::collection::vec(0_u64..50_000_000, 1..200)) {
            let limit = Gcra::per_second(rate, burst);
            let interval = 1_000_000_000 / u64::from(rate);
            let mut model = Model { level: 0, at: 0 };
            let mut now = 0;
            for gap in gaps {
                now += gap;
                model.level = model.level.saturating_sub(now - model.at);
                model.at = now;
                let fits = model.level + interval <= interval * u64::from(burst);
                if fits {
                    model.level += interval;
                }
                prop_assert_eq!(limit.take(Duration::from_nanos(now)).is_ok(), fits);
            }
        }
    }

    #[cfg(feature = "memory")]
    #[test]
    fn once_in_an_interval_is_once_whatever_the_interval() {
        let never_again = Gcra::once_in(Duration::MAX);
        assert!(never_again.take(Duration::ZERO).is_ok());
        assert!(never_again.take(Duration::from_secs(1 << 30)).is_err());
        let always = Gcra::once_in(Duration::ZERO);
        assert!(always.take(Duration::ZERO).is_ok() && always.take(Duration::ZERO).is_ok());
    }

    #[test]
    fn the_wait_that_is_told_is_enough_and_not_more() {
        let limit = Gcra::per_second(10, 1);
        assert!(limit.take(Duration::ZERO).is_ok());
        let wait = limit.take(Duration::ZERO).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(limit.take(wait - Duration::from_nanos(1)).is_err());
        assert!(limit.take(wait).is_ok());
    }
}
