//! A request written as text, so that seeds can be written by hand:
//!
//! ```text
//! GET /notes?x=1 HTTP/1.1
//! :peer: 10.0.0.1:9
//! host: acme.app.test
//!
//! a body
//! ```

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderName, HeaderValue, Method, Request, Uri, Version},
};

/// The request that the text describes; `None` where no HTTP library would build one. Lines that are no header are
/// left out.
pub(super) fn request(text: &[u8]) -> Option<Request<Body>> {
    let (head, body) = split_once(text, b"\n\n").unwrap_or((text, b""));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = Uri::try_from(words.next()?).ok()?;
    let version = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.version_mut() = version;
    let mut peer = SocketAddr::from(([127, 0, 0, 1], 1));
    for line in lines {
        if let Some(address) = line.strip_prefix(b":peer: ") {
            peer = std::str::from_utf8(address).ok()?.parse().ok()?;
        } else if let Some((name, value)) = split_once(line, b": ") {
            let header = HeaderName::from_bytes(name)
                .ok()
                .zip(HeaderValue::from_bytes(value).ok());
            if let Some((name, value)) = header {
                request.headers_mut().append(name, value);
            }
        }
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    Some(request)
}

fn split_once<'t>(text: &'t [u8], separator: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}
