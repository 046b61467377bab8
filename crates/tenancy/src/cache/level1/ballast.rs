//! An entry of moka's that weighs as much as moka is not to have.

use std::sync::{
    Mutex, PoisonError, TryLockError,
    atomic::{AtomicU32, Ordering},
};

use super::{
    resident::{Name, Resident, Residents},
    tiers::Tiers,
};

/// moka's bound is wider than ours, and this makes up for it once there is about as much as there may be: moka chooses
/// the size of its sketch of frequencies by the number of entries it has when half of its room is taken, which is by far
/// too few. From then on it also weighs what is kept outside of moka. Only whoever holds the lock moves it.
///
/// It is never removed, but made weightless: moka forgets a change of weight that it has not come to when a removal is
/// behind it, and is off by that for ever.
#[derive(Default)]
pub(super) struct Ballast {
    weight: AtomicU32,
    moving: Mutex<()>,
}

impl Ballast {
    /// Makes it weigh what is kept, if that is off by more than a little.
    pub(super) fn settle(&self, moka: &Residents, tiers: &Tiers) {
        let lost = tiers.ballast_lost.load(Ordering::Acquire);
        let weight = self.weight.load(Ordering::Relaxed);
        let target = u32::try_from(tiers.to_be_withheld()).unwrap_or(u32::MAX);
        let off = u64::from(target.abs_diff(weight)) > tiers.max_bytes / 256;
        if !lost && !off {
            return;
        }
        let _moving = match self.moving.try_lock() {
            Ok(moving) => moving,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        let lost = tiers.ballast_lost.swap(false, Ordering::AcqRel);
        let was = if lost {
            0
        } else {
            self.weight.load(Ordering::Relaxed)
        };
        self.weight.store(target, Ordering::Relaxed);
        if was == 0 {
            // moka turns away what nobody has asked for.
            drop(moka.get(&Name::BALLAST));
            // A newcomer must be worth what it displaces; one that weighs nothing displaces nothing, and what is there
            // may grow.
            moka.insert(Name::BALLAST, Resident::Ballast(0));
        }
        moka.insert(Name::BALLAST, Resident::Ballast(target));
    }

    /// Keeps it from being the next to be evicted.
    pub(super) fn stay_young(&self, moka: &Residents) {
        if self.weight.load(Ordering::Relaxed) != 0 {
            drop(moka.get(&Name::BALLAST));
        }
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> u64 {
        u64::from(self.weight.load(Ordering::Relaxed))
    }
}
