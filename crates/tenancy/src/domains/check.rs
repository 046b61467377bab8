use std::{fmt, future::Future, sync::Arc};

use super::challenge::Challenge;

/// Looks whether a challenge is met. Does I/O, and sets itself a deadline.
pub trait DomainCheck: Send + Sync + 'static {
    /// Looks once. May be dropped at any await.
    fn check(&self, challenge: &Challenge) -> impl Future<Output = CheckAnswer> + Send;

    /// Whether a proof shows who has the domain in hand, as a DNS record does, rather than that the domain leads to
    /// this service. Proof of the latter kind never decides between tenants. Default: yes.
    fn shows_control(&self) -> bool {
        true
    }
}

impl<C: DomainCheck> DomainCheck for Arc<C> {
    fn check(&self, challenge: &Challenge) -> impl Future<Output = CheckAnswer> + Send {
        C::check(self, challenge)
    }

    fn shows_control(&self) -> bool {
        C::shows_control(self)
    }
}

/// What a check has found. Reasons are for operators and the customer alike, and quote nothing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckAnswer {
    /// The challenge is met.
    Proven,
    /// It is not.
    NotYet {
        /// What was found instead.
        reason: String,
    },
    /// Nobody could say: a name server or the network failed.
    CouldNotTell {
        /// What failed.
        reason: String,
    },
}

impl CheckAnswer {
    /// It is not met.
    pub fn not_yet(reason: impl Into<String>) -> Self {
        Self::NotYet {
            reason: reason.into(),
        }
    }

    /// Nobody could say.
    pub fn could_not_tell(reason: impl Into<String>) -> Self {
        Self::CouldNotTell {
            reason: reason.into(),
        }
    }

    /// Whether the challenge is met.
    pub fn is_proven(&self) -> bool {
        *self == Self::Proven
    }

    /// Why it is not proven.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Proven => None,
            Self::NotYet { reason } | Self::CouldNotTell { reason } => Some(reason),
        }
    }

    /// `proven`, `not_yet` or `could_not_tell`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::NotYet { .. } => "not_yet",
            Self::CouldNotTell { .. } => "could_not_tell",
        }
    }
}

impl fmt::Display for CheckAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().unwrap_or("proven"))
    }
}
