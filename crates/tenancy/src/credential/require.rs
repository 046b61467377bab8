use std::{error::Error, fmt, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use http::{HeaderValue, Response, StatusCode, header};

use super::CredentialClaim;
use crate::{
    Tenant,
    event::Event,
    home::Home,
    rejection::{Rejection, RejectionReason, RejectionResponder, respond},
};

/// What a 401 names as the way to authenticate, unless the application says otherwise (RFC 9110 §11.6.1 wants one).
pub(super) const DEFAULT_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");

/// A credential is not for the tenant it was used with.
///
/// As a response it is the small answer of every refusal, or that of the application's own
/// [`on_rejection`](crate::stack::TenancyBuilder::on_rejection): 403, or 401 where there was no credential. The log has
/// both tenants; neither this text nor the answer has.
#[derive(Debug)]
pub struct CredentialRefused {
    rejection: Rejection,
    /// Whose answers they are.
    home: Arc<Home>,
}

impl CredentialRefused {
    /// The reason, as the response's extensions carry it.
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }
}

impl fmt::Display for CredentialRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential was refused: {}", self.rejection.reason())
    }
}

impl Error for CredentialRefused {}

impl IntoResponse for CredentialRefused {
    fn into_response(self) -> Response<Body> {
        answer(self.rejection, self.home.responder.as_deref(), &DEFAULT_CHALLENGE)
    }
}

impl Tenant {
    /// Checks that what a credential, a link or a form claims is this tenant.
    ///
    /// `claimed` is a [`TenantRef`](crate::TenantRef), which is compared exactly; an id, or either as text, where an id
    /// alone is weaker: a tenant that was recreated under it passes. No claim at all is refused too.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
    /// # let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
    /// let acme = tenancy.enter(&"acme".parse()?).await?;
    /// acme.require(&acme.reference())?;
    /// acme.require("acme")?;
    /// assert!(acme.require("globex").is_err());
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// When it is not. The error is an answer, 403, and names no tenant; the log has both.
    pub fn require(&self, claimed: impl Into<CredentialClaim>) -> Result<(), CredentialRefused> {
        let claimed = claimed.into();
        claimed
            .judge(Some(self), true)
            .map_err(|reason| CredentialRefused {
                rejection: refuse(reason, &claimed, Some(self), self.home()),
                home: Arc::clone(self.home()),
            })
    }
}

/// Writes the refusal to the log and tells the listener.
pub(super) fn refuse(
    reason: RejectionReason,
    claim: &CredentialClaim,
    tenant: Option<&Tenant>,
    home: &Home,
) -> Rejection {
    home.emit(|| Event::CredentialRefused {
        tenant: tenant.cloned(),
        reason,
    });
    match tenant {
        Some(tenant) => {
            let meant = tenant.reference();
            Rejection::new(
                reason,
                &format_args!("the credential is {claim}; the request is for {meant}"),
            )
        }
        None => Rejection::new(
            reason,
            &format_args!("the credential is {claim}; the request is central"),
        ),
    }
}

pub(super) fn answer(
    rejection: Rejection,
    responder: Option<&RejectionResponder>,
    challenge: &HeaderValue,
) -> Response<Body> {
    let mut response = respond(rejection, responder);
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers
            .entry(header::WWW_AUTHENTICATE)
            .or_insert_with(|| challenge.clone());
    }
    response
}
