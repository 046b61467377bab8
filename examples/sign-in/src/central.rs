//! The host of no tenant: support, and the one callback address of the identity provider.

use axum::{
    Extension, Form, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tenancy::{
    core::TenantId,
    credential::BindCredential,
    handoff::{HandoffRequest, ReturnPath},
};
use tower_sessions::Session;

use crate::{
    NO_REFERRER, Services,
    provider::Claims,
    session::{SignedIn, begin},
    tenant::unavailable,
};

/// Inside, every route demands a session, which on this host is one of support.
pub(crate) fn routes(bound: &BindCredential) -> Router<Services> {
    let inside = Router::new()
        .route("/impersonate", post(impersonate))
        .route_layer(bound.clone().demand());
    let doors = Router::new()
        .route("/", get(front))
        .route("/sign-in", post(sign_in))
        .route("/callback", get(callback))
        .route("/provider", get(provider));
    inside.merge(doors)
}

async fn front() -> Html<&'static str> {
    Html(
        r#"<form method=post action=/sign-in><input name=user><input name=password type=password><button>Sign in</button></form>
        <form method=post action=/impersonate><input name=tenant><input name=user><button>Sign in as</button></form>"#,
    )
}

#[derive(Deserialize)]
struct Password {
    user: String,
    password: String,
}

async fn sign_in(
    State(services): State<Services>,
    session: Session,
    Form(form): Form<Password>,
) -> Result<Redirect, StatusCode> {
    if !services.accounts.is_support(&form.user, &form.password) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let signed_in = SignedIn {
        tenant: None,
        user: form.user,
        impersonated_by: None,
    };
    begin(&session, signed_in).await.map_err(unavailable)?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Whom {
    tenant: TenantId,
    user: String,
}

/// Everybody with a session on this host is support. Elsewhere: check here that they may.
async fn impersonate(
    State(services): State<Services>,
    Extension(support): Extension<SignedIn>,
    Form(whom): Form<Whom>,
) -> Result<Response, Response> {
    let entered = services.tenancy.enter(&whom.tenant).await;
    let tenant = entered.map_err(|_| StatusCode::NOT_FOUND.into_response())?;
    let account = ReturnPath::new("/account").unwrap_or_default();
    let request = HandoffRequest::impersonation(&whom.user, &support.user).return_to(account);
    let issued = services.handoffs.issue(&tenant, request).await;
    let token = issued.map_err(IntoResponse::into_response)?;
    let to = services.tenant_url(&tenant, &format!("/impersonate?token={}", token.as_str()));
    Ok(([NO_REFERRER], Redirect::to(&to)).into_response())
}

#[derive(Deserialize)]
struct Callback {
    code: String,
    state: String,
}

/// Finds out which tenant asked and who it is, and hands the user over to that tenant's host.
async fn callback(
    State(services): State<Services>,
    Query(query): Query<Callback>,
) -> Result<Response, Response> {
    let received = services.sign_on.receive(&query.state).await;
    let asked = received.map_err(IntoResponse::into_response)?;
    let forbidden = || StatusCode::FORBIDDEN.into_response();
    let claims = services.provider.exchange(&query.code).ok_or_else(forbidden)?;
    if claims.nonce != asked.oidc_nonce() {
        return Err(forbidden());
    }
    let tenant = asked.tenant().clone();
    // The provider knows people of all tenants: whether this one is a user of this tenant is ours to say.
    let user = services.accounts.by_address(&tenant, &claims.address);
    let answered = services
        .sign_on
        .answer(asked, user.ok_or_else(forbidden)?, "provider")
        .await;
    let token = answered.map_err(IntoResponse::into_response)?;
    let to = services.tenant_url(&tenant, &format!("/signed-on?token={}", token.as_str()));
    Ok(([NO_REFERRER], Redirect::to(&to)).into_response())
}

#[derive(Deserialize)]
struct Authorize {
    state: String,
    nonce: String,
    r#as: String,
}

/// The stand-in for the provider, which lives elsewhere. It asks nobody for a password.
async fn provider(
    State(services): State<Services>,
    Query(query): Query<Authorize>,
) -> Result<Html<String>, StatusCode> {
    let claims = Claims {
        address: query.r#as,
        nonce: query.nonce,
    };
    let code = services.provider.authorize(claims).map_err(unavailable)?;
    // Of a real provider this is a redirect. Here it is a form, whose fields the browser encodes.
    let state = query
        .state
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;");
    Ok(Html(format!(
        r#"<form action="/callback"><input type=hidden name=code value="{code}">
        <input type=hidden name=state value="{state}"><button>Go on</button></form>"#
    )))
}
