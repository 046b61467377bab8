//! What was seen of one tenant lately: two words in its control block.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// What is seen counts for one to two of these.
const WINDOW: Duration = Duration::from_secs(30);

/// Counts of two windows, without a lock, and what probes said.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// By the number of the window, even and odd.
    windows: [AtomicU64; 2],
    /// The window in which it was last put on the list of those that are active; 0 for none.
    listed: AtomicU64,
    /// Probes that failed in a row.
    failed_probes: AtomicU32,
}

/// What was counted in one window, or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

/// One window as a word: its number, and three counts, 16 bits each.
#[derive(Clone, Copy)]
struct Word {
    number: u16,
    counts: Counts,
}

impl Word {
    fn unpack(word: u64) -> Self {
        let part = |at: u32| (word >> (16 * at)) as u16;
        Self {
            number: part(3),
            counts: Counts {
                requests: part(2).into(),
                failed: part(1).into(),
                slow: part(0).into(),
            },
        }
    }

    fn pack(self) -> u64 {
        let Counts {
            requests,
            failed,
            slow,
        } = self.counts;
        (u64::from(self.number) << 48)
            | (u64::from(requests) << 32)
            | (u64::from(failed) << 16)
            | u64::from(slow)
    }
}

impl Counts {
    fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            failed: self.failed + other.failed,
            slow: self.slow + other.slow,
        }
    }

    /// Shares stay what they are where a count would not fit.
    fn counting(mut self, failed: bool, slow: bool) -> Self {
        if self.requests >= u32::from(u16::MAX) {
            self = Self {
                requests: self.requests / 2,
                failed: self.failed / 2,
                slow: self.slow / 2,
            };
        }
        self.requests += 1;
        self.failed += u32::from(failed);
        self.slow += u32::from(slow);
        self
    }
}

/// From 1 on.
fn window_at(now: Duration) -> u64 {
    now.as_secs() / WINDOW.as_secs() + 1
}

impl Vitals {
    pub(crate) fn count(&self, now: Duration, failed: bool, slow: bool) {
        // One that comes back after a while is not probed meanwhile: what probes said before is of another time.
        if self.failed_probes() > 0 && self.counts(now) == Counts::default() {
            self.failed_probes.store(0, Ordering::Relaxed);
        }
        let number = window_at(now);
        let [even, odd] = &self.windows;
        let window = if number.is_multiple_of(2) { even } else { odd };
        let counted = |word| {
            let word = Word::unpack(word);
            let counts = match word.number == number as u16 {
                true => word.counts,
                false => Counts::default(),
            };
            let word = Word {
                number: number as u16,
                counts: counts.counting(failed, slow),
            };
            Some(word.pack())
        };
        let _ = window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
    }

    pub(super) fn counts(&self, now: Duration) -> Counts {
        let number = window_at(now);
        let words = self
            .windows
            .iter()
            .map(|window| Word::unpack(window.load(Ordering::Relaxed)));
        let recent = words.filter(|word| word.number == number as u16 || word.number == (number - 1) as u16);
        recent.fold(Counts::default(), |sum, word| sum.and(word.counts))
    }

    /// Whether it is to be put on the list again: once for each window.
    pub(super) fn is_to_be_listed(&self, now: Duration) -> bool {
        let number = window_at(now);
        self.listed.load(Ordering::Relaxed) != number && self.listed.swap(number, Ordering::Relaxed) != number
    }

    pub(super) fn probed(&self, is_well: bool) {
        if is_well {
            self.failed_probes.store(0, Ordering::Relaxed);
            return;
        }
        let one_more = |failed: u32| Some(failed.saturating_add(1));
        let _ = self
            .failed_probes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    }

    pub(super) fn failed_probes(&self) -> u32 {
        self.failed_probes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(requests: u32, failed: u32, slow: u32) -> Counts {
        Counts {
            requests,
            failed,
            slow,
        }
    }

    #[test]
    fn what_was_seen_counts_for_two_windows_at_most() {
        let vitals = Vitals::default();
        assert_eq!(vitals.counts(Duration::ZERO), Counts::default());
        vitals.count(Duration::ZERO, true, false);
        vitals.count(WINDOW / 2, false, true);
        assert_eq!(vitals.counts(WINDOW / 2), counts(2, 1, 1));
        vitals.count(WINDOW, false, false);
        assert_eq!(vitals.counts(WINDOW), counts(3, 1, 1));
        assert_eq!(vitals.counts(WINDOW * 2), counts(1, 0, 0));
        assert_eq!(vitals.counts(WINDOW * 3), Counts::default());
        vitals.count(WINDOW * 3, false, false);
        assert_eq!(vitals.counts(WINDOW * 3), counts(1, 0, 0));
    }

    #[test]
    fn shares_stay_what_they_are_beyond_what_a_window_holds() {
        let vitals = Vitals::default();
        for at in 0..200_000 {
            vitals.count(Duration::ZERO, at % 2 == 0, true);
        }
        let seen = vitals.counts(Duration::ZERO);
        assert!(
            seen.requests <= u32::from(u16::MAX) && seen.requests > 30_000,
            "{seen:?}"
        );
        assert!(seen.failed.abs_diff(seen.requests / 2) < 10, "{seen:?}");
        assert_eq!(seen.slow, seen.requests);
    }

    #[test]
    fn what_probes_said_before_a_tenant_was_away_is_forgotten_when_it_comes_back() {
        let vitals = Vitals::default();
        vitals.count(Duration::ZERO, false, false);
        for _ in 0..3 {
            vitals.probed(false);
        }
        vitals.count(WINDOW * 2 - Duration::from_secs(1), false, false);
        assert_eq!(vitals.failed_probes(), 3, "it was never away");
        vitals.count(WINDOW * 4, false, false);
        assert_eq!(vitals.failed_probes(), 0);
        vitals.probed(false);
        vitals.count(WINDOW * 4, false, false);
        assert_eq!(vitals.failed_probes(), 1);
    }

    #[test]
    fn it_is_listed_once_for_each_window() {
        let vitals = Vitals::default();
        let listed = [Duration::ZERO, WINDOW / 2, WINDOW, WINDOW * 5, WINDOW * 5];
        assert_eq!(
            listed.map(|now| vitals.is_to_be_listed(now)),
            [true, false, true, true, false]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_word_comes_back_as_it_was(number: u16, requests: u16, failed: u16, slow: u16) {
            let word = Word { number, counts: counts(requests.into(), failed.into(), slow.into()) };
            let back = Word::unpack(word.pack());
            prop_assert_eq!((back.number, back.counts), (number, word.counts));
        }
    }
}
