//! Values that a client writes out in full: in a header, a query parameter or a cookie.

use std::borrow::Cow;

use tenancy_core::{Identification, InvalidIdentifier, KeyKind, TenantKey};

use super::IdentifierConfigError;

pub(super) const TWICE: &str = "it is given more than once";
pub(super) const NOT_VISIBLE_ASCII: &str =
    "it is longer than 253 bytes or has a byte that is not visible ASCII";

/// The reason says nothing of the value: where a tenant should stand there may stand a secret, and it would be logged.
pub(super) fn invalid<'a>(reason: &'static str) -> Identification<'a> {
    Identification::Invalid(InvalidIdentifier::new(reason))
}

/// The key that a written value stands for. What is not canonical is malformed: nobody types these by hand,
/// and two spellings of one tenant would be two entries in every cache on the way.
pub(super) fn key_of_value<'a>(kind: KeyKind, value: impl Into<Cow<'a, str>>) -> Identification<'a> {
    match TenantKey::new(kind, value.into()) {
        Ok(key) => key.into(),
        Err(refused) => invalid(refused.reason()),
    }
}

/// Bytes as text, if they are few enough for a key and all visible.
pub(super) fn visible_text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > TenantKey::MAX_LEN || !bytes.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// The space that an application named, if it may.
pub(super) fn custom_kind(space: &'static str) -> Result<KeyKind, IdentifierConfigError> {
    Ok(TenantKey::custom(space, "probe")?.kind())
}
