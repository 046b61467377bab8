//! Extractors: the tenant of a request, the proof that it has none, and how it was resolved.
//!
//! * [`Tenant`] on a request without one answers 404; on a request that no stack resolved, 500, and the log names
//!   the layer that is missing.
//! * `Option<Tenant>` is for universal routes: `None` on central hosts only. A resolution that failed never gets as far.
//! * [`Central`] on a tenant's request answers 404.
//!
//! None of them awaits or allocates.

use std::{convert::Infallible, fmt};

use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    Tenant,
    rejection::{Rejection, RejectionReason, respond},
    resolve::Resolution,
    routes::note_route,
};

/// The proof that a request is central: for no tenant, on a host that is configured as central, or behind
/// [`StageLayer::for_central`](crate::stack::StageLayer::for_central).
///
/// Can be had by extraction only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Central {
    _only_by_extraction: (),
}

impl fmt::Debug for Central {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Central")
    }
}

/// Why an extractor refused.
#[derive(Debug)]
pub struct ExtractRejection {
    rejection: Rejection,
}

impl ExtractRejection {
    /// The reason, as the response's extensions carry it.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    fn missing_layer(extractor: &'static str) -> Self {
        let detail = format!(
            "{extractor} was extracted from a request that the resolve stage of tenancy has not seen; \
             wrap the router with Tenancy::wrap, Tenancy::routes or .layer(tenancy)"
        );
        Self {
            rejection: Rejection::new(RejectionReason::MisbuiltStack, &detail),
        }
    }

    pub(crate) fn missing_stage(stage: &'static str) -> Self {
        let detail =
            format!("the {stage} stage has not run for this request; it is disabled, or stands elsewhere");
        Self {
            rejection: Rejection::new(RejectionReason::MisbuiltStack, &detail),
        }
    }

    fn wrong_side(detail: &'static str) -> Self {
        Self {
            rejection: Rejection::new(RejectionReason::UnknownTenant, &detail),
        }
    }
}

impl fmt::Display for ExtractRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request was refused: {}", self.rejection.reason())
    }
}

impl std::error::Error for ExtractRejection {}

impl IntoResponse for ExtractRejection {
    fn into_response(self) -> Response<Body> {
        respond(self.rejection, None)
    }
}

fn resolution<'a>(parts: &'a Parts, extractor: &'static str) -> Result<&'a Resolution, ExtractRejection> {
    note_route(&parts.extensions);
    let resolution = parts.extensions.get::<Resolution>();
    resolution.ok_or_else(|| ExtractRejection::missing_layer(extractor))
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        let tenant = resolution(parts, "Tenant")?.tenant().cloned();
        tenant.ok_or_else(|| {
            ExtractRejection::wrong_side("a route that needs a tenant was asked for on a central host")
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Tenant {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ExtractRejection> {
        Ok(resolution(parts, "Option<Tenant>")?.tenant().cloned())
    }
}

impl<S: Sync> FromRequestParts<S> for Central {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        if resolution(parts, "Central")?.is_central() {
            Ok(Self {
                _only_by_extraction: (),
            })
        } else {
            Err(ExtractRejection::wrong_side(
                "a central route was asked for on a tenant's host",
            ))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Resolution {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        resolution(parts, "Resolution").cloned()
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Resolution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
