use std::{error::Error, fmt, sync::Arc};

use tenancy_core::TenantId;

#[derive(Clone, Debug)]
pub(super) enum Fault {
    Failed(Arc<dyn Error + Send + Sync>),
    Panicked(Arc<str>),
    Abandoned,
}

/// An object of a tenant could not be made. Names the tenant and is for logs.
#[derive(Clone, Debug)]
pub struct ResourceError {
    tenant: TenantId,
    name: &'static str,
    fault: Fault,
}

impl ResourceError {
    pub(super) fn new(tenant: TenantId, name: &'static str, fault: Fault) -> Self {
        Self { tenant, name, fault }
    }

    /// Whose it would have been.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The key's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether making it failed; the cause is the [`source`](Error::source).
    pub fn is_failed(&self) -> bool {
        matches!(self.fault, Fault::Failed(_))
    }

    /// Whether making it panicked.
    pub fn is_panicked(&self) -> bool {
        matches!(self.fault, Fault::Panicked(_))
    }

    /// Whether the runtime that it was made on ended before it was ready.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.fault, Fault::Abandoned)
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, name, fault } = self;
        match fault {
            Fault::Failed(_) => write!(f, "{name} of tenant {tenant} could not be made"),
            Fault::Panicked(message) => write!(f, "making {name} of tenant {tenant} panicked: {message}"),
            Fault::Abandoned => write!(
                f,
                "making {name} of tenant {tenant} was given up with its runtime"
            ),
        }
    }
}

impl Error for ResourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Failed(cause) => Some(&**cause),
            Fault::Panicked(_) | Fault::Abandoned => None,
        }
    }
}
