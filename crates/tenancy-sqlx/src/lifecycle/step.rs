use std::{fmt, pin::Pin};

use tenancy_core::{BoxError, TenantRecord};

/// When a [hook](super::LifecycleBuilder::hook) is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// An error stops the step: nothing of it is done.
    Before,
    /// The step is done, and stays so: an error is logged.
    After,
}

/// What is done to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifecycleAction {
    /// A tenant is made, or the home of one that is registered.
    Create,
    /// Its home is brought to the newest version.
    Migrate,
    /// Its home is filled.
    Seed,
    /// It gets an empty home.
    Reset,
    /// It goes, with its home.
    Drop,
    /// It is made in a home that was ready.
    Claim,
    /// Its data is written to files.
    Export,
    /// It is made of files.
    Import,
    /// It goes to another home with all that it has.
    Move,
    /// Nobody writes to the home that it leaves any more.
    Fence,
}

/// A step of a tenant's life, as a [hook](super::LifecycleBuilder::hook) sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifecycleStep {
    /// Whether it is about to be done, or done.
    pub moment: Moment,
    /// What.
    pub action: LifecycleAction,
    /// Of whom; empty for a home that is made for nobody yet.
    pub slug: Box<str>,
    /// The tenant, where there is one yet, or still.
    pub record: Option<TenantRecord>,
}

impl fmt::Display for LifecycleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Migrate => "migrate",
            Self::Seed => "seed",
            Self::Reset => "reset",
            Self::Drop => "drop",
            Self::Claim => "claim",
            Self::Export => "export",
            Self::Import => "import",
            Self::Move => "move",
            Self::Fence => "fence",
        })
    }
}

/// What a hook or a seed returns: a boxed future.
pub(super) type Work<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

pub(super) type Hook = dyn Fn(LifecycleStep) -> Work<'static> + Send + Sync;
