//! The service that takes a request through stages, and its future.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::phase::{Passage, Segment, Step};
use crate::{
    resolve::{Found, Refusal, Resolver},
    scope::{ScopedBody, Slot},
};

/// Takes requests through one or more stages, to the inner service or to an answer.
///
/// See the [module](super) for what the stages do. Adds no allocation of its own for a request whose tenant is
/// known; allocates once for one that has to ask the store.
#[derive(Clone)]
pub struct StageService<S> {
    segment: Arc<Segment>,
    inner: S,
}

impl<S> StageService<S> {
    pub(crate) fn new(segment: Arc<Segment>, inner: S) -> Self {
        Self { segment, inner }
    }

    /// The inner service.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: fmt::Debug> fmt::Debug for StageService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for StageService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S> {
        let passage = Passage::new(request.map(Body::new));
        advance(&self.segment, &mut self.inner, passage, 0)
    }
}

/// Takes the request from stage `at` as far as it goes without waiting.
fn advance<S, ResBody>(
    segment: &Arc<Segment>,
    service: &mut S,
    mut passage: Passage,
    mut at: usize,
) -> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
{
    while let Some(phase) = segment.phases.get(at) {
        at += 1;
        match phase.run(&segment.shared, &mut passage) {
            Step::Next => {}
            Step::Catch => return inside_catch(segment, || advance(segment, service, passage, at)),
            Step::Answer(response) => return ResponseFuture::answer(passage, *response),
            Step::Ask(resolver, pending) => {
                let asking = Arc::clone(&resolver).settle(pending);
                let waiting = Waiting {
                    asking: Box::pin(asking),
                    resolver,
                    segment: Arc::clone(segment),
                    next: at,
                    request: std::mem::take(&mut passage.request),
                    service: take_ready(service),
                };
                return ResponseFuture::new(
                    passage,
                    State::Waiting {
                        waiting: Some(Box::new(waiting)),
                    },
                );
            }
        }
    }
    let request = std::mem::take(&mut passage.request);
    let future = {
        let _entered = passage.slot.enter();
        service.call(request)
    };
    let mut future = ResponseFuture::new(passage, State::Inner { future });
    if future.deadline.is_some() || future.catches_panics {
        future.segment = Some(Arc::clone(segment));
    }
    future
}

fn inside_catch<S>(segment: &Segment, go: impl FnOnce() -> ResponseFuture<S>) -> ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    // After a panic nothing of the passage or the future is used again; the service's own state is its business,
    // as with every service whose call panics.
    match catch_unwind(AssertUnwindSafe(go)) {
        Ok(future) => future,
        Err(panic) => {
            let response = segment.shared.panicked(&*panic);
            ResponseFuture::answer(Passage::new(Request::default()), response)
        }
    }
}

/// The service that was found ready; a clone that was not asked takes its place.
/// <https://docs.rs/tower/0.5/tower/trait.Service.html#be-careful-when-cloning-inner-services>
fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    std::mem::replace(service, clone)
}

pin_project! {
    /// The future of [`StageService`].
    ///
    /// Dropping it at any await is safe: a look-up under way goes on for others, the inner future is dropped in its
    /// scope, and what was registered for the request is cleaned up.
    pub struct ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        state: State<S, S::Future>,
        slot: Slot,
        deadline: Option<Duration>,
        catches_panics: bool,
        timer: Option<Pin<Box<Sleep>>>,
        segment: Option<Arc<Segment>>,
    }

    impl<S> PinnedDrop for ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.slot.enter();
            this.state.set(State::Done);
        }
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        Waiting { waiting: Option<Box<Waiting<S>>> },
        Inner { #[pin] future: F },
        Answer { response: Option<Response<Body>> },
        Done,
    }
}

/// A request that waits for the store, with all that is needed to go on.
struct Waiting<S> {
    asking: Pin<Box<dyn Future<Output = Result<Found, Refusal>> + Send>>,
    resolver: Arc<Resolver>,
    segment: Arc<Segment>,
    next: usize,
    request: Request<Body>,
    service: S,
}

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    fn new(passage: Passage, state: State<S, S::Future>) -> Self {
        Self {
            state,
            slot: passage.slot,
            deadline: passage.deadline,
            catches_panics: passage.catches_panics,
            timer: None,
            segment: None,
        }
    }

    fn answer(passage: Passage, response: Response<Body>) -> Self {
        Self::new(
            passage,
            State::Answer {
                response: Some(response),
            },
        )
    }
}

impl<S, ResBody> Future for ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let waiting = match this.state.as_mut().project() {
                StateProjection::Inner { .. } => return self.poll_inner(cx),
                StateProjection::Answer { response } => {
                    let response = response.take();
                    let entered = this.slot.enter();
                    this.state.set(State::Done);
                    drop(entered);
                    return match response {
                        Some(response) => Poll::Ready(Ok(finish(response, this.slot))),
                        None => Poll::Pending,
                    };
                }
                // Polled again after its end, by mistake: never wakes.
                StateProjection::Done => return Poll::Pending,
                StateProjection::Waiting { waiting } => waiting,
            };
            let Some(asking) = waiting.as_mut() else {
                return Poll::Pending;
            };
            let Poll::Ready(settled) = asking.asking.as_mut().poll(cx) else {
                return self.poll_deadline(cx);
            };
            if let Some(waiting) = waiting.take() {
                let passed = (*this.deadline, *this.catches_panics);
                let timer = this.timer.take();
                let mut next = go_on(*waiting, settled, passed);
                // Time spent waiting for the store counts.
                next.timer = timer;
                self.set(next);
            }
        }
    }
}

/// Goes on behind the stage that had to wait.
fn go_on<S, ResBody>(
    waiting: Waiting<S>,
    settled: Result<Found, Refusal>,
    (deadline, catches_panics): (Option<Duration>, bool),
) -> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
{
    let Waiting {
        resolver,
        segment,
        next,
        request,
        mut service,
        ..
    } = waiting;
    let mut passage = Passage::new(request);
    passage.deadline = deadline;
    passage.catches_panics = catches_panics;
    let go = || {
        let step = match settled {
            Ok(found) => segment.shared.enter(found, &resolver, &mut passage),
            Err(refusal) => Step::Answer(Box::new(segment.shared.refuse(&refusal))),
        };
        match step {
            Step::Answer(response) => ResponseFuture::answer(passage, *response),
            _ => advance(&segment, &mut service, passage, next),
        }
    };
    if catches_panics {
        inside_catch(&segment, go)
    } else {
        go()
    }
}

impl<S, ResBody> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn poll_inner(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, S::Error>> {
        let mut this = self.as_mut().project();
        let StateProjection::Inner { future } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let polled = {
            let _entered = this.slot.enter();
            if *this.catches_panics {
                // A future that panicked is dropped right below and never polled again.
                catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
            } else {
                Ok(future.poll(cx))
            }
        };
        let answer = match polled {
            Ok(Poll::Pending) => return self.poll_deadline(cx),
            Ok(Poll::Ready(answer)) => answer.map(|response| response.map(Body::new)),
            Err(panic) => match this.segment {
                Some(segment) => Ok(segment.shared.panicked(&*panic)),
                None => std::panic::resume_unwind(panic),
            },
        };
        {
            let _entered = this.slot.enter();
            this.state.set(State::Done);
        }
        Poll::Ready(answer.map(|response| finish(response, this.slot)))
    }

    /// The timer is armed the first time that there is something to wait for.
    fn poll_deadline(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, S::Error>> {
        let mut this = self.project();
        let Some(after) = *this.deadline else {
            return Poll::Pending;
        };
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let segment = match (this.state.as_mut().project(), this.segment.take()) {
            (_, Some(segment)) => Some(segment),
            (
                StateProjection::Waiting {
                    waiting: Some(waiting),
                },
                None,
            ) => Some(Arc::clone(&waiting.segment)),
            _ => None,
        };
        {
            let _entered = this.slot.enter();
            this.state.set(State::Done);
        }
        match segment {
            Some(segment) => Poll::Ready(Ok(finish(segment.shared.deadline_passed(after), this.slot))),
            None => Poll::Pending,
        }
    }
}

/// Ends the scope with the response, or hands it to the body.
///
/// Data that is all there has no code left to run: its length is known. Wrapping it would cost an allocation.
fn finish(response: Response<Body>, slot: &mut Slot) -> Response<Body> {
    if !slot.is_open() {
        return response;
    }
    let buffered = response.body().size_hint().exact().is_some();
    if buffered && !slot.has_values() {
        slot.close();
        return response;
    }
    let slot = slot.take();
    response.map(|body| Body::new(ScopedBody::new(body, slot)))
}

impl<S> fmt::Debug for ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
