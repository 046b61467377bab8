//! What can be wrong with a stack's settings.

use std::fmt;

use super::order::{OrderMistake, Stage};

/// One thing that is wrong with a stack's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigMistake {
    /// The order of stages makes no sense.
    Order(OrderMistake),
    /// A layer is to stand beside a stage that is not in the order.
    LayerWithoutStage {
        /// The stage.
        stage: Stage,
    },
    /// A central host is no host.
    CentralHost {
        /// The host, cut to 64 characters.
        host: String,
        /// Why.
        reason: &'static str,
    },
    /// The deadline is zero: every request would fail.
    ZeroDeadline,
    /// The chain has no identifier: every request would be without tenant.
    NoIdentifier,
    /// The public URL is none.
    PublicUrl {
        /// The URL, cut to 64 characters.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// No object of any tenant may be kept: each use would make another.
    NoResources,
    /// A setting of the cache is impossible; the text says which.
    Cache(String),
    /// A response cache can not work, here or at all; the text says why.
    ResponseCache(String),
    /// Tenants are to have a budget of memory, and the allocator does not know whose which block is.
    #[cfg(feature = "memory")]
    MemoryBudgetWithoutOwners,
    /// Tenants are to have a budget of memory, and the stage that counts for them is not in the order.
    #[cfg(feature = "memory")]
    MemoryBudgetWithoutStage,
    /// A dev tenant in a release build, which others may be able to reach.
    DevTenantInRelease,
    /// The dev tenant's id is none.
    DevTenant {
        /// The id, cut to 64 characters.
        id: String,
        /// Why.
        reason: &'static str,
    },
    /// An identifier reads what authentication leaves in the request, and no layer stands before the resolve stage.
    ClaimBeforeAuth {
        /// Its name.
        identifier: String,
    },
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(mistake) => mistake.fmt(f),
            Self::Cache(mistake) => write!(f, "the cache's settings: {mistake}"),
            Self::ResponseCache(mistake) => write!(f, "a response cache: {mistake}"),
            Self::LayerWithoutStage { stage } => {
                write!(f, "a layer is to stand beside {stage}, which is not in the order")
            }
            Self::CentralHost { host, reason } => write!(f, "central host {host:?} is not valid: {reason}"),
            Self::ZeroDeadline => f.write_str("the deadline is zero; disable the deadline stage instead"),
            Self::NoIdentifier => {
                f.write_str("the chain has no identifier, so no request would have a tenant")
            }
            Self::PublicUrl { url, reason } => write!(f, "public URL {url:?} is not valid: {reason}"),
            #[cfg(feature = "memory")]
            Self::MemoryBudgetWithoutOwners => f.write_str(
                "tenants have a budget of memory, but the allocator keeps no owners: make it `Metered<Owned<…>>`",
            ),
            #[cfg(feature = "memory")]
            Self::MemoryBudgetWithoutStage => f.write_str(
                "tenants have a budget of memory, but the stage memory is not in the order: say the order before the memory, or put the \
                 stage into it",
            ),
            Self::NoResources => f.write_str("max_resources is zero; it must be above 0"),
            Self::DevTenantInRelease => f.write_str(
                "a dev tenant is for debug builds; name it with dev_tenant_even_in_release if nobody else can reach \
                 this one",
            ),
            Self::ClaimBeforeAuth { identifier } => write!(
                f,
                "{identifier} reads what authentication leaves, but none stands before the resolve stage: insert it there, \
                 say that it stands outside of the stack, or compare the claim later with a BindCredential layer"
            ),
            Self::DevTenant { id, reason } => write!(f, "dev tenant {id:?} is not valid: {reason}"),
        }
    }
}

/// A stack's settings are impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    mistakes: Vec<ConfigMistake>,
}

impl ConfigError {
    pub(crate) fn new(mistakes: Vec<ConfigMistake>) -> Self {
        Self { mistakes }
    }

    /// Everything that is wrong.
    pub fn mistakes(&self) -> &[ConfigMistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tenancy stack is not built right")?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
