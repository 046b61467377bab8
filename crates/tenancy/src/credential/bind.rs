use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tenancy_core::RequestHead;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    CredentialClaim,
    require::{DEFAULT_CHALLENGE, answer, refuse},
};
use crate::{
    Tenancy,
    home::Home,
    rejection::{Rejection, RejectionReason},
    resolve::Resolution,
    stack::SegmentShared,
};

type ReadClaim = dyn Fn(&RequestHead<'_>) -> CredentialClaim + Send + Sync;

/// A layer that refuses credentials of other tenants. See the [module](super) for the table of answers.
///
/// It stands behind your authentication and behind the resolve stage: on a router inside of
/// [`Tenancy::wrap`](crate::Tenancy::wrap), or between stages with
/// [`insert_after`](crate::stack::TenancyBuilder::insert_after).
/// Made by [`Tenancy::bind_credential`](crate::Tenancy::bind_credential), or by [`new`](Self::new) where the stack is
/// not at hand.
#[derive(Clone)]
pub struct BindCredential {
    claim: Arc<ReadClaim>,
    demanded: bool,
    challenge: HeaderValue,
    stack: Option<Arc<SegmentShared>>,
}

impl BindCredential {
    /// A layer that asks `claim` which tenant the request's credential is for. `claim` is called once for each
    /// request and sees its head, with what authentication left in the extensions.
    ///
    /// What it refuses is answered by the stack that resolved the request, as with
    /// [`Tenancy::bind_credential`](crate::Tenancy::bind_credential); a request that none resolved gets the default answer.
    pub fn new(claim: impl Fn(&RequestHead<'_>) -> CredentialClaim + Send + Sync + 'static) -> Self {
        Self {
            claim: Arc::new(claim),
            demanded: false,
            challenge: DEFAULT_CHALLENGE,
            stack: None,
        }
    }

    /// Also refuses what has no credential (401), and on a tenant's host what has one without tenant (403).
    #[must_use]
    pub fn demand(mut self) -> Self {
        self.demanded = true;
        self
    }

    /// The `WWW-Authenticate` of a 401. Default: `Bearer`.
    #[must_use]
    pub fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = challenge;
        self
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Box<Response<Body>>> {
        let Some(resolution) = request.extensions().get::<Resolution>() else {
            let detail = "a credential can be compared with a tenant only behind the resolve stage";
            let home = self.stack.as_ref().map(|stack| &*stack.home);
            return Err(self.answer(Rejection::new(RejectionReason::MisbuiltStack, &detail), home));
        };
        let home = resolution.home();
        if resolution.is_nobody() {
            // The resolve stage only observes: what does not ask for the tenant goes on as before.
            return match (self.demanded, resolution.would_refuse()) {
                (false, _) => Ok(()),
                (true, Some(rejection)) => Err(self.answer(rejection.clone(), Some(home))),
                (true, None) => {
                    let detail = "a request of nobody says not why it would be refused";
                    let rejection = Rejection::new(RejectionReason::MisbuiltStack, &detail);
                    Err(self.answer(rejection, Some(home)))
                }
            };
        }
        let tenant = resolution.tenant();
        let claim = (self.claim)(&RequestHead::of(request));
        claim
            .judge(tenant, self.demanded)
            .map_err(|reason| self.answer(refuse(reason, &claim, tenant, home), Some(home)))
    }

    fn answer(&self, rejection: Rejection, home: Option<&Home>) -> Box<Response<Body>> {
        let responder = home.and_then(|home| home.responder.as_deref());
        Box::new(answer(rejection, responder, &self.challenge))
    }
}

impl Tenancy {
    /// A layer that refuses credentials of other tenants, in the words of this stack: what it refuses gets the
    /// answer of [`on_rejection`](crate::stack::TenancyBuilder::on_rejection), and its listener is told.
    ///
    /// See [`BindCredential`] for where it stands, and [`credential`](crate::credential) for what it answers.
    pub fn bind_credential(
        &self,
        claim: impl Fn(&RequestHead<'_>) -> CredentialClaim + Send + Sync + 'static,
    ) -> BindCredential {
        BindCredential {
            stack: Some(Arc::clone(self.shared())),
            ..BindCredential::new(claim)
        }
    }
}

impl fmt::Debug for BindCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindCredential")
            .field("demanded", &self.demanded)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BindCredential {
    type Service = BindCredentialService<S>;

    fn layer(&self, inner: S) -> BindCredentialService<S> {
        BindCredentialService {
            binding: Arc::new(self.clone()),
            inner,
        }
    }
}

/// Refuses credentials of other tenants. Made by [`BindCredential`].
#[derive(Clone)]
pub struct BindCredentialService<S> {
    binding: Arc<BindCredential>,
    inner: S,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for BindCredentialService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BindCredentialFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> BindCredentialFuture<S::Future> {
        let state = match self.binding.check(&request) {
            Ok(()) => State::Inner {
                future: self.inner.call(request),
            },
            Err(response) => State::Refused {
                response: Some(response),
            },
        };
        BindCredentialFuture { state }
    }
}

impl<S: fmt::Debug> fmt::Debug for BindCredentialService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindCredentialService")
            .field("binding", &self.binding)
            .field("inner", &self.inner)
            .finish()
    }
}

pin_project! {
    /// The future of [`BindCredentialService`]. Allocates only for what is refused.
    pub struct BindCredentialFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Inner { #[pin] future: F },
        Refused { response: Option<Box<Response<Body>>> },
    }
}

impl<F, B, E> Future for BindCredentialFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future } => future
                .poll(cx)
                .map(|answer| answer.map(|response| response.map(Body::new))),
            StateProjection::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(*response)),
                // Polled again after its end, by mistake: never wakes.
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for BindCredentialFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindCredentialFuture").finish_non_exhaustive()
    }
}
