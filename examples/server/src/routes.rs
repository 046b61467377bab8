//! The application: routes of tenants, of the bare base domain, and of both.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::rejection::JsonRejection,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{
    Central, Tenancy, Tenant,
    rejection::{RejectionReason, refuse},
    resolve::Resolution,
    routes::TenancyApp,
};
use tenancy_sqlx::database::{DatabaseError, TenantDatabases, TenantDb};

use crate::notes::{Note, NotesDatabase};

const LONGEST_NOTE: usize = 10_000;

/// Puts the stack around the routers.
pub fn app<DB: NotesDatabase>(tenancy: &Tenancy, databases: TenantDatabases<DB>) -> TenancyApp {
    tenancy
        .routes()
        .tenant(tenant_routes(databases))
        .central(Router::new().route("/", get(landing_page)))
        .universal(Router::new().route("/about", get(about)))
        .build()
}

/// The routes of tenants by themselves. Those that need to know the tenant answer 500; `/about` answers as for acme.
pub fn without_stack<DB: NotesDatabase>(databases: TenantDatabases<DB>) -> Router {
    tenant_routes(databases).route("/about", get(|| async { about_page(Some("acme")) }))
}

fn tenant_routes<DB: NotesDatabase>(databases: TenantDatabases<DB>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/whoami", get(who_am_i))
        .route("/notes", get(list_notes::<DB>).post(add_note::<DB>))
        .with_state(databases)
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

async fn list_notes<DB: NotesDatabase>(db: TenantDb<DB>) -> Result<Json<Vec<Note>>, AppError> {
    let mut transaction = db.begin().await?;
    let notes = DB::list(&mut transaction).await.map_err(AppError::of::<DB>)?;
    transaction.commit().await?;
    tracing::debug!(notes = notes.len(), "listed");
    Ok(Json(notes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

async fn add_note<DB: NotesDatabase>(
    db: TenantDb<DB>,
    new: Result<Json<NewNote>, JsonRejection>,
) -> Result<(StatusCode, Json<Note>), AppError> {
    let Json(new) = new?;
    let text = new.text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_NOTE {
        return Err(AppError::unusable("a note has 1 to 10,000 characters"));
    }
    let mut transaction = db.begin().await?;
    let id = DB::add(&mut transaction, text)
        .await
        .map_err(AppError::of::<DB>)?;
    transaction.commit().await?;
    tracing::info!("a note was added");
    let text = text.to_owned();
    Ok((StatusCode::CREATED, Json(Note { id, text })))
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
enum AppError {
    Answer(StatusCode, &'static str),
    Database(DatabaseError),
    /// The tenant's tables are not made yet, or were dropped.
    NotReady(sqlx::Error),
}

impl AppError {
    fn unusable(message: &'static str) -> Self {
        Self::Answer(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    fn internal(error: impl std::error::Error) -> Self {
        let cause = error.source().map(ToString::to_string);
        tracing::error!(%error, cause, "a request failed");
        Self::Answer(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here")
    }

    /// What a statement answered.
    fn of<DB: NotesDatabase>(error: sqlx::Error) -> Self {
        match error.as_database_error().is_some_and(DB::is_no_table) {
            true => Self::NotReady(error),
            false => Self::Database(error.into()),
        }
    }
}

impl From<DatabaseError> for AppError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
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
        Self::Answer(rejection.status(), message)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Answer(status, message) => (status, Json(json!({ "error": message }))).into_response(),
            Self::Database(error) => error.into_response(),
            Self::NotReady(error) => {
                tracing::error!(%error, "the tenant has no tables: its home is not made, or not migrated");
                refuse(
                    RejectionReason::DatabaseUnavailable,
                    &error,
                    Some(Duration::from_secs(1)),
                )
            }
        }
    }
}
