//! What a client gets for a value that could not be loaded.

use std::{error::Error, fmt};

use axum::{body::Body, response::IntoResponse};
use http::Response;

use super::LoadError;
use crate::rejection::{RejectionReason, refuse};

impl LoadError {
    /// Why a request is refused that could not do without the value.
    fn rejection_reason(&self) -> RejectionReason {
        if self.is_timed_out() || self.is_busy() {
            RejectionReason::LoadBusy
        } else if self.is_panicked() {
            RejectionReason::Panicked
        } else {
            RejectionReason::LoadFailed
        }
    }
}

/// For the log alone.
struct WithCauses<'a>(&'a LoadError);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The small answer of every refusal, with a reference under which the log has the error: 503 with `Retry-After` where the load was
/// given up or never begun ([`is_timed_out`](LoadError::is_timed_out), [`is_busy`](LoadError::is_busy)), else 500.
impl IntoResponse for LoadError {
    fn into_response(self) -> Response<Body> {
        refuse(self.rejection_reason(), &WithCauses(&self), None)
    }
}
