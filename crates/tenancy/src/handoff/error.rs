use std::{error::Error, fmt, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use http::Response;
use tenancy_core::BoxError;

use super::HandoffRefusal;
use crate::{
    home::Home,
    rejection::{Rejection, RejectionReason, respond},
};

/// A token could not be given out or redeemed.
///
/// As a response: 403 for every refusal, whatever the reason, 503 where the store could not tell, 400 for a token that
/// could not be given out as asked; in the words of the application's own
/// [`on_rejection`](crate::stack::TenancyBuilder::on_rejection). The reason is in the audit and in the log.
#[derive(Debug)]
pub struct HandoffError {
    kind: Kind,
    /// Whose answers they are.
    home: Arc<Home>,
}

#[derive(Debug)]
enum Kind {
    Refused(HandoffRefusal),
    Invalid(&'static str),
    Unavailable(BoxError),
}

impl HandoffError {
    pub(super) fn refused(home: &Arc<Home>, refusal: HandoffRefusal) -> Self {
        Self::new(home, Kind::Refused(refusal))
    }

    pub(super) fn invalid(home: &Arc<Home>, reason: &'static str) -> Self {
        Self::new(home, Kind::Invalid(reason))
    }

    pub(super) fn unavailable(home: &Arc<Home>, source: impl Into<BoxError>) -> Self {
        Self::new(home, Kind::Unavailable(source.into()))
    }

    fn new(home: &Arc<Home>, kind: Kind) -> Self {
        Self {
            kind,
            home: Arc::clone(home),
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
        respond(rejection, self.home.responder.as_deref())
    }
}
