//! What a tenant's control block keeps of its memory.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy_memory::{OWNERS, Owner, are_owners_kept, is_installed};

use super::{
    extract::MemoryUnavailable,
    totals::{MemoryTotals, Sums},
};
use crate::{Tenant, home::Home};

/// How long nobody looks for a place after none was found: each look goes through the whole table.
const PAUSE: Duration = Duration::from_secs(1);

/// What tenants of one stack have in common that look for a place in the table of owners.
#[derive(Debug, Default)]
pub(crate) struct OwnerSearch {
    /// In milliseconds of the stack's clock. Two that find no place at once say the same.
    not_before: AtomicU64,
}

impl OwnerSearch {
    fn find(&self, now: Duration) -> Option<Owner> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if millis(now) < self.not_before.load(Ordering::Relaxed) {
            return None;
        }
        let owner = Owner::new();
        if owner.is_none() {
            self.not_before
                .store(millis(now.saturating_add(PAUSE)), Ordering::Relaxed);
            say_full();
        }
        owner
    }
}

#[cold]
fn say_full() {
    static HAS_SAID: AtomicBool = AtomicBool::new(false);
    if !HAS_SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            places = OWNERS,
            "all places for owners of memory are taken: the live bytes of further tenants are not known, and no budget holds them"
        );
    }
}

#[derive(Debug)]
pub(crate) struct TenantMemory {
    pub(super) sums: Sums,
    owner: OnceLock<Owner>,
}

impl TenantMemory {
    pub(crate) fn new() -> Self {
        Self {
            sums: Sums::new(),
            owner: OnceLock::new(),
        }
    }

    /// `None` where owners are not kept, or there is no place for one more at the moment.
    pub(crate) fn owner(&self, home: &Home) -> Option<&Owner> {
        if self.owner.get().is_none() && are_owners_kept() {
            let found = home.owner_search.find(home.clock.monotonic_coarse())?;
            // Another thread may have found one as well: this one's place is free again then.
            let _ = self.owner.set(found);
        }
        self.owner.get()
    }
}

impl Tenant {
    /// What this tenant's requests have used in this process, since it knows the tenant. Only of those that the memory stage has seen, and
    /// whose account has closed.
    ///
    /// # Errors
    /// When the meter is not this program's allocator.
    pub fn memory(&self) -> Result<MemoryTotals, MemoryUnavailable> {
        if is_installed() {
            Ok(self.memory_block().sums.read())
        } else {
            Err(MemoryUnavailable::NotInstalled)
        }
    }

    /// Bytes of all blocks that were allocated for this tenant and not freed yet, whoever frees them: by its requests from where the tenant is known,
    /// by what they carry, and by loads of the cache that they begin. [`scope::run`](crate::scope::run) and jobs outside of requests are nobody's, and
    /// inside of a request they are the request's tenant's. `None` where the allocator keeps no
    /// owners ([`Owned`](crate::memory::Owned)), or 4,095 other tenants are known or have blocks left. A place that gets free is found within
    /// about a second; what was allocated before is not counted. The log says once that there was no place.
    pub fn live_bytes(&self) -> Option<u64> {
        Some(self.memory_block().owner(self.home())?.live_bytes())
    }
}
