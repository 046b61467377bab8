use std::{error::Error, fmt};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tenancy::rejection::{RejectionReason, refuse};

use super::RedisCallError;

/// The refusal of the stack that serves the request: see [`refuse`]. The log has the cause.
impl IntoResponse for RedisCallError {
    fn into_response(self) -> Response<Body> {
        let reason = if self.is_held_elsewhere() {
            RejectionReason::DatabaseBusy
        } else if self.is_unavailable() {
            RejectionReason::DatabaseUnavailable
        } else {
            RejectionReason::DatabaseFailed
        };
        refuse(reason, &WithCauses(&self), None)
    }
}

struct WithCauses<'a>(&'a RedisCallError);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
