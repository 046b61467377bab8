//! What a client gets when a request is for no tenant, or none that is served.
//!
//! * The answer is small and the same for every tenant: status, a title, and a random reference that stands in the
//!   body, in the `tenancy-reference` header and in the log beside the real reason.
//! * It never says what the client sent and never names a tenant. It is never cached.
//! * A [`Rejection`] stands in the extensions of the answer, so that layers further out see the reason.
//! * The body can be replaced; see [`TenancyBuilder::on_rejection`](crate::stack::TenancyBuilder::on_rejection).
//!
//! ```
//! use axum::response::IntoResponse;
//! use tenancy::{MemoryStore, Tenancy, rejection::Rejection, resolve::Subdomain};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .on_rejection(|rejection: &Rejection| {
//!         (rejection.status(), format!("Sorry. Tell us {}.", rejection.reference())).into_response()
//!     })
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! use axum::{body::Body, http::Response};
//! use tenancy::rejection::Rejection;
//!
//! /// What a layer outside of the stack can see.
//! fn reason_of(response: &Response<Body>) -> Option<&'static str> {
//!     response.extensions().get::<Rejection>().map(|rejection| rejection.reason().as_str())
//! }
//! ```

use std::{fmt, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{resolve::Refusal, scope};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionReason {
    /// The request breaks the rules on hosts and targets (RFC 9110, 9112, 9113). 400.
    BadHost,
    /// An identifier is present and malformed. 400.
    InvalidIdentifier,
    /// Two identifiers lead to different tenants. 400.
    IdentifiersDisagree,
    /// No identifier leads to a tenant. 404.
    UnknownTenant,
    /// The tenant is deleted. 404, as if it were unknown.
    DeletedTenant,
    /// The tenant is suspended. 403 unless hidden.
    SuspendedTenant,
    /// The tenant is not set up yet. 503.
    PendingTenant,
    /// The credential is for another tenant, or its tenant can not be read. 403.
    WrongTenant,
    /// The credential is for no tenant, on a route that demands one of this tenant. 403.
    UnboundCredential,
    /// A single-use token was forged, used before, expired, or is for something else. 403.
    HandoffRefused,
    /// There is no credential, on a route that demands one. 401.
    NoCredential,
    /// The store could not tell. 503.
    StoreUnavailable,
    /// Too many look-ups of unknown keys at the moment. 503.
    OverBudget,
    /// CONNECT, other than for WebSockets over HTTP/2. 501.
    ConnectRefused,
    /// Trusted proxies are configured, but the server does not tell the peer's address. 500.
    PeerUnknown,
    /// The body is larger than the limit. 413.
    BodyTooLarge,
    /// The answer took longer than the deadline. 504.
    DeadlinePassed,
    /// The handler or a layer panicked. 500.
    Panicked,
    /// A stage that another one needs did not run. 500.
    MisbuiltStack,
    /// All connections to the tenant's database that it may have are in use. 503.
    DatabaseBusy,
    /// The tenant's database can not be reached, or its placement leads nowhere. 503.
    DatabaseUnavailable,
    /// The database refused a statement. 500.
    DatabaseFailed,
    /// A value that was not cached took too long to load, or too many are being loaded. 503.
    LoadBusy,
    /// A value that was not cached could not be loaded. 500.
    LoadFailed,
    /// The tenant has more live memory than its budget. 503.
    MemoryBudget,
}

impl RejectionReason {
    /// All reasons.
    pub(crate) const ALL: [Self; 25] = [
        Self::BadHost,
        Self::InvalidIdentifier,
        Self::IdentifiersDisagree,
        Self::UnknownTenant,
        Self::DeletedTenant,
        Self::SuspendedTenant,
        Self::PendingTenant,
        Self::WrongTenant,
        Self::UnboundCredential,
        Self::HandoffRefused,
        Self::NoCredential,
        Self::StoreUnavailable,
        Self::OverBudget,
        Self::ConnectRefused,
        Self::PeerUnknown,
        Self::BodyTooLarge,
        Self::DeadlinePassed,
        Self::Panicked,
        Self::MisbuiltStack,
        Self::DatabaseBusy,
        Self::DatabaseUnavailable,
        Self::DatabaseFailed,
        Self::LoadBusy,
        Self::LoadFailed,
        Self::MemoryBudget,
    ];

    /// A short name for logs and metrics, such as `unknown_tenant`. The set is fixed and small.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::InvalidIdentifier => "invalid_identifier",
            Self::IdentifiersDisagree => "identifiers_disagree",
            Self::UnknownTenant => "unknown_tenant",
            Self::DeletedTenant => "deleted_tenant",
            Self::SuspendedTenant => "suspended_tenant",
            Self::PendingTenant => "pending_tenant",
            Self::WrongTenant => "wrong_tenant",
            Self::UnboundCredential => "unbound_credential",
            Self::HandoffRefused => "handoff_refused",
            Self::NoCredential => "no_credential",
            Self::StoreUnavailable => "store_unavailable",
            Self::OverBudget => "over_budget",
            Self::ConnectRefused => "connect_refused",
            Self::PeerUnknown => "peer_unknown",
            Self::BodyTooLarge => "body_too_large",
            Self::DeadlinePassed => "deadline_passed",
            Self::Panicked => "panicked",
            Self::MisbuiltStack => "misbuilt_stack",
            Self::DatabaseBusy => "database_busy",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::DatabaseFailed => "database_failed",
            Self::LoadBusy => "load_busy",
            Self::LoadFailed => "load_failed",
            Self::MemoryBudget => "memory_budget",
        }
    }

    /// The status that the client gets, unless the application decides otherwise.
    pub fn default_status(self) -> StatusCode {
        match self {
            Self::BadHost | Self::InvalidIdentifier | Self::IdentifiersDisagree => StatusCode::BAD_REQUEST,
            Self::UnknownTenant | Self::DeletedTenant => StatusCode::NOT_FOUND,
            Self::SuspendedTenant | Self::WrongTenant | Self::UnboundCredential | Self::HandoffRefused => {
                StatusCode::FORBIDDEN
            }
            Self::NoCredential => StatusCode::UNAUTHORIZED,
            Self::PendingTenant
            | Self::StoreUnavailable
            | Self::OverBudget
            | Self::DatabaseBusy
            | Self::DatabaseUnavailable
            | Self::LoadBusy
            | Self::MemoryBudget => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectRefused => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::DeadlinePassed => StatusCode::GATEWAY_TIMEOUT,
            Self::PeerUnknown
            | Self::Panicked
            | Self::MisbuiltStack
            | Self::DatabaseFailed
            | Self::LoadFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the operator has to do something about it.
    fn is_operators_business(self) -> bool {
        matches!(
            self,
            Self::StoreUnavailable
                | Self::OverBudget
                | Self::PeerUnknown
                | Self::Panicked
                | Self::MisbuiltStack
                | Self::DatabaseUnavailable
                | Self::DatabaseFailed
                | Self::LoadBusy
                | Self::LoadFailed
                | Self::MemoryBudget
        )
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A refused request, as the application and outer layers see it.
#[derive(Clone, Debug)]
pub struct Rejection {
    reason: RejectionReason,
    status: StatusCode,
    reference: Arc<str>,
    retry_after: Option<Duration>,
}

impl Rejection {
    /// Makes a rejection and writes its reason to the log, under its reference. `detail` is for the log alone.
    pub(crate) fn new(reason: RejectionReason, detail: &dyn fmt::Display) -> Self {
        let rejection = Self::quiet(reason);
        let reference = rejection.reference();
        if reason.is_operators_business() {
            tracing::error!(target: "tenancy::rejection", reference, reason = reason.as_str(), %detail, "request refused");
        } else {
            tracing::info!(target: "tenancy::rejection", reference, reason = reason.as_str(), %detail, "request refused");
        }
        rejection
    }

    /// What would have been a rejection. The log says so, under the same reference.
    pub(crate) fn observed(reason: RejectionReason, detail: &dyn fmt::Display) -> Self {
        let rejection = Self::quiet(reason);
        let reference = rejection.reference();
        tracing::info!(
            target: "tenancy::rejection", reference, reason = reason.as_str(), %detail, "request would be refused"
        );
        rejection
    }

    fn quiet(reason: RejectionReason) -> Self {
        let retry_after = match reason {
            RejectionReason::StoreUnavailable
            | RejectionReason::OverBudget
            | RejectionReason::DatabaseBusy
            | RejectionReason::DatabaseUnavailable
            | RejectionReason::LoadBusy
            | RejectionReason::MemoryBudget => Some(Duration::from_secs(1)),
            RejectionReason::PendingTenant => Some(Duration::from_secs(10)),
            _ => None,
        };
        Self {
            reason,
            status: reason.default_status(),
            reference: format!("{:016x}", fastrand::u64(..)).into(),
            retry_after,
        }
    }

    /// With what the refusal says otherwise than its reason does.
    pub(crate) fn with(mut self, refusal: &Refusal) -> Self {
        self.status = refusal.status.unwrap_or(self.status);
        self.retry_after = refusal.retry_after.or(self.retry_after);
        self
    }

    /// Why.
    pub fn reason(&self) -> RejectionReason {
        self.reason
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The random reference, 16 hexadecimal digits. The log has it beside the reason.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// When to try again, for answers that are worth trying again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The answer that is given unless the application replaces it: `application/problem+json` (RFC 9457).
    pub fn default_response(&self) -> Response<Body> {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = format!(
            r#"{{"type":"about:blank","title":"{title}","status":{},"reference":"{}"}}"#,
            self.status.as_u16(),
            self.reference
        );
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

/// Replaces the answer to refused requests.
pub(crate) type RejectionResponder = dyn Fn(&Rejection) -> Response<Body> + Send + Sync;

/// Name of the header that carries the reference.
pub const REFERENCE_HEADER: HeaderName = HeaderName::from_static("tenancy-reference");

/// Builds the answer. Whatever the application's responder returns, what keeps answers from being cached or
/// mistaken is added.
pub(crate) fn respond(rejection: Rejection, responder: Option<&RejectionResponder>) -> Response<Body> {
    let mut response = match responder {
        Some(responder) => responder(&rejection),
        None => rejection.default_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(reference) = HeaderValue::from_str(&rejection.reference) {
        headers.insert(REFERENCE_HEADER, reference);
    }
    if rejection.reason == RejectionReason::ConnectRefused {
        // What follows on the connection may be tunnelled bytes. HTTP/2 drops this header and closes the stream.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(retry_after) = rejection.retry_after {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(retry_after.as_secs().max(1)),
        );
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Refuses the request that runs as the stages refuse: in the application's own words, with a reference, and a line in the log.
///
/// For parts that stand on this crate, such as those that reach a tenant's database. The stack whose answers they are is
/// that of the current tenant; where none is current, the default answer is given. `detail` is for the log alone;
/// `retry_after` replaces what the reason says. Does not await.
pub fn refuse(
    reason: RejectionReason,
    detail: &dyn fmt::Display,
    retry_after: Option<Duration>,
) -> Response<Body> {
    let mut rejection = Rejection::new(reason, detail);
    rejection.retry_after = retry_after.or(rejection.retry_after);
    let tenant = scope::current_tenant();
    let responder = tenant
        .as_ref()
        .and_then(|tenant| tenant.home().responder.as_deref());
    respond(rejection, responder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_one_status_differ_in_the_reference_only() {
        let mask = |reason| {
            let rejection = Rejection::new(reason, &"acme is secret");
            let reference = rejection.reference().to_owned();
            let response = respond(rejection, None);
            format!("{:?} {:?}", response.status(), response.headers()).replace(&reference, "REF")
        };
        assert_eq!(
            mask(RejectionReason::UnknownTenant),
            mask(RejectionReason::DeletedTenant)
        );
        assert!(!mask(RejectionReason::UnknownTenant).contains("acme"));
        assert!(mask(RejectionReason::UnknownTenant).contains("no-store"));
        assert!(mask(RejectionReason::StoreUnavailable).contains("retry-after"));
    }

    #[test]
    fn reasons_stand_at_their_own_number_and_have_names_of_their_own() {
        let names: std::collections::HashSet<&str> = RejectionReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(names.len(), RejectionReason::ALL.len());
        for (at, reason) in RejectionReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }

    #[test]
    fn a_replaced_answer_still_is_not_cached_and_carries_the_reason() {
        let responder = |rejection: &Rejection| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = rejection.status();
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
            response
        };
        let response = respond(
            Rejection::new(RejectionReason::UnknownTenant, &""),
            Some(&responder),
        );
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(response.headers().contains_key(REFERENCE_HEADER));
        let reason = response.extensions().get::<Rejection>().unwrap().reason();
        assert_eq!(reason, RejectionReason::UnknownTenant);
    }
}
