use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tenancy_core::HostForm;

use super::{
    Challenge, Domains,
    challenge::{HTTP_PREFIX, is_token},
};
use crate::{Tenancy, limit::Gcra, resolve::authority_of};

/// Look-ups of tokens each second, and at once. Whoever floods the route makes proofs by HTTP wait, and no more.
const LOOK_UPS: (u32, u32) = (50, 100);

struct Answers {
    domains: Domains,
    tenancy: Tenancy,
    budget: Gcra,
}

impl Domains {
    /// The route `/.well-known/tenancy-challenge/{token}`, for [`HttpCheck`](super::HttpCheck) to find.
    ///
    /// Stands outside of the stack, for a domain that is claimed leads nowhere yet: merge it with the router whose
    /// fallback the application is. It answers for open claims and verified domains, for exactly the host that the
    /// request is for by the stack's own rules (trusted proxies included); 404 otherwise. What has not the form of a
    /// token is never looked up; beyond 50 look-ups a second (100 at once), the answer is 503.
    pub fn challenge_routes(&self, tenancy: &Tenancy) -> Router {
        let answers = Arc::new(Answers {
            domains: self.clone(),
            tenancy: tenancy.clone(),
            budget: Gcra::per_second(LOOK_UPS.0, LOOK_UPS.1),
        });
        let route = format!("{HTTP_PREFIX}{{token}}");
        Router::new().route(
            &route,
            get(
                move |request: Request<Body>| async move { answers.answer(&asked(&answers, &request)).await },
            ),
        )
    }
}

/// What is asked for, if it can be a challenge at all.
fn asked(answers: &Answers, request: &Request<Body>) -> Option<Challenge> {
    // The raw path: a token needs no escapes.
    let token = request.uri().path().strip_prefix(HTTP_PREFIX)?;
    let authority = authority_of(request, answers.tenancy.shared().proxies.as_ref())?;
    let may_be_known = is_token(token) && authority.host.form() == HostForm::Name;
    may_be_known.then(|| Challenge::new(authority.host.name(), token))
}

impl Answers {
    async fn answer(&self, asked: &Option<Challenge>) -> Response<Body> {
        let Some(challenge) = asked else {
            return plain(StatusCode::NOT_FOUND, String::new());
        };
        if let Err(wait) = self.budget.take(self.domains.clock.monotonic()) {
            return try_again(wait);
        }
        let now_ms = self.domains.now_ms();
        let store = &self.domains.store;
        match store
            .is_token_of(challenge.domain(), challenge.token(), now_ms)
            .await
        {
            Ok(true) => plain(StatusCode::OK, challenge.http_body()),
            Ok(false) => plain(StatusCode::NOT_FOUND, String::new()),
            Err(error) => {
                tracing::warn!(target: "tenancy::domains", ?error, "a challenge could not be looked up");
                try_again(Duration::from_secs(1))
            }
        }
    }
}

fn try_again(after: Duration) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, String::new());
    let seconds = after.as_secs().max(1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn plain(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
