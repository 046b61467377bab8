//! What is kept, and the slot it is kept in: one for the hot tier, for moka and for its share.

use std::{
    any::Any,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    super::versions::{LastCheck, Stamp, nanos},
    share::Share,
};

/// A value, and what decides whether it may be served. Level 1 looks at its weight alone.
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    /// What it was loaded under.
    pub(crate) stamp: Stamp,
    /// When it was last known to be valid: when its load began, or the shared level was asked for it.
    pub(crate) valid_at: Duration,
    /// Until when it is served without a thought, by the coarse monotonic clock.
    pub(crate) fresh_until: Duration,
    /// Until when nobody thinks of loading it anew, before its time is over.
    pub(crate) calm_until: Duration,
    /// Until when it may be served as stale.
    pub(crate) usable_until: Duration,
    /// How long it took to load.
    pub(crate) load_cost: Duration,
    /// Bytes of the value. What the cache itself needs for it is added.
    pub(crate) weight: u32,
}

/// All that most hits need of an entry, beside its stamp and its value. Times are nanoseconds of the coarse monotonic clock.
pub(crate) struct Brief {
    /// Until when it is fresh and usable.
    pub(crate) fresh_end: u64,
    /// Until when nobody thinks of loading it anew either.
    pub(crate) calm_end: u64,
    pub(crate) last_check: LastCheck,
}

impl Brief {
    fn of(entry: &Entry) -> Self {
        Self {
            fresh_end: nanos(entry.fresh_until.min(entry.usable_until)),
            calm_end: nanos(entry.calm_until.min(entry.usable_until)),
            last_check: LastCheck::never(),
        }
    }
}

/// What a slot, the tables and moka need for one entry, about.
pub(super) const OVERHEAD: u32 = 384;

/// Where a slot's entry is. It goes one way: living, perhaps kept, gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In moka, or on its way there.
    Living,
    /// Out of moka, and kept because its share is below its floor.
    Kept,
    /// Nowhere: whoever still points here must not serve it.
    Gone,
}

const LIVING: u8 = 0;
const KEPT: u8 = 1;
const GONE: u8 = 2;

/// One mark for each who gives second chances.
const USED_FOR_HOT: u8 = 1;
const USED_FOR_SHARE: u8 = 2;

/// An entry under its key. Once `Gone` it is served by no tier, whatever still points to it.
///
/// In this order: what a hit reads comes first, in two cache lines, and then the value.
#[repr(C)]
pub(super) struct Slot {
    share_id: u64,
    pub(super) brief: Brief,
    /// Changed only under the lock of the share's roster.
    place: AtomicU8,
    used: AtomicU8,
    key: KeyBytes,
    pub(super) entry: Entry,
    hash: u64,
    weight: u32,
    /// Where it stands in its ring; under the lock of the roster.
    position: AtomicU32,
    share: Weak<Share>,
}

impl Slot {
    pub(super) fn new(share: &Arc<Share>, key: &[u8], hash: u64, weight: u32, entry: Entry) -> Self {
        Self {
            share_id: share.id(),
            brief: Brief::of(&entry),
            place: AtomicU8::new(LIVING),
            used: AtomicU8::new(0),
            key: KeyBytes::new(key),
            entry,
            hash,
            weight,
            position: AtomicU32::new(0),
            share: Arc::downgrade(share),
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn weight(&self) -> u64 {
        u64::from(self.weight)
    }

    pub(super) fn policy_weight(&self) -> u32 {
        self.weight
    }

    /// `None` once nobody has the account any more: its entries are gone then.
    pub(super) fn share(&self) -> Option<Arc<Share>> {
        self.share.upgrade()
    }

    /// Whether it may be served under this key to this share.
    #[inline]
    pub(super) fn serves(&self, share_id: u64, key: &[u8]) -> bool {
        self.has_key(share_id, key) && !self.is_gone()
    }

    #[inline]
    pub(super) fn has_key(&self, share_id: u64, key: &[u8]) -> bool {
        self.share_id == share_id && self.key.as_slice() == key
    }

    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.place.load(Ordering::SeqCst) == GONE
    }

    pub(super) fn place(&self) -> Place {
        match self.place.load(Ordering::SeqCst) {
            LIVING => Place::Living,
            KEPT => Place::Kept,
            _ => Place::Gone,
        }
    }

    pub(super) fn set_place(&self, place: Place) {
        let place = match place {
            Place::Living => LIVING,
            Place::Kept => KEPT,
            Place::Gone => GONE,
        };
        self.place.store(place, Ordering::SeqCst);
    }

    pub(super) fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed) as usize
    }

    pub(super) fn set_position(&self, position: usize) {
        // More than four billion entries do not fit into memory: each weighs `OVERHEAD`.
        self.position
            .store(u32::try_from(position).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Writes only if nobody has since the marks were taken: a hot entry's cache line stays shared.
    #[inline]
    pub(super) fn mark_used(&self) {
        if self.used.load(Ordering::Relaxed) != USED_FOR_HOT | USED_FOR_SHARE {
            self.used.store(USED_FOR_HOT | USED_FOR_SHARE, Ordering::Relaxed);
        }
    }

    pub(super) fn take_hot_mark(&self) -> bool {
        self.used.fetch_and(!USED_FOR_HOT, Ordering::Relaxed) & USED_FOR_HOT != 0
    }

    pub(super) fn take_share_mark(&self) -> bool {
        self.used.fetch_and(!USED_FOR_SHARE, Ordering::Relaxed) & USED_FOR_SHARE != 0
    }
}

const INLINE: usize = 46;

/// Most keys lie in the slot itself: one cache miss less.
enum KeyBytes {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl KeyBytes {
    fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(head), Ok(len)) => {
                head.copy_from_slice(key);
                Self::Inline { len, bytes }
            }
            _ => Self::Heap(key.into()),
        }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::KeyBytes;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_key_of_any_length_comes_back_whole(key in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = KeyBytes::new(&key);
            prop_assert_eq!(bytes.as_slice(), &key[..]);
        }
    }
}
