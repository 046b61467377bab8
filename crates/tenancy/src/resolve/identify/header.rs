use std::borrow::Cow;

use http::HeaderName;
use tenancy_core::{Identification, Identify, KeyKind, Reads, RequestHead};

use super::{
    IdentifierConfigError,
    value::{self, invalid, key_of_value, visible_text},
};

/// Identifies by the value of one request header: `slug:acme` for `x-tenant-id: acme`.
///
/// No header is absent. A header given twice, even with equal values, one that is empty, longer than 253 bytes,
/// a list, or not a canonical value of its kind (`ACME`) is invalid.
///
/// Any client can send any header: use this for clients that authenticate, or behind a proxy that sets it.
/// Borrows the value from the head.
///
/// ```
/// # use tenancy::resolve::Header;
/// use tenancy_core::{Identification, Identify, RequestHead};
///
/// let by_header = Header::named("x-tenant-id")?;
/// let (parts, ()) = http::Request::get("/").header("x-tenant-id", "acme").body(())?.into_parts();
/// let Identification::Key(found) = by_header.identify(&RequestHead::new(&parts)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
///
/// assert!(Header::named("x-forwarded-host").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Header {
    header: HeaderName,
    kind: KeyKind,
}

impl Header {
    /// Identifies by the header `name`, whose value is a slug unless said otherwise.
    ///
    /// # Errors
    /// When `name` is no header name, has an underscore (which proxies and gateways take for a hyphen or drop), or
    /// is a header with a meaning of its own: `host`, `cookie`, `authorization`, `x-forwarded-*`, `sec-*`, ….
    pub fn named(name: &str) -> Result<Self, IdentifierConfigError> {
        let refuse = |reason| IdentifierConfigError::new("header name", name, reason);
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("it is no header name"))?;
        if header.as_str().contains('_') {
            return Err(refuse("proxies take '_' for '-', or drop the header"));
        }
        if has_meaning_of_its_own(header.as_str()) {
            return Err(refuse("this header has a meaning of its own"));
        }
        Ok(Self {
            header,
            kind: KeyKind::Slug,
        })
    }

    /// The value is a tenant id.
    #[must_use]
    pub fn as_id(mut self) -> Self {
        self.kind = KeyKind::Id;
        self
    }

    /// The value is a host name, canonical and without port.
    #[must_use]
    pub fn as_domain(mut self) -> Self {
        self.kind = KeyKind::Domain;
        self
    }

    /// The value is a key in a space of the application's own: visible ASCII without commas.
    ///
    /// # Errors
    /// When `space` is one of the built-in names.
    pub fn as_custom(mut self, space: &'static str) -> Result<Self, IdentifierConfigError> {
        self.kind = value::custom_kind(space)?;
        Ok(self)
    }
}

/// Headers that servers, proxies and browsers write or act on. A tenant read from one of them would be chosen by
/// whoever is meant to write it.
fn has_meaning_of_its_own(name: &str) -> bool {
    const PREFIXES: [&str; 7] = [
        "x-forwarded",
        "x-original-",
        "sec-",
        "proxy-",
        "accept",
        "content-",
        "access-control-",
    ];
    const NAMES: [&str; 34] = [
        "age",
        "authorization",
        "cache-control",
        "cdn-loop",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "from",
        "host",
        "keep-alive",
        "max-forwards",
        "origin",
        "pragma",
        "priority",
        "range",
        "referer",
        "set-cookie",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-client-ip",
        "x-host",
        "x-http-host-override",
        "x-real-ip",
        "x-request-id",
        "x-rewrite-url",
    ];
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("if-")
        || name.starts_with("x-http-method")
}

impl Identify for Header {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let mut lines = head.headers().get_all(&self.header).iter();
        let line = match (lines.next(), lines.next()) {
            (None, _) => return Identification::Absent,
            (Some(line), None) => line,
            (Some(_), Some(_)) => return invalid(value::TWICE),
        };
        match visible_text(line.as_bytes()) {
            None => invalid(value::NOT_VISIBLE_ASCII),
            // What a hop makes of two lines.
            Some(text) if text.contains(',') => invalid("it is a list"),
            Some(text) => key_of_value(self.kind, text),
        }
    }

    fn reads(&self) -> Reads {
        Reads::Header(self.header.clone())
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("header {}", self.header))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{header_outcome, outcome};
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    const NAME: &str = "x-tenant-id";

    fn by_header() -> Header {
        Header::named("X-Tenant-Id").unwrap()
    }

    #[test]
    fn one_canonical_value_is_the_key_and_everything_else_is_refused() {
        let table: &[(&[&[u8]], &str)] = &[
            (&[b"acme"], "slug:acme"),
            (&[b"127"], "slug:127"),
            (&[], "absent"),
            (&[b"acme", b"beta"], "invalid"),
            (&[b"acme", b"acme"], "invalid"),
            (&[b"acme", b""], "invalid"),
            (&[b""], "invalid"),
            (&[b"ACME"], "invalid"),
            (&[b"acme,beta"], "invalid"),
            (&[b"acme, beta"], "invalid"),
            (&[b"acme "], "invalid"),
            (&[b"ac\tme"], "invalid"),
            (&[b"\"acme\""], "invalid"),
            (&[b"\xff\xfe"], "invalid"),
            (&["b\u{fc}cher".as_bytes()], "invalid"),
            (&[b"../acme"], "invalid"),
            (&[b"acme.example.com"], "invalid"),
            (&[b"__system__"], "invalid"),
            (&[&[b'a'; 49]], "invalid"),
            (&[&[b'a'; 9000]], "invalid"),
        ];
        for (lines, expected) in table {
            assert_eq!(header_outcome(&by_header(), NAME, lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_name_with_underscores_is_another_header() {
        let request = Request::get("/").header("x_tenant_id", "beta");
        assert_eq!(outcome(&by_header(), request), "absent");
    }

    #[test]
    fn values_of_other_kinds_live_in_other_spaces() {
        let by_id = by_header().as_id();
        let by_domain = by_header().as_domain();
        let by_key = by_header().as_custom("api-key").unwrap();
        for (value, as_id, as_domain, as_key) in [
            ("acme_2", "id:acme_2", "invalid", "api-key:acme_2"),
            (
                "acme.example",
                "invalid",
                "domain:acme.example",
                "api-key:acme.example",
            ),
            ("acme.example:80", "invalid", "invalid", "api-key:acme.example:80"),
            ("ACME.example", "invalid", "invalid", "api-key:ACME.example"),
            ("127.0.0.1", "invalid", "invalid", "api-key:127.0.0.1"),
            ("k1,k2", "invalid", "invalid", "invalid"),
        ] {
            assert_eq!(header_outcome(&by_id, NAME, &[value]), as_id, "{value}");
            assert_eq!(header_outcome(&by_domain, NAME, &[value]), as_domain, "{value}");
            assert_eq!(header_outcome(&by_key, NAME, &[value]), as_key, "{value}");
        }
        for space in ["", "id", "slug", "domain"] {
            assert!(by_header().as_custom(space).is_err(), "{space:?}");
        }
    }

    #[test]
    fn headers_with_a_meaning_of_their_own_are_refused() {
        for name in [
            "Host",
            "Forwarded",
            "X-Forwarded-Host",
            "x-forwarded-for",
            "x-forwarded",
            "x-real-ip",
            "x-host",
            "x-original-host",
            "x-original-url",
            "x-rewrite-url",
            "x-http-host-override",
            "x-http-method-override",
            "cookie",
            "authorization",
            "proxy-authorization",
            "origin",
            "referer",
            "sec-fetch-site",
            "content-length",
            "if-none-match",
            "accept",
            "x_tenant",
            "x tenant",
            "",
            ":authority",
        ] {
            let error = Header::named(name).unwrap_err();
            assert_eq!(error.value(), name);
        }
        for name in ["x-tenant", "tenant", "x-acme-shop", "x-api-key"] {
            assert!(Header::named(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_reason_never_repeats_the_value() {
        let request = Request::get("/").header(NAME, "SECRET-token").body(()).unwrap();
        let Identification::Invalid(error) = by_header().identify(&RequestHead::of(&request)) else {
            panic!("upper case is no slug");
        };
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_invalid(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                let found = header_outcome(&by_header().as_custom("any").unwrap(), NAME, &[value.as_bytes()]);
                let canonical = (1..=253).contains(&value.len())
                    && value.as_bytes().iter().all(|b| b.is_ascii_graphic() && *b != b',');
                prop_assert_eq!(found.starts_with("any:"), canonical, "{:?}", value);
                prop_assert_eq!(found == "invalid", !canonical);
            }
        }
    }
}
