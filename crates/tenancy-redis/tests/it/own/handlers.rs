//! Handlers.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    http::{Request, StatusCode},
    routing::get,
};
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
use tenancy::{routes::TenancyApp, stack::Stage};
use tenancy_redis::{CentralRedis, Redis, RedisCallError, RedisLevel, TenantRedis, command};
use tower::ServiceExt;

use crate::place::{database, level};

#[derive(Clone)]
struct AppState {
    redis: Redis,
}

impl FromRef<AppState> for Redis {
    fn from_ref(state: &AppState) -> Self {
        state.redis.clone()
    }
}

async fn count(redis: TenantRedis) -> Result<String, RedisCallError> {
    let counted = redis.counter("visits").add(1).await?;
    Ok(format!("{} of {}", counted.value, redis.tenant()))
}

async fn count_all(redis: CentralRedis) -> Result<String, RedisCallError> {
    Ok(format!(
        "{} of nobody",
        redis.counter("visits").add(1).await?.value
    ))
}

async fn wrong(redis: TenantRedis) -> Result<String, RedisCallError> {
    redis.run(command("FLUSHALL")).await
}

fn app(level: &RedisLevel, without: Option<Stage>) -> TenancyApp {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let builder =
        Tenancy::builder(Subdomain::of("example.com").unwrap(), store).central_hosts(["example.com"]);
    let builder = without
        .into_iter()
        .fold(builder, |builder, stage| builder.disable(stage));
    let state = AppState { redis: level.redis() };
    let of_tenants = Router::new()
        .route("/", get(count))
        .route("/wrong", get(wrong))
        .with_state(state.clone());
    let of_nobody = Router::new().route("/all", get(count_all)).with_state(state);
    let tenancy = builder.build().unwrap();
    tenancy.routes().tenant(of_tenants).central(of_nobody).build()
}

async fn answer(app: &TenancyApp, host: &str, path: &str) -> (StatusCode, String) {
    let request = Request::get(path)
        .header("host", host)
        .body(Body::empty())
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_handler_is_given_its_tenants_part_and_a_central_one_nobodys() {
    let database = database().await;
    let app = app(&level(&database.url()), None);
    for (host, path, expected) in [
        ("acme.example.com", "/", "1 of acme"),
        ("globex.example.com", "/", "1 of globex"),
        ("acme.example.com", "/", "2 of acme"),
        ("example.com", "/all", "1 of nobody"),
        ("globex.example.com", "/", "2 of globex"),
    ] {
        assert_eq!(
            answer(&app, host, path).await,
            (StatusCode::OK, expected.to_owned())
        );
    }
    assert_eq!(
        answer(&app, "acme.example.com", "/all").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(answer(&app, "example.com", "/").await.0, StatusCode::NOT_FOUND);
    let (status, text) = answer(&app, "acme.example.com", "/wrong").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!text.contains("FLUSHALL"), "{text}");
}

#[tokio::test]
async fn without_the_stage_of_the_cache_there_is_no_way_to_redis() {
    let database = database().await;
    let app = app(&level(&database.url()), Some(Stage::CacheScope));
    assert_eq!(
        answer(&app, "acme.example.com", "/").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn a_handler_without_redis_answers_503_and_names_no_server() {
    let app = app(&level("redis://:hunter2@127.0.0.1:1"), None);
    let (status, text) = answer(&app, "acme.example.com", "/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!text.contains("127.0.0.1") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_handle_outlives_its_level() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let database = database().await;
        let redis = level(&database.url()).redis().central();
        redis.set("a", 1, None).await.unwrap();
        assert_eq!(redis.get::<u64>("a").await.unwrap(), Some(1));
    });
}
