//! Whose job it is, in the job's payload. All that this example knows of it stands in this file.

use std::fmt;

use serde::{Deserialize, Serialize};
use tenancy::{Tenancy, Tenant, core::TenantId, stack::EnterError};

/// A tenant in a payload: the id, and the incarnation that tells a tenant from an earlier one of the same name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobTenant {
    id: TenantId,
    incarnation: u64,
}

/// Why a job does not run.
#[derive(Debug)]
pub enum NotEntered {
    /// It never will: the tenant is gone, not served, or another one that has its name.
    Never(String),
    /// The catalogue could not tell. Trying again may help.
    NotNow(EnterError),
}

impl JobTenant {
    /// Of the tenant that the job is made for.
    pub fn of(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id().clone(),
            incarnation: tenant.incarnation(),
        }
    }

    /// The tenant, if it is still the same one and served.
    ///
    /// # Errors
    /// As [`NotEntered`] says.
    pub async fn enter(&self, tenancy: &Tenancy) -> Result<Tenant, NotEntered> {
        let tenant = tenancy.enter(&self.id).await.map_err(|error| {
            if error.is_unavailable() {
                NotEntered::NotNow(error)
            } else {
                NotEntered::Never(error.to_string())
            }
        })?;
        if tenant.incarnation() == self.incarnation {
            Ok(tenant)
        } else {
            Err(NotEntered::Never(format!("tenant {} was recreated", self.id)))
        }
    }
}

impl fmt::Display for JobTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}
