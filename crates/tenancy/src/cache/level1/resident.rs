//! What moka has, and how it is asked for.
//!
//! An entry's weight is a part of its key there: when a key changes its weight and is removed before moka's housekeeping
//! came to the change, moka 0.12 forgets the difference, and its count of bytes is off for ever.

use std::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use moka::{Equivalent, sync::Cache};

use super::entry::Slot;

pub(super) type Residents = Cache<Name, Resident, BuildHasherDefault<AsItIs>>;

#[derive(Clone)]
pub(super) enum Resident {
    Entry(Arc<Slot>),
    /// Weighs what is kept outside of moka, so that all is within one bound.
    Ballast(u32),
}

impl Resident {
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Entry(slot) => slot.policy_weight(),
            Self::Ballast(weight) => *weight,
        }
    }
}

/// The hash of an entry's key, as that moka knows how often it was asked for, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    hash: u64,
    weight: u32,
}

impl Name {
    /// No entry has it.
    pub(super) const BALLAST: Self = Self { hash: 0, weight: 0 };

    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            hash: slot.hash(),
            weight: slot.policy_weight(),
        }
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// What there is under a hash, of whatever weight.
pub(super) struct Hashed(pub(super) u64);

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Equivalent<Name> for Hashed {
    fn equivalent(&self, name: &Name) -> bool {
        name.hash == self.0
    }
}

/// The keys are hashed already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for a `u64`.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
