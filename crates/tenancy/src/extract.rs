//! Extractors: the tenant of a request, the proof that it has none, and how it was resolved.
//!
//! * [`Tenant`] on a request without one answers 404; on a request that no stack resolved, 500, and the log names
//!   the layer that is missing.
//! * `Option<Tenant>` is for universal routes: `None` on central hosts only. A resolution that failed never gets as far.
//! * [`Central`] on a tenant's request answers 404.
//!
//! What they refuse is answered as the stages answer, by the application's own
//! [`on_rejection`](crate::stack::TenancyBuilder::on_rejection) too, but for requests that no stack resolved.
//!
//! None of them awaits; they allocate only to refuse.

use std::{convert::Infallible, fmt, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    Tenant,
    home::Home,
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
    /// Whose answers they are; of a request that no stack resolved, nobody's.
    home: Option<Arc<Home>>,
}

impl ExtractRejection {
    /// The reason, as the response's extensions carry it.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    pub(crate) fn missing_layer(extractor: &'static str) -> Self {
        let detail = format!(
            "{extractor} was extracted from a request that the resolve stage of tenancy has not seen; \
             wrap the router with Tenancy::wrap, Tenancy::routes or .layer(tenancy)"
        );
        Self {
            rejection: Rejection::new(RejectionReason::MisbuiltStack, &detail),
            home: None,
        }
    }

    pub(crate) fn missing_stage(stage: &'static str, home: &Arc<Home>) -> Self {
        let detail =
            format!("the {stage} stage has not run for this request; it is disabled, or stands elsewhere");
        Self::of(home, Rejection::new(RejectionReason::MisbuiltStack, &detail))
    }

    fn wrong_side(resolution: &Resolution, detail: &'static str) -> Self {
        Self::of(
            resolution.home(),
            Rejection::new(RejectionReason::UnknownTenant, &detail),
        )
    }

    fn of(home: &Arc<Home>, rejection: Rejection) -> Self {
        Self {
            rejection,
            home: Some(Arc::clone(home)),
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
        let responder = self.home.as_ref().and_then(|home| home.responder.as_deref());
        respond(self.rejection, responder)
    }
}

fn resolution<'a>(parts: &'a Parts, extractor: &'static str) -> Result<&'a Resolution, ExtractRejection> {
    note_route(&parts.extensions);
    let resolution = parts.extensions.get::<Resolution>();
    let resolution = resolution.ok_or_else(|| ExtractRejection::missing_layer(extractor))?;
    match resolution.would_refuse() {
        None => Ok(resolution),
        // A stage that only observes let the request through. What asks for the tenant stays closed.
        Some(rejection) => Err(ExtractRejection::of(resolution.home(), rejection.clone())),
    }
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        let resolution = resolution(parts, "Tenant")?;
        let detail = "a route that needs a tenant was asked for on a central host";
        let tenant = resolution.tenant().cloned();
        tenant.ok_or_else(|| ExtractRejection::wrong_side(resolution, detail))
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
        let resolution = resolution(parts, "Central")?;
        if resolution.is_central() {
            Ok(Self {
                _only_by_extraction: (),
            })
        } else {
            let detail = "a central route was asked for on a tenant's host";
            Err(ExtractRejection::wrong_side(resolution, detail))
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
