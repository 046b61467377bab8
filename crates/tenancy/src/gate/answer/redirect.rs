//! Where browsers are sent during maintenance.

use http::{HeaderValue, Uri, header::HOST};
use tenancy_core::Host;

use super::MaintenanceRequest;

/// A checked target: a path on the same host, or an absolute http(s) URL.
#[derive(Clone)]
pub(super) struct Redirect {
    location: HeaderValue,
    host: Option<Host<'static>>,
    path: Box<str>,
}

impl Redirect {
    const MAX_LEN: usize = 2048;

    /// Takes only what a browser requests exactly as it is written: a target that it would rewrite first
    /// could not be recognised when it comes back, and would loop.
    pub(super) fn parse(to: &str) -> Result<Self, &'static str> {
        if to.len() > Self::MAX_LEN {
            return Err("it is longer than 2048 bytes");
        }
        if !to.bytes().all(is_url_byte) || has_broken_escape(to) {
            return Err("it has a character that a URL may only have percent-encoded");
        }
        let uri: Uri = to.parse().map_err(|_| "it is not a URL")?;
        let host = match to.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => return Err("it begins with two slashes"),
            Some(_) => None,
            None => Some(host_of_url(to, &uri)?),
        };
        if uri.path().split('/').any(is_dot_segment) {
            return Err("its path has a '.' or '..' segment");
        }
        let location = HeaderValue::from_str(to).map_err(|_| "it is not fit for a header")?;
        let path = uri.path().into();
        Ok(Self { location, host, path })
    }

    pub(super) fn location(&self) -> &HeaderValue {
        &self.location
    }

    /// Whether the request is at the target already. Ports are left out, and a host that cannot be told counts
    /// as the same: the page is shown once too often rather than never.
    pub(super) fn leads_back(&self, request: &MaintenanceRequest<'_>) -> bool {
        if request.uri.path() != &*self.path {
            return false;
        }
        let Some(target) = &self.host else {
            return true;
        };
        if let Some(host) = request.host {
            return host.name() == target.name();
        }
        let sent = match request.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => request.headers.get(HOST).map(HeaderValue::as_bytes),
        };
        match sent.map(Host::parse) {
            Some(Ok(host)) => host.name() == target.name(),
            _ => true,
        }
    }
}

fn host_of_url(to: &str, uri: &Uri) -> Result<Host<'static>, &'static str> {
    if !to.starts_with("http://") && !to.starts_with("https://") {
        return Err("it is neither a path with one slash in front nor an http:// or https:// URL");
    }
    let authority = uri.authority().ok_or("it has no host")?;
    let host = Host::parse(authority.as_str().as_bytes()).map_err(|invalid| invalid.reason())?;
    Ok(host.into_owned())
}

/// The characters of RFC 3986 §2, without those that browsers encode in a path: what is not in this set is
/// `"<>\^`{|}`, a space, a control or not ASCII.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn has_broken_escape(text: &str) -> bool {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    !text.split('%').skip(1).all(is_escape)
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(
        segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
        "." | ".."
    )
}
