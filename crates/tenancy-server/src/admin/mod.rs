//! What operators see of a running server, on an address of its own.
//!
//! | route | what |
//! |---|---|
//! | `GET /memory` | the process, its growth, its purger, and what tenants and routes needed, as JSON |
//! | `POST /memory/purge` | gives free memory back to the system, and says how much |
//! | `GET /debug/pprof/heap` | who allocated what is live, for `pprof`; 403 with what to do where heap profiling is not active |
//!
//! The routes of memory are there with feature `memory`, `MemoryAdmin` makes them.
//!
//! **Who may.** Nobody is asked who they are: what protects these routes is the address. It must be one of this machine, such as
//! `127.0.0.1:2113`; any other is refused. From elsewhere one comes through an ssh tunnel: `ssh -L 2113:127.0.0.1:2113 HOST`. Never put
//! these routes on the address of requests. Requests that a browser sends for a web page are refused, and those whose
//! `Host` is neither `localhost` nor an address of this machine, which is how web pages of strangers get there.

mod guard;
#[cfg(feature = "memory")]
mod memory;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, io, net::SocketAddr};

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware,
    response::Response,
};
use tokio::{net::TcpListener, sync::oneshot};

use self::guard::refuse_web_pages;
#[cfg(feature = "memory")]
pub use self::memory::{MemoryAdmin, MemoryReport, MemoryRow, MemoryTables};

/// Why an address is refused, and what to do.
pub(crate) const BEYOND_THIS_MACHINE: &str = "others than this machine reach it, and nobody is asked who they are: listen on 127.0.0.1, and come from elsewhere through an ssh tunnel (`ssh -L 2113:127.0.0.1:2113 HOST`)";

/// Whether nobody else reaches it.
pub(crate) fn is_of_this_machine(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Serves what operators see, in a task, until it is dropped. Then no more connections are taken, running requests end, and idle
/// connections are closed.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    /// Never sent: that it is gone is what the task waits for. Ending the task would leave its connections, which are
    /// tasks of their own.
    _running: oneshot::Sender<Infallible>,
}

impl AdminServer {
    /// Begins to serve. Listen with [`bind`](crate::serve::bind).
    ///
    /// # Errors
    /// When the listener does not know its address, or others than this machine reach it ([`io::ErrorKind::InvalidInput`]).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(listener: TcpListener, router: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        if !is_of_this_machine(address) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, BEYOND_THIS_MACHINE));
        }
        let app = guarded(router);
        let (running, dropped) = oneshot::channel();
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = dropped.await;
        });
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the admin address is served no more");
            }
        });
        Ok(Self {
            address,
            _running: running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// These routes, for requests that do not come from a web page. No answer is kept by anybody on its way, refusals neither.
fn guarded(router: Router) -> Router {
    router
        .layer(middleware::from_fn(refuse_web_pages))
        .layer(middleware::map_response(never_kept))
}

async fn never_kept(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}
