use std::{error::Error, fmt};

use tenancy_core::{InvalidName, TenantId, TenantKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    Conflict,
    NotFound,
    Invalid,
}

/// A change that a [`MemoryStore`](super::MemoryStore) refused. The store is as it was.
///
/// Made for operators: it names tenants and keys.
#[derive(Debug)]
pub struct MemoryStoreError {
    kind: ErrorKind,
    what: String,
    source: Option<InvalidName>,
}

impl MemoryStoreError {
    pub(super) fn new(kind: ErrorKind, what: String) -> Self {
        Self {
            kind,
            what,
            source: None,
        }
    }

    pub(super) fn conflict(key: &TenantKey<'_>) -> Self {
        Self::new(
            ErrorKind::Conflict,
            format!("{key} leads to another tenant already"),
        )
    }

    pub(super) fn purged(id: &TenantId) -> Self {
        Self::new(
            ErrorKind::Conflict,
            format!("the id {id} was a purged tenant's and is never given again"),
        )
    }

    pub(super) fn not_found(id: &TenantId) -> Self {
        Self::new(ErrorKind::NotFound, format!("there is no tenant {id}"))
    }

    /// Whether an id or a key is taken. The id of a purged tenant stays taken.
    pub fn is_conflict(&self) -> bool {
        self.kind == ErrorKind::Conflict
    }

    /// Whether the tenant, or the key to remove, is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether what was asked for is never possible.
    pub fn is_invalid(&self) -> bool {
        self.kind == ErrorKind::Invalid
    }
}

impl From<InvalidName> for MemoryStoreError {
    fn from(name: InvalidName) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            what: "a name is not valid".to_owned(),
            source: Some(name),
        }
    }
}

impl fmt::Display for MemoryStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for MemoryStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|name| name as _)
    }
}
