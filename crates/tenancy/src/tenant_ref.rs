//! What stands for a tenant outside of the process: in a job, a session, a token.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tenancy_core::{InvalidName, TenantId};

use crate::Tenant;

/// Which tenant is meant, and which one of that name: what a job, a session or a token carries.
///
/// The id alone says too little. Where a tenant is purged and its name is taken anew, whatever still carries the id
/// would act in the new tenant; the incarnation tells the two apart. A reference is no proof: anybody can write one.
/// [`Tenancy::enter_ref`](crate::Tenancy::enter_ref) turns it into a [`Tenant`] after checking, and
/// [`Tenant::require`] checks that it is a reference to that tenant.
///
/// Its text, which is also its form in JSON and other formats, is `<id>.<incarnation>`: `acme.17`. No id has a dot in it
/// and a number is written in one way only, so that two references are equal exactly if their texts are. This form will
/// not change. Incarnations count from the store's change numbers: references of one catalogue say nothing to
/// another, and a store that leaves incarnations at 0 cannot tell a tenant from a former one.
///
/// ```
/// use tenancy::TenantRef;
///
/// let reference: TenantRef = "acme.17".parse()?;
/// assert_eq!(reference.id(), "acme");
/// assert_eq!(reference.incarnation(), 17);
/// assert_eq!(serde_json::to_string(&reference)?, r#""acme.17""#);
///
/// assert!("acme".parse::<TenantRef>().is_err(), "an id alone is no reference");
/// assert!("acme.017".parse::<TenantRef>().is_err(), "one reference, one text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantRef {
    id: TenantId,
    incarnation: u64,
}

impl TenantRef {
    /// The most bytes that the text of a reference has.
    pub const MAX_LEN: usize = TenantId::MAX_LEN + 1 + 20;

    /// The reference to the tenant of this id that was created by this change. [`Tenant::reference`] knows both.
    pub fn new(id: TenantId, incarnation: u64) -> Self {
        Self { id, incarnation }
    }

    /// The tenant's id.
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// Change number of the tenant's creation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

impl Tenant {
    /// What stands for this tenant in a job, a session or a token. Copies a pointer.
    pub fn reference(&self) -> TenantRef {
        TenantRef::new(self.id().clone(), self.incarnation())
    }
}

impl fmt::Display for TenantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.incarnation)
    }
}

impl fmt::Debug for TenantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantRef({self})")
    }
}

impl FromStr for TenantRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason| InvalidName::new("tenant reference", text, reason);
        let (id, incarnation) = text
            .split_once('.')
            .ok_or_else(|| refuse("it is an id, a dot and a number"))?;
        let incarnation = canonical_number(incarnation)
            .ok_or_else(|| refuse("what follows the dot is not a number in its shortest form"))?;
        Ok(Self {
            id: TenantId::new(id)?,
            incarnation,
        })
    }
}

/// A number without sign and leading zeros: one number, one text.
fn canonical_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl Serialize for TenantRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TenantRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for bad in [
            "",
            ".",
            "acme",
            "acme.",
            ".1",
            "acme.-1",
            "acme.+1",
            "acme.01",
            "acme.00",
            "acme.1.2",
            "acme. 1",
            "acme.1\n",
            "Acme.1",
            "-acme.1",
            "acme.18446744073709551616",
            "acme.\u{0661}",
        ] {
            assert!(bad.parse::<TenantRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn json_is_the_text_and_is_checked() {
        let reference: TenantRef = "acme.0".parse().unwrap();
        assert_eq!(serde_json::to_string(&reference).unwrap(), r#""acme.0""#);
        // Of a reader, which can not lend its text.
        let read: TenantRef = serde_json::from_reader(br#""acme.0""#.as_slice()).unwrap();
        assert_eq!(read, reference);
        assert!(serde_json::from_str::<TenantRef>(r#""acme""#).is_err());
        assert!(serde_json::from_str::<TenantRef>(r#"{"id":"acme","incarnation":0}"#).is_err());
    }

    proptest! {
        #[test]
        fn every_reference_is_read_back(id in "[a-z0-9_][a-z0-9_-]{0,47}", incarnation: u64) {
            let reference = TenantRef::new(TenantId::new(&id).unwrap(), incarnation);
            let text = reference.to_string();
            prop_assert!(text.len() <= TenantRef::MAX_LEN);
            prop_assert_eq!(text.parse::<TenantRef>().unwrap(), reference);
        }

        #[test]
        fn a_text_that_is_read_is_the_text_that_is_written(text in "[a-c.0-2+_-]{0,8}") {
            if let Ok(reference) = text.parse::<TenantRef>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
