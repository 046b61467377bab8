//! What each stage does to a request that passes.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::OriginalUri,
};
use http::{HeaderValue, Method, Request, Response, header};

use super::order::Stage;
#[cfg(feature = "memory")]
use crate::memory::Keeper;
use crate::{
    Tenant,
    event::Event,
    gate::{GatePolicy, GlobalMaintenance, MaintenanceDecision, MaintenanceRequest, Subject},
    home::Home,
    memory::Metering,
    rejection::{Rejection, RejectionReason, respond},
    resolve::{
        Authority, Found, Outcome, Pending, Refusal, Resolution, Resolver, TrustedProxies, authority_of,
        is_acme_challenge,
    },
    scope::{Scope, Slot, with_current},
    tenant::GateState,
};

/// A stage with its settings.
pub(crate) enum Phase {
    PanicCatch,
    Maintenance(GlobalMaintenance),
    Resolve(Arc<Resolver>),
    /// In the places of the two before, where challenges of ACME are let through. Of their own, so that a stack that does not
    /// let them through does not ask.
    MaintenanceExceptAcme(GlobalMaintenance),
    ResolveExceptAcme(Arc<Resolver>),
    /// In the place of `Resolve`, where a layer knows whose every request is.
    Given(Option<Tenant>),
    Gate(GatePolicy),
    BodyLimit(u64),
    Deadline(Duration),
    CacheScope,
    #[cfg(feature = "memory")]
    Memory(Arc<Keeper>),
    /// Right inside of `Resolve`, where tenants have a budget.
    #[cfg(feature = "memory")]
    MemoryBudget(Arc<Keeper>),
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
    /// In bytes, where nobody can tell before reading that the body is no larger.
    pub(crate) body_limit: Option<usize>,
    /// For the `Vary` of the answer.
    pub(crate) vary: Option<Arc<HeaderValue>>,
    pub(crate) metering: Metering,
}

/// What a stage says.
pub(crate) enum Step {
    Next,
    /// The catch begins: the stages after this one run inside of it.
    Catch,
    /// An account begins: the stages after this one run in it.
    #[cfg(feature = "memory")]
    Meter(Metering),
    Answer(Box<Response<Body>>),
    Refuse(Box<Refusal>),
    Ask(Arc<Resolver>, Box<Pending>),
}

impl Step {
    fn answer(response: Response<Body>) -> Self {
        Self::Answer(Box::new(response))
    }

    pub(crate) fn refuse(reason: RejectionReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Refuse(Box::new(Refusal::new(reason, detail)))
    }
}

impl SegmentShared {
    /// What becomes of a refusal: an answer, or, where the stage only observes, nothing but a note.
    pub(crate) fn refuse<B>(
        &self,
        refusal: &Refusal,
        stage: Stage,
        request: &mut Request<B>,
    ) -> Option<Box<Response<Body>>> {
        if stage == Stage::Resolve {
            self.home.emit(|| Event::ResolutionFailed {
                reason: refusal.reason,
            });
        }
        if self.home.rollout.observes(stage) {
            self.observe(refusal, request);
            return None;
        }
        let rejection = Rejection::new(refusal.reason, &refusal.detail);
        Some(Box::new(self.respond(rejection.with(refusal))))
    }

    /// The first refusal is kept: it is what the client would have got.
    fn observe<B>(&self, refusal: &Refusal, request: &mut Request<B>) {
        self.home.rollout.count(refusal.reason);
        let rejection = Rejection::observed(refusal.reason, &refusal.detail).with(refusal);
        match request.extensions_mut().get_mut::<Resolution>() {
            Some(resolution) if resolution.would_refuse().is_some() => {}
            Some(resolution) => resolution.set_would_refuse(rejection),
            None => {
                request
                    .extensions_mut()
                    .insert(Resolution::nobody(Arc::clone(&self.home), rejection));
            }
        }
    }

    pub(crate) fn respond(&self, rejection: Rejection) -> Response<Body> {
        respond(rejection, self.home.responder.as_deref())
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
    #[inline(always)]
    pub(crate) fn enter<B>(
        &self,
        found: Found,
        resolver: &Resolver,
        request: &mut Request<B>,
        passage: &mut Passage,
    ) -> Step {
        let scope = match found.resolution.tenant() {
            Some(tenant) => {
                self.home.emit(|| Event::TenantResolved {
                    tenant: tenant.clone(),
                });
                #[cfg(feature = "memory")]
                crate::memory::note_tenant(tenant);
                Scope::Tenant(tenant.clone())
            }
            None => Scope::Central,
        };
        if let Err(refusal) = found.apply(request, resolver, &self.home) {
            return Step::Refuse(Box::new(refusal));
        }
        passage.slot = Slot::new(scope, Some(&self.home));
        if let Some(vary) = &resolver.vary {
            passage.vary = Some(Arc::clone(vary));
        }
        Step::Next
    }
}

impl Phase {
    /// Where tenants have a budget. Stands further in than what finds the tenant.
    #[cfg(feature = "memory")]
    pub(crate) fn memory_budget(keeper: &Arc<Keeper>) -> Option<Self> {
        keeper
            .tenant_budget()
            .map(|_| Self::MemoryBudget(Arc::clone(keeper)))
    }

    /// Whose refusals these are. `None` for what is no stage of the order.
    pub(crate) fn stage(&self) -> Option<Stage> {
        Some(match self {
            Self::PanicCatch => Stage::PanicCatch,
            Self::Maintenance(_) | Self::MaintenanceExceptAcme(_) => Stage::Maintenance,
            Self::Resolve(_) | Self::ResolveExceptAcme(_) | Self::Given(_) => Stage::Resolve,
            Self::Gate(_) => Stage::Gate,
            Self::BodyLimit(_) => Stage::BodyLimit,
            Self::Deadline(_) => Stage::Deadline,
            Self::CacheScope => Stage::CacheScope,
            #[cfg(feature = "memory")]
            Self::Memory(_) | Self::MemoryBudget(_) => Stage::Memory,
            Self::Reopen { .. } => return None,
        })
    }

    /// Does what can be done without waiting.
    pub(crate) fn run<B: HttpBody>(
        &self,
        shared: &SegmentShared,
        request: &mut Request<B>,
        passage: &mut Passage,
    ) -> Step {
        match self {
            Self::PanicCatch if shared.home.rollout.observes(Stage::PanicCatch) => Step::Next,
            Self::PanicCatch => {
                passage.catches_panics = true;
                Step::Catch
            }
            Self::Maintenance(switch) => run_maintenance(switch, shared, request),
            Self::MaintenanceExceptAcme(switch) => run_maintenance_except_acme(switch, shared, request),
            Self::ResolveExceptAcme(resolver) => resolve_except_acme(resolver, shared, request, passage),
            Self::Resolve(resolver) => {
                // As `Resolver::resolve`, with one move less of what is found.
                if let Some(found) = resolver.resolve_by_raw_host(request) {
                    return shared.enter(found, resolver, request, passage);
                }
                match resolver.resolve_checked(request) {
                    Outcome::Found(found) => shared.enter(found, resolver, request, passage),
                    Outcome::Refused(refusal) => Step::Refuse(Box::new(refusal)),
                    Outcome::Ask(pending) => Step::Ask(Arc::clone(resolver), Box::new(pending)),
                }
            }
            Self::Given(tenant) => run_given(tenant.as_ref(), shared, request, passage),
            Self::Gate(policy) => run_gate(*policy, shared, request, passage),
            Self::BodyLimit(limit) => run_body_limit(*limit, shared, request, passage),
            Self::Deadline(after) => {
                passage.deadline = Some(*after);
                Step::Next
            }
            Self::CacheScope => run_cache_scope(request, passage),
            #[cfg(feature = "memory")]
            Self::Memory(keeper) => crate::memory::begin(keeper, request),
            #[cfg(feature = "memory")]
            Self::MemoryBudget(keeper) => crate::memory::check_budget(keeper, request),
            Self::Reopen { cache_scope } => {
                reopen(*cache_scope, shared, request, passage);
                Step::Next
            }
        }
    }
}

/// Of its own, so that the way of stacks without the exemption stays as small as it was.
#[inline(never)]
fn resolve_except_acme<B>(
    resolver: &Arc<Resolver>,
    shared: &SegmentShared,
    request: &mut Request<B>,
    passage: &mut Passage,
) -> Step {
    let exempted = resolver.exempted(request);
    match exempted.unwrap_or_else(|| resolver.resolve(request)) {
        Outcome::Found(found) => shared.enter(found, resolver, request, passage),
        Outcome::Refused(refusal) => Step::Refuse(Box::new(refusal)),
        Outcome::Ask(pending) => Step::Ask(Arc::clone(resolver), Box::new(pending)),
    }
}

#[inline(never)]
fn run_maintenance_except_acme<B>(
    switch: &GlobalMaintenance,
    shared: &SegmentShared,
    request: &Request<B>,
) -> Step {
    if is_acme_challenge(request) {
        return Step::Next;
    }
    run_maintenance(switch, shared, request)
}

fn run_maintenance<B>(switch: &GlobalMaintenance, shared: &SegmentShared, request: &Request<B>) -> Step {
    if !switch.is_enabled() {
        return Step::Next;
    }
    if shared.home.rollout.observes(Stage::Maintenance) {
        shared.home.rollout.count_held_by_maintenance();
        return Step::Next;
    }
    let authority = authority_of(request, shared.proxies.as_ref());
    match switch.decide(&maintenance_request(shared, request, authority.as_ref())) {
        MaintenanceDecision::Pass => Step::Next,
        MaintenanceDecision::Answer(response) => Step::answer(response),
    }
}

/// Host and transport are judged anew here: the resolve stage may stand further in, or behind another layer.
fn maintenance_request<'a, B>(
    shared: &SegmentShared,
    request: &'a Request<B>,
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

fn run_given<B>(
    given: Option<&Tenant>,
    shared: &SegmentShared,
    request: &mut Request<B>,
    passage: &mut Passage,
) -> Step {
    let is_anothers = |found: &Resolution| found.tenant() != given || found.is_nobody();
    if request.extensions().get().is_some_and(is_anothers) {
        let detail =
            "a layer says whose every request is, and one further out has found this one to be another's";
        // Never only observed: nobody could say any more whose request it is.
        return Step::answer(shared.respond(Rejection::new(RejectionReason::MisbuiltStack, &detail)));
    }
    if let Some(tenant) = given {
        #[cfg(feature = "memory")]
        crate::memory::note_tenant(tenant);
        shared.home.emit(|| Event::TenantResolved {
            tenant: tenant.clone(),
        });
    }
    let resolution = Resolution::given(given.cloned(), &shared.home);
    let scope = given.cloned().map_or(Scope::Central, Scope::Tenant);
    passage.slot = Slot::new(scope, Some(&shared.home));
    request.extensions_mut().insert(resolution);
    Step::Next
}

fn run_gate<B>(policy: GatePolicy, shared: &SegmentShared, request: &Request<B>, passage: &Passage) -> Step {
    // The slot says it in one look, where the resolve stage is in the same segment.
    let found = match passage.slot.scope() {
        Some(scope) => Some(scope.tenant()),
        None => request.extensions().get().map(Resolution::tenant),
    };
    let tenant = match found {
        Some(Some(tenant)) => tenant,
        Some(None) => return Step::Next,
        None => return misbuilt("the gate stage needs the resolve stage outside of it"),
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
        if shared.home.rollout.observes(Stage::Gate) {
            shared.home.rollout.count_held_by_maintenance();
            return Step::Next;
        }
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
            Step::Refuse(Box::new(Refusal {
                status: Some(status),
                ..Refusal::new(reason, detail)
            }))
        }
    }
}

fn run_cache_scope<B>(request: &Request<B>, passage: &mut Passage) -> Step {
    if open_cache_scope(passage) || is_nobody(request) {
        Step::Next
    } else {
        misbuilt("the cache_scope stage needs the resolve stage outside of it")
    }
}

fn is_nobody<B>(request: &Request<B>) -> bool {
    let resolution = request.extensions().get::<Resolution>();
    resolution.is_some_and(Resolution::is_nobody)
}

fn open_cache_scope(passage: &mut Passage) -> bool {
    if passage.slot.is_open() {
        passage.slot.open_cache_scope();
        return true;
    }
    // The resolve stage may be a layer of its own further out.
    with_current(|current| current.map(|current| current.cache_scope = true)).is_some()
}

fn misbuilt(detail: &'static str) -> Step {
    Step::refuse(RejectionReason::MisbuiltStack, detail)
}

/// Refuses by `Content-Length` at once, and by count what comes without one.
fn run_body_limit<B: HttpBody>(
    limit: u64,
    shared: &SegmentShared,
    request: &Request<B>,
    passage: &mut Passage,
) -> Step {
    let hint = request.body().size_hint();
    // Most requests: nothing to read, and no header to look up.
    if hint.exact() == Some(0) && *request.method() == Method::GET {
        return Step::Next;
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.unwrap_or(0).max(hint.lower()) > limit {
        let detail = format!("the body is larger than {limit} bytes");
        return Step::refuse(RejectionReason::BodyTooLarge, detail);
    }
    if shared.home.rollout.observes(Stage::BodyLimit) {
        return Step::Next;
    }
    if hint.upper().is_none_or(|most| most > limit) {
        passage.body_limit = Some(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Step::Next
}

/// A layer of the user's stands between the stages: what runs here may be another task than the one outside, or
/// that of another request.
fn reopen<B>(cache_scope: bool, shared: &SegmentShared, request: &Request<B>, passage: &mut Passage) {
    let Some(resolution) = request.extensions().get::<Resolution>() else {
        return;
    };
    let Some(scope) = resolution.scope() else { return };
    if crate::scope::current().as_ref() != Some(&scope) {
        passage.slot = Slot::new(scope, Some(&shared.home));
    }
    if cache_scope {
        open_cache_scope(passage);
    }
}
