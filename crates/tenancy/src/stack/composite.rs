//! The whole stack around one service.

use std::{
    any::TypeId,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    response::IntoResponse,
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::util::{BoxCloneSyncService, MapErr, MapResponse, ServiceExt};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    phase::Segment,
    service::{ResponseFuture, StageService},
};
use crate::routes::Sides;

/// What a layer between two stages wraps: the rest of the stack, as one type.
pub type BoxedService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A layer of the user's, erased.
pub(crate) type UserLayer = Arc<dyn Fn(BoxedService) -> BoxedService + Send + Sync>;

pub(crate) fn erase_layer<L>(layer: L) -> UserLayer
where
    L: Layer<BoxedService> + Send + Sync + 'static,
    L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
    <L::Service as Service<Request<Body>>>::Error: Into<Infallible> + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send + 'static,
{
    Arc::new(move |inner| {
        let service: MapErr<_, _> = layer.layer(inner).map_err(Into::into);
        let service: MapResponse<_, _> = service.map_response(IntoResponse::into_response);
        BoxCloneSyncService::new(service)
    })
}

/// A part of the stack, outside in.
#[derive(Clone)]
pub(crate) enum Piece {
    Stages(Arc<Segment>),
    User(UserLayer),
}

/// The stack around a service. Made by [`Tenancy`](super::Tenancy) as a layer.
#[derive(Clone)]
pub struct TenancyService<S> {
    form: Form<S>,
}

#[derive(Clone)]
enum Form<S> {
    /// All stages in one future.
    Whole(StageService<S>),
    /// A layer of the user's stands in between: one boxed service there.
    Split(StageService<BoxedService>),
}

impl<S, B> TenancyService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn build(pieces: &[Piece], empty: &Arc<Segment>, service: S) -> Self {
        if let [Piece::Stages(segment)] = pieces {
            let segment = Arc::clone(segment);
            let stages = if is_router::<S>() {
                StageService::around_router(segment, service)
            } else {
                StageService::new(segment, service)
            };
            return Self {
                form: Form::Whole(stages),
            };
        }
        let (outermost, rest) = match pieces {
            [Piece::Stages(segment), rest @ ..] => (segment, rest),
            all => (empty, all),
        };
        let innermost = BoxCloneSyncService::new(StageService::new(Arc::clone(empty), service));
        let inner = rest.iter().rev().fold(innermost, |inner, piece| match piece {
            Piece::User(layer) => layer(inner),
            Piece::Stages(segment) => BoxCloneSyncService::new(StageService::new(Arc::clone(segment), inner)),
        });
        Self {
            form: Form::Split(StageService::new(Arc::clone(outermost), inner)),
        }
    }
}

fn is_router<S: 'static>() -> bool {
    let service = TypeId::of::<S>();
    service == TypeId::of::<Router>() || service == TypeId::of::<Sides>()
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for TenancyService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>, Error = Infallible> + Clone,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = TenancyFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match &mut self.form {
            Form::Whole(service) => Service::<Request<ReqBody>>::poll_ready(service, cx),
            Form::Split(service) => Service::<Request<ReqBody>>::poll_ready(service, cx),
        }
    }

    fn call(&mut self, request: Request<ReqBody>) -> TenancyFuture<S> {
        match &mut self.form {
            Form::Whole(service) => TenancyFuture::Whole {
                future: service.call(request),
            },
            Form::Split(service) => TenancyFuture::Split {
                future: service.call(request),
            },
        }
    }
}

impl<S> fmt::Debug for TenancyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Whole(_) => "whole",
            Form::Split(_) => "split",
        };
        f.debug_struct("TenancyService")
            .field("form", &form)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`TenancyService`]. As safe to drop as [`ResponseFuture`].
    #[project = TenancyFutureProjection]
    #[allow(missing_docs, reason = "the variants are private in effect: their fields can not be made elsewhere")]
    pub enum TenancyFuture<S>
    where
        S: Service<Request<Body>>,
    {
        Whole { #[pin] future: ResponseFuture<S> },
        Split { #[pin] future: ResponseFuture<BoxedService> },
    }
}

impl<S, B> Future for TenancyFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            TenancyFutureProjection::Whole { future } => future.poll(cx),
            TenancyFutureProjection::Split { future } => future.poll(cx),
        }
    }
}

impl<S> fmt::Debug for TenancyFuture<S>
where
    S: Service<Request<Body>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenancyFuture").finish_non_exhaustive()
    }
}
