//! What allocators say of themselves, and how each gives back what is free.

#[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
mod glibc;
#[cfg(feature = "jemalloc")]
mod jemalloc;
#[cfg(feature = "mimalloc")]
mod mimalloc;

use serde::{Deserialize, Serialize};

use super::Reading;

/// The allocator whose statistics are read and which a purge is asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Allocator {
    /// jemalloc. Needs feature `jemalloc`.
    Jemalloc,
    /// mimalloc. Needs feature `mimalloc`.
    Mimalloc,
    /// That of the GNU C library, 2.33 or newer. Needs feature `glibc`.
    Glibc,
    /// Another one, or one whose feature is off: it says nothing, and nothing is asked of it.
    #[default]
    Unknown,
}

/// The book of an allocator, in bytes. What it does not say is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapStatistics {
    /// Live: allocated and not freed, by whomever.
    pub allocated: Reading,
    /// In pages that have something live.
    pub active: Reading,
    /// Of its pages, those in memory.
    pub resident: Reading,
    /// In its mappings.
    pub mapped: Reading,
    /// Address space that it keeps, and that costs no memory.
    pub retained: Reading,
}

impl Allocator {
    /// Finds out which one serves this program's allocations: allocates a little and looks in whose book it is.
    pub fn detect() -> Self {
        #[cfg(feature = "jemalloc")]
        if jemalloc::is_in_use() {
            return Self::Jemalloc;
        }
        #[cfg(feature = "mimalloc")]
        if mimalloc::is_in_use() {
            return Self::Mimalloc;
        }
        #[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
        if glibc::is_in_use() {
            return Self::Glibc;
        }
        Self::Unknown
    }

    /// What it says now.
    pub fn statistics(self) -> HeapStatistics {
        match self {
            #[cfg(feature = "jemalloc")]
            Self::Jemalloc => jemalloc::statistics(),
            #[cfg(feature = "mimalloc")]
            Self::Mimalloc => mimalloc::statistics(),
            #[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
            Self::Glibc => glibc::statistics(),
            _ => HeapStatistics::default(),
        }
    }

    /// Gives free pages back to the system, now. Takes as long as that takes, up to seconds for many gigabytes: never on a
    /// thread that serves requests. Returns whether it did.
    pub(super) fn purge(self) -> bool {
        match self {
            #[cfg(feature = "jemalloc")]
            Self::Jemalloc => jemalloc::purge(),
            #[cfg(feature = "mimalloc")]
            Self::Mimalloc => mimalloc::purge(),
            #[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
            Self::Glibc => glibc::purge(),
            _ => false,
        }
    }
}
