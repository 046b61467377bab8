//! A served application, and what it wrote to its log.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{OriginalUri, Request},
    http::Method,
    response::{IntoResponse, Response},
};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain, routes::TenancyApp};
use tokio::{net::TcpListener, task::JoinHandle};
use tracing::subscriber::DefaultGuard;

/// `acme`, then `beta`, then others, until there are `count`.
pub(super) fn tenants(count: usize) -> Vec<String> {
    let others = (0..).map(|n| format!("other-{n}"));
    ["acme", "beta"]
        .map(str::to_owned)
        .into_iter()
        .chain(others)
        .take(count)
        .collect()
}

/// Says for whom it was called, and what it sees of the request.
pub(super) async fn echo(tenant: Tenant, OriginalUri(original): OriginalUri, request: Request) -> Response {
    let named = [("x-tenant", tenant.to_string())];
    if request.method() == Method::CONNECT {
        // What follows a successful CONNECT is the stream itself.
        return named.into_response();
    }
    let mut seen = format!("tenant {tenant}\nuri {}\noriginal {original}\n", request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(seen, "header {name}: {}", value.as_bytes().escape_ascii());
    }
    (named, seen).into_response()
}

/// The application of most tests: every path is [`echo`].
pub(super) fn echoing(tenancy: &Tenancy) -> TenancyApp {
    tenancy.wrap(Router::new().fallback(echo))
}

/// A server on a port of its own. Its log is what is written on this thread: it needs a current-thread runtime.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
    log: Log,
    _subscriber: DefaultGuard,
}

impl Site {
    /// Tenants under `app.test`, by subdomain.
    pub(super) async fn of(tenants: &[String]) -> Self {
        let tenancy = Tenancy::new(
            Subdomain::of("app.test").unwrap(),
            MemoryStore::of(tenants).unwrap(),
        );
        tenancy.ready().await;
        Self::serve(echoing(&tenancy)).await
    }

    pub(super) async fn serve(app: TenancyApp) -> Self {
        Self::start(async |listener| tokio::spawn(axum::serve(listener, app).into_future())).await
    }

    /// The same with the peer's address in each request.
    pub(super) async fn serve_with_peers(app: TenancyApp) -> Self {
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        Self::start(async |listener| tokio::spawn(axum::serve(listener, app).into_future())).await
    }

    async fn start(serve: impl AsyncFnOnce(TcpListener) -> JoinHandle<io::Result<()>>) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            _subscriber: tracing::subscriber::set_default(subscriber),
            server: serve(listener).await,
            log,
        }
    }

    /// What was logged since the last call.
    pub(super) fn take_log(&self) -> String {
        let bytes = std::mem::take(&mut *self.log.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
