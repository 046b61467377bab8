use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::InvalidName;

/// The name of one tenant: 1 to 48 characters of `a-z`, `0-9`, `_` and `-`, not beginning with `-`.
///
/// An id never changes and is never given to another tenant, not even after a purge. It is safe in a log,
/// a metric label, a file name and a database name. Cloning copies a pointer.
///
/// ```
/// use tenancy_core::TenantId;
///
/// let acme: TenantId = "acme".parse()?;
/// assert_eq!(acme.as_str(), "acme");
/// assert!(TenantId::new("Acme").is_err());
/// assert!(TenantId::new("../acme").is_err());
/// # Ok::<(), tenancy_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The most characters an id may have.
    pub const MAX_LEN: usize = 48;

    /// Checks and keeps an id. Allocates once.
    ///
    /// # Errors
    /// When `id` does not follow the grammar above.
    pub fn new(id: &str) -> Result<Self, InvalidName> {
        match fault(id) {
            None => Ok(Self(id.into())),
            Some(reason) => Err(InvalidName::new("tenant id", id, reason)),
        }
    }

    /// Whether [`new`](Self::new) would accept this. Allocates nothing.
    pub fn is_valid(id: &str) -> bool {
        fault(id).is_none()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong with an id.
pub(crate) fn fault(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("it is empty")
    } else if id.len() > TenantId::MAX_LEN {
        Some("it is longer than 48 characters")
    } else if id.starts_with('-') {
        Some("it begins with '-'")
    } else if !id.bytes().all(is_id_byte) {
        Some("only a-z, 0-9, '_' and '-' are allowed")
    } else {
        None
    }
}

fn is_id_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl TryFrom<&str> for TenantId {
    type Error = InvalidName;

    fn try_from(id: &str) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl PartialEq<str> for TenantId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for TenantId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Serialize for TenantId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&id).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["a", "acme", "a-b_c9", "_a", "9", &"a".repeat(48)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
            assert!(TenantId::is_valid(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "A",
            "a b",
            "a.b",
            "a/b",
            "ä",
            "a\0",
            "..",
            "a\n",
            &"a".repeat(49),
        ] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
            assert!(!TenantId::is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_json_id_is_checked_too() {
        assert_eq!(serde_json::from_str::<TenantId>("\"acme\"").unwrap(), "acme");
        assert!(serde_json::from_str::<TenantId>("\"../acme\"").is_err());
    }

    #[test]
    fn the_error_names_the_id_escaped_and_cut() {
        let error = TenantId::new(&format!("a\n{}", "b".repeat(200)))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("tenant id \"a\\nbbb"), "{error}");
        assert!(error.len() < 140, "{error}");
    }
}
