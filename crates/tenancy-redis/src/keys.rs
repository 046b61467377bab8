//! What the parts of a scope are called in Redis.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tenancy::cache::shared::{EntryName, ScopeName};

/// Longer keys are kept under their hash.
const LONGEST_KEY: usize = 256;

/// The names under one prefix. Braces make all of a scope one slot of a cluster.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
    channel: String,
    database: i64,
}

impl Keys {
    /// Channels know nothing of databases, which keys are apart by.
    pub(crate) fn new(prefix: String, database: i64) -> Self {
        let channel = match database {
            0 => format!("{prefix}changes"),
            number => format!("{prefix}changes:{number}"),
        };
        Self {
            prefix,
            channel,
            database,
        }
    }

    /// Where changes are told.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// What stands behind a scope's beginning in its own channels.
    pub(crate) fn channel_part(&self) -> String {
        match self.database {
            0 => "p:".to_owned(),
            number => format!("p{number}:"),
        }
    }

    /// The numbers of a scope's cells.
    pub(crate) fn versions(&self, scope: &ScopeName) -> Vec<u8> {
        self.of(scope, ":v")
    }

    /// Its last numbers.
    pub(crate) fn history(&self, scope: &ScopeName) -> Vec<u8> {
        self.of(scope, ":n")
    }

    /// Something of it that one process does for all.
    pub(crate) fn claim(&self, scope: &ScopeName, what: &str) -> Vec<u8> {
        self.of(scope, &format!(":c:{what}"))
    }

    /// What processes tell of it.
    pub(crate) fn reports(&self, scope: &ScopeName) -> Vec<u8> {
        self.of(scope, ":s")
    }

    /// How much scopes are used, and when that was halved last; with what is no tenant's.
    pub(crate) fn heat(&self, central: &ScopeName) -> [Vec<u8>; 2] {
        [self.of(central, ":heat"), self.of(central, ":cooled")]
    }

    /// An entry of it. `:e:` and `:s:` differ, so that no key is another one's hash.
    pub(crate) fn entry(&self, scope: &ScopeName, name: &EntryName) -> Vec<u8> {
        let name = name.as_bytes();
        if name.len() <= LONGEST_KEY {
            let mut key = self.of(scope, ":e:");
            key.extend_from_slice(name);
            return key;
        }
        let mut hash = String::from(":s:");
        for byte in Sha256::digest(name) {
            // Writing to a string does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        self.of(scope, &hash)
    }

    /// What every key of a scope begins with, and no other key: no prefix has a brace in it, and no scope.
    pub(crate) fn beginning(&self, scope: &ScopeName) -> Vec<u8> {
        self.of(scope, ":")
    }

    fn of(&self, scope: &ScopeName, part: &str) -> Vec<u8> {
        format!("{}{{{scope}}}{part}", self.prefix).into_bytes()
    }
}

/// The slot of a cluster that all of a scope is in: CRC-16/XMODEM of what stands in braces.
pub(crate) fn slot_of(scope: &ScopeName) -> u16 {
    let crc = scope.as_str().bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new("tenancy:".to_owned(), 0)
    }

    #[test]
    fn all_of_a_scope_has_its_name_in_braces() {
        let scope = ScopeName::for_tests("acme:3");
        assert_eq!(keys().versions(&scope), b"tenancy:{acme:3}:v");
        assert_eq!(keys().history(&scope), b"tenancy:{acme:3}:n");
        let name = EntryName::for_tests(b"}{\0\xff");
        assert_eq!(keys().entry(&scope, &name), b"tenancy:{acme:3}:e:}{\0\xff");
    }

    #[test]
    fn a_long_key_is_a_hash_that_no_short_key_is() {
        let scope = ScopeName::for_tests("acme:3");
        let entry = |name: &[u8]| keys().entry(&scope, &EntryName::for_tests(name));
        assert_eq!(entry(&[7; 256]).len(), b"tenancy:{acme:3}:e:".len() + 256);
        let long = entry(&[7; 257]);
        assert!(long.starts_with(b"tenancy:{acme:3}:s:") && long.len() == b"tenancy:{acme:3}:s:".len() + 64);
        assert_ne!(long, entry(&[7; 258]));
        assert_ne!(long, entry(&long[b"tenancy:{acme:3}:s:".len()..]));
    }

    #[test]
    fn databases_have_channels_of_their_own() {
        assert_eq!(keys().channel(), "tenancy:changes");
        assert_eq!(Keys::new("a:".to_owned(), 7).channel(), "a:changes:7");
    }

    /// What `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_redis() {
        for (scope, slot) in [(":central", 7_560), ("acme:1", 12_629)] {
            assert_eq!(slot_of(&ScopeName::parse(scope).unwrap()), slot);
        }
    }
}
