//! The numbers by which a process tells whether what it keeps of a scope is still what it should be.
//!
//! Every entry has a [`Stamp`]: the numbers of its scope's base, of its own slot and of its tags' slots, read *before* it was
//! loaded. A flush raises numbers. An entry whose numbers are still the cells' was not flushed since, as far as this process
//! knows; and it knows of everything that was flushed before its lease was given. So:
//!
//! 1. [`holds_lease`](ScopeVersions::holds_lease) first, with a time read in this call, then [`judge`](ScopeVersions::judge).
//!    The other way round, an old judgement could meet a new lease.
//! 2. [`stamp`](ScopeVersions::stamp), then load, then keep. What was flushed in between is dead when it is kept.
//!
//! Nothing that is read here ever goes down, and reading takes no lock. Changes take one, for some hundred nanoseconds.

mod cells;
mod progress;
mod snapshot;
mod stamp;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{
    atomics::{AtomicU64, Ordering},
    cells::Cells,
    progress::Progress,
};
pub(crate) use self::{cells::LastCheck, snapshot::Snapshot, stamp::Stamp};
use super::shared::{Answer, Cell, FlushMode, Level, Raise, Raised};

const FOR_EVER: u64 = u64::MAX;

/// A test puts a checker's in their place.
mod atomics {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// What the coarse clock may be behind: five ticks of 10 ms. One is usual; Linux notices after five that the processor that
/// counts them is held up.
const CLOCK_LAG: Duration = Duration::from_millis(50);

/// For how long from the sending of an ask its answer may be trusted, if no change may stay unknown for longer than
/// `staleness_bound`: less 1 %, because clocks run differently, and less what the coarse clock may be behind.
///
/// Zero for a bound of 50 ms or less: then each read asks.
pub(crate) fn lease_length(staleness_bound: Duration) -> Duration {
    staleness_bound.saturating_sub(staleness_bound / 100 + CLOCK_LAG)
}

/// What an entry is worth by its [`Stamp`]. The worst of its cells counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judgement {
    /// Nothing that it depends on was flushed since it was loaded.
    Fresh,
    /// Flushed softly: still to be served while it is loaded anew.
    Stale,
    /// Never to be served again.
    Dead,
}

/// What there is to do after an answer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing.
    Current,
    /// The shared level lacks numbers that are known here: [`teaching`](ScopeVersions::teaching), once, now. If the answer
    /// to that says so again, then at the next renewal.
    MustTeach,
}

/// What was known when an ask was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingAsk {
    seen: u64,
    revocations: u64,
    heard: u64,
}

impl PendingAsk {
    /// The number up to which everything was known: what to ask with.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }
}

/// What this process knows of a scope's numbers, and until when it may trust it.
#[derive(Debug)]
pub(crate) struct ScopeVersions {
    cells: Cells,
    /// In nanoseconds of the clock: 0 = there is none, [`FOR_EVER`] = nobody else can flush.
    lease_until: AtomicU64,
    /// When the last lease ended or will: 0 = there was none.
    trusted_until: AtomicU64,
    /// When the newest answer that gave a lease was asked for.
    asked_at: AtomicU64,
    progress: Mutex<Progress>,
}

impl ScopeVersions {
    /// Without a shared level: own numbers beginning with `first`, a lease for ever.
    pub(crate) fn alone(first: u64) -> Self {
        let alone = Self::with_lease(FOR_EVER, Progress::starting_at(first));
        alone.cells.raise(Cell::Base, first, first);
        alone
    }

    /// With a shared level, of which nothing is known yet.
    pub(crate) fn shared() -> Self {
        Self::with_lease(0, Progress::default())
    }

    fn with_lease(lease_until: u64, progress: Progress) -> Self {
        Self {
            cells: Cells::default(),
            lease_until: AtomicU64::new(lease_until),
            trusted_until: AtomicU64::new(lease_until),
            asked_at: AtomicU64::new(0),
            progress: Mutex::new(progress),
        }
    }

    /// Whether what is known may be trusted at `now`, a time of the (coarse) monotonic clock that was read in this call.
    /// To be asked before [`judge`](Self::judge).
    #[inline]
    pub(crate) fn holds_lease(&self, now: Duration) -> bool {
        // Acquire: who sees the lease, sees the numbers of the answer that gave it.
        nanos(now) < self.lease_until.load(Ordering::Acquire)
    }

    /// How long ago the last lease ended; zero while there is one, `None` if there never was. One that was taken away counts
    /// from when its answer was asked for, which is the last time of which it is known that everything was known.
    pub(crate) fn lease_ended_for(&self, now: Duration) -> Option<Duration> {
        match self.trusted_until.load(Ordering::Acquire) {
            0 => None,
            until => Some(Duration::from_nanos(nanos(now).saturating_sub(until))),
        }
    }

    /// Takes the lease away, also from answers to what was asked before. A scope without a shared level keeps its lease.
    pub(crate) fn revoke(&self) {
        let mut progress = self.progress();
        progress.revoke();
        match self.lease_until.load(Ordering::Acquire) {
            0 | FOR_EVER => {}
            _ => {
                self.lease_until.store(0, Ordering::Release);
                let asked_at = self.asked_at.load(Ordering::Acquire).max(1);
                self.trusted_until.store(asked_at, Ordering::Release);
            }
        }
    }

    /// To be taken right before an ask is sent, and given to [`apply`](Self::apply) with its answer.
    pub(crate) fn ask(&self) -> PendingAsk {
        self.progress().ask()
    }

    /// The same for a teaching, with what is to be taught.
    pub(crate) fn teaching(&self) -> (PendingAsk, Vec<Level>) {
        // Under one lock: a change that came between the two would be taken for one that was taught.
        let progress = self.progress();
        (progress.ask(), self.cells.levels())
    }

    /// Takes over an answer to `ask`, and gives a lease from `sent_at` for the time of `lease` if the answer says all that
    /// had changed, and no lease was taken away since it was sent.
    pub(crate) fn apply(
        &self,
        ask: &PendingAsk,
        sent_at: Duration,
        lease: Duration,
        answer: &Answer,
    ) -> Applied {
        let mut progress = self.progress();
        let (number, levels) = match answer {
            Answer::Behind => return Applied::MustTeach,
            // "Since nothing" is everything; an answer that is no `Whole` does not say that it is.
            Answer::Same | Answer::Changed { .. } if ask.seen == 0 => return Applied::MustTeach,
            Answer::Same => (ask.seen, &[][..]),
            Answer::Changed { number, levels } | Answer::Whole { number, levels } => {
                (*number, levels.as_slice())
            }
        };
        let is_lacking = progress.take_answer(&self.cells, ask, number, levels);
        if is_lacking {
            return Applied::MustTeach;
        }
        if !progress.is_revoked_since(ask) {
            self.extend_lease(&progress, sent_at, lease);
        }
        if progress.has_own_numbers() {
            Applied::MustTeach
        } else {
            Applied::Current
        }
    }

    /// Under the lock, so that no revocation comes between the check and this. An older answer takes nothing away.
    fn extend_lease(&self, _locked: &MutexGuard<'_, Progress>, sent_at: Duration, lease: Duration) {
        let until = nanos(sent_at.saturating_add(lease)).min(FOR_EVER - 1);
        self.asked_at.fetch_max(nanos(sent_at), Ordering::AcqRel);
        let former = self.lease_until.fetch_max(until, Ordering::AcqRel);
        self.trusted_until.store(former.max(until), Ordering::Release);
    }

    /// What was raised, as a message says. Messages may be lost, come twice and in any order.
    pub(crate) fn hear(&self, previous: u64, number: u64, cells: &[Cell], mode: FlushMode) {
        let mut progress = self.progress();
        // It may be of the very flush whose acknowledgement is awaited; taken for another's, it would be raised above.
        if !cells.iter().any(|cell| progress.is_pending(*cell)) {
            progress.learn(&self.cells, previous, number, cells, mode);
        }
    }

    /// An own flush that the shared level has acknowledged. What was loaded before it is not fresh any more when this
    /// returns.
    pub(crate) fn raised(&self, raise: &Raise, raised: &Raised) {
        let mut progress = self.progress();
        progress.acknowledge(&raise.cells, raise.mode, raise.known);
        progress.learn(
            &self.cells,
            raised.previous,
            raised.number,
            &raise.cells,
            raise.mode,
        );
    }

    /// An own flush of which the shared level has not heard, or nobody knows whether it has; or there is none. It gets a
    /// number of this process's own, and what was loaded before is not fresh any more when this returns.
    ///
    /// It stays pending until a flush of the same cells is [`raised`](Self::raised), in the same mode or hard, whose `known`
    /// was read after this.
    pub(crate) fn raise_alone(&self, cells: &[Cell], mode: FlushMode) -> u64 {
        let mut progress = self.progress();
        let number = progress.next_own_number();
        if self.lease_until.load(Ordering::Acquire) == FOR_EVER {
            progress.raise_alone(&self.cells, number, cells, mode);
        } else {
            progress.raise_pending(&self.cells, number, cells, mode);
        }
        number
    }

    /// Whether an entry with this stamp may be kept where other processes find it: only if it is fresh, and none of its
    /// numbers is this process's own, which others would compare with theirs.
    pub(crate) fn may_share(&self, stamp: &Stamp) -> bool {
        let progress = self.progress();
        let mut cells = stamp
            .slots()
            .map(|(slot, _)| Cell::Slot(slot))
            .chain([Cell::Base]);
        self.judge(stamp) == Judgement::Fresh && !cells.any(|cell| progress.is_own(cell))
    }

    /// The highest number that is known: what a flush is sent with.
    pub(crate) fn highest(&self) -> u64 {
        self.progress().highest()
    }

    /// The present numbers of one cell, as far as this process knows.
    pub(crate) fn level(&self, cell: Cell) -> Level {
        Level {
            cell,
            any: self.cells.any(cell),
            hard: self.cells.hard(cell),
        }
    }

    /// All levels that are not 0.
    #[cfg(test)]
    pub(crate) fn known(&self) -> Vec<Level> {
        let _unchanging = self.progress();
        self.cells.levels()
    }

    /// The present numbers of these slots and of the base; to be taken before the load. Allocates for more than four slots.
    pub(crate) fn stamp(&self, slots: &[u16]) -> Stamp {
        Stamp::read(self.cells.any(Cell::Base), slots, |slot| {
            self.cells.any(Cell::Slot(slot))
        })
    }

    /// The present numbers of all cells: for a load that says only afterwards what its value depends on. To be taken before the
    /// load, as a stamp. Allocates 24 bytes for each cell that was ever raised; 96 KiB at most.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.cells.levels())
    }

    /// How often anything of this scope was flushed, as far as this process has heard: who reads the same number twice knows that
    /// no cell was raised in between.
    pub(crate) fn changes(&self) -> u64 {
        self.cells.changes()
    }

    /// What an entry is worth, as far as this process knows. Allocates nothing.
    #[inline]
    pub(crate) fn judge(&self, stamp: &Stamp) -> Judgement {
        let mut worst = self.cells.judge_base(stamp.base());
        // One after the other: of a chain of both the compiler makes a call.
        for (slot, number) in stamp.in_place() {
            worst = worst.max(self.cells.judge_slot(slot, number));
        }
        for (slot, number) in stamp.on_heap() {
            worst = worst.max(self.cells.judge_slot(slot, number));
        }
        worst
    }

    /// Whether [`judge`](Self::judge) says fresh. Asks it only where something of this scope was raised since it last said so.
    ///
    /// `last` goes with this stamp and this scope. To be asked after [`holds_lease`](Self::holds_lease), as `judge`.
    #[inline]
    pub(crate) fn is_fresh(&self, stamp: &Stamp, last: &LastCheck) -> bool {
        self.cells.is_fresh(last, || self.judge(stamp))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing between its changes can panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In nanoseconds; for ever is the most there are.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
