//! What is kept of a response, and how it becomes one again.

use std::{fmt, time::Duration};

use axum::body::{Body, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::{
    conditional::{Conditions, entity_tag},
    settings::Settings,
};

/// What is cached under the key of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Page(Page),
    /// The last response was for its client alone: ask for yourself.
    Pass,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    status: u16,
    headers: Headers,
    body: Text,
    /// Milliseconds since 1970.
    made_at: u64,
}

/// What a client wants of a page.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) is_head: bool,
    pub(super) conditions: Conditions,
}

/// RFC 9110 §7.6.1 and RFC 9111 §3.1, and what is said anew for each client.
const NOT_KEPT: [&str; 14] = [
    "age",
    "cache-status",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// RFC 9110 §15.4.5.
const OF_NOT_MODIFIED: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::VARY,
];

impl Page {
    /// `now`: since 1970.
    pub(super) fn new(settings: &Settings, head: Parts, body: Bytes, now: Duration) -> Self {
        let mut headers = head.headers;
        let former_age = age_of(&headers);
        remove_what_is_not_kept(&mut headers);
        if !headers.contains_key(header::ETAG)
            && let Some(tag) = entity_tag(&headers, &body)
        {
            headers.insert(header::ETAG, tag);
        }
        // What was said to this cache is not said to the client's.
        headers.remove(header::EXPIRES);
        headers.insert(header::CACHE_CONTROL, settings.client_cache_control.clone());
        settings.say_what_it_varies_by(&mut headers);
        let made_at = now.saturating_sub(former_age);
        Self {
            status: head.status.as_u16(),
            headers: Headers(without_their_buffers(&headers)),
            body: Text(body),
            made_at: u64::try_from(made_at.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Copies the headers; the body is shared. `now`: since 1970; `None` for who has it from the handler just now.
    pub(super) fn response(
        &self,
        wanted: &Wanted,
        now: Option<Duration>,
        status: Option<HeaderValue>,
    ) -> Response<Body> {
        let Self { headers, body, .. } = self;
        let is_known = self.status == StatusCode::OK.as_u16() && wanted.conditions.are_met_by(&headers.0);
        let mut response = if is_known {
            let mut response = Self::not_modified(&headers.0);
            // As of the whole page (RFC 9110 §8.6): else the router, which sees no body, says 0.
            let len = HeaderValue::from(body.0.len());
            response.headers_mut().insert(header::CONTENT_LENGTH, len);
            response
        } else {
            let mut response = Response::new(Body::empty());
            // It was one when it was kept.
            *response.status_mut() =
                StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.headers_mut() = headers.0.clone();
            if wanted.is_head {
                let len = HeaderValue::from(body.0.len());
                response.headers_mut().insert(header::CONTENT_LENGTH, len);
            } else {
                *response.body_mut() = Body::from(body.0.clone());
            }
            response
        };
        if let Some(now) = now {
            let age = now.saturating_sub(Duration::from_millis(self.made_at)).as_secs();
            // RFC 9111 §1.2.2: no more than fits in 31 bits.
            let age = HeaderValue::from(age.min(1 << 31));
            response.headers_mut().insert(header::AGE, age);
        }
        if let Some(status) = status {
            response.headers_mut().insert(super::CACHE_STATUS, status);
        }
        response
    }

    fn not_modified(headers: &HeaderMap) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in OF_NOT_MODIFIED {
            for value in headers.get_all(&name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        response
    }
}

fn age_of(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok());
    let seconds = age.and_then(|age| age.parse::<u32>().ok());
    Duration::from_secs(seconds.unwrap_or(0).into())
}

fn remove_what_is_not_kept(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_KEPT {
        headers.remove(name);
    }
}

/// A header that was read from a socket is a piece of a buffer, which would be kept with it.
fn without_their_buffers(headers: &HeaderMap) -> HeaderMap {
    let mut copies = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            copies.append(name, value);
        }
    }
    copies
}

/// Written as pairs of a name and its bytes. What is no header any more when it is read is left out.
#[derive(Clone, Debug, Default)]
struct Headers(HeaderMap);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines = self.0.iter();
        let lines: Vec<_> = lines
            .map(|(name, value)| (name.as_str(), Text(Bytes::copy_from_slice(value.as_bytes()))))
            .collect();
        lines.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = Vec::<(String, Text)>::deserialize(deserializer)?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value.0)) {
                // A hostile entry may have more than a map can hold.
                if headers.try_append(name, value).is_err() {
                    break;
                }
            }
        }
        Ok(Self(headers))
    }
}

/// Bytes that are written in one piece.
#[derive(Clone, Debug, Default)]
struct Text(Bytes);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(ReadBytes).map(Self)
    }
}

struct ReadBytes;

impl<'de> Visitor<'de> for ReadBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    /// As JSON has them.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::response_cache::ResponseCache;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn page(headers: &[(&'static str, &'static str)]) -> Page {
        let cache = ResponseCache::same_for_everybody(at(60)).vary(["accept-language"]);
        let mut response = Response::builder().status(200);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        Page::new(&cache.settings, head, "body".into(), at(1000))
    }

    fn described(response: &Response<Body>) -> Vec<String> {
        let lines = response.headers().iter();
        let mut lines: Vec<_> = lines
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn hop_by_hop_headers_and_those_of_one_client_are_not_kept() {
        let page = page(&[
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("set-cookie", "a=b"),
            ("expires", "0"),
            ("cache-control", "public, max-age=9"),
            ("content-length", "4"),
            ("etag", "\"mine\""),
            ("x-kept", "1"),
        ]);
        assert_eq!(
            described(&page.response(&Wanted::default(), None, None)),
            [
                "cache-control: private, no-cache",
                "etag: \"mine\"",
                "vary: accept-language",
                "x-kept: 1"
            ]
        );
    }

    #[test]
    fn its_age_counts_from_when_it_was_made_with_the_age_that_it_had() {
        for (age, expected) in [(None, "30"), (Some("12"), "42"), (Some("x"), "30")] {
            let headers: Vec<_> = age.map(|age| ("age", age)).into_iter().collect();
            let response = page(&headers).response(&Wanted::default(), Some(at(1030)), None);
            assert_eq!(response.headers()["age"], expected);
        }
        // The clock was set back.
        let response = page(&[]).response(&Wanted::default(), Some(at(9)), None);
        assert_eq!(response.headers()["age"], "0");
    }

    #[test]
    fn who_has_it_gets_304_with_what_that_is_to_say() {
        let page = page(&[
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
            ("content-location", "/x"),
            ("x-other", "1"),
        ]);
        let request = Request::get("/")
            .header("if-none-match", "\"a\"")
            .body(())
            .unwrap();
        let mut wanted = Wanted {
            is_head: false,
            conditions: Conditions::of(request.headers()),
        };
        let response = page.response(&wanted, Some(at(1001)), None);
        assert_eq!(response.status(), 304);
        let expected = [
            "age: 1",
            "cache-control: private, no-cache",
            "content-length: 4",
            "content-location: /x",
            "etag: \"a\"",
            "vary: accept-language",
        ];
        assert_eq!(described(&response), expected);
        wanted.is_head = true;
        assert_eq!(page.response(&wanted, None, None).status(), 304);
        let not_found = Page { status: 404, ..page };
        assert_eq!(not_found.response(&wanted, None, None).status(), 404);
    }

    #[test]
    fn a_head_has_the_length_and_no_body() {
        let wanted = Wanted {
            is_head: true,
            ..Wanted::default()
        };
        let response = page(&[]).response(&wanted, None, None);
        assert_eq!(response.headers()["content-length"], "4");
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
    }

    #[test]
    fn a_page_is_the_same_when_it_was_written_and_read() {
        let page = page(&[("x-bytes", "a"), ("x-bytes", "b"), ("content-type", "text/html")]);
        let expected = page.response(&Wanted::default(), None, None);
        let json = serde_json::to_vec(&page).unwrap();
        let binary = postcard::to_allocvec(&page).unwrap();
        let read: [Page; 2] = [
            serde_json::from_slice(&json).unwrap(),
            postcard::from_bytes(&binary).unwrap(),
        ];
        for read in read {
            let response = read.response(&Wanted::default(), None, None);
            assert_eq!(response.headers(), expected.headers());
            assert_eq!(read.body.0, "body");
        }
        assert!(binary.len() < 400, "{}", binary.len());
    }

    #[test]
    fn an_entry_that_is_no_page_any_more_breaks_nothing() {
        let lines = vec![
            ("bad name", Text("x".into())),
            ("x-bad", Text("\n".into())),
            ("x-good", Text("1".into())),
        ];
        let read: Headers = postcard::from_bytes(&postcard::to_allocvec(&lines).unwrap()).unwrap();
        assert_eq!(read.0.len(), 1);
    }
}
