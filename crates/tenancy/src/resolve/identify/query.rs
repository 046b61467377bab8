use std::borrow::Cow;

use tenancy_core::{Identification, Identify, KeyKind, Reads, RequestHead, TenantKey};

use super::{
    IdentifierConfigError,
    value::{self, invalid, key_of_value},
};

/// Identifies by a parameter of the query: `slug:acme` for `?tenant=acme`.
///
/// Names and values are decoded as HTML forms are (`+`, `%61`), so that `%74enant=acme` counts: what the
/// application would read, this reads. Only `&` parts parameters. No such parameter is absent. One that is given
/// twice, is empty, has a broken escape, or is not a canonical value of its kind is invalid.
///
/// Borrows from the head a value without escapes; decoding another allocates its length, 759 bytes at most.
///
/// ```
/// # use tenancy::resolve::Query;
/// use tenancy_core::{Identification, Identify, RequestHead};
///
/// let by_query = Query::named("tenant")?;
/// let (parts, ()) = http::Request::get("/?page=2&tenant=acme").body(())?.into_parts();
/// let Identification::Key(found) = by_query.identify(&RequestHead::new(&parts)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    parameter: Box<str>,
    kind: KeyKind,
}

impl Query {
    /// Identifies by the parameter `name`, whose value is a slug unless said otherwise.
    ///
    /// # Errors
    /// Unless `name` is 1 to 64 ASCII letters, digits, `-`, `_`, `.` and `~`.
    pub fn named(name: &str) -> Result<Self, IdentifierConfigError> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(unreserved) {
            return Err(IdentifierConfigError::new(
                "query parameter",
                name,
                "a name is 1 to 64 ASCII letters, digits, '-', '_', '.' and '~'",
            ));
        }
        Ok(Self {
            parameter: name.into(),
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

    /// The value is a key in a space of the application's own: visible ASCII.
    ///
    /// # Errors
    /// When `space` is one of the built-in names.
    pub fn as_custom(mut self, space: &'static str) -> Result<Self, IdentifierConfigError> {
        self.kind = value::custom_kind(space)?;
        Ok(self)
    }

    fn raw_value<'p>(&self, pair: &'p str) -> Option<&'p str> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        self.is_name(name).then_some(value)
    }

    fn is_name(&self, raw: &str) -> bool {
        let plain = || self.parameter.bytes().map(Some);
        *raw == *self.parameter || (raw.contains('%') && FormBytes::of(raw).eq(plain()))
    }
}

impl Identify for Query {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let query = head.uri().query().unwrap_or_default();
        let mut values = query.split('&').filter_map(|pair| self.raw_value(pair));
        match (values.next(), values.next()) {
            (None, _) => Identification::Absent,
            (Some(_), Some(_)) => invalid(value::TWICE),
            (Some(raw), None) => match decode(raw) {
                Some(text) => key_of_value(self.kind, text),
                None => invalid("it is too long, or its escapes are broken"),
            },
        }
    }

    fn reads(&self) -> Reads {
        Reads::Target
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("query parameter {}", self.parameter))
    }
}

/// The text of a raw value; `None` for broken escapes, for bytes that are no UTF-8, and for more than a key can be.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if raw.len() > 3 * TenantKey::MAX_LEN {
        return None;
    }
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    let bytes = FormBytes::of(raw).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The bytes that form-encoded text stands for; `None` where an escape is broken.
struct FormBytes<'a> {
    raw: std::slice::Iter<'a, u8>,
}

impl<'a> FormBytes<'a> {
    fn of(raw: &'a str) -> Self {
        Self {
            raw: raw.as_bytes().iter(),
        }
    }

    fn hex_digit(&mut self) -> Option<u8> {
        let digit = char::from(*self.raw.next()?).to_digit(16)?;
        u8::try_from(digit).ok()
    }
}

impl Iterator for FormBytes<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        Some(match self.raw.next()? {
            b'+' => Some(b' '),
            b'%' => match (self.hex_digit(), self.hex_digit()) {
                (Some(high), Some(low)) => Some(high << 4 | low),
                _ => None,
            },
            byte => Some(*byte),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{describe, uri_outcome};
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn by_query() -> Query {
        Query::named("tenant").unwrap()
    }

    #[test]
    fn one_parameter_is_the_key_however_it_is_written() {
        for (uri, expected) in [
            ("/?tenant=acme", "slug:acme"),
            ("/?a=1&tenant=acme&b=2", "slug:acme"),
            ("/?&&tenant=acme&", "slug:acme"),
            ("/?%74enant=acme", "slug:acme"),
            ("/?%74%65%6E%61%6e%74=acme", "slug:acme"),
            ("/?tenant=%61cme", "slug:acme"),
            ("/", "absent"),
            ("/?", "absent"),
            ("/?tenants=acme", "absent"),
            ("/?xtenant=acme", "absent"),
            ("/?Tenant=acme", "absent"),
            ("/?tenant[]=acme", "absent"),
            ("/?%74enant%00=acme", "absent"),
            ("/?%7enant=acme", "absent"),
            ("/?+tenant=acme", "absent"),
            ("/?a=1;tenant=beta", "absent"),
            ("/?x=tenant=acme", "absent"),
            ("/?x%3Dtenant=acme", "absent"),
            ("/tenant=acme", "absent"),
            ("/?tenant", "invalid"),
            ("/?tenant=", "invalid"),
            ("/?tenant=acme&tenant=beta", "invalid"),
            ("/?tenant=acme&tenant=acme", "invalid"),
            ("/?tenant=acme&%74enant=beta", "invalid"),
            ("/?tenant=acme&tenant", "invalid"),
            ("/?tenant=ACME", "invalid"),
            ("/?tenant=%41CME", "invalid"),
            ("/?tenant=acme+", "invalid"),
            ("/?tenant=acme%20", "invalid"),
            ("/?tenant=acme;x=1", "invalid"),
            ("/?tenant=%ff", "invalid"),
            ("/?tenant=%zz", "invalid"),
            ("/?tenant=acme%", "invalid"),
            ("/?tenant=acme%6", "invalid"),
            ("/?tenant=acme%00", "invalid"),
            ("/?tenant=%2e%2e%2facme", "invalid"),
            ("/?tenant==acme", "invalid"),
        ] {
            assert_eq!(uri_outcome(&by_query(), uri), expected, "{uri}");
        }
        let long = format!("/?tenant={}", "%61".repeat(5000));
        assert_eq!(uri_outcome(&by_query(), &long), "invalid");
    }

    #[test]
    fn a_custom_value_is_decoded_once() {
        let by_key = by_query().as_custom("key").unwrap();
        for (uri, expected) in [
            ("/?tenant=a%2Bb", "key:a+b"),
            ("/?tenant=a%2541", "key:a%41"),
            ("/?tenant=%zz", "invalid"),
            ("/?tenant=a+b", "invalid"),
        ] {
            assert_eq!(uri_outcome(&by_key, uri), expected, "{uri}");
        }
    }

    #[test]
    fn no_more_is_decoded_than_a_key_can_be() {
        assert_eq!(decode(&"%61".repeat(253)).as_deref(), Some(&*"a".repeat(253)));
        assert_eq!(decode(&"%61".repeat(254)), None);
    }

    #[test]
    fn parameter_names_that_need_escapes_are_refused() {
        for bad in [
            "",
            "a b",
            "a%20",
            "a=b",
            "a&b",
            "tenant[]",
            "\u{e4}",
            &"a".repeat(65),
        ] {
            assert!(Query::named(bad).is_err(), "{bad:?}");
        }
    }

    /// Decodes everything first, then looks; broken escapes stay as they are, as browsers have it.
    fn reference(query: &str) -> String {
        let decoded: Vec<(Vec<u8>, &str)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (lenient(name), value))
            .collect();
        let values: Vec<&str> = decoded
            .iter()
            .filter(|(name, _)| name == b"tenant")
            .map(|(_, value)| *value)
            .collect();
        match values[..] {
            [] => "absent".to_owned(),
            [one] => String::from_utf8(lenient(one))
                .ok()
                .and_then(|text| TenantKey::slug(text).ok())
                .map_or("invalid".to_owned(), |key| key.to_string()),
            _ => "invalid".to_owned(),
        }
    }

    fn lenient(raw: &str) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut rest = raw;
        while let Some(first) = rest.chars().next() {
            let escape = rest.get(1..3).and_then(|hex| {
                let digits = hex.bytes().all(|b| b.is_ascii_hexdigit());
                (first == '%' && digits).then(|| u8::from_str_radix(hex, 16).unwrap())
            });
            match escape {
                Some(byte) => decoded.push(byte),
                None if first == '+' => decoded.push(b' '),
                None => decoded.extend(first.to_string().bytes()),
            }
            rest = &rest[escape.map_or(first.len_utf8(), |_| 3)..];
        }
        decoded
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(query in "(tenant|%74enant|=|&|a|%61|%6|\\+|;|A|%ff){0,8}") {
            let uri = format!("/?{query}");
            prop_assert_eq!(uri_outcome(&by_query(), &uri), reference(&query), "{}", query);
        }

        #[test]
        fn never_panics(query in proptest::collection::vec(any::<u8>(), 0..200)) {
            let raw = [b"/?tenant=".as_slice(), &query].concat();
            if let Ok(uri) = http::Uri::try_from(raw) {
                let request = Request::get(uri).body(()).unwrap();
                prop_assert_ne!(describe(&by_query().identify(&RequestHead::of(&request))), "absent");
            }
        }
    }
}
