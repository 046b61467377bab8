//! The layer, its service and its future.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    ResponseCache,
    page::Answer,
    plan::{Plan, plan},
    serve::{Looking, told},
    settings::Settings,
    status::Told,
};
use crate::{
    Tenancy,
    home::Home,
    stack::{ConfigError, ConfigMistake, Stage},
};

impl Tenancy {
    /// A layer that keeps responses for each tenant, for routes inside of [`wrap`](Self::wrap) or [`routes`](Self::routes). See
    /// [`response_cache`](crate::response_cache).
    ///
    /// # Errors
    /// When this stack has no cache scope, or settings can not work. All mistakes are named at once.
    pub fn response_cache(&self, cache: ResponseCache) -> Result<ResponseCacheLayer, ConfigError> {
        let home = &self.shared().home;
        let mut mistakes = cache.mistakes(home.cache.settings().max_entry_bytes);
        for stage in [Stage::Resolve, Stage::CacheScope] {
            if !self.order().contains(stage) {
                mistakes.push(format!(
                    "it needs the stage {stage}, which is not in the order; add it"
                ));
            }
        }
        if !mistakes.is_empty() {
            let mistakes = mistakes.into_iter().map(ConfigMistake::ResponseCache);
            return Err(ConfigError::new(mistakes.collect()));
        }
        Ok(ResponseCacheLayer {
            settings: Arc::new(cache.settings),
            home: Arc::clone(home),
        })
    }
}

/// Keeps responses for each tenant. Made by [`Tenancy::response_cache`]; see the [module](super) for where it stands.
#[derive(Clone)]
pub struct ResponseCacheLayer {
    settings: Arc<Settings>,
    home: Arc<Home>,
}

impl<S> Layer<S> for ResponseCacheLayer {
    type Service = ResponseCacheService<S>;

    fn layer(&self, inner: S) -> ResponseCacheService<S> {
        ResponseCacheService {
            layer: self.clone(),
            inner,
        }
    }
}

impl fmt::Debug for ResponseCacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCacheLayer").finish_non_exhaustive()
    }
}

/// Keeps responses for each tenant. Made by [`ResponseCacheLayer`].
///
/// A page that this process has costs the key and a copy of its headers; nothing is awaited. Otherwise allocates the future, and
/// asks the inner service in a task of its own.
#[derive(Clone)]
pub struct ResponseCacheService<S> {
    layer: ResponseCacheLayer,
    inner: S,
}

impl<S, B> Service<Request<Body>> for ResponseCacheService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseCacheFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ResponseCacheLayer { settings, home } = &self.layer;
        let (mut parts, body) = request.into_parts();
        let plan = plan(settings, home, &mut parts, &body);
        let request = Request::from_parts(parts, body);
        let state = match plan {
            Plan::Refuse(response) => State::Answer {
                response: Some(response),
            },
            Plan::Pass(told) => self.pass(request, told),
            Plan::Look(look) => {
                let looking = Looking {
                    settings: Arc::clone(settings),
                    look: *look,
                };
                let peeked = looking.at_once();
                match peeked.as_deref() {
                    Ok(Answer::Page(page)) => State::Answer {
                        response: Some(Box::new(looking.response_of(page, Told::Hit))),
                    },
                    Ok(Answer::Pass) => self.pass(request, Told::Bypass),
                    Err(&early) => State::Looking {
                        looking: Box::pin(looking.answer(early, request, self.take_ready())),
                    },
                }
            }
        };
        ResponseCacheFuture { state }
    }
}

impl<S: Clone> ResponseCacheService<S> {
    /// The service that was found ready; a clone that was not asked takes its place.
    /// <https://docs.rs/tower/0.5/tower/trait.Service.html#be-careful-when-cloning-inner-services>
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}

impl<S: Service<Request<Body>>> ResponseCacheService<S> {
    fn pass(&mut self, request: Request<Body>, told: Told) -> State<S::Future> {
        State::Passing {
            future: self.inner.call(request),
            settings: Arc::clone(&self.layer.settings),
            told,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ResponseCacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCacheService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`ResponseCacheService`].
    ///
    /// Dropping it at any await is safe: a page that is being made goes on for others and is kept.
    pub struct ResponseCacheFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Passing { #[pin] future: F, settings: Arc<Settings>, told: Told },
        Answer { response: Option<Box<Response<Body>>> },
        Looking { looking: Pin<Box<dyn Future<Output = Response<Body>> + Send>> },
    }
}

impl<F, B> Future for ResponseCacheFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Passing {
                future,
                settings,
                told: what,
            } => future
                .poll(cx)
                .map(|answer| answer.map(|response| told(settings, *what, response.map(Body::new)))),
            StateProjection::Answer { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                // Polled again after its end, by mistake: never wakes.
                None => Poll::Pending,
            },
            StateProjection::Looking { looking } => looking.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<F> fmt::Debug for ResponseCacheFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCacheFuture").finish_non_exhaustive()
    }
}
