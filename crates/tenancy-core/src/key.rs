use std::{borrow::Cow, fmt, net::IpAddr};

use crate::{InvalidName, TenantId, id};

/// The space that a key lives in. Equal text in two spaces is two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyKind {
    /// The tenant's id.
    Id,
    /// The tenant's short name: what stands in a subdomain, a path segment or a header.
    Slug,
    /// A whole host name.
    Domain,
    /// A space of the application's own, by name.
    Custom(&'static str),
}

impl KeyKind {
    /// The name of the space: `id`, `slug`, `domain`, or the application's own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Slug => "slug",
            Self::Domain => "domain",
            Self::Custom(name) => name,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What leads to a tenant: a value in a space. Only canonical values can be built.
///
/// A key borrows from the request where it can; [`into_owned`](Self::into_owned) lets it outlive the request.
///
/// ```
/// use tenancy_core::TenantKey;
///
/// assert!(TenantKey::slug("acme").is_ok());
/// assert!(TenantKey::slug("Acme").is_err(), "not canonical");
/// assert!(TenantKey::domain("shop.acme.example").is_ok());
/// assert_ne!(TenantKey::slug("acme")?, TenantKey::custom("api-key", "acme")?);
/// # Ok::<(), tenancy_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantKey<'a> {
    kind: KeyKind,
    value: Cow<'a, str>,
}

impl<'a> TenantKey<'a> {
    /// The most bytes that a value may have.
    pub const MAX_LEN: usize = 253;

    /// The key of an id.
    pub fn id(id: &'a TenantId) -> Self {
        Self {
            kind: KeyKind::Id,
            value: Cow::Borrowed(id.as_str()),
        }
    }

    /// A slug: one lower-case DNS label of at most 48 characters (`acme`, `acme-2`).
    ///
    /// # Errors
    /// When it is anything else.
    pub fn slug(value: impl Into<Cow<'a, str>>) -> Result<Self, InvalidName> {
        let value = value.into();
        // On the request path: the general way comes to the same.
        if is_slug(&value) {
            return Ok(Self {
                kind: KeyKind::Slug,
                value,
            });
        }
        Self::new(KeyKind::Slug, value)
    }

    /// A host name in canonical form: lower-case ASCII labels, no port, no dot at the end, no address literal.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn domain(value: impl Into<Cow<'a, str>>) -> Result<Self, InvalidName> {
        Self::new(KeyKind::Domain, value.into())
    }

    /// A key in a space of the application's own: 1 to 253 visible ASCII characters.
    ///
    /// # Errors
    /// When the value is anything else, or `space` is one of the built-in names.
    pub fn custom(space: &'static str, value: impl Into<Cow<'a, str>>) -> Result<Self, InvalidName> {
        if matches!(space, "id" | "slug" | "domain" | "") {
            return Err(InvalidName::new(
                "key space",
                space,
                "this name is taken by a built-in space",
            ));
        }
        Self::new(KeyKind::Custom(space), value.into())
    }

    /// A key of any kind.
    ///
    /// # Errors
    /// When the value is not canonical for its kind.
    pub fn new(kind: KeyKind, value: Cow<'a, str>) -> Result<Self, InvalidName> {
        let reason = match kind {
            KeyKind::Id => id::fault(&value),
            KeyKind::Slug if !is_slug(&value) => {
                Some("a slug is one lower-case DNS label of 1 to 48 characters: a-z, 0-9 and inner '-'")
            }
            KeyKind::Domain if !is_domain(&value) => Some(
                "a domain is lower-case labels of a-z, 0-9 and inner '-', joined by dots, 253 characters at most",
            ),
            KeyKind::Custom(_) if !is_visible_ascii(&value) => {
                Some("a key is 1 to 253 visible ASCII characters")
            }
            _ => None,
        };
        match reason {
            Some(reason) => Err(InvalidName::new(kind.as_str(), &value, reason)),
            None => Ok(Self { kind, value }),
        }
    }

    /// The space.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The same key, owning its value. Allocates unless it did already.
    pub fn into_owned(self) -> TenantKey<'static> {
        TenantKey {
            kind: self.kind,
            value: Cow::Owned(self.value.into_owned()),
        }
    }
}

impl fmt::Display for TenantKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl fmt::Debug for TenantKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKey({self})")
    }
}

fn is_visible_ascii(value: &str) -> bool {
    !value.is_empty() && value.len() <= TenantKey::MAX_LEN && value.bytes().all(|b| b.is_ascii_graphic())
}

fn is_label(label: &[u8]) -> bool {
    let ldh = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&label.len())
        && label.iter().all(ldh)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

/// Whether `value` is a slug: one lower-case DNS label of 1 to 48 characters.
pub fn is_slug(value: &str) -> bool {
    value.len() <= TenantId::MAX_LEN && is_label(value.as_bytes())
}

/// Whether `value` is a canonical host name that is not an address literal (RFC 1123 §2.1 label rules).
pub fn is_domain(value: &str) -> bool {
    value.len() <= TenantKey::MAX_LEN
        && value.as_bytes().split(|b| *b == b'.').all(is_label)
        // A name whose last label is a number is an address to many parsers (RFC 3696 §2).
        && !value.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()))
        && value.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_single_canonical_labels() {
        for good in ["a", "acme", "acme-2", "xn--bcher-kva", "127"] {
            assert!(TenantKey::slug(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "a b",
            "ä",
            "a\0",
            &"a".repeat(49),
        ] {
            assert!(TenantKey::slug(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn domains_are_canonical_and_no_addresses() {
        for good in ["acme.example", "localhost", "a.b-c.xn--p1ai"] {
            assert!(TenantKey::domain(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "acme.example.",
            ".acme",
            "a..b",
            "127.0.0.1",
            "2130706433",
            "1.2",
            "::1",
            "[::1]",
            "a.example:80",
            "*.example",
            "A.example",
            "a_b.example",
            &format!("{}.a", "b".repeat(64)),
            &"a.".repeat(127),
        ] {
            assert!(TenantKey::domain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spaces_do_not_meet() {
        assert_ne!(
            TenantKey::slug("acme").unwrap(),
            TenantKey::domain("acme").unwrap()
        );
        assert!(TenantKey::custom("slug", "acme").is_err());
    }
}
