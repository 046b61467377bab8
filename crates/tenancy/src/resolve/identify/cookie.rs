use std::borrow::Cow;

use http::header::COOKIE;
use tenancy_core::{Identification, Identify, KeyKind, Reads, RequestHead};

use super::{
    IdentifierConfigError,
    value::{self, invalid, key_of_value, visible_text},
};

/// Identifies by a cookie: `slug:acme` for `Cookie: tenant=acme`.
///
/// Reads all `Cookie` lines, since HTTP/2 splits them. The name is compared exactly, the value loses the quotes
/// that RFC 6265 §4.1.1 allows, and nothing is decoded. No such cookie is absent. Two of the name (a neighbouring
/// subdomain can plant one), and a value that is not canonical for its kind, are invalid.
///
/// Give the cookie a `__Host-` name: then no subdomain can plant it. Borrows the value from the head.
///
/// ```
/// # use tenancy::resolve::Cookie;
/// use tenancy_core::{Identification, Identify, RequestHead};
///
/// let by_cookie = Cookie::named("__Host-tenant")?;
/// let (parts, ()) = http::Request::get("/")
///     .header("cookie", "theme=dark; __Host-tenant=acme")
///     .body(())?
///     .into_parts();
/// let Identification::Key(found) = by_cookie.identify(&RequestHead::new(&parts)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cookie {
    cookie: Box<str>,
    kind: KeyKind,
}

impl Cookie {
    /// Identifies by the cookie `name`, whose value is a slug unless said otherwise.
    ///
    /// # Errors
    /// Unless `name` is a token of RFC 9110 §5.6.2 with 64 characters at most.
    pub fn named(name: &str) -> Result<Self, IdentifierConfigError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(token) {
            return Err(IdentifierConfigError::new(
                "cookie name",
                name,
                "a name is a token of 1 to 64 characters",
            ));
        }
        Ok(Self {
            cookie: name.into(),
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

    /// The value is a key in a space of the application's own: what RFC 6265 allows in a cookie.
    ///
    /// # Errors
    /// When `space` is one of the built-in names.
    pub fn as_custom(mut self, space: &'static str) -> Result<Self, IdentifierConfigError> {
        self.kind = value::custom_kind(space)?;
        Ok(self)
    }

    fn raw_value<'p>(&self, pair: &'p [u8]) -> Option<&'p [u8]> {
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at(equals);
        // Readers of cookies trim names, so `tenant =beta` is this cookie to somebody.
        (name.trim_ascii() == self.cookie.as_bytes()).then(|| value[1..].trim_ascii())
    }
}

impl Identify for Cookie {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let lines = head.headers().get_all(COOKIE).iter();
        let mut values = lines
            .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
            .filter_map(|pair| self.raw_value(pair));
        let value = match (values.next(), values.next()) {
            (None, _) => return Identification::Absent,
            (Some(value), None) => without_quotes(value),
            (Some(_), Some(_)) => return invalid(value::TWICE),
        };
        match visible_text(value) {
            None => invalid(value::NOT_VISIBLE_ASCII),
            Some(text) if text.contains(['"', ',', '\\']) => {
                invalid("it has a character that no cookie may have")
            }
            Some(text) => key_of_value(self.kind, text),
        }
    }

    fn reads(&self) -> Reads {
        Reads::Header(COOKIE)
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("cookie {}", self.cookie))
    }
}

fn without_quotes(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::header_outcome;
    use super::*;
    use proptest::prelude::*;
    use tenancy_core::TenantKey;

    fn by_cookie() -> Cookie {
        Cookie::named("tenant").unwrap()
    }

    #[test]
    fn one_cookie_on_any_line_is_the_key() {
        let table: &[(&[&[u8]], &str)] = &[
            (&[b"tenant=acme"], "slug:acme"),
            (&[b"a=1; tenant=acme; b=2"], "slug:acme"),
            (&[b"a=1", b"tenant=acme", b"b=2"], "slug:acme"),
            (&[b"a=1;tenant=acme;"], "slug:acme"),
            (&[b"tenant=\"acme\""], "slug:acme"),
            (&[b"tenant = acme "], "slug:acme"),
            (&[b"\xff=\xfe; tenant=acme"], "slug:acme"),
            (&[], "absent"),
            (&[b""], "absent"),
            (&[b"tenant"], "absent"),
            (&[b"tenants=acme; xtenant=acme; Tenant=acme"], "absent"),
            (&[b"a=tenant=acme"], "absent"),
            (&[b"a=\"b\"tenant=acme"], "absent"),
            (&[b"%74enant=acme"], "absent"),
            (&[b"tenant=acme; tenant=beta"], "invalid"),
            (&[b"tenant=acme; tenant=acme"], "invalid"),
            (&[b"tenant=acme", b"tenant=beta"], "invalid"),
            (&[b"tenant=acme; tenant =beta"], "invalid"),
            (&[b"tenant=acme; tenant="], "invalid"),
            (&[b"tenant="], "invalid"),
            (&[b"tenant=\"\""], "invalid"),
            (&[b"tenant=\""], "invalid"),
            (&[b"tenant=\"acme"], "invalid"),
            (&[b"tenant=\"\"acme\"\""], "invalid"),
            (&[b"tenant=ACME"], "invalid"),
            (&[b"tenant=%61cme"], "invalid"),
            (&[b"tenant=a,b"], "invalid"),
            (&[b"tenant=a b"], "invalid"),
            (&[b"tenant=\xff"], "invalid"),
        ];
        for (lines, expected) in table {
            assert_eq!(
                header_outcome(&by_cookie(), "cookie", lines),
                *expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_custom_value_is_what_a_cookie_may_hold() {
        let by_key = by_cookie().as_custom("key").unwrap();
        for (line, expected) in [
            ("tenant=k=1", "key:k=1"),
            ("tenant=\"k-1\"", "key:k-1"),
            ("tenant=\"k", "invalid"),
            ("tenant=k\\1", "invalid"),
            ("tenant=k,1", "invalid"),
        ] {
            assert_eq!(header_outcome(&by_key, "cookie", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn prefixed_names_are_names_and_other_text_is_not() {
        assert!(Cookie::named("__Host-tenant").is_ok());
        assert!(Cookie::named("__Secure-tenant").is_ok());
        for bad in ["", "a b", "a=b", "a;b", "\"a\"", "a,b", "\u{e4}", &"a".repeat(65)] {
            assert!(Cookie::named(bad).is_err(), "{bad:?}");
        }
    }

    /// Splits everything into a list first.
    fn reference(lines: &[String]) -> String {
        let joined = lines.join(";");
        let values: Vec<&str> = joined
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| name.trim() == "tenant")
            .map(|(_, value)| value.trim())
            .collect();
        let [value] = values[..] else {
            return if values.is_empty() { "absent" } else { "invalid" }.to_owned();
        };
        let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        let value = if quoted { &value[1..value.len() - 1] } else { value };
        TenantKey::slug(value).map_or("invalid".to_owned(), |key| key.to_string())
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(
            lines in proptest::collection::vec("(tenant|=|; |;|a|\"| |A|tenant=a){0,7}", 0..4),
        ) {
            let found = header_outcome(&by_cookie(), "cookie", &lines);
            prop_assert_eq!(found, reference(&lines), "{:?}", lines);
        }

        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = [b"tenant=".as_slice(), &line].concat();
            if http::HeaderValue::from_bytes(&line).is_ok() {
                prop_assert_ne!(header_outcome(&by_cookie(), "cookie", &[line]), "absent");
            }
        }
    }
}
