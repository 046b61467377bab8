//! An inner service that keeps what reached it.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use tenancy::{
    Tenant,
    resolve::Resolution,
    scope::{self, Scope},
};
use tower_service::Service;

/// A service that records what reaches it, and answers 200 with nothing: what stands inside of a stack under test.
///
/// Its future is pending once, so that a scope that is lost over an await is seen. Clones share the record.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{body::Body, http::Request};
/// use tenancy_test::{Recorder, as_tenant};
/// use tower::ServiceExt;
///
/// let recorder = Recorder::new();
/// let app = as_tenant(recorder.clone(), "acme");
/// app.oneshot(Request::get("/orders").body(Body::empty())?).await?;
///
/// let [recorded] = &recorder.take()[..] else { panic!("one request was sent") };
/// assert_eq!(recorded.uri, "/orders");
/// assert!(recorded.was_for("acme"), "found by extractors, and in scope at every poll");
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Recorder {
    shared: Arc<Shared>,
}

type Answer = dyn Fn(&Recorded) -> Response<Body> + Send + Sync;

/// Shared with the future of its request, so that it is found however much was taken meanwhile.
type Entry = Arc<Mutex<Recorded>>;

#[derive(Default)]
struct Shared {
    entries: Mutex<Vec<Entry>>,
    answer: Option<Box<Answer>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A service that answers 200.
    pub fn new() -> Self {
        Self::default()
    }

    /// A service that answers like this. What it is shown is complete.
    pub fn answering(answer: impl Fn(&Recorded) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                entries: Mutex::default(),
                answer: Some(Box::new(answer)),
            }),
        }
    }

    /// What was recorded so far, in the order of the calls.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.entries)
            .iter()
            .map(|entry| lock(entry).clone())
            .collect()
    }

    /// The same, and forgets it.
    pub fn take(&self) -> Vec<Recorded> {
        let entries = std::mem::take(&mut *lock(&self.shared.entries));
        entries.iter().map(|entry| lock(entry).clone()).collect()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("recorded", &lock(&self.shared.entries).len())
            .finish_non_exhaustive()
    }
}

/// A request, as it reached the inner service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Its target, without what an identifier took out of the path.
    pub uri: Uri,
    /// Its version.
    pub version: Version,
    /// Its headers, without those that the stack took out.
    pub headers: HeaderMap,
    /// How it was resolved; `None` where no stack stands outside.
    pub resolution: Option<Resolution>,
    /// The scope in which the service was called.
    pub scope_at_call: Option<Scope>,
    /// The scope of each poll of its future: two, unless it was dropped.
    pub scope_at_polls: Vec<Option<Scope>>,
}

impl Recorded {
    /// The tenant that extractors find.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.resolution.as_ref().and_then(Resolution::tenant)
    }

    /// Whether the request was this tenant's, by extraction and in the scope of the call and of both polls.
    pub fn was_for(&self, tenant: &str) -> bool {
        let is_it = |found: Option<&Tenant>| found.is_some_and(|found| found.id() == tenant);
        let in_scope = |scope: &Option<Scope>| is_it(scope.as_ref().and_then(Scope::tenant));
        is_it(self.tenant())
            && in_scope(&self.scope_at_call)
            && self.scope_at_polls.len() == 2
            && self.scope_at_polls.iter().all(in_scope)
    }
}

impl<B> Service<Request<B>> for Recorder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Recording;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Recording {
        let (parts, _) = request.into_parts();
        let entry = Arc::new(Mutex::new(Recorded {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            resolution: parts.extensions.get().cloned(),
            scope_at_call: scope::current(),
            scope_at_polls: Vec::new(),
        }));
        lock(&self.shared.entries).push(Arc::clone(&entry));
        Recording {
            shared: Arc::clone(&self.shared),
            entry,
        }
    }
}

/// The future of [`Recorder`]: pending once, then the answer.
pub struct Recording {
    shared: Arc<Shared>,
    entry: Entry,
}

impl Future for Recording {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let scope = scope::current();
        let recorded = {
            let mut entry = lock(&self.entry);
            entry.scope_at_polls.push(scope);
            entry.clone()
        };
        if recorded.scope_at_polls.len() < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let answer = self.shared.answer.as_ref();
        Poll::Ready(Ok(
            answer.map_or_else(|| Response::new(Body::empty()), |answer| answer(&recorded))
        ))
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}
