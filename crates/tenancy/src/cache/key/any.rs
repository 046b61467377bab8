use std::{fmt, str::FromStr};

use super::{CacheKey, KeyTextError, bytes::KeyBytes, explain::Explained, hash_in_process, read::read};
use crate::cache::{shared::EntryName, slots::slot_of_key};

/// A key whose type of value is not known: of a text, for [`Cache::explain_any`](crate::cache::Cache::explain_any).
///
/// It reads what a [`CacheKey`] is written as, and is written the same: arguments as in Rust, whole numbers with their type
/// unless it is `u32`, one argument in a tuple of its own with a comma behind it.
///
/// ```
/// use tenancy::cache::{AnyKey, Keys};
///
/// const NOTES: Keys<(u32, &str), String> = Keys::new("notes", 1);
/// const PAGE: Keys<(i64,), String> = Keys::new("page", 3);
///
/// let key: AnyKey = r#"notes@1(7, "open")"#.parse()?;
/// assert_eq!(key, AnyKey::from(&NOTES.key((7, "open"))));
/// assert_eq!(PAGE.key((7,)).to_string(), "page@3(7i64,)");
/// assert_eq!("page@3(7i64,)".parse::<AnyKey>()?, AnyKey::from(&PAGE.key((7,))));
/// assert_eq!("notes(7)".parse::<AnyKey>().unwrap_err().to_string(), "at byte 5 of the key there should be a name, as in notes@1(7)");
/// # Ok::<_, tenancy::cache::KeyTextError>(())
/// ```
#[derive(Clone)]
pub struct AnyKey(KeyBytes);

impl AnyKey {
    /// The same in every process; at most 256 bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn hash_in_process(&self) -> u64 {
        hash_in_process(self.as_bytes())
    }

    pub(crate) fn slot(&self) -> u16 {
        slot_of_key(self.as_bytes())
    }

    pub(crate) fn entry_name(&self) -> EntryName {
        EntryName::new(self.as_bytes())
    }
}

impl<V> From<&CacheKey<V>> for AnyKey {
    fn from(key: &CacheKey<V>) -> Self {
        Self(key.encoded.clone())
    }
}

impl FromStr for AnyKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        read(text).map(Self)
    }
}

impl PartialEq for AnyKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for AnyKey {}

impl fmt::Display for AnyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Explained(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for AnyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyKey({self})")
    }
}
