//! A page from the cache, or from the handler of one request for all who wait.

use std::{convert::Infallible, error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    response::IntoResponse,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    CacheTags,
    collect::{Collected, collect},
    page::{Answer, Page, Wanted},
    plan::{Look, for_everybody},
    settings::Settings,
    status::Told,
    storable::{Verdict, judge},
    ticket::{Held, Ticket, Use},
};
use crate::{
    cache::{How, LoadError, Loaded, TenantCache},
    scope,
};

/// For so long after an answer that was for one client alone, requests with the same key do not wait for each other.
const PASS_FOR: Duration = Duration::from_secs(5);

/// A body that has not ended by then is passed on as it comes.
const COLLECT_WITHIN: Duration = Duration::from_secs(1);

/// From what is here and fresh, without waiting.
pub(super) fn at_once(settings: &Settings, look: &Look) -> Option<Arc<Answer>> {
    look.cache.peek(&look.key.key, &settings.entry)
}

pub(super) fn response_of(
    settings: &Settings,
    cache: &TenantCache,
    page: &Page,
    wanted: &Wanted,
    told: Told,
) -> Response<Body> {
    let now = (told != Told::Stored).then(|| cache.unix_time());
    page.response(wanted, now, settings.says_status.then(|| told.header()))
}

/// Answers a request whose page is not here.
///
/// Dropped at any await it leaves the load alone, which others may wait for, and which is kept.
pub(super) async fn look_up<S, B>(
    settings: Arc<Settings>,
    look: Look,
    request: Request<Body>,
    mut service: S,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Look { cache, key, wanted } = look;
    if wanted.is_head {
        // The handler of a HEAD makes no page.
        return match cache.get(&key.key).await.as_deref() {
            Some(Answer::Page(page)) => response_of(&settings, &cache, page, &wanted, Told::Hit),
            Some(Answer::Pass) | None => {
                let Ok(response) = service.call(request).await;
                told(&settings, Told::Miss, response.map(Body::new))
            }
        };
    }
    let ticket = Arc::new(Ticket::new(request, service));
    let (to_own_client, own) = oneshot::channel();
    let load = {
        let (settings, cache, ticket) = (Arc::clone(&settings), cache.clone(), Arc::clone(&ticket));
        let query = key.query;
        async move || {
            let Some(held) = ticket.take() else {
                return Err(NoPage::Unneeded);
            };
            let made = make(&settings, &cache, *held, &query, to_own_client).await?;
            if made.is_kept {
                ticket.note_kept();
            }
            Ok(made.answer)
        }
    };
    let remembered = cache.remember_page(&key.key, &settings.entry, load).await;
    let refused = match remembered {
        Ok(remembered) => match &*remembered.value {
            Answer::Page(page) => {
                let told = told_of(remembered.how, ticket.used());
                return response_of(&settings, &cache, page, &wanted, told);
            }
            Answer::Pass => None,
        },
        Err(error) => Some(error),
    };
    let response = match ticket.take() {
        Some(held) => ask_for_oneself(&settings, *held, refused).await,
        // The handler was asked for this very client.
        None => match own.await {
            Ok(response) => told(&settings, Told::Miss, response),
            Err(_) => match cache.get(&key.key).await.as_deref() {
                // It was asked again, since the answer before was for one client, and made a page now.
                Some(Answer::Page(page)) => response_of(&settings, &cache, page, &wanted, Told::Collapsed),
                Some(Answer::Pass) | None => refused
                    .unwrap_or_else(|| LoadError::abandoned("response"))
                    .into_response(),
            },
        },
    };
    response
}

fn told_of(how: How, used: Use) -> Told {
    match (how, used) {
        (How::Stale, _) => Told::Stale,
        (How::Led, Use::Kept) => Told::Stored,
        (How::Led, Use::Taken) => Told::Miss,
        (How::Joined, _) => Told::Collapsed,
        // In the shared level.
        (How::Fresh, _) | (How::Led, Use::None) => Told::Hit,
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

/// What the handler's answer is to everybody.
struct Made {
    answer: Loaded<Answer>,
    is_kept: bool,
}

impl Made {
    fn pass() -> Self {
        Self {
            answer: Loaded::new(Answer::Pass).ttl(PASS_FOR).stale_for(Duration::ZERO),
            is_kept: false,
        }
    }
}

/// Asks the handler, in a task of its own. What it answers is a page, or goes to its own client alone.
async fn make<S, B>(
    settings: &Settings,
    cache: &TenantCache,
    held: Held<S>,
    query: &str,
    to_own_client: oneshot::Sender<Response<Body>>,
) -> Result<Made, NoPage>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Held { request, mut service } = held;
    let request = for_everybody(settings, query, request).ok_or(NoPage::Unneeded)?;
    let Ok(response) = service.call(request).await;
    let (mut head, body) = response.into_parts();
    let body = Body::new(body);
    let send = |head, body| {
        // Nobody has it if the client hung up.
        let _ = to_own_client.send(Response::from_parts(head, body));
    };
    let ttl = match judge(settings, head.status, &head.headers) {
        Verdict::Keep(ttl) => ttl,
        Verdict::ForOne(reason) => {
            tracing::debug!(reason, "a response is not kept");
            send(head, body);
            return Ok(Made::pass());
        }
        Verdict::Failed => {
            let status = head.status;
            send(head, body);
            return Err(NoPage::Failed(status));
        }
    };
    let body = match collect(body, settings.max_body, COLLECT_WITHIN).await {
        Collected::Whole(body) if is_complete(&head.headers, &body) => body,
        Collected::Whole(body) => {
            send(head, body.into());
            return Err(NoPage::BrokeOff);
        }
        Collected::TooMuch(body) => {
            tracing::debug!("a response is not kept: it is too large, too slow, or has trailers");
            send(head, body);
            return Ok(Made::pass());
        }
        Collected::Broken(body) => {
            send(head, body);
            return Err(NoPage::BrokeOff);
        }
    };
    let tags = head.extensions.remove::<CacheTags>().unwrap_or_default();
    let page = Page::new(settings, head, body, cache.unix_time());
    // Made of what is old already: it is as good as that for those who wait, and not for those who come.
    let is_kept = !scope::has_seen_stale();
    let ttl = if is_kept { ttl } else { Duration::ZERO };
    Ok(Made {
        answer: Loaded::new(Answer::Page(page)).ttl(ttl).tags(tags.iter()),
        is_kept,
    })
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
