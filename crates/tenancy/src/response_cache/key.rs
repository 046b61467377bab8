//! Under which key a request's page is kept.

use axum::extract::OriginalUri;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts};

use super::{
    Fingerprint,
    page::Answer,
    settings::{OF_EVERY_KEY, Settings},
};
use crate::cache::{CacheKey, Keys};

/// The route's template, the path, the query in its one spelling, the version, and the rest: see [`rest_of`].
const PAGES: Keys<(&str, &str, &str, u32, &[u8]), Answer> = Keys::new("response", 2);

/// How long a path may be, and all lines of one header, in bytes.
const LONGEST_PATH: usize = 2048;
const LONGEST_HEADER: usize = 512;

/// Of a request whose query has its one spelling.
///
/// `None` for what is too long or can not be read: it is not cut, for then it would be another's.
pub(super) fn page_key(
    settings: &Settings,
    route: &str,
    parts: &Parts,
    fingerprint: Option<&Fingerprint>,
) -> Option<CacheKey<Answer>> {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let rest = rest_of(settings, parts, fingerprint)?;
    if path.len() > LONGEST_PATH {
        return None;
    }
    Some(PAGES.key((route, path, query, settings.version, &rest)))
}

/// What else a page depends on, each part with its length before it: who may see it, and where the client thinks that it is.
fn rest_of(settings: &Settings, parts: &Parts, fingerprint: Option<&Fingerprint>) -> Option<Vec<u8>> {
    let mut rest = Vec::with_capacity(160);
    match fingerprint {
        None => push(&mut rest, b""),
        Some(fingerprint) => push(&mut rest, fingerprint.as_bytes()),
    }
    push(&mut rest, settings.name.as_bytes());
    if !has_one_spelling(&parts.headers) {
        return None;
    }
    push_address(&mut rest, &parts.uri)?;
    // A nested router takes the beginning of the path off, parameters and all.
    match parts.extensions.get::<OriginalUri>() {
        None => push(&mut rest, b""),
        Some(OriginalUri(original)) => {
            push(&mut rest, original.path().as_bytes());
            push_address(&mut rest, original)?;
        }
    }
    for name in OF_EVERY_KEY {
        push_header(&mut rest, &parts.headers, name)?;
    }
    push_other_addresses(&mut rest, &parts.headers)?;
    for name in &settings.vary {
        // Another release may vary by other headers.
        push(&mut rest, name.as_str().as_bytes());
        push_header(&mut rest, &parts.headers, name.as_str())?;
    }
    Some(rest)
}

/// Hosts are the same in any case and with a dot at their end, ports with zeros before them. As a key each spelling would be a page of
/// its own, and there is no end of them.
fn has_one_spelling(headers: &HeaderMap) -> bool {
    let hosts = headers.get_all(header::HOST).iter();
    let ports = headers.get_all("x-forwarded-port").iter();
    let schemes = headers.get_all("x-forwarded-proto").iter();
    hosts.map(HeaderValue::as_bytes).all(is_plain_host)
        && ports.map(HeaderValue::as_bytes).all(is_plain_port)
        && schemes
            .map(HeaderValue::as_bytes)
            .all(|scheme| matches!(scheme, b"http" | b"https"))
}

fn is_plain_host(host: &[u8]) -> bool {
    let bracket = host.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    let colon = host[bracket..].iter().rposition(|byte| *byte == b':');
    let (name, port) = match colon {
        Some(at) => (&host[..bracket + at], Some(&host[bracket + at + 1..])),
        None => (host, None),
    };
    !name.ends_with(b".") && !name.iter().any(u8::is_ascii_uppercase) && port.is_none_or(is_plain_port)
}

fn is_plain_port(port: &[u8]) -> bool {
    let number = std::str::from_utf8(port)
        .ok()
        .and_then(|port| port.parse::<u16>().ok());
    number.is_some_and(|number| number.to_string().as_bytes() == port)
}

fn push_address(rest: &mut Vec<u8>, uri: &Uri) -> Option<()> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.len() > LONGEST_HEADER || uri.path().len() > LONGEST_PATH {
        return None;
    }
    push(rest, uri.scheme_str().unwrap_or_default().as_bytes());
    push(rest, authority.as_bytes());
    Some(())
}

/// Not every handler knows that nobody vouches for these.
fn push_other_addresses(rest: &mut Vec<u8>, headers: &HeaderMap) -> Option<()> {
    let present = || {
        headers
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| tells_an_address(name))
    };
    rest.extend_from_slice(&(present().count() as u64).to_le_bytes());
    for name in present() {
        push(rest, name.as_bytes());
        push_header(rest, headers, name)?;
    }
    Some(())
}

/// Headers, beside those of every key, by which some proxies tell some frameworks the address of a page.
fn tells_an_address(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => matches!(
            rest,
            "forwarded-context"
                | "forwarded-path"
                | "forwarded-protocol"
                | "forwarded-scheme"
                | "forwarded-server"
                | "forwarded-ssl"
                | "forwarded-uri"
                | "host"
                | "http-host-override"
                | "http-method"
                | "http-method-override"
                | "method-override"
                | "original-host"
                | "original-uri"
                | "original-url"
                | "rewrite-url"
                | "scheme"
                | "script-name"
                | "url-scheme"
        ),
        None => name == "front-end-https",
    }
}

/// Its lines as they are, in their order.
fn push_header(rest: &mut Vec<u8>, headers: &HeaderMap, name: &str) -> Option<()> {
    let lines = headers.get_all(name);
    let (count, len) = lines.iter().fold((0_usize, 0_usize), |(count, len), line| {
        (count + 1, len.saturating_add(line.len()))
    });
    if len > LONGEST_HEADER || count > LONGEST_HEADER {
        return None;
    }
    rest.extend_from_slice(&(count as u64).to_le_bytes());
    for line in lines {
        push(rest, line.as_bytes());
    }
    Some(())
}

fn push(rest: &mut Vec<u8>, part: &[u8]) {
    rest.extend_from_slice(&(part.len() as u64).to_le_bytes());
    rest.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (host, is_plain) in [
            ("acme.example.com", true),
            ("acme.example.com:3000", true),
            ("[::1]", true),
            ("[::1]:3000", true),
            ("Acme.example.com", false),
            ("acme.example.com.", false),
            ("acme.example.com.:80", false),
            ("acme.example.com:", false),
            ("acme.example.com:080", false),
            ("acme.example.com:+80", false),
            ("acme.example.com:65536", false),
            ("[::1]:080", false),
        ] {
            assert_eq!(is_plain_host(host.as_bytes()), is_plain, "{host}");
        }
    }
}
