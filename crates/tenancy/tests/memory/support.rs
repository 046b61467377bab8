//! A stack with the memory stage, and what it writes to the log.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response},
};
use tenancy::{
    MemoryStore, Tenancy, memory::MemorySettings, resolve::Subdomain, routes::TenancyApp,
    stack::TenancyBuilder,
};
use tower::ServiceExt;

pub(crate) fn builder() -> TenancyBuilder {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    Tenancy::builder(Subdomain::of("app.test").unwrap(), store)
}

pub(crate) fn metered() -> Tenancy {
    builder().memory(MemorySettings::new()).build().unwrap()
}

pub(crate) fn get(tenant: &str, path: &str) -> Request<Body> {
    let request = Request::get(path).header("host", format!("{tenant}.app.test"));
    request.body(Body::empty()).unwrap()
}

pub(crate) async fn send(app: &TenancyApp, path: &str) -> Response<Body> {
    app.clone().oneshot(get("acme", path)).await.unwrap()
}

pub(crate) async fn read(response: Response<Body>) -> Bytes {
    axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap()
}

pub(crate) fn app(tenancy: &Tenancy, router: Router) -> TenancyApp {
    tenancy.wrap(router)
}

/// What is written to the log on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects until the guard is dropped.
    pub(crate) fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn lines_with(&self, part: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .filter(|line| line.contains(part))
            .map(str::to_owned)
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
