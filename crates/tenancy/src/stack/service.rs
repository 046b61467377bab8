//! The service that takes a request through stages, and its future.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    order::Stage,
    phase::{Passage, Segment, Step},
};
use crate::{
    memory::Metering,
    rejection::RejectionReason,
    resolve::{Found, Pending, Refusal, Resolver},
    rollout::LONGEST_WAIT,
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
    /// Whether the scope is to be open while the inner service is called, not only while its future is polled.
    enters_calls: bool,
}

impl<S> StageService<S> {
    pub(crate) fn new(segment: Arc<Segment>, inner: S) -> Self {
        Self {
            segment,
            inner,
            enters_calls: true,
        }
    }

    /// For axum's routers, which call handlers and their layers no earlier than they are polled.
    pub(crate) fn around_router(segment: Arc<Segment>, inner: S) -> Self {
        Self {
            segment,
            inner,
            enters_calls: false,
        }
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

    /// The request stays where it is until the inner service gets it: it is large, and each move copies it.
    fn call(&mut self, mut request: Request<ReqBody>) -> ResponseFuture<S> {
        let mut passage = Passage::default();
        match walk(&self.segment, &mut request, &mut passage, 0) {
            Walked::Through if !passage.catches_panics => {
                let limit = passage.body_limit;
                let future = passage.metering.run(|| {
                    let _entered = self.enters_calls.then(|| passage.slot.enter());
                    self.inner.call(request.map(|body| limited(body, limit)))
                });
                ResponseFuture {
                    state: State::Inner { future },
                    slot: passage.slot,
                    segment: passage.deadline.is_some().then(|| Arc::clone(&self.segment)),
                    deadline: passage.deadline,
                    catches_panics: false,
                    vary: passage.vary,
                    timer: None,
                    metering: passage.metering,
                }
            }
            walked => {
                let limit = passage.body_limit;
                let request = request.map(|body| limited(body, limit));
                go_in(&self.segment, &mut self.inner, request, passage, walked)
            }
        }
    }
}

fn limited<B>(body: B, limit: Option<usize>) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    match limit {
        None => Body::new(body),
        Some(limit) => Body::new(Limited::new(body, limit)),
    }
}

/// How far a request has come.
enum Walked {
    Through,
    Answered(Box<Response<Body>>),
    Asks(Box<Question>),
}

/// What has to be asked, and which stage is next when it is answered.
struct Question {
    resolver: Arc<Resolver>,
    pending: Box<Pending>,
    next: usize,
}

/// Takes the request from stage `at` as far as it goes without waiting.
fn walk<B: HttpBody>(
    segment: &Segment,
    request: &mut Request<B>,
    passage: &mut Passage,
    from: usize,
) -> Walked {
    let phases = segment.phases.get(from..).unwrap_or_default();
    for (phase, next) in phases.iter().zip(from + 1..) {
        match phase.run(&segment.shared, request, passage) {
            Step::Next => {}
            Step::Catch => return inside_catch(segment, || walk(segment, request, passage, next)),
            #[cfg(feature = "memory")]
            Step::Meter(mut metering) => {
                let walked = metering.run(|| walk(segment, request, passage, next));
                passage.metering = metering;
                return walked;
            }
            Step::Answer(response) => return Walked::Answered(response),
            Step::Refuse(refusal) => {
                let stage = phase.stage().unwrap_or(Stage::Resolve);
                if let Some(response) = segment.shared.refuse(&refusal, stage, request) {
                    return Walked::Answered(response);
                }
            }
            Step::Ask(resolver, pending) => {
                return Walked::Asks(Box::new(Question {
                    resolver,
                    pending,
                    next,
                }));
            }
        }
    }
    Walked::Through
}

/// After a panic nothing of the request is used again; what the stages keep is whole at every step.
fn inside_catch(segment: &Segment, go: impl FnOnce() -> Walked) -> Walked {
    catch_unwind(AssertUnwindSafe(go))
        .unwrap_or_else(|panic| Walked::Answered(Box::new(segment.shared.panicked(&*panic))))
}

/// Calls the inner service, or not.
fn go_in<S, ResBody>(
    segment: &Arc<Segment>,
    service: &mut S,
    request: Request<Body>,
    passage: Passage,
    walked: Walked,
) -> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
{
    let Passage {
        mut slot,
        deadline,
        catches_panics,
        vary,
        mut metering,
        ..
    } = passage;
    // Each arm makes the future where it stays: what it holds of the request is large.
    let timer = None;
    match walked {
        Walked::Through if catches_panics => {
            let called = metering.run(|| {
                let _entered = slot.enter();
                // The service's own state after a panic is its business, as with every service whose call panics.
                catch_unwind(AssertUnwindSafe(|| service.call(request)))
            });
            ResponseFuture {
                state: match called {
                    Ok(future) => State::Inner { future },
                    Err(panic) => State::Answer {
                        response: Some(Box::new(segment.shared.panicked(&*panic))),
                    },
                },
                slot,
                deadline,
                catches_panics,
                vary,
                timer,
                segment: Some(Arc::clone(segment)),
                metering,
            }
        }
        Walked::Through => {
            let future = metering.run(|| {
                let _entered = slot.enter();
                service.call(request)
            });
            ResponseFuture {
                state: State::Inner { future },
                slot,
                segment: deadline.is_some().then(|| Arc::clone(segment)),
                deadline,
                catches_panics,
                vary,
                timer,
                metering,
            }
        }
        Walked::Answered(response) => ResponseFuture {
            state: State::Answer {
                response: Some(response),
            },
            slot,
            deadline,
            catches_panics,
            vary,
            timer,
            segment: None,
            metering,
        },
        Walked::Asks(question) => ResponseFuture {
            state: State::Waiting {
                waiting: Some(Box::new(Waiting {
                    asking: ask(segment, &question.resolver, *question.pending),
                    resolver: question.resolver,
                    next: question.next,
                    request,
                    service: take_ready(service),
                })),
            },
            slot,
            deadline,
            catches_panics,
            vary,
            timer,
            segment: Some(Arc::clone(segment)),
            metering,
        },
    }
}

fn ask(segment: &Segment, resolver: &Arc<Resolver>, pending: Pending) -> Asking {
    let asking = Arc::clone(resolver).settle(pending);
    if segment.shared.home.rollout.observes(Stage::Resolve) {
        // The application is not to wait for a store that it can do without.
        return Box::pin(async move {
            let in_time = tokio::time::timeout(LONGEST_WAIT, asking).await;
            in_time.unwrap_or_else(|_| {
                let detail = "the store did not answer within the time that an observed request waits";
                Err(Refusal::new(RejectionReason::StoreUnavailable, detail))
            })
        });
    }
    Box::pin(asking)
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
        vary: Option<Arc<HeaderValue>>,
        timer: Option<Pin<Box<Sleep>>>,
        segment: Option<Arc<Segment>>,
        metering: Metering,
    }

    impl<S> PinnedDrop for ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if matches!(*this.state, State::Done) {
                return;
            }
            this.metering.run(|| {
                let entered = this.slot.enter();
                this.state.set(State::Done);
                drop(entered);
                this.slot.close();
            });
        }
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        Waiting { waiting: Option<Box<Waiting<S>>> },
        Inner { #[pin] future: F },
        Answer { response: Option<Box<Response<Body>>> },
        Done,
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Found, Refusal>> + Send>>;

/// A request that waits for the store, with all that is needed to go on.
struct Waiting<S> {
    asking: Asking,
    resolver: Arc<Resolver>,
    next: usize,
    request: Request<Body>,
    service: S,
}

impl<S, ResBody> Future for ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = matches!(
            self.as_mut().project().state.project(),
            StateProjection::Waiting { .. }
        );
        let polled = if waits && !self.as_mut().metered(|this| this.go_on(cx)) {
            self.as_mut().metered(|this| this.poll_deadline(cx))
        } else {
            self.as_mut().metered(|this| this.poll_inner(cx))
        };
        match polled {
            Poll::Ready(Ok(mut response)) => {
                std::mem::take(self.project().metering).finish(&mut response);
                Poll::Ready(Ok(response))
            }
            polled => polled,
        }
    }
}

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    /// Does something in the request's account, if one is open.
    #[inline(always)]
    fn metered<R>(mut self: Pin<&mut Self>, run: impl FnOnce(Pin<&mut Self>) -> R) -> R {
        if !self.metering.is_on() {
            return run(self);
        }
        // Out of the future, which may be replaced meanwhile.
        let mut metering = std::mem::take(self.as_mut().project().metering);
        let result = metering.run(|| run(self.as_mut()));
        *self.project().metering = metering;
        result
    }
}

impl<S, ResBody> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn poll_inner(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, S::Error>> {
        let this = self.as_mut().project();
        let mut state = this.state;
        let entered = this.slot.enter();
        // Made where it is returned from: a response is large too.
        let mut answer = match state.as_mut().project() {
            StateProjection::Inner { future } if *this.catches_panics => {
                // A future that panicked is dropped right below and never polled again.
                match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                    Ok(polled) => polled.map(|answer| answer.map(|response| response.map(Body::new))),
                    Err(panic) => match this.segment {
                        Some(segment) => Poll::Ready(Ok(segment.shared.panicked(&*panic))),
                        None => resume_unwind(panic),
                    },
                }
            }
            StateProjection::Inner { future } => future
                .poll(cx)
                .map(|answer| answer.map(|response| response.map(Body::new))),
            StateProjection::Answer { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                None => Poll::Pending,
            },
            // Polled again after its end, by mistake: never wakes.
            StateProjection::Waiting { .. } | StateProjection::Done => Poll::Pending,
        };
        if answer.is_pending() {
            drop(entered);
            return self.poll_deadline(cx);
        }
        // In the scope, as every drop of the request's parts.
        state.set(State::Done);
        drop(entered);
        if let Poll::Ready(Ok(response)) = &mut answer {
            finish(response, this.slot, this.vary.take());
        }
        answer
    }
}

impl<S, ResBody> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
{
    /// Waits for the store; goes on behind the stage that had to, and returns true, once it has answered.
    fn go_on(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.as_mut().project();
        let StateProjection::Waiting { waiting: place } = this.state.project() else {
            return true;
        };
        let Some(waiting) = place.as_mut() else {
            return false;
        };
        let Poll::Ready(settled) = waiting.asking.as_mut().poll(cx) else {
            return false;
        };
        let (Some(waiting), Some(segment)) = (place.take(), this.segment.take()) else {
            return false;
        };
        let Waiting {
            resolver,
            next,
            mut request,
            mut service,
            ..
        } = *waiting;
        let mut passage = Passage {
            deadline: *this.deadline,
            catches_panics: *this.catches_panics,
            ..Passage::default()
        };
        let timer = this.timer.take();
        let go = || {
            let refused = match settled {
                Err(refusal) => Some(Box::new(refusal)),
                Ok(found) => match segment.shared.enter(found, &resolver, &mut request, &mut passage) {
                    Step::Refuse(refusal) => Some(refusal),
                    _ => None,
                },
            };
            let answer =
                refused.and_then(|refusal| segment.shared.refuse(&refusal, Stage::Resolve, &mut request));
            match answer {
                Some(response) => Walked::Answered(response),
                None => walk(&segment, &mut request, &mut passage, next),
            }
        };
        let walked = if *this.catches_panics {
            inside_catch(&segment, go)
        } else {
            go()
        };
        let limit = passage.body_limit;
        let request = request.map(|body| limited(body, limit));
        let mut future = go_in(&segment, &mut service, request, passage, walked);
        // Time spent waiting for the store counts.
        future.timer = timer;
        self.set(future);
        true
    }
}

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    /// The timer is armed the first time that there is something to wait for.
    fn poll_deadline<E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, E>> {
        let mut this = self.project();
        let (Some(after), Some(segment)) = (*this.deadline, this.segment.as_ref()) else {
            return Poll::Pending;
        };
        if let StateProjection::Done = this.state.as_mut().project() {
            return Poll::Pending;
        }
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if segment.shared.home.rollout.observes(Stage::Deadline) {
            segment.shared.home.rollout.count(RejectionReason::DeadlinePassed);
            *this.deadline = None;
            return Poll::Pending;
        }
        let mut response = segment.shared.deadline_passed(after);
        {
            let _entered = this.slot.enter();
            this.state.set(State::Done);
        }
        finish(&mut response, this.slot, this.vary.take());
        Poll::Ready(Ok(response))
    }
}

/// Ends the scope with the response, or hands it to the body.
///
/// Data that is all there has no code left to run: its length is known. Wrapping it would cost an allocation.
#[inline(always)]
fn finish(response: &mut Response<Body>, slot: &mut Slot, vary: Option<Arc<HeaderValue>>) {
    if !slot.is_open() {
        return;
    }
    if let Some(vary) = vary {
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::clone(&vary));
    }
    if response.status() == StatusCode::NOT_FOUND && !response.headers().contains_key(header::CACHE_CONTROL) {
        // Heuristically cacheable otherwise (RFC 9110 §15.1), and a tenant's page may come to be.
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    }
    let buffered = response.body().size_hint().exact().is_some();
    if buffered && !slot.has_values() {
        slot.close();
        return;
    }
    #[cfg(feature = "memory")]
    if buffered {
        crate::memory::mark_as_running_code(response);
    }
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = Body::new(ScopedBody::new(body, slot.take()));
}

impl<S> fmt::Debug for ResponseFuture<S>
where
    S: Service<Request<Body>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
