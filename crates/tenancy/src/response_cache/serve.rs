//! A page from the cache, or from the handler of one request for all who wait.

use std::{convert::Infallible, error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    response::IntoResponse,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response::Parts};
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    CacheTags,
    collect::{Collected, collect},
    page::{Answer, Page},
    plan::{Look, for_everybody},
    settings::Settings,
    status::Told,
    storable::{Verdict, forbids_stale, judge},
    ticket::{Held, Ticket},
};
use crate::cache::{How, LoadError, Loaded, Remembered, TenantCache};

/// For so long after an answer that was for one client alone, requests with the same key do not wait for each other.
const PASS_FOR: Duration = Duration::from_secs(5);

/// A body that has not ended by then is passed on as it comes.
const COLLECT_WITHIN: Duration = Duration::from_secs(1);

/// A request whose page is not here.
pub(super) struct Looking {
    pub(super) settings: Arc<Settings>,
    pub(super) look: Look,
}

impl Looking {
    /// Dropped at any await it leaves the load alone, which others may wait for, and which is kept. `early`: what is left of the
    /// time of the page that is here, if this request is to have it made anew.
    pub(super) async fn answer<S, B>(
        self,
        early: Option<Duration>,
        request: Request<Body>,
        service: S,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if self.look.wanted.is_head {
            return self.answer_head(request, service).await;
        }
        let ticket = Arc::new(Ticket::new(request, service));
        let (to_own_client, own) = oneshot::channel();
        let load = self.load(&ticket, to_own_client);
        let Look { cache, key, .. } = &self.look;
        let remembered = cache.remember_page(key, &self.settings.entry, early, load).await;
        let error = match remembered {
            Ok(remembered) => match &*remembered.value {
                Answer::Page(page) => {
                    return self.response_of(page, told_of(&remembered, ticket.is_taken()));
                }
                Answer::Pass => None,
            },
            Err(error) => Some(error),
        };
        match ticket.take() {
            Some(held) => ask_for_oneself(&self.settings, *held, error).await,
            // The handler was asked for this very client.
            None => self.own_answer(own, error).await,
        }
    }

    /// The handler of a HEAD makes no page.
    async fn answer_head<S, B>(self, request: Request<Body>, mut service: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.look.cache.get(&self.look.key).await.as_deref() {
            Some(Answer::Page(page)) => self.response_of(page, Told::Hit),
            Some(Answer::Pass) | None => {
                let Ok(response) = service.call(request).await;
                told(&self.settings, Told::Miss, response.map(Body::new))
            }
        }
    }

    /// What makes the page, if this request is the one whose handler is asked.
    fn load<S, B>(
        &self,
        ticket: &Arc<Ticket<S>>,
        to_own_client: oneshot::Sender<Own>,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<Loaded<Answer>, NoPage>> + Send + use<S, B>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let ticket = Arc::clone(ticket);
        let maker = Maker {
            settings: Arc::clone(&self.settings),
            cache: self.look.cache.clone(),
            to_own_client,
        };
        move || {
            Box::pin(async move {
                let held = ticket.take().ok_or(NoPage::Unneeded)?;
                maker.make(*held).await
            })
        }
    }

    async fn own_answer(&self, own: oneshot::Receiver<Own>, error: Option<LoadError>) -> Response<Body> {
        match own.await {
            Ok(Own::Response(response)) => return told(&self.settings, Told::Miss, response),
            // It took so long that another request's handler was asked as well, and that one's answer was for its client alone.
            Ok(Own::Page(page)) => return self.response_of(&page, Told::Miss),
            // It has not ended.
            Err(_) => {}
        }
        match self.look.cache.get(&self.look.key).await.as_deref() {
            Some(Answer::Page(page)) => self.response_of(page, Told::Hit),
            Some(Answer::Pass) | None => error
                .unwrap_or_else(|| LoadError::abandoned("response"))
                .into_response(),
        }
    }

    /// What is here and fresh, without waiting; else what is left of its time, if this request is to have it made anew.
    pub(super) fn at_once(&self) -> Result<Arc<Answer>, Option<Duration>> {
        self.look.cache.peek(&self.look.key, &self.settings.entry)
    }

    pub(super) fn response_of(&self, page: &Page, told: Told) -> Response<Body> {
        let is_new = matches!(told, Told::Stored | Told::Miss);
        let now = (!is_new).then(|| self.look.cache.unix_time());
        let status = self.settings.says_status.then(|| told.header());
        page.response(&self.look.wanted, now, status)
    }
}

/// `is_taken`: whether this request's handler was asked.
fn told_of(remembered: &Remembered<Answer>, is_taken: bool) -> Told {
    match remembered.how {
        How::Stale => Told::Stale,
        How::Led if remembered.is_kept => Told::Stored,
        How::Led if is_taken => Told::Miss,
        How::Joined => Told::Collapsed,
        // In the shared level.
        How::Fresh | How::Led => Told::Hit,
    }
}

/// For a client that has waited for the page of another, and there is none: what went wrong there is nobody else's answer. Only
/// where too much is being made already, it is not asked.
async fn ask_for_oneself<S, B>(
    settings: &Settings,
    held: Held<S>,
    refused: Option<LoadError>,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    match refused {
        Some(error) if error.is_busy() || error.is_timed_out() => error.into_response(),
        _ => {
            let Held { request, mut service } = held;
            let Ok(response) = service.call(request).await;
            told(settings, Told::Bypass, response.map(Body::new))
        }
    }
}

pub(super) fn told(settings: &Settings, told: Told, mut response: Response<Body>) -> Response<Body> {
    if settings.says_status {
        told.add_to(&mut response);
    }
    response
}

/// What the handler has answered, for its own client.
enum Own {
    /// Of which nobody else has anything.
    Response(Response<Body>),
    Page(Page),
}

/// Asks the handler, in a task of its own. What it answers is a page, or goes to its own client alone.
struct Maker {
    settings: Arc<Settings>,
    cache: TenantCache,
    to_own_client: oneshot::Sender<Own>,
}

impl Maker {
    async fn make<S, B>(self, held: Held<S>) -> Result<Loaded<Answer>, NoPage>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Held { request, mut service } = held;
        let request = for_everybody(&self.settings, request);
        let Ok(response) = service.call(request).await;
        let (head, body) = response.into_parts();
        let body = Body::new(body);
        match judge(&self.settings, head.status, &head.headers) {
            Verdict::Keep(ttl) => self.collect(head, body, ttl).await,
            Verdict::ForOne(reason) => Ok(self.pass(head, body, reason)),
            Verdict::Failed => {
                let status = head.status;
                self.send(head, body);
                Err(NoPage::Failed(status))
            }
        }
    }

    async fn collect(self, head: Parts, body: Body, ttl: Duration) -> Result<Loaded<Answer>, NoPage> {
        match collect(body, self.settings.max_body, COLLECT_WITHIN).await {
            Collected::Whole(body) if is_complete(&head.headers, &body) => Ok(self.page(head, body, ttl)),
            Collected::TooMuch(body) => {
                Ok(self.pass(head, body, "it is too large or too slow, or has trailers"))
            }
            Collected::Whole(body) => {
                self.send(head, body.into());
                Err(NoPage::BrokeOff)
            }
            Collected::Broken(body) => {
                self.send(head, body);
                Err(NoPage::BrokeOff)
            }
        }
    }

    fn page(self, mut head: Parts, body: Bytes, ttl: Duration) -> Loaded<Answer> {
        let tags = head.extensions.remove::<CacheTags>().unwrap_or_default();
        let forbids_stale = forbids_stale(&head.headers);
        let page = Page::new(&self.settings, head, body, self.cache.unix_time());
        // Nobody has it if the client hung up, or waits no more.
        let _ = self.to_own_client.send(Own::Page(page.clone()));
        let mut answer = Loaded::new(Answer::Page(page)).ttl(ttl).tags(tags.iter());
        if forbids_stale {
            answer = answer.stale_for(Duration::ZERO);
        }
        answer
    }

    fn pass(self, head: Parts, body: Body, reason: &str) -> Loaded<Answer> {
        tracing::debug!(reason, "a response is not kept");
        self.send(head, body);
        let answer = Loaded::new(Answer::Pass).ttl(PASS_FOR).stale_for(Duration::ZERO);
        answer.saying_nothing_of_values()
    }

    fn send(self, head: Parts, body: Body) {
        // Nobody has it if the client hung up.
        let response = Response::from_parts(head, body);
        let _ = self.to_own_client.send(Own::Response(response));
    }
}

/// RFC 9111 §3.3: a body that is shorter than announced is none to keep.
fn is_complete(headers: &HeaderMap, body: &Bytes) -> bool {
    let mut announced = headers.get_all(header::CONTENT_LENGTH).iter();
    announced.all(|len| len == HeaderValue::from(body.len()))
}

/// Why there is no page for all; for the log.
#[derive(Debug)]
enum NoPage {
    /// Its client has asked for itself.
    Unneeded,
    Failed(StatusCode),
    BrokeOff,
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unneeded => f.write_str("nobody waits for the page"),
            Self::Failed(status) => write!(f, "the handler answered {}", status.as_u16()),
            Self::BrokeOff => f.write_str("the handler's body broke off"),
        }
    }
}

impl Error for NoPage {}
