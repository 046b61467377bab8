use std::{error::Error, fmt};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tenancy::rejection::{RejectionReason, refuse};

use super::DatabaseError;

/// The refusal of the stack that serves the request: see [`refuse`](tenancy::rejection::refuse). The log has the cause.
impl IntoResponse for DatabaseError {
    fn into_response(self) -> Response<Body> {
        refuse(reason_of(&self), &WithCauses(&self), self.retry_after())
    }
}

fn reason_of(error: &DatabaseError) -> RejectionReason {
    if error.is_busy() || error.is_moved() {
        RejectionReason::DatabaseBusy
    } else if error.is_deleted() {
        RejectionReason::DeletedTenant
    } else if error.is_failed() || error.is_behind_pooler() || error.is_guarded() || error.is_abandoned() {
        RejectionReason::DatabaseFailed
    } else {
        RejectionReason::DatabaseUnavailable
    }
}

struct WithCauses<'a>(&'a DatabaseError);

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
