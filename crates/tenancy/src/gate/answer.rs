//! What a request is told during maintenance: the answer, made once per record and handed out cheaply.
//!
//! * Browsers (`Accept` names HTML) get the page, all others `application/problem+json`; both with the set
//!   status and `Retry-After`.
//! * If a redirect is set, browsers are sent there instead, on GET and HEAD only, by 302. It carries no
//!   `Retry-After`: on a redirect that would ask the client to wait before it follows (RFC 9110 §10.2.3). Who
//!   is already there gets the page, so that it cannot loop.
//! * HEAD gets the headers of GET. Nothing may be stored, and nothing of the request comes back.

use std::{borrow::Cow, fmt, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
        RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use tenancy_core::{Host, Maintenance};

use super::bypass::{Bypass, BypassKey, BypassSettings, Subject};

mod accept;
mod redirect;

#[cfg(test)]
mod tests;

use redirect::Redirect;

const DEFAULT_PAGE: &str = include_str!("answer/default.html");

/// The most bytes of a page; it is kept in memory for each tenant in maintenance.
const MAX_PAGE_BYTES: usize = 256 * 1024;

/// Which setting of a [`Maintenance`] cannot be used, and why.
///
/// Made for operators: it may quote a status or a redirect, never the bypass key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMaintenance {
    field: &'static str,
    reason: Cow<'static, str>,
}

impl InvalidMaintenance {
    fn new(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { field, reason }
    }

    /// Name of the setting.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidMaintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the maintenance setting `{}` is not valid: {}",
            self.field, self.reason
        )
    }
}

impl std::error::Error for InvalidMaintenance {}

/// A checked [`Maintenance`], ready to answer with.
#[derive(Clone)]
pub struct CompiledMaintenance {
    status: StatusCode,
    retry_after: HeaderValue,
    page: Content,
    problem: Content,
    redirect: Option<Redirect>,
    bypass: Option<Bypass>,
}

#[derive(Clone)]
struct Content {
    kind: HeaderValue,
    length: HeaderValue,
    bytes: Bytes,
}

impl Content {
    fn new(kind: &'static str, bytes: Bytes) -> Self {
        Self {
            kind: HeaderValue::from_static(kind),
            length: HeaderValue::from(bytes.len()),
            bytes,
        }
    }

    fn html(bytes: Bytes) -> Self {
        Self::new("text/html; charset=utf-8", bytes)
    }
}

/// What the answer depends on.
pub(crate) struct MaintenanceRequest<'a> {
    pub(crate) method: &'a Method,
    /// As the client sent it: before a tenant's prefix was cut off.
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// The host that counts, where a trusted proxy named it. `None`: the URI's or the `Host` header's.
    pub(crate) host: Option<&'a Host<'a>>,
    /// Time since 1970-01-01 UTC.
    pub(crate) now: Duration,
    /// Whether the client speaks TLS, to this process or to a trusted proxy.
    pub(crate) secure: bool,
}

/// What becomes of a request during maintenance.
#[derive(Debug)]
pub(crate) enum MaintenanceDecision {
    /// It goes on: it knows the bypass, or there is no maintenance.
    Pass,
    /// It ends here.
    Answer(Response<Body>),
}

impl CompiledMaintenance {
    /// Checks every setting. Copies the page.
    ///
    /// # Errors
    /// When the status is not 400 to 599, the redirect is neither a path nor an http(s) URL, the page is empty
    /// or above 256 KiB, or the bypass key is no stored [`BypassKey`]. The error names the first of them.
    pub fn compile(maintenance: &Maintenance, settings: &BypassSettings) -> Result<Self, InvalidMaintenance> {
        match Self::compile_lenient(maintenance, settings) {
            (compiled, None) => Ok(compiled),
            (_, Some(invalid)) => Err(invalid),
        }
    }

    /// Like [`compile`](Self::compile), for a record that is in force already: what cannot be used counts as
    /// not set, and the first fault is returned for the log. A broken record never opens a tenant.
    pub fn compile_lenient(
        maintenance: &Maintenance,
        settings: &BypassSettings,
    ) -> (Self, Option<InvalidMaintenance>) {
        let mut fault = None;
        let status = or_note(status_of(maintenance), &mut fault).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let redirect = or_note(redirect_of(maintenance), &mut fault).flatten();
        let page = or_note(page_of(maintenance), &mut fault)
            .unwrap_or_else(|| Content::html(Bytes::from_static(DEFAULT_PAGE.as_bytes())));
        let key = or_note(bypass_key_of(maintenance), &mut fault).flatten();
        let compiled = Self {
            status,
            retry_after: HeaderValue::from(maintenance.retry_after),
            page,
            problem: problem(status),
            redirect,
            bypass: key.map(|key| Bypass::new(key, settings.clone())),
        };
        (compiled, fault)
    }

    /// Lets a bypass cookie through, turns a bypass link into a cookie, and answers everything else.
    pub(crate) fn decide(
        &self,
        subject: Subject<'_>,
        request: &MaintenanceRequest<'_>,
    ) -> MaintenanceDecision {
        if let Some(bypass) = &self.bypass {
            // The link comes first, so that the secret leaves the address bar even of those who have a cookie.
            if let Some(answer) = answer_link(bypass, subject, request) {
                return MaintenanceDecision::Answer(answer);
            }
            if bypass.verify(subject, request.headers, request.now, request.secure) {
                return MaintenanceDecision::Pass;
            }
        }
        MaintenanceDecision::Answer(self.answer(request))
    }

    /// The status of the answer for those without a bypass.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer for those without a bypass.
    pub(crate) fn answer(&self, request: &MaintenanceRequest<'_>) -> Response<Body> {
        let wants_html = accept::prefers_html(request.headers);
        if wants_html && let Some(redirect) = self.redirect_for(request) {
            return redirect_to(StatusCode::FOUND, redirect.location().clone());
        }
        let content = if wants_html { &self.page } else { &self.problem };
        let body = match *request.method {
            Method::HEAD => Body::empty(),
            _ => Body::from(content.bytes.clone()),
        };
        let mut response = unstorable(self.status, body);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, self.retry_after.clone());
        headers.insert(CONTENT_TYPE, content.kind.clone());
        // Spelled out, as HEAD has no body to count.
        headers.insert(CONTENT_LENGTH, content.length.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if wants_html {
            headers.insert(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
            );
        }
        response
    }

    fn redirect_for(&self, request: &MaintenanceRequest<'_>) -> Option<&Redirect> {
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return None;
        }
        self.redirect
            .as_ref()
            .filter(|redirect| !redirect.leads_back(request))
    }
}

impl fmt::Debug for CompiledMaintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledMaintenance")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("redirect", &self.redirect.as_ref().map(Redirect::location))
            .field("bypass", &self.bypass.is_some())
            .finish_non_exhaustive()
    }
}

/// The cookie and the way back, if the request brings the right secret. A wrong one counts as none.
fn answer_link(
    bypass: &Bypass,
    subject: Subject<'_>,
    request: &MaintenanceRequest<'_>,
) -> Option<Response<Body>> {
    let secret = bypass.presented(request.method, request.uri)?;
    if !bypass.accepts(&secret) {
        return None;
    }
    let location = bypass.location_without_secret(request.uri)?;
    let mut response = redirect_to(StatusCode::SEE_OTHER, location);
    let cookie = bypass.issue(subject, request.now, request.secure);
    response.headers_mut().insert(SET_COOKIE, cookie);
    Some(response)
}

fn redirect_to(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = unstorable(status, Body::empty());
    response.headers_mut().insert(LOCATION, location);
    response
}

fn unstorable(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The URL may hold a secret, also a mistyped one: it goes to nobody.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn or_note<T>(checked: Result<T, InvalidMaintenance>, fault: &mut Option<InvalidMaintenance>) -> Option<T> {
    match checked {
        Ok(value) => Some(value),
        Err(invalid) => {
            fault.get_or_insert(invalid);
            None
        }
    }
}

fn status_of(maintenance: &Maintenance) -> Result<StatusCode, InvalidMaintenance> {
    StatusCode::from_u16(maintenance.status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
        .ok_or_else(|| InvalidMaintenance::new("status", format!("{} is not 400 to 599", maintenance.status)))
}

fn redirect_of(maintenance: &Maintenance) -> Result<Option<Redirect>, InvalidMaintenance> {
    let parse = |to: &str| {
        Redirect::parse(to).map_err(|reason| {
            let start: String = to.chars().take(64).collect();
            InvalidMaintenance::new("redirect", format!("{start:?}: {reason}"))
        })
    };
    maintenance.redirect.as_deref().map(parse).transpose()
}

fn page_of(maintenance: &Maintenance) -> Result<Content, InvalidMaintenance> {
    let page = match maintenance.page.as_deref() {
        None => Bytes::from_static(DEFAULT_PAGE.as_bytes()),
        Some("") => return Err(InvalidMaintenance::new("page", "it is empty")),
        Some(page) if page.len() > MAX_PAGE_BYTES => {
            return Err(InvalidMaintenance::new("page", "it is above 256 KiB"));
        }
        Some(page) => Bytes::copy_from_slice(page.as_bytes()),
    };
    Ok(Content::html(page))
}

fn bypass_key_of(maintenance: &Maintenance) -> Result<Option<BypassKey>, InvalidMaintenance> {
    let parse = |hex: &str| {
        BypassKey::from_hex(hex).map_err(|invalid| InvalidMaintenance::new("bypass_key", invalid.reason()))
    };
    maintenance.bypass_key.as_deref().map(parse).transpose()
}

/// RFC 9457; `about:blank` has the status phrase for its title.
fn problem(status: StatusCode) -> Content {
    let title = status.canonical_reason().unwrap_or("Under maintenance");
    let status = status.as_u16();
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"Under maintenance. Try again later."}}"#
    );
    Content::new("application/problem+json", body.into())
}
