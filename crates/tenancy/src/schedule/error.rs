use std::{error::Error, fmt, sync::Arc};

use tenancy_core::{StoreError, TenantStatus};

use crate::scope::Panicked;

#[derive(Debug)]
pub(super) enum Fault {
    HeldElsewhere,
    LockUnavailable(StoreError),
    LeaseLost,
    NotServed(TenantStatus),
    Failed(Arc<dyn Error + Send + Sync>),
    Panicked(Panicked),
}

/// A job was not run for a tenant, or not to its end. For logs.
#[derive(Debug)]
pub struct JobError {
    job: Arc<str>,
    fault: Fault,
}

impl JobError {
    pub(super) fn new(job: Arc<str>, fault: Fault) -> Self {
        Self { job, fault }
    }

    /// Whether another run of the job for this tenant goes on, or was a short time ago. It was not begun.
    pub fn is_held_elsewhere(&self) -> bool {
        matches!(self.fault, Fault::HeldElsewhere)
    }

    /// Whether the lock store could not tell. It was not begun.
    pub fn is_lock_unavailable(&self) -> bool {
        matches!(self.fault, Fault::LockUnavailable(_))
    }

    /// Whether the lease could not be kept. The job was ended half-way.
    pub fn is_lease_lost(&self) -> bool {
        matches!(self.fault, Fault::LeaseLost)
    }

    /// Whether the tenant is not served any more. The job was not begun, or ended half-way.
    pub fn is_not_served(&self) -> bool {
        matches!(self.fault, Fault::NotServed(_))
    }

    /// Whether the job itself failed; its error is the [`source`](Error::source).
    pub fn is_failed(&self) -> bool {
        matches!(self.fault, Fault::Failed(_))
    }

    /// Whether the job panicked.
    pub fn is_panicked(&self) -> bool {
        matches!(self.fault, Fault::Panicked(_))
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {:?} ", &*self.job)?;
        match &self.fault {
            Fault::HeldElsewhere => f.write_str("was not run: another run of it holds the lock"),
            Fault::LockUnavailable(_) => f.write_str("was not run: the lock store could not tell"),
            Fault::LeaseLost => f.write_str("was ended: its lease could not be kept"),
            Fault::NotServed(status) => write!(f, "was ended: the tenant is {status}"),
            Fault::Failed(_) => f.write_str("failed"),
            Fault::Panicked(panicked) => panicked.fmt(f),
        }
    }
}

impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Failed(cause) => Some(&**cause),
            Fault::LockUnavailable(cause) => Some(cause),
            Fault::HeldElsewhere | Fault::LeaseLost | Fault::NotServed(_) | Fault::Panicked(_) => None,
        }
    }
}
