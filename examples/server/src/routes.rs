//! The application: routes of tenants, of the bare base domain, and of both.

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{Central, Tenancy, Tenant, resolve::Resolution, routes::TenancyApp};

use crate::notes::{Note, Notes, NotesError};

const LONGEST_NOTE: usize = 10_000;

/// Puts the stack around the routers.
pub fn app(tenancy: &Tenancy, notes: Notes) -> TenancyApp {
    tenancy
        .routes()
        .tenant(tenant_routes(notes))
        .central(Router::new().route("/", get(landing_page)))
        .universal(Router::new().route("/about", get(about)))
        .build()
}

/// The routes of tenants by themselves. Those that need to know the tenant answer 500; `/about` answers as for acme.
pub fn without_stack(notes: Notes) -> Router {
    tenant_routes(notes).route("/about", get(|| async { about_page(Some("acme")) }))
}

fn tenant_routes(notes: Notes) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/whoami", get(who_am_i))
        .route("/notes", get(list_notes).post(add_note))
        .with_state(notes)
}

/// What the server knows of the tenant.
#[derive(Serialize)]
struct Home {
    tenant: String,
    identified_by: Option<String>,
    source: Option<&'static str>,
    settings: Value,
}

async fn home(tenant: Tenant, resolution: Resolution) -> Result<Json<Home>, AppError> {
    let settings = tenant.settings::<Value>().map_err(AppError::internal)?;
    Ok(Json(Home {
        tenant: tenant.id().to_string(),
        identified_by: resolution.identifier().map(str::to_owned),
        source: resolution.source().map(|source| source.as_str()),
        settings: Value::clone(&settings),
    }))
}

async fn who_am_i(tenant: Tenant) -> Json<Value> {
    let record = tenant.record();
    Json(json!({
        "tenant": record.id,
        "slug": record.slug(),
        "status": record.status,
        "plan": record.plan,
        "type": record.tenant_type,
        "incarnation": record.incarnation,
        "epoch": record.epoch,
    }))
}

async fn list_notes(tenant: Tenant, State(notes): State<Notes>) -> Result<Json<Vec<Note>>, AppError> {
    let notes = notes.list(&tenant).await?;
    tracing::debug!(notes = notes.len(), "listed");
    Ok(Json(notes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

async fn add_note(
    tenant: Tenant,
    State(notes): State<Notes>,
    new: Result<Json<NewNote>, JsonRejection>,
) -> Result<(StatusCode, Json<Note>), AppError> {
    let Json(new) = new?;
    let text = new.text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_NOTE {
        return Err(AppError::unusable("a note has 1 to 10,000 characters"));
    }
    let note = notes.add(&tenant, text).await?;
    tracing::info!("a note was added");
    Ok((StatusCode::CREATED, Json(note)))
}

async fn landing_page(_: Central) -> Html<&'static str> {
    Html(include_str!("landing.html"))
}

async fn about(tenant: Option<Tenant>) -> Json<Value> {
    about_page(tenant.as_ref().map(|tenant| tenant.id().as_str()))
}

fn about_page(tenant: Option<&str>) -> Json<Value> {
    Json(json!({
        "software": "the example server of tenancy",
        "version": env!("CARGO_PKG_VERSION"),
        "tenant": tenant,
    }))
}

/// What went wrong in a handler: the client gets the status and a sentence, the log the cause.
#[derive(Debug)]
struct AppError {
    status: StatusCode,
    message: &'static str,
}

impl AppError {
    fn unusable(message: &'static str) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            message,
        }
    }

    fn internal(error: impl std::error::Error) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "a request failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "something went wrong here",
        }
    }
}

impl From<JsonRejection> for AppError {
    /// axum's own words repeat what was sent.
    fn from(rejection: JsonRejection) -> Self {
        let message = match rejection {
            JsonRejection::JsonDataError(_) => r#"a note looks like {"text": "hello"}"#,
            JsonRejection::JsonSyntaxError(_) => "the body is not JSON",
            JsonRejection::MissingJsonContentType(_) => "send the header Content-Type: application/json",
            _ => "the body can not be read",
        };
        Self {
            status: rejection.status(),
            message,
        }
    }
}

impl From<NotesError> for AppError {
    fn from(error: NotesError) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}
