//! What a handler sees of its own request.

use std::{convert::Infallible, fmt};

use axum::extract::{FromRequestParts, MatchedPath};
use http::request::Parts;
use tenancy_memory::{Account, Usage, current_account, is_installed, is_on};

use super::account::{RequestAccount, note_route};

/// Why there are no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryUnavailable {
    /// This program's allocator is not [`Metered`](super::Metered).
    NotInstalled,
    /// The meter is [switched off](super::switch).
    SwitchedOff,
    /// No memory stage stands around this code, or it runs in a task that was not carried.
    NoStage,
}

impl fmt::Display for MemoryUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInstalled => "memory is not counted: the program's allocator is not `Metered`",
            Self::SwitchedOff => "memory is not counted: the meter is switched off",
            Self::NoStage => "memory is not counted for this code: no memory stage stands around it",
        })
    }
}

impl std::error::Error for MemoryUnavailable {}

/// What the request has used so far, and when it has ended in all. An extractor; a handle that may be kept.
///
/// Extracting never fails and allocates nothing; it also tells the account the route.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    account: Option<Account>,
}

impl RequestMemory {
    /// Of the request for which this code runs.
    pub fn current() -> Self {
        let account = current_account();
        Self {
            account: account.filter(|account| account.owner::<RequestAccount>().is_some()),
        }
    }

    pub(super) fn of(account: Account) -> Self {
        Self {
            account: Some(account),
        }
    }

    /// What was counted so far: by the future and body of the response, where this is asked for within them, and by all that has ended.
    ///
    /// # Errors
    /// When nobody counts. Never zeros instead.
    pub fn usage(&self) -> Result<Usage, MemoryUnavailable> {
        match &self.account {
            _ if !is_installed() => Err(MemoryUnavailable::NotInstalled),
            _ if !is_on() => Err(MemoryUnavailable::SwitchedOff),
            None => Err(MemoryUnavailable::NoStage),
            Some(account) => Ok(account.usage()),
        }
    }

    /// Whether the response has ended or was dropped, and all that the request has carried along has ended: the figures are final.
    pub fn is_closed(&self) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.meter().is_closed())
    }
}

impl<S: Sync> FromRequestParts<S> for RequestMemory {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if let Some(route) = parts.extensions.get::<MatchedPath>() {
            note_route(route);
        }
        Ok(Self::current())
    }
}
