//! What all shares have in common, and what happens to an entry that moka gives up: floors and ceilings.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use moka::notification::RemovalCause;

use super::{
    Level1Settings,
    entry::Slot,
    hot::Hot,
    resident::Resident,
    share::{Share, Verdict},
};

/// All floors together are at most this part of the whole.
const FLOORS_OF_ALL: u64 = 2;
/// Up to which bound moka is given more room than there is: a weight has 32 bits.
const WIDENED_UP_TO: u64 = 1 << 31;
/// How many shares are looked at to find room below the floors, at most, for one entry.
const LOOKS_FOR_ROOM: usize = 64;

pub(super) struct Tiers {
    pub(super) hot: Hot,
    /// Of all shares, in all tiers.
    pub(super) bytes: AtomicU64,
    /// Of these, what is outside of moka.
    pub(super) kept: AtomicU64,
    /// And what waits in the queue of newcomers, gone or not.
    newcomers: AtomicU64,
    pub(super) max_bytes: u64,
    /// What one share may have while others need room.
    ceiling: u64,
    floor: u64,
    all_floors: u64,
    half_life: u64,
    /// In seconds, as far as anybody has told.
    now: AtomicU64,
    /// What shares above their ceiling have to make up for, in bytes: others lost some.
    owed: AtomicU64,
    keepers: Mutex<VecDeque<Weak<Share>>>,
    keeper_count: AtomicUsize,
    pub(super) ballast_lost: AtomicBool,
    /// What moka may have beyond `max_bytes`.
    widened: u64,
    was_full: AtomicBool,
    is_crowded: AtomicBool,
}

impl Tiers {
    pub(super) fn new(settings: &Level1Settings) -> Self {
        Self {
            hot: Hot::new(settings.hot_entries),
            bytes: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            newcomers: AtomicU64::new(0),
            max_bytes: settings.max_bytes,
            ceiling: part(settings.max_bytes, settings.ceiling_share),
            floor: part(settings.max_bytes, settings.floor_share),
            // The ballast's weight has 32 bits.
            all_floors: (settings.max_bytes / FLOORS_OF_ALL).min(u64::from(u32::MAX)),
            half_life: settings.floor_half_life.as_secs().max(1),
            now: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            keepers: Mutex::default(),
            keeper_count: AtomicUsize::new(0),
            ballast_lost: AtomicBool::new(false),
            widened: if settings.max_bytes <= WIDENED_UP_TO {
                settings.max_bytes
            } else {
                0
            },
            was_full: AtomicBool::new(false),
            is_crowded: AtomicBool::new(false),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn room_of_moka(&self) -> u64 {
        self.max_bytes + self.widened
    }

    /// What moka is not to have of its room.
    pub(super) fn to_be_withheld(&self) -> u64 {
        if !self.was_full.load(Ordering::Relaxed) {
            if self.bytes() < self.max_bytes - self.max_bytes / 16 {
                return 0;
            }
            self.was_full.store(true, Ordering::Relaxed);
        }
        self.widened + self.kept.load(Ordering::Relaxed) + self.newcomers.load(Ordering::Relaxed)
    }

    /// Whether what is there needs to make room for nobody. Once it did, this is so when an eighth is free.
    pub(super) fn has_room(&self) -> bool {
        let was_crowded = self.is_crowded.load(Ordering::Relaxed);
        let limit = if was_crowded {
            self.max_bytes - self.max_bytes / 8
        } else {
            self.max_bytes
        };
        let is_crowded = self.bytes() > limit;
        if is_crowded != was_crowded {
            self.is_crowded.store(is_crowded, Ordering::Relaxed);
        }
        !is_crowded
    }

    pub(super) fn newcomers_weigh(&self, bytes: u64) {
        self.newcomers.store(bytes, Ordering::Relaxed);
    }

    /// As moka evicts: it is kept, if its share is below its floor, or leaves.
    pub(super) fn evict(&self, slot: &Arc<Slot>) {
        self.entry_left(slot, RemovalCause::Size);
    }

    pub(super) fn it_is(&self, seconds: u64) {
        self.now.fetch_max(seconds, Ordering::Relaxed);
    }

    /// moka has let go of something. It holds its locks: it must not be called from here.
    pub(super) fn left(&self, resident: &Resident, cause: RemovalCause) {
        match resident {
            Resident::Entry(slot) => self.entry_left(slot, cause),
            Resident::Ballast(_) => {
                if cause == RemovalCause::Size {
                    self.ballast_lost.store(true, Ordering::Release);
                }
            }
        }
    }

    fn entry_left(&self, slot: &Arc<Slot>, cause: RemovalCause) {
        let verdict = match slot.share() {
            None => Verdict::WasGone,
            Some(share) if cause == RemovalCause::Size => self.evicted(&share, slot),
            Some(share) => {
                share.drop_slot(slot);
                Verdict::Dropped
            }
        };
        if verdict != Verdict::Kept {
            self.hot.forget(slot);
        }
    }

    fn evicted(&self, share: &Arc<Share>, slot: &Arc<Slot>) -> Verdict {
        if slot.is_gone() {
            return Verdict::WasGone;
        }
        let mut left = Vec::new();
        let floor = self.floor_below_all(share, slot.weight(), &mut left);
        let verdict = share.keep_or_drop(slot, floor, &mut left);
        for slot in &left {
            self.hot.forget(slot);
        }
        if verdict == Verdict::Dropped {
            share.count_eviction();
            if share.bytes() < self.ceiling && self.owed.load(Ordering::Relaxed) < self.max_bytes / 64 {
                // The greedy one takes a part of the room that it makes.
                self.owed.fetch_add(4 * slot.weight(), Ordering::Relaxed);
            }
        }
        verdict
    }

    /// The share's floor, if `weight` more bytes can be kept; else 0.
    fn floor_below_all(&self, share: &Arc<Share>, weight: u64, left: &mut Vec<Arc<Slot>>) -> u64 {
        if share.bytes() > self.floor + share.kept_bytes() || weight > self.floor_of(share) {
            return 0;
        }
        self.enlist(share);
        for _ in 0..LOOKS_FOR_ROOM {
            if self.kept.load(Ordering::Relaxed) + weight <= self.all_floors {
                return self.floor_of(share);
            }
            self.trim_next(left);
        }
        0
    }

    /// What others cannot take from this share: it halves with each half-life in which it was not used, and all floors
    /// shrink when they would not fit together.
    fn floor_of(&self, share: &Share) -> u64 {
        let keepers = self.keeper_count.load(Ordering::Relaxed).max(1) as u64;
        let idle = self.now.load(Ordering::Relaxed).saturating_sub(share.last_use());
        let halvings = u32::try_from(idle / self.half_life).unwrap_or(u32::MAX);
        self.floor
            .min(self.all_floors / keepers)
            .checked_shr(halvings)
            .unwrap_or(0)
    }

    fn enlist(&self, share: &Arc<Share>) {
        if share.enlist() {
            self.keeper_count.fetch_add(1, Ordering::Relaxed);
            self.keepers().push_back(Arc::downgrade(share));
        }
    }

    /// Holds the next share that has something kept to its floor. Called now and then, so that sleeping tenants give
    /// back what they reserved.
    pub(super) fn trim_next(&self, left: &mut Vec<Arc<Slot>>) {
        let Some(next) = self.keepers().pop_front() else {
            return;
        };
        let Some(share) = next.upgrade() else {
            self.keeper_count.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        share.trim(self.floor_of(&share), left);
        if share.has_kept() {
            self.keepers().push_back(next);
            return;
        }
        share.strike_out();
        self.keeper_count.fetch_sub(1, Ordering::Relaxed);
        // Something may have been kept between the two.
        if share.has_kept() {
            self.enlist(&share);
        }
    }

    pub(super) fn any_keepers(&self) -> bool {
        self.keeper_count.load(Ordering::Relaxed) != 0
    }

    /// What a share has to give up of its own before it gets `weight` bytes more: if it is above its ceiling, and
    /// others have lost something. Twice of what it gets: so that it comes down.
    pub(super) fn due(&self, share: &Share, weight: u64) -> u64 {
        let owed = self.owed.load(Ordering::Relaxed);
        if owed == 0 {
            return 0;
        }
        share
            .bytes()
            .saturating_sub(self.ceiling)
            .min(weight.saturating_mul(2))
            .min(owed)
    }

    pub(super) fn paid(&self, bytes: u64) {
        let less = |owed: u64| Some(owed.saturating_sub(bytes));
        // It always has an answer.
        let _ = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn keepers(&self) -> MutexGuard<'_, VecDeque<Weak<Share>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(whole: u64, share: f32) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of the whole, between none and all of it; a few bytes do not matter"
    )]
    let bytes = (whole as f64 * f64::from(share.clamp(0.0, 1.0))) as u64;
    bytes.min(whole)
}
