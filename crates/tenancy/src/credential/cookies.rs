use std::{error::Error, fmt};

use http::{HeaderMap, header::SET_COOKIE};

/// Checks that every cookie that an answer sets stays on the very host that set it, for tests of your sign-in.
///
/// A cookie with a `Domain` is sent to all hosts below it: under one base domain, to every tenant. And whoever
/// runs one host below can plant it on the others, unless its name begins with `__Host-`, which browsers accept
/// only with `Secure`, `Path=/` and no `Domain` (RFC 6265bis §4.1.3.2).
///
/// With `over_tls`, every cookie must have that name and both attributes; without, as in local development,
/// it must have no `Domain`.
///
/// ```
/// use axum::http::{HeaderMap, HeaderValue, header::SET_COOKIE};
/// use tenancy::credential::check_host_only;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(SET_COOKIE, HeaderValue::from_static("__Host-session=k; Path=/; Secure; HttpOnly"));
/// check_host_only(&headers, true)?;
///
/// headers.append(SET_COOKIE, HeaderValue::from_static("session=k; Path=/; Domain=example.com"));
/// assert!(check_host_only(&headers, false).is_err());
/// # Ok::<(), tenancy::credential::SharedCookie>(())
/// ```
///
/// # Errors
/// For the first cookie that could get elsewhere.
pub fn check_host_only(headers: &HeaderMap, over_tls: bool) -> Result<(), SharedCookie> {
    headers
        .get_all(SET_COOKIE)
        .iter()
        .try_for_each(|cookie| check_cookie(cookie.as_bytes(), over_tls))
}

fn check_cookie(cookie: &[u8], over_tls: bool) -> Result<(), SharedCookie> {
    let mut parts = cookie.split(|b| *b == b';');
    let pair = parts.next().unwrap_or_default();
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
    let refuse = |reason| {
        Err(SharedCookie {
            name: String::from_utf8_lossy(name).chars().take(64).collect(),
            reason,
        })
    };
    let (mut is_secure, mut has_root_path) = (false, false);
    for attribute in parts {
        let mut halves = attribute.splitn(2, |b| *b == b'=');
        let key = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next().unwrap_or_default().trim_ascii();
        if key.eq_ignore_ascii_case(b"domain") {
            return refuse("it has a Domain, and so reaches other hosts");
        }
        is_secure |= key.eq_ignore_ascii_case(b"secure");
        // The last one counts.
        if key.eq_ignore_ascii_case(b"path") {
            has_root_path = value == b"/";
        }
    }
    if !over_tls {
        return Ok(());
    }
    if !name.starts_with(b"__Host-") {
        return refuse("its name does not begin with __Host-, so that a neighbouring host can plant it");
    }
    if !(is_secure && has_root_path) {
        return refuse("without Secure and Path=/ browsers refuse its name");
    }
    Ok(())
}

/// A cookie that could reach, or come from, another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCookie {
    name: Box<str>,
    reason: &'static str,
}

impl SharedCookie {
    /// The cookie's name, cut to 64 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for SharedCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie {:?} is not host-only: {}", self.name, self.reason)
    }
}

impl Error for SharedCookie {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_leaves_its_host_is_found() {
        // The cookie; whether it is fine over TLS, and in plain HTTP.
        for (cookie, over_tls, plain) in [
            ("__Host-s=k; Path=/; Secure; HttpOnly; SameSite=Lax", true, true),
            ("__Host-s=k;path=/;SECURE", true, true),
            ("__Host-s=; Path=/; Secure; Max-Age=0", true, true),
            ("__Host-s=k; Path=/", false, true),
            ("__Host-s=k; Secure", false, true),
            ("__Host-s=k; Path=/; Path=/a; Secure", false, true),
            ("s=k; Path=/; Secure", false, true),
            ("s=\"Domain=a\"; Path=/", false, true),
            ("__Host-s=k; Path=/; Secure; Domain=example.com", false, false),
            ("s=k; domain = .example.com", false, false),
            ("s=k; DOMAIN", false, false),
        ] {
            assert_eq!(
                check_cookie(cookie.as_bytes(), true).is_ok(),
                over_tls,
                "{cookie}"
            );
            assert_eq!(check_cookie(cookie.as_bytes(), false).is_ok(), plain, "{cookie}");
        }
    }
}
