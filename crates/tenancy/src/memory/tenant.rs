//! What a tenant's control block keeps of its memory.

use std::sync::OnceLock;

use tenancy_memory::{Owner, are_owners_kept, is_installed};

use super::{
    extract::MemoryUnavailable,
    totals::{MemoryTotals, Sums},
};
use crate::Tenant;

#[derive(Debug)]
pub(crate) struct TenantMemory {
    pub(super) sums: Sums,
    owner: OnceLock<Option<Owner>>,
}

impl TenantMemory {
    pub(crate) fn new() -> Self {
        Self {
            sums: Sums::new(),
            owner: OnceLock::new(),
        }
    }

    /// `None` where owners are not kept, or there is no place for one more.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        let begin = || are_owners_kept().then(Owner::new).flatten();
        self.owner.get_or_init(begin).as_ref()
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

    /// Bytes of all blocks that were allocated for this tenant and not freed yet, whoever frees them. `None` where the allocator keeps no
    /// owners ([`Owned`](crate::memory::Owned)), or more than 4,095 tenants have blocks at once and this one came too late.
    pub fn live_bytes(&self) -> Option<u64> {
        Some(self.memory_block().owner()?.live_bytes())
    }
}
