use std::fmt;

use sha2::{Digest, Sha256};

/// What a client may see, as 32 bytes: two that may see the same have the same one. It is part of a page's key.
///
/// Everything about the client that a page depends on belongs into it: roles, plan, the user where the page is the user's own.
///
/// ```
/// use tenancy::response_cache::Fingerprint;
///
/// # struct User { role: String, region: String }
/// fn of(user: &User) -> Fingerprint {
///     Fingerprint::of([&user.role, &user.region])
/// }
/// # let _ = of(&User { role: "admin".into(), region: "eu".into() });
/// assert_ne!(Fingerprint::of(["a", "bc"]), Fingerprint::of(["ab", "c"]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of these parts, in this order; no two lists of parts run into each other. SHA-256: nobody finds two that meet.
    pub fn of<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let digest = parts.into_iter().fold(Sha256::new(), |digest, part| {
            let part = part.as_ref();
            digest
                .chain_update((part.len() as u64).to_le_bytes())
                .chain_update(part)
        });
        Self(digest.finalize().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Not the bytes: they may be of few possible values, and be guessed.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}
