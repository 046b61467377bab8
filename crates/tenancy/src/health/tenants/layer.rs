//! What is seen of responses.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::TenantHealth;
use crate::{Tenant, resolve::Resolution};

/// Notes how responses of tenants turned out. Made by [`TenantHealth::layer`]. Stands inside of the resolve stage.
#[derive(Clone, Debug)]
pub struct TenantHealthLayer {
    health: TenantHealth,
}

impl TenantHealthLayer {
    pub(super) fn new(health: TenantHealth) -> Self {
        Self { health }
    }
}

impl<S> Layer<S> for TenantHealthLayer {
    type Service = TenantHealthService<S>;

    fn layer(&self, inner: S) -> TenantHealthService<S> {
        TenantHealthService {
            health: self.health.clone(),
            inner,
        }
    }
}

/// The service of [`TenantHealthLayer`]. Allocates nothing; a request without a tenant passes.
#[derive(Clone, Debug)]
pub struct TenantHealthService<S> {
    health: TenantHealth,
    inner: S,
}

impl<S, B> Service<Request<Body>> for TenantHealthService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = TenantHealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let resolution = request.extensions().get::<Resolution>();
        let watched = resolution.and_then(Resolution::tenant).map(|tenant| Watched {
            began: tenant.home().clock.monotonic_coarse(),
            tenant: tenant.clone(),
            health: self.health.clone(),
        });
        TenantHealthFuture {
            future: self.inner.call(request),
            watched,
        }
    }
}

struct Watched {
    health: TenantHealth,
    tenant: Tenant,
    began: Duration,
}

pin_project! {
    /// The future of [`TenantHealthService`]. One that is dropped, as when a client hangs up, has seen nothing.
    pub struct TenantHealthFuture<F> {
        #[pin]
        future: F,
        watched: Option<Watched>,
    }
}

impl<F, B, E> Future for TenantHealthFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.future.poll(cx);
        if let Poll::Ready(outcome) = &polled
            && let Some(Watched {
                health,
                tenant,
                began,
            }) = this.watched.take()
        {
            let took = tenant.home().clock.monotonic_coarse().saturating_sub(began);
            let failed = outcome
                .as_ref()
                .map_or(true, |response| response.status().is_server_error());
            health.saw(&tenant, took, failed);
        }
        polled
    }
}

impl<F> fmt::Debug for TenantHealthFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantHealthFuture").finish_non_exhaustive()
    }
}
