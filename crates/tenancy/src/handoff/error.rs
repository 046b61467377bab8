use std::{error::Error, fmt};

use axum::{body::Body, response::IntoResponse};
use http::Response;
use tenancy_core::BoxError;

use super::HandoffRefusal;
use crate::rejection::{Rejection, RejectionReason, respond};

/// A token could not be given out or redeemed.
///
/// As a response: 403 for every refusal, whatever the reason, 503 where the store could not tell, 400 for a token that
/// could not be given out as asked. The reason is in the audit and in the log.
#[derive(Debug)]
pub struct HandoffError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Refused(HandoffRefusal),
    Invalid(&'static str),
    Unavailable(BoxError),
}

impl HandoffError {
    pub(super) fn refused(refusal: HandoffRefusal) -> Self {
        Self {
            kind: Kind::Refused(refusal),
        }
    }

    pub(super) fn invalid(reason: &'static str) -> Self {
        Self {
            kind: Kind::Invalid(reason),
        }
    }

    pub(super) fn unavailable(source: impl Into<BoxError>) -> Self {
        Self {
            kind: Kind::Unavailable(source.into()),
        }
    }

    /// Whether the token is no good: forged, used before, expired, or for something else.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused(_))
    }

    /// Whether what was asked for can not be given out: a lifetime or a name is out of bounds.
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid(_))
    }

    /// Whether the store, or the system's random numbers, could not be reached. A token that was being redeemed may
    /// be lost.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable(_))
    }

    /// Why a token was refused, for logs and tests. A client that learned it could tell a used token from a forged one.
    pub fn refusal(&self) -> Option<HandoffRefusal> {
        match self.kind {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Invalid(_) | Kind::Unavailable(_) => None,
        }
    }
}

/// One text for all refusals.
impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Refused(_) => f.write_str("the token is not valid"),
            Kind::Invalid(reason) => write!(f, "the token can not be given out: {reason}"),
            Kind::Unavailable(_) => f.write_str("the store of tokens could not be reached"),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Unavailable(source) => Some(&**source),
            Kind::Refused(_) | Kind::Invalid(_) => None,
        }
    }
}

impl IntoResponse for HandoffError {
    fn into_response(self) -> Response<Body> {
        let rejection = match &self.kind {
            Kind::Refused(refusal) => Rejection::new(RejectionReason::HandoffRefused, &refusal.as_str()),
            Kind::Invalid(_) => Rejection::new(RejectionReason::InvalidIdentifier, &self),
            Kind::Unavailable(source) => {
                let detail = format_args!("{self}: {source}");
                Rejection::new(RejectionReason::StoreUnavailable, &detail)
            }
        };
        respond(rejection, None)
    }
}
