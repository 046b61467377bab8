//! Separate routers for tenants, for central hosts, and for both; chosen after the tenant is known and before routing.
//!
//! * The tenant router and the universal one are merged once, and so are the central and the universal one.
//! * The same path may be on both sides: `/` of a tenant and `/` of the landing page.
//! * A path that only the other side has is that router's own 404.
//! * `/about` on the universal router is served on both; its handlers extract `Option<Tenant>`.
//!
//! **How it fits axum.** State: give each router its own with `with_state` first. Nesting: a [`TenancyApp`] is a service, so
//! `Router::fallback_service(app)` and `Router::nest_service("/api", app)` take it; what is nested sees the path
//! without the prefix. Tests: `app.oneshot(request)`. Serving: `axum::serve(listener, app)`, or
//! `axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())` where proxies are trusted.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{Central, MemoryStore, Tenancy, Tenant, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .central_hosts(["example.com"])
//!     .build()?;
//! let app = tenancy
//!     .routes()
//!     .tenant(Router::new().route("/", get(|tenant: Tenant| async move { format!("shop of {tenant}") })))
//!     .central(Router::new().route("/", get(|_: Central| async { "sign up" })))
//!     .universal(Router::new().route("/about", get(|tenant: Option<Tenant>| async move {
//!         tenant.map_or("about us".to_owned(), |tenant| format!("about {tenant}"))
//!     })))
//!     .build();
//!
//! for (host, path, expected) in [
//!     ("acme.example.com", "/", "shop of acme"),
//!     ("example.com", "/", "sign up"),
//!     ("acme.example.com", "/about", "about acme"),
//!     ("example.com", "/about", "about us"),
//! ] {
//!     let request = Request::get(path).header("host", host).body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, expected);
//! }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//! use axum::{Router, extract::State, routing::get};
//! use tenancy::{MemoryStore, Tenancy, resolve::{Subdomain, TrustedProxies}};
//!
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .trust_proxies(TrustedProxies::new(["127.0.0.1"])?)
//!     .build()?;
//! let router = Router::new()
//!     .route("/", get(|State(greeting): State<&'static str>| async move { greeting }))
//!     .with_state("hello");
//!
//! // Probes stay outside of tenancy.
//! let app = Router::new().route("/livez", get(|| async { "ok" })).fallback_service(tenancy.wrap(router));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router, ServiceExt,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, connect_info::IntoMakeServiceWithConnectInfo},
    response::IntoResponse,
    routing::future::RouteFuture,
};
use http::{Request, Response};
use tower::ServiceExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    rejection::{Rejection, RejectionReason, respond},
    resolve::Resolution,
    scope::with_current,
    stack::{Stage, Tenancy, TenancyFuture, TenancyService},
};

/// Routers on their way into the stack. Made by [`Tenancy::routes`].
#[derive(Debug)]
#[must_use = "build it"]
pub struct Routes {
    tenancy: Tenancy,
    tenant: Router,
    central: Router,
    universal: Router,
}

impl Routes {
    pub(crate) fn new(tenancy: Tenancy) -> Self {
        Self {
            tenancy,
            tenant: Router::new(),
            central: Router::new(),
            universal: Router::new(),
        }
    }

    /// Routes of tenants. Several calls merge.
    ///
    /// # Panics
    /// When two routers have the same path and method, or two have fallbacks, as `Router::merge` does.
    pub fn tenant(mut self, router: Router) -> Self {
        self.tenant = self.tenant.merge(router);
        self
    }

    /// Routes of central hosts. Several calls merge.
    ///
    /// # Panics
    /// As [`tenant`](Self::tenant).
    pub fn central(mut self, router: Router) -> Self {
        self.central = self.central.merge(router);
        self
    }

    /// Routes of both sides. Several calls merge.
    ///
    /// # Panics
    /// As [`tenant`](Self::tenant).
    pub fn universal(mut self, router: Router) -> Self {
        self.universal = self.universal.merge(router);
        self
    }

    /// One router of tenants. Central requests have none, but while the resolve stage only observes, they get it too.
    pub(crate) fn all_tenant(self, router: Router) -> TenancyApp {
        let rollout = self.tenancy.rollout().clone();
        let observed = router.clone();
        let central = move |request: Request<Body>| {
            let router = if rollout.observes(Stage::Resolve) {
                observed.clone()
            } else {
                Router::new()
            };
            router.oneshot(request)
        };
        let central = Router::new().fallback_service(tower::service_fn(central));
        self.tenant(router).central(central).build()
    }

    /// Merges the routers and puts the stack around them.
    ///
    /// # Panics
    /// When a universal route is on another side too, or the universal router and a side both have fallbacks, as
    /// `Router::merge` does.
    pub fn build(self) -> TenancyApp {
        let side = |router: Router| {
            let router = router.merge(self.universal.clone());
            if self.tenancy.tracks_routes() && router.has_routes() {
                router.route_layer(RouteCarrierLayer)
            } else {
                router
            }
        };
        let sides = Sides {
            tenant: side(self.tenant),
            central: side(self.central),
        };
        TenancyApp {
            service: self.tenancy.layer(sides),
        }
    }
}

/// An application with the stack around it: a service for `axum::serve`, `oneshot` and `fallback_service`.
#[derive(Clone, Debug)]
pub struct TenancyApp {
    service: TenancyService<Sides>,
}

impl TenancyApp {
    /// For `axum::serve`, where handlers or trusted proxies need the peer's address.
    pub fn into_make_service_with_connect_info<C>(self) -> IntoMakeServiceWithConnectInfo<Self, C> {
        ServiceExt::<Request<Body>>::into_make_service_with_connect_info(self)
    }
}

impl<B> Service<Request<B>> for TenancyApp
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = TenancyFuture<Sides>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.service, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.service.call(request)
    }
}

/// Lets `axum::serve(listener, app)` take it, as it takes a router.
#[cfg(any(feature = "http1", feature = "http2"))]
impl<L: axum::serve::Listener> Service<axum::serve::IncomingStream<'_, L>> for TenancyApp {
    type Response = Self;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: axum::serve::IncomingStream<'_, L>) -> Self::Future {
        std::future::ready(Ok(self.clone()))
    }
}

/// The two routers behind the stack.
#[derive(Clone, Debug)]
pub struct Sides {
    tenant: Router,
    central: Router,
}

impl Service<Request<Body>> for Sides {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request
            .extensions()
            .get::<Resolution>()
            .map(Resolution::is_central)
        {
            Some(false) => Service::<Request<Body>>::call(&mut self.tenant, request),
            Some(true) => Service::<Request<Body>>::call(&mut self.central, request),
            None => Service::<Request<Body>>::call(&mut unresolved(), request),
        }
    }
}

/// Where the resolve stage was disabled, nobody knows which side a request is on.
#[cold]
fn unresolved() -> Router {
    Router::new().fallback(|| async {
        let detail = "the routers were chosen by nobody: the resolve stage is disabled";
        respond(Rejection::new(RejectionReason::MisbuiltStack, &detail), None).into_response()
    })
}

/// Tells the scope which route was matched.
#[derive(Clone, Copy, Debug)]
struct RouteCarrierLayer;

#[derive(Clone, Debug)]
struct RouteCarrier<S> {
    inner: S,
}

impl<S> Layer<S> for RouteCarrierLayer {
    type Service = RouteCarrier<S>;

    fn layer(&self, inner: S) -> RouteCarrier<S> {
        RouteCarrier { inner }
    }
}

impl<S, B> Service<Request<B>> for RouteCarrier<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        note_route(request.extensions());
        self.inner.call(request)
    }
}

/// Keeps the matched route for reports.
pub(crate) fn note_route(extensions: &http::Extensions) {
    if let Some(route) = extensions.get::<MatchedPath>() {
        #[cfg(feature = "memory")]
        crate::memory::note_route(route);
        with_current(|current| {
            if let Some(current) = current {
                current.note_route(route);
            }
        });
    }
}
