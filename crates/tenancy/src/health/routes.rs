//! The answers to probes: as a router, as a layer in front of an application, and for operators.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    routing::{get, get_service},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Health, Readiness, StartupStep,
    report::{Bodies, HealthStatus},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IETF: HeaderValue = HeaderValue::from_static("application/health+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const GROUPS: &str = "/health/groups/";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    IsAlive,
    IsStarted,
    IsReady,
    Whole,
    /// By position.
    Group(usize),
}

impl Question {
    /// Of requests that are for something else, most are told by one comparison.
    #[inline]
    fn of(path: &str, health: &Health) -> Option<Self> {
        match path {
            "/livez" => Some(Self::IsAlive),
            "/startupz" => Some(Self::IsStarted),
            "/readyz" => Some(Self::IsReady),
            "/health" => Some(Self::Whole),
            _ => health.position(path.strip_prefix(GROUPS)?).map(Self::Group),
        }
    }
}

impl Health {
    /// `/livez`, `/startupz`, `/readyz`, `/health` and `/health/groups/{name}`, for everybody. They stand outside of tenant resolution:
    /// nest or merge them into a router outside of the stack, whose fallback is the application.
    ///
    /// An application that is served behind this router pays for routing twice; use the health as a layer around it instead.
    pub fn routes(&self) -> Router {
        self.router(Audience::Everybody)
    }

    /// The same with all details, and `/health/tenants` where the health of tenants is kept: for a listener that only operators
    /// reach.
    pub fn admin_routes(&self) -> Router {
        let router = self.router(Audience::Operators);
        match &self.inner.tenants {
            Some(tenants) => router.merge(tenants.routes()),
            None => router,
        }
    }

    fn router(&self, audience: Audience) -> Router {
        let probe = |question| {
            get_service(Probe {
                health: self.clone(),
                question,
                audience,
            })
        };
        let mut router = Router::new()
            .route("/livez", probe(Question::IsAlive))
            .route("/startupz", probe(Question::IsStarted))
            .route("/readyz", probe(Question::IsReady))
            .route("/health", probe(Question::Whole));
        for (at, group) in self.inner.board.groups().iter().enumerate() {
            let path = format!("{GROUPS}{}", group.name);
            router = router.route(&path, probe(Question::Group(at)));
        }
        // A group that there is not is no page of the application's either.
        router.route(
            "/health/groups/{name}",
            get(|_: Path<String>| async { StatusCode::NOT_FOUND }),
        )
    }

    fn position(&self, group: &str) -> Option<usize> {
        let mut groups = self.inner.board.groups().iter();
        groups.position(|known| *known.name == *group)
    }

    /// Reads what is known. No I/O, no lock, no await.
    fn answer(&self, question: Question, request: &Request<Body>, audience: Audience) -> Response<Body> {
        self.begin();
        let verbose = || asks_for_details(request.uri().query()) && self.may_see_details(request, audience);
        match question {
            Question::IsAlive => {
                if self.is_alive() {
                    plain(true, r#"{"status":"alive"}"#)
                } else {
                    plain(false, r#"{"status":"stalled"}"#)
                }
            }
            Question::IsStarted if self.is_started() => plain(true, r#"{"status":"started"}"#),
            Question::IsStarted => plain(false, r#"{"status":"starting"}"#),
            Question::IsReady => {
                let readiness = self.readiness();
                if verbose() {
                    return self.answer_in_detail(readiness, request.headers());
                }
                plain(readiness.is_ready(), readiness.body())
            }
            Question::Whole | Question::Group(_) => {
                let snapshot = self.inner.board.snapshot();
                let page = match question {
                    Question::Group(at) => snapshot.groups.get(at).unwrap_or(&snapshot.whole),
                    _ => &snapshot.whole,
                };
                let shows_details = audience == Audience::Operators || verbose();
                let bodies = if shows_details {
                    &page.details
                } else {
                    &page.public
                };
                whole(page.status != HealthStatus::Unhealthy, bodies, request.headers())
            }
        }
    }

    fn answer_in_detail(&self, readiness: Readiness, headers: &HeaderMap) -> Response<Body> {
        let snapshot = self.inner.board.snapshot();
        if !matches!(readiness, Readiness::Starting | Readiness::Draining) {
            let page = snapshot.groups.first().unwrap_or(&snapshot.whole);
            return whole(readiness.is_ready(), &page.details, headers);
        }
        // The checks may all be well: they are not why.
        let steps = self.inner.steps.iter().filter(|step| !step.is_done());
        let steps_left: Vec<&str> = steps.map(StartupStep::name).collect();
        let checks = self.inner.board.of_readiness(&snapshot.report);
        let bodies = Bodies::of_unready(readiness.as_str(), &steps_left, &checks, snapshot.report.at);
        whole(false, &bodies, headers)
    }

    fn may_see_details(&self, request: &Request<Body>, audience: Audience) -> bool {
        match (audience, &self.inner.guard) {
            (Audience::Operators, _) => true,
            (Audience::Everybody, None) => false,
            // The connection must not end by it, and who is not sure says no.
            (Audience::Everybody, Some(guard)) => {
                catch_unwind(AssertUnwindSafe(|| guard(request))).unwrap_or(false)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Everybody,
    Operators,
}

fn plain(is_well: bool, body: &'static str) -> Response<Body> {
    respond(is_well, JSON, Bytes::from_static(body.as_bytes()))
}

fn whole(is_well: bool, bodies: &Bodies, headers: &HeaderMap) -> Response<Body> {
    let (kind, body) = if prefers_ietf(headers) {
        (IETF, &bodies.ietf)
    } else {
        (JSON, &bodies.json)
    };
    let mut response = respond(is_well, kind, body.clone());
    let accept = HeaderValue::from_static("accept");
    response.headers_mut().insert(header::VARY, accept);
    response
}

fn respond(is_well: bool, kind: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// `?verbose`, also with a value, but for `0` and `false`. Looks at so many parameters only.
fn asks_for_details(query: Option<&str>) -> bool {
    const MOST: usize = 16;
    let Some(query) = query else {
        return false;
    };
    let mut parameters = query.split('&').take(MOST);
    parameters.any(|parameter| match parameter.strip_prefix("verbose") {
        Some("") => true,
        Some(value) => value.starts_with('=') && !matches!(value, "=0" | "=false"),
        None => false,
    })
}

/// Whether the client names `application/health+json`, and does not like `application/json` better. Never a refusal: what can
/// not be read counts as not said. Looks at so much of it only.
fn prefers_ietf(headers: &HeaderMap) -> bool {
    const MOST: usize = 32;
    let lines = headers.get_all(header::ACCEPT).iter();
    let ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let (mut ietf, mut json) = (0, 0);
    for range in ranges.take(MOST) {
        let mut parts = range.split(';');
        let kind = parts.next().unwrap_or_default().trim();
        let best = match kind {
            kind if kind.eq_ignore_ascii_case("application/health+json") => &mut ietf,
            kind if kind.eq_ignore_ascii_case("application/json") => &mut json,
            _ => continue,
        };
        *best = weight(parts).max(*best);
    }
    ietf > 0 && ietf >= json
}

/// In thousandths (RFC 9110 §12.4.2); what is no weight is none.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let given = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(given) = given else {
        return 1000;
    };
    let (whole, fraction) = given.split_once('.').unwrap_or((given, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, is_number) {
        ("1", true) => 1000,
        ("0", true) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// One route as a service: nothing is extracted and nothing waited for.
#[derive(Clone)]
struct Probe {
    health: Health,
    question: Question,
    audience: Audience,
}

impl Service<Request<Body>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(self.health.answer(self.question, &request, self.audience)))
    }
}

/// In front of an application: probes are answered here, and all else goes on. As a layer around the whole application it costs
/// other requests a comparison of their path, where a router would route them twice.
impl<S> Layer<S> for Health {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> HealthService<S> {
        HealthService {
            health: self.clone(),
            inner,
        }
    }
}

/// Answers probes; all else goes to the inner service. Made by [`Health`] as a layer.
#[derive(Clone, Debug)]
pub struct HealthService<S> {
    health: Health,
    inner: S,
}

impl<S> Service<Request<Body>> for HealthService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = HealthFuture<S::Future>;

    /// Of the inner service: one that is not ready holds up probes, too, as it should. Routers always are.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> HealthFuture<S::Future> {
        let Some(question) = Question::of(request.uri().path(), &self.health) else {
            return HealthFuture {
                state: State::Inner {
                    future: self.inner.call(request),
                },
            };
        };
        let response = match *request.method() {
            Method::GET => self.health.answer(question, &request, Audience::Everybody),
            Method::HEAD => without_body(self.health.answer(question, &request, Audience::Everybody)),
            _ => not_allowed(),
        };
        HealthFuture {
            state: State::Answer {
                response: Some(response),
            },
        }
    }
}

fn without_body(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

fn not_allowed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET,HEAD");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

pin_project! {
    /// The future of [`HealthService`]. Dropping it drops the inner one.
    pub struct HealthFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Answer { response: Option<Response<Body>> },
        Inner { #[pin] future: F },
    }
}

impl<F, E> Future for HealthFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Polled again after its end, by mistake: never wakes.
            StateProjection::Answer { response } => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            StateProjection::Inner { future } => future.poll(cx),
        }
    }
}

impl<F> std::fmt::Debug for HealthFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_ietf_form_is_for_who_names_it() {
        for (lines, expected) in [
            (&["application/health+json"][..], true),
            (&["APPLICATION/Health+JSON ; charset=utf-8"], true),
            (&["text/html, application/health+json;q=0.5"], true),
            (&["text/html", "application/health+json"], true),
            (&["application/json;q=0.5, application/health+json;q=0.6"], true),
            (&["application/json, application/health+json;q=0.9"], false),
            (&["application/health+json;q=0"], false),
            (&["application/health+json;q=0.000"], false),
            (&["application/health+json; Q = 0.0 "], false),
            (&["application/health+json;q=2"], false),
            (&["application/health+json;q=-1"], false),
            (&["application/health+json;q=0.0001"], false),
            (&["application/health+json;q=NaN"], false),
            (&["application/health+json;q="], false),
            (&["application/health+jsonp"], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["", ",;,=;;q=,"], false),
            (&["\u{fffd}application/health+json"], false),
            (&[], false),
        ] {
            assert_eq!(prefers_ietf(&accepting(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn only_the_begin_of_a_long_accept_is_read() {
        let mut long = "a/b,".repeat(10_000);
        long.push_str("application/health+json");
        assert!(!prefers_ietf(&accepting(&[&long])));
    }

    #[test]
    fn details_are_asked_for_by_one_word() {
        for (query, expected) in [
            (Some("verbose"), true),
            (Some("a=b&verbose"), true),
            (Some("verbose=1"), true),
            (Some("verbose=true"), true),
            (Some("verbose=0"), false),
            (Some("verbose=false"), false),
            (Some("verboser"), false),
            (Some("a=verbose"), false),
            (Some("%76erbose"), false),
            (Some("&&&=&"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(asks_for_details(query), expected, "{query:?}");
        }
        let late = format!("{}verbose", "a&".repeat(100));
        assert!(!asks_for_details(Some(&late)));
    }
}
