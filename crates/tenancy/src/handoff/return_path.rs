use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tenancy_core::InvalidName;

/// A place to go back to that can not leave the host: a path, and a query if you like.
///
/// A return address that a client may choose is how users are sent to look-alike sites after they signed in. So this is
/// all that is accepted: `/`, then visible ASCII without `\`, with no empty segment, 512 bytes at most. That leaves
/// out absolute URLs, `//evil.example`, `/\evil.example`, and what browsers make into these by dropping tabs and line
/// breaks or by taking dot segments away.
///
/// ```
/// use tenancy::handoff::ReturnPath;
///
/// assert_eq!(ReturnPath::new("/orders?page=2")?.as_str(), "/orders?page=2");
/// assert!(ReturnPath::new("//evil.example").is_err());
/// assert!(ReturnPath::new("https://evil.example/").is_err());
/// assert_eq!(ReturnPath::or_root("/\\evil.example").as_str(), "/");
/// # Ok::<(), tenancy::core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReturnPath(Box<str>);

impl ReturnPath {
    /// The most bytes that a path may have.
    pub const MAX_LEN: usize = 512;

    /// Checks and keeps a path.
    ///
    /// # Errors
    /// When it could lead to another host. The error quotes it, escaped and cut, and is for logs.
    pub fn new(path: &str) -> Result<Self, InvalidName> {
        match fault(path) {
            None => Ok(Self(path.into())),
            Some(reason) => Err(InvalidName::new("return path", path, reason)),
        }
    }

    /// The path that a client asked for if it is one, or else `/`.
    pub fn or_root(path: &str) -> Self {
        Self::new(path).unwrap_or_default()
    }

    /// The path, for `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnPath {
    fn default() -> Self {
        Self("/".into())
    }
}

fn fault(path: &str) -> Option<&'static str> {
    let segments = path.split(['?', '#']).next().unwrap_or_default();
    if path.len() > ReturnPath::MAX_LEN {
        Some("it is longer than 512 bytes")
    } else if !path.starts_with('/') {
        Some("it does not begin with '/'")
    } else if !path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        Some("only visible ASCII without '\\' is allowed")
    } else if segments.contains("//") {
        Some("it has an empty segment, which may begin a host")
    } else {
        None
    }
}

impl fmt::Display for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReturnPath({})", self.0)
    }
}

impl FromStr for ReturnPath {
    type Err = InvalidName;

    fn from_str(path: &str) -> Result<Self, InvalidName> {
        Self::new(path)
    }
}

impl Serialize for ReturnPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReturnPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&path).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_places_on_the_same_host_are_accepted() {
        for good in [
            "/",
            "/orders",
            "/orders/7?a=b&next=//fine#part",
            "/a/../b",
            "/%2F%2Fevil.example",
            "/@evil.example",
            "/a?\u{7e}",
        ] {
            assert!(ReturnPath::new(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "orders",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\\b",
            "/a//b",
            "/.//evil.example",
            "/..//evil.example",
            "/%2e//evil.example",
            "https://evil.example/",
            "https:/evil.example",
            "javascript:alert(1)",
            "?//evil.example",
            " /a",
            "/a b",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nSet-Cookie: a=b",
            "/\0",
            "/\u{7f}",
            "/\u{e4}",
            "/\u{2028}",
            &format!("/{}", "a".repeat(512)),
        ] {
            assert!(ReturnPath::new(bad).is_err(), "{bad:?}");
            assert_eq!(ReturnPath::or_root(bad).as_str(), "/", "{bad:?}");
        }
        assert!(serde_json::from_str::<ReturnPath>(r#""//evil.example""#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_a_path_to_browsers_too(path in "[/\\\\?#:@.a%\\t\\n ]{0,12}") {
            if let Ok(path) = ReturnPath::new(&path) {
                // What the URL standard does before it looks for an authority.
                let stripped: String = path.as_str().chars().filter(|c| !c.is_ascii_control()).collect();
                prop_assert!(stripped.starts_with('/'));
                prop_assert!(!stripped[1..].starts_with(['/', '\\']), "{}", stripped);
                prop_assert!(http::HeaderValue::from_str(&stripped).is_ok());
            }
        }
    }
}
