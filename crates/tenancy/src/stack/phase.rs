//! What each stage does to a request that passes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::OriginalUri,
};
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Limited;

use crate::{
    event::Event,
    gate::{GatePolicy, GlobalMaintenance, MaintenanceDecision, MaintenanceRequest, Subject},
    home::Home,
    rejection::{Rejection, RejectionReason, RejectionResponder, respond},
    resolve::{
        Authority, Found, Outcome, Pending, Refusal, Resolution, Resolver, TrustedProxies, authority_of,
    },
    scope::{Scope, Slot, with_current},
    tenant::GateState,
};

/// A stage with its settings.
pub(crate) enum Phase {
    PanicCatch,
    Maintenance(GlobalMaintenance),
    Resolve(Arc<Resolver>),
    /// In the place of `Resolve`, where a layer knows whose every request is.
    Given(Resolution),
    Gate(GatePolicy),
    BodyLimit(u64),
    Deadline(Duration),
    CacheScope,
    /// Opens the scope again behind a layer of the user's, which may have moved the call to another task.
    Reopen {
        /// Whether the cache-scope stage stands further out.
        cache_scope: bool,
    },
}

/// Stages that a request passes in one future.
pub(crate) struct Segment {
    pub(crate) phases: Box<[Phase]>,
    pub(crate) shared: Arc<SegmentShared>,
}

pub(crate) struct SegmentShared {
    pub(crate) home: Arc<Home>,
    pub(crate) responder: Option<Arc<RejectionResponder>>,
    pub(crate) proxies: Option<TrustedProxies>,
    /// Whether every client is known to speak TLS, whatever the request says.
    pub(crate) always_https: bool,
}

/// What the stages have said of a request so far.
#[derive(Default)]
pub(crate) struct Passage {
    pub(crate) slot: Slot,
    pub(crate) deadline: Option<Duration>,
    pub(crate) catches_panics: bool,
    /// For the `Vary` of the answer.
    pub(crate) vary: Option<Arc<HeaderValue>>,
}

/// What a stage says.
pub(crate) enum Step {
    Next,
    /// The catch begins: the stages after this one run inside of it.
    Catch,
    Answer(Box<Response<Body>>),
    Ask(Arc<Resolver>, Box<Pending>),
}

impl Step {
    fn answer(response: Response<Body>) -> Self {
        Self::Answer(Box::new(response))
    }
}

impl SegmentShared {
    pub(crate) fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        self.home.emit(|| Event::ResolutionFailed {
            reason: refusal.reason,
        });
        let mut rejection = Rejection::new(refusal.reason, &refusal.detail);
        if let Some(retry_after) = refusal.retry_after {
            rejection = rejection.with_retry_after(retry_after);
        }
        self.respond(rejection)
    }

    pub(crate) fn respond(&self, rejection: Rejection) -> Response<Body> {
        respond(rejection, self.responder.as_deref())
    }

    pub(crate) fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> Response<Body> {
        let message = crate::scope::panic_message(panic);
        let rejection = Rejection::new(RejectionReason::Panicked, &message);
        // The application's responder may be what panicked.
        catch_unwind(AssertUnwindSafe(|| self.respond(rejection.clone())))
            .unwrap_or_else(|_| respond(rejection, None))
    }

    pub(crate) fn deadline_passed(&self, after: Duration) -> Response<Body> {
        let detail = format!("no answer had begun after {after:?}");
        self.respond(Rejection::new(RejectionReason::DeadlinePassed, &detail))
    }

    /// Leaves the resolution in the request and opens the scope.
    pub(crate) fn enter(
        &self,
        found: Found,
        resolver: &Resolver,
        request: &mut Request<Body>,
        passage: &mut Passage,
    ) -> Step {
        let scope = match found.resolution.tenant() {
            Some(tenant) => {
                self.home.emit(|| Event::TenantResolved {
                    tenant: tenant.clone(),
                });
                Scope::Tenant(tenant.clone())
            }
            None => Scope::Central,
        };
        if let Err(refusal) = found.apply(request, resolver) {
            return Step::answer(self.refuse(&refusal));
        }
        passage.slot = Slot::new(scope, Some(&self.home));
        if let Some(vary) = &resolver.vary {
            passage.vary = Some(Arc::clone(vary));
        }
        Step::Next
    }
}

impl Phase {
    /// Does what can be done without waiting.
    pub(crate) fn run(
        &self,
        shared: &SegmentShared,
        request: &mut Request<Body>,
        passage: &mut Passage,
    ) -> Step {
        match self {
            Self::PanicCatch => {
                passage.catches_panics = true;
                Step::Catch
            }
            Self::Maintenance(switch) => run_maintenance(switch, shared, request),
            Self::Resolve(resolver) => match resolver.resolve(request) {
                Outcome::Found(found) => shared.enter(found, resolver, request, passage),
                Outcome::Refused(refusal) => Step::answer(shared.refuse(&refusal)),
                Outcome::Ask(pending) => Step::Ask(Arc::clone(resolver), Box::new(pending)),
            },
            Self::Given(resolution) => run_given(resolution, shared, request, passage),
            Self::Gate(policy) => run_gate(*policy, shared, request, passage),
            Self::BodyLimit(limit) => run_body_limit(*limit, shared, request),
            Self::Deadline(after) => {
                passage.deadline = Some(*after);
                Step::Next
            }
            Self::CacheScope => run_cache_scope(shared, passage),
            Self::Reopen { cache_scope } => {
                reopen(*cache_scope, shared, request, passage);
                Step::Next
            }
        }
    }
}

fn run_maintenance(switch: &GlobalMaintenance, shared: &SegmentShared, request: &Request<Body>) -> Step {
    if !switch.is_enabled() {
        return Step::Next;
    }
    let authority = authority_of(request, shared.proxies.as_ref());
    match switch.decide(&maintenance_request(shared, request, authority.as_ref())) {
        MaintenanceDecision::Pass => Step::Next,
        MaintenanceDecision::Answer(response) => Step::answer(response),
    }
}

/// Host and transport are judged anew here: the resolve stage may stand further in, or behind another layer.
fn maintenance_request<'a>(
    shared: &SegmentShared,
    request: &'a Request<Body>,
    authority: Option<&'a Authority<'a>>,
) -> MaintenanceRequest<'a> {
    let original = request.extensions().get::<OriginalUri>();
    MaintenanceRequest {
        method: request.method(),
        uri: original.map_or(request.uri(), |OriginalUri(uri)| uri),
        headers: request.headers(),
        host: authority.map(|authority| &authority.host),
        now: shared.home.clock.unix_time(),
        secure: shared.always_https || authority.is_some_and(|authority| authority.secure),
    }
}

fn run_given(
    given: &Resolution,
    shared: &SegmentShared,
    request: &mut Request<Body>,
    passage: &mut Passage,
) -> Step {
    let is_anothers = |found: &Resolution| found.tenant() != given.tenant();
    if request.extensions().get().is_some_and(is_anothers) {
        let detail =
            "a layer says whose every request is, and one further out has found this one to be another's";
        return misbuilt(shared, detail);
    }
    if let Some(tenant) = given.tenant() {
        shared.home.emit(|| Event::TenantResolved {
            tenant: tenant.clone(),
        });
    }
    passage.slot = Slot::new(given.scope(), Some(&shared.home));
    request.extensions_mut().insert(given.clone());
    Step::Next
}

fn run_gate(policy: GatePolicy, shared: &SegmentShared, request: &Request<Body>, passage: &Passage) -> Step {
    // The slot says it in one look, where the resolve stage is in the same segment.
    let found = match passage.slot.scope() {
        Some(scope) => Some(scope.tenant()),
        None => request.extensions().get().map(Resolution::tenant),
    };
    let tenant = match found {
        Some(Some(tenant)) => tenant,
        Some(None) => return Step::Next,
        None => return misbuilt(shared, "the gate stage needs the resolve stage outside of it"),
    };
    let state = tenant.gate_state();
    if state == GateState::Open {
        return Step::Next;
    }
    if state == GateState::Maintenance {
        let Some(compiled) = tenant.maintenance() else {
            // Switched off between the two looks.
            return Step::Next;
        };
        let subject = Subject::Tenant {
            id: tenant.id(),
            incarnation: tenant.incarnation(),
        };
        let authority = authority_of(request, shared.proxies.as_ref());
        let asked = maintenance_request(shared, request, authority.as_ref());
        return match compiled.decide(subject, &asked) {
            MaintenanceDecision::Pass => Step::Next,
            MaintenanceDecision::Answer(response) => Step::answer(response),
        };
    }
    match policy.refusal(state) {
        None => Step::Next,
        Some((reason, status)) => {
            let detail = format!("tenant {tenant} is {}", state.as_str());
            Step::answer(shared.respond(Rejection::new(reason, &detail).with_status(status)))
        }
    }
}

fn run_cache_scope(shared: &SegmentShared, passage: &mut Passage) -> Step {
    if open_cache_scope(passage) {
        Step::Next
    } else {
        misbuilt(
            shared,
            "the cache_scope stage needs the resolve stage outside of it",
        )
    }
}

fn open_cache_scope(passage: &mut Passage) -> bool {
    if passage.slot.is_open() {
        passage.slot.open_cache_scope();
        return true;
    }
    // The resolve stage may be a layer of its own further out.
    with_current(|current| current.map(|current| current.cache_scope = true)).is_some()
}

fn misbuilt(shared: &SegmentShared, detail: &'static str) -> Step {
    Step::answer(shared.respond(Rejection::new(RejectionReason::MisbuiltStack, &detail)))
}

/// Refuses by `Content-Length` at once, and by count what comes without one.
fn run_body_limit(limit: u64, shared: &SegmentShared, request: &mut Request<Body>) -> Step {
    let hint = request.body().size_hint();
    // Most requests: nothing to read, and no header to look up.
    if hint.exact() == Some(0) && *request.method() == Method::GET {
        return Step::Next;
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.unwrap_or(0).max(hint.lower()) > limit {
        let detail = format!("the body is larger than {limit} bytes");
        return Step::answer(shared.respond(Rejection::new(RejectionReason::BodyTooLarge, &detail)));
    }
    if hint.upper().is_none_or(|most| most > limit) {
        let body = std::mem::take(request.body_mut());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        *request.body_mut() = Body::new(Limited::new(body, limit));
    }
    Step::Next
}

/// A layer of the user's stands between the stages: what runs here may be another task than the one outside, or
/// that of another request.
fn reopen(cache_scope: bool, shared: &SegmentShared, request: &Request<Body>, passage: &mut Passage) {
    let Some(resolution) = request.extensions().get::<Resolution>() else {
        return;
    };
    let scope = resolution.scope();
    if crate::scope::current().as_ref() != Some(&scope) {
        passage.slot = Slot::new(scope, Some(&shared.home));
    }
    if cache_scope {
        open_cache_scope(passage);
    }
}
