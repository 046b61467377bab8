use std::{
    convert::Infallible,
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{HeaderMap, Method, Request, header};
use serde_json::Value;
use tenancy_core::{ManualClock, StoreError, TenantKey, TenantRecord, TenantStore};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::{checks::PoolLoad, *};
use crate::{MemoryStore, Tenancy, resolve::Subdomain};

mod answers;
mod built_in;
mod registry;

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn kind(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }
}

async fn send<S>(service: S, request: Request<Body>) -> Answer
where
    S: tower::Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn ask(router: Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

/// A check that is as the switch says, and how often it ran.
fn switched(name: &str) -> (Check, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (is_up, runs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (switch, count) = (Arc::clone(&is_up), Arc::clone(&runs));
    let check = Check::new(name, move || {
        count.fetch_add(1, Ordering::SeqCst);
        let is_up = switch.load(Ordering::SeqCst);
        async move {
            match is_up {
                true => Ok(()),
                false => Err(io::Error::other("postgres://app:hunter2@db.internal/x refused")),
            }
        }
    });
    (check, is_up, runs)
}

fn status_of(health: &Health, check: &str) -> CheckStatus {
    let report = health.report();
    let found = report.checks.iter().find(|report| &*report.name == check);
    found.unwrap().status
}

fn output_of(health: &Health, check: &str) -> String {
    let report = health.report();
    let found = report.checks.iter().find(|report| &*report.name == check);
    found.unwrap().output.as_deref().unwrap_or_default().to_owned()
}

fn mistakes(builder: HealthBuilder) -> Vec<String> {
    let error = builder.build().unwrap_err();
    error.mistakes().iter().map(ToString::to_string).collect()
}
