use serde::Serialize;
use tenancy_core::TenantId;

/// What came of warming one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TenantWarmed {
    /// Which.
    pub tenant: TenantId,
    /// How many recipes have run and ended well.
    pub done: usize,
    /// Those that did not.
    pub failed: Vec<RecipeFailure>,
    /// Bytes that came into level 1 meanwhile.
    pub bytes: u64,
    /// Whether the tenant is not served any more, so that recipes were left out.
    pub is_gone: bool,
    /// Whether the share of level 1 that warming may fill was full, so that recipes were left out.
    pub is_out_of_room: bool,
}

impl TenantWarmed {
    pub(super) fn nothing(tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            done: 0,
            failed: Vec::new(),
            bytes: 0,
            is_gone: false,
            is_out_of_room: false,
        }
    }

    /// Whether every recipe has run and ended well.
    pub fn is_warm(&self) -> bool {
        self.failed.is_empty() && !self.is_gone && !self.is_out_of_room
    }
}

/// A recipe that did not end well for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecipeFailure {
    /// Its name.
    pub recipe: String,
    /// Why, for logs.
    pub error: String,
}
