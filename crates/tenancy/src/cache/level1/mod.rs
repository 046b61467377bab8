//! The first level: entries in this process's memory, of all accounts together.
//!
//! * Each account has a [`Share`]. Its roster, behind a lock that a hit does not take, says which of its entries live.
//! * moka says which are to be evicted. It has them under the hash of its key: every read compares the whole key.
//! * While there is no room to spare, moka is not troubled with what is put in for the first time: newcomers wait in a queue,
//!   and go to moka when they are asked for, or put in again.
//! * The hot tier has pointers to those asked for most, for a hit without a lock, moka, a clock or an allocation.
//! * What moka evicts of a share below its floor is kept outside of moka. A ballast in moka weighs as much, so that one
//!   bound holds for all. A share above its ceiling makes room of its own while others lose something.
//!
//! An entry that is replaced, removed or evicted is marked gone: no tier serves it from then on, whoever still points
//! to it.

mod ballast;
pub(crate) mod bench;
mod entry;
mod hot;
mod newcomers;
mod recent;
mod resident;
mod ring;
mod share;
#[cfg(test)]
mod tests;
mod tiers;

use std::{
    hash::BuildHasherDefault,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use tenancy_core::Clock;

use self::{
    ballast::Ballast,
    entry::{OVERHEAD, Place, Slot},
    newcomers::Newcomers,
    recent::{Recent, one_of_eight},
    resident::{Hashed, Name, Resident, Residents},
    tiers::Tiers,
};
pub(crate) use self::{
    entry::{Brief, Entry},
    share::Share,
};

/// How many hits of the hot tier an insert tells moka of, at most.
const TOLD_AT_ONCE: usize = 64;

/// How much, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Level1Settings {
    /// Of all entries with their keys and what the cache needs for each. Default: 64 MiB.
    pub(crate) max_bytes: u64,
    /// Larger ones are not kept. Default: 1 MiB.
    pub(crate) max_entry_bytes: u32,
    /// How many the hot tier points to, rounded up to a power of two; 0 for none. Default: 4,096.
    pub(crate) hot_entries: usize,
    /// What other shares cannot take from one, as a part of the whole. Default: 0.03. All together have half at most.
    pub(crate) floor_share: f32,
    /// What one share may have while others need room, as a part of the whole. Default: 0.5.
    pub(crate) ceiling_share: f32,
    /// In what time the floor of a share that is not used halves; at least a second. Default: 10 minutes.
    pub(crate) floor_half_life: Duration,
}

impl Default for Level1Settings {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            hot_entries: 4096,
            floor_share: 0.03,
            ceiling_share: 0.5,
            floor_half_life: Duration::from_secs(600),
        }
    }
}

/// Where an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Hot,
    Others,
}

/// Entries of all shares, within one bound.
pub(crate) struct Level1 {
    tiers: Arc<Tiers>,
    moka: Residents,
    ballast: Ballast,
    recent: Recent,
    newcomers: Newcomers,
    inserts: AtomicUsize,
    max_entry_bytes: u64,
    clock: Arc<dyn Clock>,
}

impl Level1 {
    pub(crate) fn new(settings: &Level1Settings, clock: Arc<dyn Clock>) -> Self {
        let tiers = Arc::new(Tiers::new(settings));
        let listener = {
            let tiers = Arc::clone(&tiers);
            move |_name, resident: Resident, cause| tiers.left(&resident, cause)
        };
        let moka = Cache::builder()
            .max_capacity(tiers.room_of_moka())
            .weigher(|_name, resident: &Resident| resident.weight())
            .eviction_listener(listener)
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            tiers,
            moka,
            ballast: Ballast::default(),
            recent: Recent::new(),
            newcomers: Newcomers::new(settings.max_bytes),
            inserts: AtomicUsize::new(0),
            max_entry_bytes: u64::from(settings.max_entry_bytes).min(settings.max_bytes),
            clock,
        }
    }

    /// Of a new account.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::new(Share::new(&self.tiers, self.clock.monotonic().as_secs()))
    }

    /// Calls `read` with the entry, if it is here; whether it may be served is the caller's to judge.
    ///
    /// `hash` is of the share's id and the key, the same for every call, and mixed well.
    /// A hit of the hot tier takes no lock and does not allocate; another may do moka's housekeeping.
    #[inline]
    pub(crate) fn get<R>(
        &self,
        share: &Share,
        key: &[u8],
        hash: u64,
        now: Duration,
        read: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        self.glance(share, key, hash, now, |_, entry| read(entry))
    }

    /// As [`get`](Self::get), with what most callers need at hand.
    #[inline]
    pub(crate) fn glance<R>(
        &self,
        share: &Share,
        key: &[u8],
        hash: u64,
        now: Duration,
        read: impl FnOnce(&Brief, &Entry) -> R,
    ) -> Option<R> {
        let hash = named(hash);
        let found = self.tiers.hot.find(share.id(), key, hash);
        if let Some(slot) = found.as_deref().and_then(Option::as_ref) {
            share.used_at(now.as_secs());
            slot.mark_used();
            if one_of_eight() {
                self.recent.note(hash);
            }
            return Some(read(&slot.brief, &slot.entry));
        }
        let slot = self.find_colder(share, key, hash)?;
        share.used_at(now.as_secs());
        Some(read(&slot.brief, &slot.entry))
    }

    #[inline(never)]
    fn find_colder(&self, share: &Share, key: &[u8], hash: u64) -> Option<Arc<Slot>> {
        let slot = match share.try_find(key, hash) {
            Some(found) => {
                let slot = found?;
                // moka hears of it when something is put in.
                self.recent.note(hash);
                slot
            }
            // Many ask this share at once: moka can be asked by all of them.
            None => self.find_by_moka(share, key, hash)?,
        };
        slot.mark_used();
        // By chance: so that it is mostly those that are asked for most. moka does not have all.
        if one_of_eight() || slot.place() == Place::Kept {
            self.tiers.hot.promote(&slot);
        }
        Some(slot)
    }

    /// As [`get`](Self::get), without a trace: nothing is promoted, and nobody counts as having used it. Takes the lock of the
    /// share.
    pub(crate) fn peek<R>(
        &self,
        share: &Share,
        key: &[u8],
        hash: u64,
        read: impl FnOnce(&Entry, Tier) -> R,
    ) -> Option<R> {
        let hash = named(hash);
        let slot = share.find(key, hash)?;
        let tier = match self.tiers.hot.find(share.id(), key, hash) {
            Some(_) => Tier::Hot,
            None => Tier::Others,
        };
        Some(read(&slot.entry, tier))
    }

    fn find_by_moka(&self, share: &Share, key: &[u8], hash: u64) -> Option<Arc<Slot>> {
        match self.moka.get(&Hashed(hash)) {
            Some(Resident::Entry(slot)) if slot.serves(share.id(), key) => Some(slot),
            // One that was replaced a moment ago hides the new one, for as long; moka does not have all; and it stops at the
            // remains of one of another weight that was removed.
            _ => share.find(key, hash),
        }
    }

    /// Puts an entry in the place of what was there. One that is too large is not kept, and what was there is gone.
    ///
    /// May do moka's housekeeping: some 10 µs, now and then.
    pub(crate) fn insert(&self, share: &Arc<Share>, key: &[u8], hash: u64, entry: Entry) {
        let hash = named(hash);
        let Some(weight) = self.weight_of(key, &entry) else {
            self.remove(share, key, hash);
            return;
        };
        let now = self.clock.monotonic().as_secs();
        self.tiers.it_is(now);
        share.used_at(now);
        self.tell_of_hits();
        self.displace(share, self.tiers.due(share, u64::from(weight)));

        let slot = Arc::new(Slot::new(share, key, hash, weight, entry));
        let replaced = share.admit(&slot, key);
        let is_known = self.newcomers.is_known(hash);
        if replaced.is_some() || is_known || self.tiers.has_room() {
            if is_known {
                // Nobody found it: so moka hears that it was asked for.
                drop(self.moka.get(&Hashed(hash)));
            }
            self.put_into_moka(&slot);
        } else {
            self.welcome(&slot);
        }
        if let Some(replaced) = replaced {
            self.tiers.hot.forget(&replaced);
            // Of the same weight, it has been replaced in moka as well.
            if replaced.policy_weight() != slot.policy_weight() {
                self.moka.invalidate(&Name::of(&replaced));
            }
        }
        self.stay_within_bounds(share);
        self.look_after_floors();
    }

    fn put_into_moka(&self, slot: &Arc<Slot>) {
        self.moka
            .insert(Name::of(slot), Resident::Entry(Arc::clone(slot)));
        if slot.is_gone() {
            // Another thread has replaced or removed it, and looked for it in moka too early.
            self.moka.invalidate(&Name::of(slot));
        }
    }

    /// Takes in one that was not there lately, for which others leave that nobody asked for meanwhile.
    fn welcome(&self, slot: &Arc<Slot>) {
        let mut over = Vec::new();
        self.tiers
            .newcomers_weigh(self.newcomers.welcome(slot, &mut over));
        for slot in over {
            if slot.is_gone() {
                continue;
            }
            if slot.take_share_mark() {
                drop(self.moka.get(&Hashed(slot.hash())));
                self.put_into_moka(&slot);
            } else {
                self.tiers.evict(&slot);
            }
        }
    }

    /// When this returns, `get` does not find what was there before.
    pub(crate) fn remove(&self, share: &Share, key: &[u8], hash: u64) {
        let hash = named(hash);
        if let Some(slot) = share.remove(key, hash) {
            self.forget(&slot);
            self.ballast.settle(&self.moka, &self.tiers);
        }
    }

    /// Lets go of all that a share has; as many steps as it has entries. It may be used further.
    pub(crate) fn purge(&self, share: &Share) {
        for slot in share.clear() {
            self.forget(&slot);
        }
        self.ballast.settle(&self.moka, &self.tiers);
    }

    /// What all entries weigh, each once.
    pub(crate) fn bytes(&self) -> u64 {
        self.tiers.bytes()
    }

    /// Does what is due: evicts, and holds shares to their floors. Otherwise others do it by the way.
    pub(crate) fn run_pending(&self) {
        self.tiers.it_is(self.clock.monotonic().as_secs());
        self.tell_of_hits();
        self.moka.run_pending_tasks();
        self.trim_next();
        self.ballast.settle(&self.moka, &self.tiers);
        self.moka.run_pending_tasks();
    }

    fn weight_of(&self, key: &[u8], entry: &Entry) -> Option<u32> {
        let weight = entry
            .weight
            .checked_add(OVERHEAD)?
            .checked_add(u32::try_from(key.len()).ok()?)?;
        (u64::from(weight) <= self.max_entry_bytes).then_some(weight)
    }

    fn tell_of_hits(&self) {
        // What moka answers does not matter: it has heard of it.
        self.recent
            .tell(TOLD_AT_ONCE, |hash| drop(self.moka.get(&Hashed(hash))));
    }

    /// Frees what has gone. If another thread has put something in its place meanwhile, that may go with it.
    fn forget(&self, slot: &Arc<Slot>) {
        self.tiers.hot.forget(slot);
        self.moka.invalidate(&Name::of(slot));
    }

    /// moka evicts in batches, which may be large entries, and relies on a channel being drained. The bound does not.
    fn stay_within_bounds(&self, share: &Share) {
        let max = self.tiers.max_bytes;
        if self.tiers.bytes() <= max + max / 32 {
            return;
        }
        self.ballast.settle(&self.moka, &self.tiers);
        self.moka.run_pending_tasks();
        self.displace(share, self.tiers.bytes().saturating_sub(max + max / 20));
    }

    fn displace(&self, share: &Share, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut left = Vec::new();
        self.tiers.paid(share.displace(bytes, &mut left));
        for slot in left {
            self.forget(&slot);
        }
    }

    fn look_after_floors(&self) {
        let turn = self.inserts.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(8) {
            self.trim_next();
        }
        self.ballast.settle(&self.moka, &self.tiers);
        if turn.is_multiple_of(16) {
            self.ballast.stay_young(&self.moka);
        }
    }

    fn trim_next(&self) {
        if self.tiers.any_keepers() {
            let mut left = Vec::new();
            self.tiers.trim_next(&mut left);
            for slot in left {
                self.tiers.hot.forget(&slot);
            }
        }
    }
}

/// 0 is the ballast's, and that of an empty place in the hot tier.
#[inline]
fn named(hash: u64) -> u64 {
    hash.max(1)
}
