//! A router behind the stack, for one tenant or for none.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    BoxError, ServiceExt,
    body::{Body, Bytes, HttpBody},
    extract::connect_info::IntoMakeServiceWithConnectInfo,
};
use http::{Request, Response};
use tenancy::{
    gate::GatePolicy,
    stack::{ResponseFuture, StageLayer, StageService},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::IntoTenant;

/// Makes every request to a router, or to any service of requests, this tenant's.
///
/// What a handler sees is what it sees behind the real stack: the extractors, the scope in the handler's future and in
/// the response's body, the part of the cache. Status and maintenance are judged: a suspended tenant gets 403. What a
/// request says of itself, its host too, plays no part. Panics are not caught, so that a panic of a handler fails its
/// test; body limit and deadline are not there.
///
/// The tenant is a name, a record, a [draft](crate::TenantDraft) or a [`Tenant`](tenancy::Tenant) that you have. Given
/// a name, a record or a draft, a tenant is [made](crate::fake) in a short-lived thread; the call waits for that.
///
/// The router must have its state (`with_state`).
///
/// # Panics
/// When a name is no tenant id.
#[track_caller]
pub fn as_tenant<S>(service: S, tenant: impl IntoTenant) -> TestApp<S> {
    TestApp::new(service, &StageLayer::for_tenant(&tenant.into_tenant()))
}

/// Makes every request to a router, or to any service of requests, central: for no tenant.
///
/// As [`as_tenant`], for the routes of sign-up, landing page and administration.
pub fn as_central<S>(service: S) -> TestApp<S> {
    TestApp::new(service, &StageLayer::for_central())
}

type Inside<S> = StageService<StageService<S>>;

/// A service whose every request is one tenant's, or central: for `oneshot`, `axum::serve` and `fallback_service`.
///
/// Made by [`as_tenant`] and [`as_central`].
#[derive(Clone, Debug)]
pub struct TestApp<S> {
    service: StageService<Inside<S>>,
}

/// The future of a [`TestApp`]. Dropping it ends the request's scope.
pub type TestAppFuture<S> = ResponseFuture<Inside<S>>;

impl<S> TestApp<S> {
    fn new(service: S, whose: &StageLayer) -> Self {
        let service = StageLayer::cache_scope().layer(service);
        let service = StageLayer::gate(GatePolicy::default()).layer(service);
        Self {
            service: whose.layer(service),
        }
    }

    /// For `axum::serve`, where handlers need the peer's address.
    pub fn into_make_service_with_connect_info<C>(self) -> IntoMakeServiceWithConnectInfo<Self, C>
    where
        Self: Service<Request<Body>>,
    {
        ServiceExt::<Request<Body>>::into_make_service_with_connect_info(self)
    }
}

impl<S, B, ResBody> Service<Request<B>> for TestApp<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = TestAppFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Service::<Request<B>>::poll_ready(&mut self.service, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.service.call(request)
    }
}

/// Lets `axum::serve(listener, app)` take it, as it takes a router.
impl<S, L> Service<axum::serve::IncomingStream<'_, L>> for TestApp<S>
where
    S: Clone,
    L: axum::serve::Listener,
{
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
