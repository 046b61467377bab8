//! How many connections those who wait for one tenant's are worth.

use std::time::Duration;

use super::entry::Entry;

/// Of both times, before anything was measured: those who wait then get one each.
pub(super) const FIRST_GUESS: Duration = Duration::from_millis(10);

/// After so many times as long as opening takes, a connection that is in use is no longer waited for.
const PATIENCE: u32 = 2;

/// What the next measurement counts for in a mean: an eighth.
const WEIGHT: u32 = 8;

/// How long things take at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) to_open: Duration,
    /// From when a connection is given out until it is clean again.
    pub(super) in_use: Duration,
}

impl Pace {
    /// How many more connections are needed: one where there is none, and more where those that are there would not come
    /// round to all who wait in the time that opening another one takes.
    pub(super) fn connections_needed<C>(self, entry: &Entry<C>, waited: Duration) -> usize {
        let waiting = entry.queue.len();
        if waiting == 0 {
            return 0;
        }
        let is_overdue = waited > self.to_open * PATIENCE && entry.opening == 0;
        let at_least = usize::from(is_overdue || entry.open() == 0);
        let missing = self.enough_for(waiting).saturating_sub(entry.open());
        missing.max(at_least)
    }

    fn enough_for(self, waiting: usize) -> usize {
        let all_in_turn = self.in_use.as_nanos() * waiting as u128;
        // Where opening takes no time there is no reason to wait for one.
        let connections = all_in_turn.checked_div(self.to_open.as_nanos());
        let is_whole = all_in_turn.checked_rem(self.to_open.as_nanos()) == Some(0);
        let enough = connections.map_or(waiting as u128, |connections| connections + u128::from(!is_whole));
        usize::try_from(enough).unwrap_or(usize::MAX)
    }
}

/// A moving mean.
pub(super) fn mean(mean: Duration, latest: Duration) -> Duration {
    (mean * (WEIGHT - 1) + latest) / WEIGHT
}

#[cfg(test)]
mod tests {
    use tenancy_core::TenantId;

    use super::*;
    use crate::pool::{core::Version, target::Target};

    fn waiting(waiting: usize, leased: usize, opening: usize) -> Entry<()> {
        let tenant = TenantId::new("acme").unwrap();
        let mut entry = Entry::new(tenant, 1, Version::default(), Target::database("acme"));
        entry.queue.extend(0..waiting);
        entry.leased = leased;
        entry.opening = opening;
        entry
    }

    #[test]
    fn connections_are_needed_where_those_that_are_there_do_not_come_round_in_time() {
        let ms = Duration::from_millis;
        for (who, in_use, to_open, waited, needed) in [
            ((0, 3, 0), 5, 20, 0, 0),
            // One comes first, and serves four while another would be opened.
            ((1, 0, 0), 5, 20, 0, 1),
            ((4, 0, 0), 5, 20, 0, 1),
            ((5, 0, 0), 5, 20, 0, 2),
            ((4, 1, 0), 5, 20, 0, 0),
            ((9, 1, 0), 5, 20, 0, 2),
            ((9, 1, 2), 5, 20, 0, 0),
            // Requests that take longer than opening do not wait for each other.
            ((3, 2, 0), 100, 20, 0, 13),
            // What was in use for longer than usual may be for ever.
            ((1, 1, 0), 5, 20, 40, 0),
            ((1, 1, 0), 5, 20, 41, 1),
            ((1, 1, 1), 5, 20, 41, 0),
            ((7, 0, 0), 5, 0, 0, 7),
            ((7, 1, 0), 0, 0, 0, 6),
            ((7, 1, 0), 0, 5, 0, 0),
        ] {
            let (queue, leased, opening) = who;
            let pace = Pace {
                to_open: ms(to_open),
                in_use: ms(in_use),
            };
            let entry = waiting(queue, leased, opening);
            assert_eq!(
                pace.connections_needed(&entry, ms(waited)),
                needed,
                "{who:?}, {in_use} ms in use, {to_open} ms to open, waited {waited} ms"
            );
        }
    }

    #[test]
    fn a_mean_follows_what_is_measured() {
        let mut at = FIRST_GUESS;
        for _ in 0..40 {
            at = mean(at, Duration::from_millis(100));
        }
        assert!((99..=100).contains(&at.as_millis()), "{at:?}");
    }
}
