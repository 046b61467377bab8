//! The application: routes of tenants, of the bare base domain, and of both.

use std::{error::Error, fmt, hint::black_box, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{
        Query,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{
    Central, Tenancy, Tenant,
    cache::{CacheStatistics, EntryOptions, Keys, LoadError, Recipe, TenantCache},
    rejection::{RejectionReason, refuse},
    resolve::Resolution,
    response_cache::{CacheTags, ResponseCache},
    routes::TenancyApp,
    scope,
    stack::ConfigError,
};
use tenancy_sqlx::database::{DatabaseError, TenantDatabases, TenantDb};

use crate::notes::{Note, NotesDatabase};

const LONGEST_NOTE: usize = 10_000;

/// Bytes that a debug route allocates for one request.
const LARGEST_BLOCK: usize = 64 << 20;

/// Whether there are routes to try things out with. Anybody may call them: not where others than you reach the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugRoutes {
    /// There are none.
    #[default]
    Off,
    /// `/debug/alloc?bytes=N`, `/debug/wait` and `/debug/panic`, of tenants.
    On,
}

/// The list of a tenant. Its name and version say no more than what it is: whose it is, the cache knows.
const LIST: Keys<(), Vec<Note>> = Keys::new("notes", 1);

/// What depends on notes.
const NOTES: &str = "notes";

/// Puts the stack around the routers.
///
/// # Errors
/// When the stack's settings leave out what the routes need.
pub fn app<DB: NotesDatabase>(
    tenancy: &Tenancy,
    databases: TenantDatabases<DB>,
    debug: DebugRoutes,
) -> Result<TenancyApp, ConfigError> {
    let pages = ResponseCache::same_for_everybody(Duration::from_secs(60));
    let report = get(report::<DB>).layer(tenancy.response_cache(pages)?);
    let mut of_tenants = tenant_routes(databases, report);
    if debug == DebugRoutes::On {
        of_tenants = of_tenants
            .route("/debug/alloc", get(allocate))
            .route("/debug/wait", get(wait))
            .route("/debug/panic", get(panic));
    }
    let app = tenancy
        .routes()
        .tenant(of_tenants)
        .central(Router::new().route("/", get(landing_page)))
        .universal(Router::new().route("/about", get(about)))
        .build();
    Ok(app)
}

/// The routes of tenants by themselves. Those that need to know the tenant answer 500; `/about` answers as for acme.
pub fn without_stack<DB: NotesDatabase>(databases: TenantDatabases<DB>) -> Router {
    tenant_routes(databases, get(report::<DB>)).route("/about", get(|| async { about_page(Some("acme")) }))
}

fn tenant_routes<DB: NotesDatabase>(
    databases: TenantDatabases<DB>,
    report: MethodRouter<TenantDatabases<DB>>,
) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/whoami", get(who_am_i))
        .route("/notes", get(list_notes::<DB>).post(add_note::<DB>))
        .route("/report", report)
        .route("/cache", get(count_cached))
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

async fn list_notes<DB: NotesDatabase>(cache: TenantCache, db: TenantDb<DB>) -> Result<Response, AppError> {
    let notes = cached_notes(&cache, db).await?;
    tracing::debug!(notes = notes.len(), "listed");
    Ok(Json(&*notes).into_response())
}

/// The list as it is cached, for who asks for it, and for who warms up.
async fn cached_notes<DB: NotesDatabase>(
    cache: &TenantCache,
    db: TenantDb<DB>,
) -> Result<Arc<Vec<Note>>, LoadError> {
    let options = EntryOptions::new().tag(NOTES);
    cache.remember(&LIST.key(()), &options, || load_notes(db)).await
}

/// Loads the list when a tenant begins to be used, and again before it ends.
pub(crate) fn warm_notes<DB: NotesDatabase>(databases: &TenantDatabases<DB>) -> Recipe {
    let databases = databases.clone();
    let warm = move |tenant: Tenant, cache: TenantCache| {
        let db = databases.of(&tenant);
        async move { cached_notes(&cache, db).await.map(drop) }
    };
    Recipe::new("notes", warm).refresh_every(Duration::from_secs(240))
}

/// A page that is kept as a whole, until a note is added.
async fn report<DB: NotesDatabase>(
    tenant: Tenant,
    db: TenantDb<DB>,
) -> Result<(CacheTags, String), AppError> {
    let notes = load_notes(db).await?;
    let characters: usize = notes.iter().map(|note| note.text.chars().count()).sum();
    let (tenant, notes) = (tenant.id(), notes.len());
    let page = format!("{tenant}: {notes} notes, {characters} characters\n");
    Ok((CacheTags::new([NOTES]), page))
}

async fn load_notes<DB: NotesDatabase>(db: TenantDb<DB>) -> Result<Vec<Note>, AppError> {
    let mut transaction = db.begin().await?;
    let notes = DB::list(&mut transaction).await.map_err(AppError::of::<DB>)?;
    transaction.commit().await?;
    Ok(notes)
}

/// What this process has counted of the tenant's cache.
async fn count_cached(cache: TenantCache) -> Json<CacheStatistics> {
    Json(cache.statistics())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    bytes: usize,
}

/// Allocates, touches and frees so much: what needs more than the threshold of `memory.warn_over_bytes` is named in the log.
///
/// The tenant is asked for so that the route is known to who counts.
async fn allocate(_: Tenant, block: Result<Query<Block>, QueryRejection>) -> Result<Json<Value>, AppError> {
    let Ok(Query(Block { bytes })) = block else {
        return Err(AppError::unusable("say how much: /debug/alloc?bytes=2000000"));
    };
    if bytes > LARGEST_BLOCK {
        return Err(AppError::unusable("at most 67,108,864 bytes"));
    }
    drop(black_box(vec![1_u8; bytes]));
    Ok(Json(json!({ "allocated": bytes })))
}

/// Takes so long that clients give up, with something in its hands.
async fn wait(_: Tenant) -> &'static str {
    let held = black_box(vec![1_u8; 10_000]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop(held);
    "waited\n"
}

async fn panic(_: Tenant) -> &'static str {
    let _held = black_box(vec![1_u8; 10_000]);
    panic!("somebody called /debug/panic");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

async fn add_note<DB: NotesDatabase>(
    cache: TenantCache,
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
    // Who hangs up between the two would leave the old list in the cache: a task of its own does both.
    let added = scope::spawn(async move {
        let committed = transaction.commit().await;
        // Also when it says that it failed: where its answer was lost, it may have been done.
        cache.flush_tags([NOTES]).await;
        committed
    });
    added.await.map_err(AppError::internal)??;
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
    /// What was not cached could not be loaded: for who waited with others, the error of all.
    Load(LoadError),
}

impl AppError {
    fn unusable(message: &'static str) -> Self {
        Self::Answer(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    fn internal(error: impl Error) -> Self {
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

impl From<LoadError> for AppError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// For the log: what a load failed with.
impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(_, message) => f.write_str(message),
            Self::Database(error) => error.fmt(f),
            Self::NotReady(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl Error for AppError {}

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

impl AppError {
    fn response(&self) -> Response {
        match self {
            Self::Answer(status, message) => (*status, Json(json!({ "error": message }))).into_response(),
            Self::Database(error) => error.clone().into_response(),
            Self::NotReady(error) => {
                tracing::error!(%error, "the tenant has no tables: its home is not made, or not migrated");
                refuse(
                    RejectionReason::DatabaseUnavailable,
                    error,
                    Some(Duration::from_secs(1)),
                )
            }
            Self::Load(error) => match error.downcast_ref::<Self>() {
                Some(cause) => cause.response(),
                None => error.clone().into_response(),
            },
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        self.response()
    }
}
