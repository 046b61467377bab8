//! What a tenant's users see.

use axum::{
    Extension, Form, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tenancy::{
    Tenant,
    credential::BindCredential,
    handoff::{Grant, HandoffError, Purpose, ReturnPath},
};
use tower_sessions::Session;

use crate::{
    NO_REFERRER, Services,
    session::{SignedIn, begin},
};

/// Inside, every route demands a session of this very tenant. The doors do not look at the session that is there: they
/// replace it, so that one of a tenant that is no more does not lock a browser out.
pub(crate) fn routes(bound: &BindCredential) -> Router<Services> {
    let inside = Router::new()
        .route("/account", get(account))
        .route_layer(bound.clone().demand());
    let doors = Router::new()
        .route("/", get(front))
        .route("/sign-in", post(sign_in))
        .route("/sign-on", get(begin_sign_on))
        .route("/signed-on", get(finish_sign_on))
        .route("/impersonate", get(impersonate));
    inside.merge(doors)
}

async fn front(tenant: Tenant) -> Html<String> {
    Html(format!(
        r#"<h1>{tenant}</h1><form method=post action=/sign-in><input name=user><input name=password type=password>
        <button>Sign in</button></form><a href="/sign-on?to=/account">or by the provider</a>"#
    ))
}

async fn account(tenant: Tenant, Extension(signed_in): Extension<SignedIn>) -> String {
    match signed_in.impersonated_by {
        Some(by) => format!("user {} of {tenant}, with {by} at the keys\n", signed_in.user),
        None => format!("user {} of {tenant}\n", signed_in.user),
    }
}

#[derive(Deserialize)]
struct Password {
    user: String,
    password: String,
}

async fn sign_in(
    State(services): State<Services>,
    tenant: Tenant,
    session: Session,
    Form(form): Form<Password>,
) -> Result<Response, StatusCode> {
    if !services.accounts.verify(&tenant, &form.user, &form.password) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let signed_in = SignedIn {
        tenant: Some(tenant.reference()),
        user: form.user,
        impersonated_by: None,
    };
    begin(&session, signed_in).await.map_err(unavailable)?;
    Ok(Redirect::to("/account").into_response())
}

#[derive(Deserialize)]
struct To {
    #[serde(default)]
    to: String,
}

/// Off to the provider, with a state and a cookie that bind the sign-on to this tenant and this browser.
async fn begin_sign_on(
    State(services): State<Services>,
    tenant: Tenant,
    Query(query): Query<To>,
) -> Result<Response, HandoffError> {
    let start = services.sign_on.begin(&tenant, &ReturnPath::or_root(&query.to))?;
    let to = services.central_url("/provider");
    let (state, nonce) = (encoded(start.state()), start.oidc_nonce());
    let redirect = Redirect::to(&format!("{to}?state={state}&nonce={nonce}&as=dana@example.com"));
    Ok(([(SET_COOKIE, start.set_cookie().clone())], redirect).into_response())
}

/// What may not stand in a query as it is. A state is visible ASCII.
fn encoded(state: &str) -> String {
    state.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn finish_sign_on(
    State(services): State<Services>,
    tenant: Tenant,
    session: Session,
    headers: HeaderMap,
    Query(query): Query<Token>,
) -> Result<Response, Response> {
    let redeemed = services.sign_on.redeem(&tenant, &query.token, &headers).await;
    let grant = redeemed.map_err(IntoResponse::into_response)?;
    let entered = enter(&session, &grant, None).await?;
    Ok(([(SET_COOKIE, services.sign_on.clear_cookie())], entered).into_response())
}

async fn impersonate(
    State(services): State<Services>,
    tenant: Tenant,
    session: Session,
    Query(query): Query<Token>,
) -> Result<Response, Response> {
    let redeemed = services
        .handoffs
        .redeem(&tenant, &Purpose::IMPERSONATION, &query.token)
        .await;
    let grant = redeemed.map_err(IntoResponse::into_response)?;
    let by = grant.issued_by().to_owned();
    enter(&session, &grant, Some(by)).await
}

/// Opens the session that a grant is for, and goes on to an address without the token.
async fn enter(
    session: &Session,
    grant: &Grant,
    impersonated_by: Option<String>,
) -> Result<Response, Response> {
    let signed_in = SignedIn {
        tenant: Some(grant.tenant().clone()),
        user: grant.user().to_owned(),
        impersonated_by,
    };
    let begun = begin(session, signed_in).await;
    begun.map_err(|error| unavailable(error).into_response())?;
    let redirect = Redirect::to(grant.return_to().as_str());
    Ok(([NO_REFERRER], redirect).into_response())
}

pub(crate) fn unavailable<E>(_: E) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
