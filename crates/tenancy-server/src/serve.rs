//! Serving until the process is told to end.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
//! use tenancy_server::serve;
//!
//! let tenancy = Tenancy::new(Subdomain::of("localhost")?, MemoryStore::of(["acme"])?);
//! let app = tenancy.wrap(Router::new().route("/", get(|| async { "hello" })));
//! let listener = serve::bind("127.0.0.1:8000".parse()?).await?;
//! let end = serve::until_told_to_end(listener, app, Duration::from_secs(10)).await?;
//! println!("{end}");
//! # Ok(())
//! # }
//! ```
//!
//! **The end of the process.** A runtime that is dropped, as that of `#[tokio::main]` is, waits for whatever blocks one of its threads
//! ([`spawn_blocking`](tokio::task::spawn_blocking)), such as a disk that hangs: without end. Build the runtime by hand where that
//! may be, and end it with `runtime.shutdown_timeout(Duration::from_secs(1))` after `runtime.block_on(…)`. The example server does.
//!
//! With probes in front, which say that the process is not ready before it stops to accept connections:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tenancy::{MemoryStore, Tenancy, health::Health, resolve::Subdomain};
//! use tenancy_server::serve::{self, Ending};
//! use tower_layer::Layer;
//!
//! let tenancy = Tenancy::new(Subdomain::of("localhost")?, MemoryStore::of(["acme"])?);
//! let health = Health::builder().build()?;
//! let app = health.layer(tenancy.wrap(Router::new().route("/", get(|| async { "hello" }))));
//! let listener = serve::bind("127.0.0.1:8000".parse()?).await?;
//! let ending = Ending::within(Duration::from_secs(10)).drain(&health, Duration::from_secs(5));
//! serve::until_told_to_end(listener, app, ending).await?;
//! # Ok(())
//! # }
//! ```

use std::{convert::Infallible, fmt, future::Future, io, net::SocketAddr, time::Duration};

use axum::{ServiceExt, extract::Request, response::Response};
use tenancy::health::Health;
use tokio::{net::TcpListener, sync::oneshot};
use tower_service::Service;

/// The address can not be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// Whether something listens there already.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can not listen on {}: {}", self.address, self.source)?;
        if self.is_in_use() {
            f.write_str("; end what listens there, or choose another port (port 0 takes a free one)")?;
        }
        Ok(())
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Listens on an address. Port 0 takes a free port; ask the listener for it.
///
/// # Errors
/// When the port is taken or the address is not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// All requests that were running have been answered.
    Drained,
    /// The grace was over, or a second signal came, before all were.
    CutOff,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "ended; all running requests were answered",
            Self::CutOff => "ended before all running requests were answered",
        })
    }
}

/// What happens between the signal and the end. A [`Duration`] is one with this grace.
#[derive(Clone, Debug)]
#[must_use = "serve with it"]
pub struct Ending {
    grace: Duration,
    draining: Option<(Health, Duration)>,
}

impl Ending {
    /// Running requests have this long to end.
    pub fn within(grace: Duration) -> Self {
        Self {
            grace,
            draining: None,
        }
    }

    /// First of all `/readyz` is 503; connections are taken for so long after, until load balancers have seen it.
    pub fn drain(mut self, health: &Health, delay: Duration) -> Self {
        self.draining = Some((health.clone(), delay));
        self
    }
}

impl From<Duration> for Ending {
    fn from(grace: Duration) -> Self {
        Self::within(grace)
    }
}

/// Serves until Ctrl-C or SIGTERM. Then `/readyz` is 503 for a while, if the ending says so; then it takes no more connections and
/// lets running requests end, for the ending's grace at most. A second signal ends at once. Connections that were cut off go on in the runtime until it ends: return from `main`.
///
/// Signals count from this call on, not from the first poll: a program that says in between that it is there can be
/// ended right after.
///
/// # Errors
/// When signals can not be listened to, or serving fails.
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub fn until_told_to_end<S>(
    listener: TcpListener,
    app: S,
    ending: impl Into<Ending>,
) -> impl Future<Output = io::Result<End>>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let signals = Signals::listen();
    let ending = ending.into();
    async move { serve(listener, app, ending, signals?).await }
}

async fn serve<S>(listener: TcpListener, app: S, ending: Ending, mut signals: Signals) -> io::Result<End>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let (stop, stopped) = oneshot::channel();
    let serving = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        });
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        ended = &mut serving => return ended.map(|()| End::Drained),
        name = signals.next() => tracing::info!(signal = name, "told to end"),
    }
    if let Some((health, delay)) = &ending.draining {
        health.drain();
        tokio::select! {
            ended = &mut serving => return ended.map(|()| End::Drained),
            _ = signals.next() => return Ok(End::CutOff),
            () = tokio::time::sleep(*delay) => {}
        }
    }
    tracing::info!("no more connections are taken");
    let _ = stop.send(());
    tokio::select! {
        ended = &mut serving => ended.map(|()| End::Drained),
        _ = signals.next() => Ok(End::CutOff),
        () = tokio::time::sleep(ending.grace) => Ok(End::CutOff),
    }
}

struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
