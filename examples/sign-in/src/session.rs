//! The session: what it carries, where its cookie goes, and for whom it is good.

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tenancy::{
    Tenancy, TenantRef,
    credential::{BindCredential, CredentialClaim},
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, cookie::SameSite, session};

use crate::Transport;

const KEY: &str = "signed-in";

/// Who is signed in, as the session has it. Handlers find it in the request's extensions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedIn {
    /// The tenant that the session was begun for; `None` for support, on the central host.
    pub tenant: Option<TenantRef>,
    /// The user, as that tenant names its users.
    pub user: String,
    /// Who really sits there, if it is not the user.
    pub impersonated_by: Option<String>,
}

/// Sessions of all tenants in one store, and one cookie for each host: without a `Domain`, a browser sends it to the host
/// that set it and to no other. Under TLS, `__Host-` keeps neighbouring hosts from planting one.
pub fn manager(transport: Transport) -> SessionManagerLayer<MemoryStore> {
    let name = if transport.is_tls() {
        "__Host-session"
    } else {
        "session"
    };
    SessionManagerLayer::new(MemoryStore::default())
        .with_name(name)
        .with_secure(transport.is_tls())
        .with_path("/")
        .with_same_site(SameSite::Lax)
}

/// Loads the session once, for the check and for handlers. What can not be read signs nobody in.
pub async fn authenticate(session: Session, mut request: Request, next: Next) -> Response {
    match session.get::<SignedIn>(KEY).await {
        Ok(Some(signed_in)) => {
            request.extensions_mut().insert(signed_in);
        }
        Ok(None) => {}
        Err(_) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
    next.run(request).await
}

/// The check: a session that was begun for one tenant is refused by all others.
pub fn bound(tenancy: &Tenancy) -> BindCredential {
    tenancy.bind_credential(|head| match head.extensions().get::<SignedIn>() {
        None => CredentialClaim::Absent,
        Some(SignedIn { tenant: None, .. }) => CredentialClaim::Unbound,
        Some(SignedIn {
            tenant: Some(tenant), ..
        }) => CredentialClaim::from(tenant),
    })
}

/// Begins a session anew: nothing of the one before stays, and its id is no longer good.
pub(crate) async fn begin(session: &Session, signed_in: SignedIn) -> Result<(), session::Error> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(KEY, signed_in).await
}
