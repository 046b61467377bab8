//! Which tenants are served, and what the others are answered, through the whole stack.

mod bypass;
pub(crate) mod logs;
mod maintenance;
mod status;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, Response, StatusCode},
    routing::any,
};
use tenancy::{
    MemoryStore, Tenancy,
    core::{Clock, Maintenance, ManualClock, TenantId},
    rejection::REFERENCE_HEADER,
    routes::TenancyApp,
};

use crate::support::{self, send};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

/// A hand-moved clock that the stack and the test both hold.
#[derive(Clone, Debug, Default)]
struct SharedClock(Arc<ManualClock>);

impl Clock for SharedClock {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }
}

/// Answers `served`, to any method and path.
fn served() -> Router {
    Router::new().fallback(any(async || "served"))
}

fn app(tenancy: &Tenancy) -> TenancyApp {
    tenancy.routes().universal(served()).build()
}

fn maintenance(change: impl FnOnce(&mut Maintenance)) -> Maintenance {
    let mut maintenance = Maintenance::default();
    change(&mut maintenance);
    maintenance
}

async fn maintain(store: &MemoryStore, name: &str, maintenance: Option<Maintenance>) {
    let edit = |record: &mut tenancy::core::TenantRecord| record.maintenance = maintenance.map(Box::new);
    store.update(&id(name), edit).await.unwrap();
}

/// A request with these headers.
fn request(method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn whole(response: Response<Body>) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = support::body(response).await;
    Answer {
        status,
        headers,
        body,
    }
}

async fn ask(app: &TenancyApp, request: Request<Body>) -> Answer {
    whole(send(app, request).await).await
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Everything that the client sees, with the random reference taken out.
    fn masked(&self) -> String {
        // Not by `Debug`: it hides what is sensitive.
        let headers = self.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            format!("{name}: {value}\n")
        });
        let whole = format!(
            "{}\n{}\n{}",
            self.status,
            headers.collect::<String>(),
            self.text()
        );
        match self.header(REFERENCE_HEADER.as_str()) {
            Some(reference) => whole.replace(reference, "REFERENCE"),
            None => whole,
        }
    }
}
