//! Responses that are kept for each tenant, as applications use them.

mod concurrency;
mod conditions;
mod flushes;
mod placement;
mod requests;
mod trouble;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    handler::Handler,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode},
    response::IntoResponse,
    routing::get as on_get,
};
use tenancy::{
    Tenancy, Tenant,
    cache::{CacheSettings, CacheStatistics},
    response_cache::{CacheTags, Fingerprint, ResponseCache},
    routes::TenancyApp,
};
use tenancy_test::cache::BarrierLoader;
use tower::ServiceExt;

use crate::tenant_cache::{Process, World, settle};

fn hour() -> ResponseCache {
    ResponseCache::same_for_everybody(Duration::from_secs(3600)).early_refresh(false)
}

/// One route, `/report`, that is kept.
fn app<T: 'static>(tenancy: &Tenancy, cache: ResponseCache, handler: impl Handler<T, ()>) -> TenancyApp {
    let cache = tenancy.response_cache(cache).unwrap();
    tenancy.wrap(Router::new().route("/report", on_get(handler).layer(cache)))
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Without the cache's name.
    fn told(&self) -> &str {
        let told = self.header("cache-status");
        told.strip_prefix("tenancy; ").unwrap_or(told)
    }
}

fn to(tenant: &str) -> http::request::Builder {
    Request::get("/report").header("host", format!("{tenant}.example.com"))
}

use axum::http;

async fn ask(app: &TenancyApp, request: http::request::Builder) -> Answer {
    let request = request.body(Body::empty()).unwrap();
    Answer::of(app.clone().oneshot(request).await.unwrap()).await
}

async fn statistics(process: &Process) -> CacheStatistics {
    process.cache_of("acme").await.statistics()
}

/// A handler that answers what the barrier says, as soon as it says it.
fn from_barrier(loader: &BarrierLoader<String>) -> impl Handler<((),), ()> + use<> {
    let loader = loader.clone();
    async move || {
        let loader = loader.clone();
        loader.load().await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}
