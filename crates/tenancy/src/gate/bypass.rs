//! Lets those who know a secret through maintenance: a link with the secret sets a cookie, the cookie opens.
//!
//! The catalogue keeps a hash of the secret ([`BypassKey`]). Cookies are keyed from that hash, so every node
//! can check them without shared state, a new secret kills the old cookies, and **who can read the stored key
//! can make cookies**: keep it like a password hash.
//!
//! The request, response and cookie never carry the secret back, and nothing here formats it.

use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method, Uri};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tenancy_core::{InvalidName, TenantId};

use crate::hex::{decode_hex, encode_hex, hex_digit};

mod cookie;
mod link;

#[cfg(test)]
mod tests;

/// Why text is neither a bypass secret nor a stored bypass key. Never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBypassKey(&'static str);

impl InvalidBypassKey {
    /// The reason, for operators.
    pub fn reason(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for InvalidBypassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bypass secret or key is not valid: {}", self.0)
    }
}

impl std::error::Error for InvalidBypassKey {}

/// What is stored of a bypass secret, and what bypass cookies are keyed with.
///
/// ```
/// use tenancy::{core::Maintenance, gate::BypassKey};
///
/// let mut maintenance = Maintenance::default();
/// maintenance.bypass_key = Some(BypassKey::from_secret("correct horse battery")?.to_hex().into());
/// assert!(!format!("{maintenance:?}").contains(maintenance.bypass_key.as_deref().unwrap()));
/// # Ok::<(), tenancy::gate::InvalidBypassKey>(())
/// ```
#[derive(Clone)]
pub struct BypassKey {
    stored: [u8; 32],
    // Keyed once: a cookie check then costs no key set-up.
    cookie_mac: Hmac<Sha256>,
}

impl BypassKey {
    /// The fewest characters of a secret.
    pub const MIN_SECRET_CHARS: usize = 16;
    /// The most bytes of a secret.
    pub const MAX_SECRET_BYTES: usize = 256;

    /// Hashes a secret.
    ///
    /// The hash is fast, as it guards against reading and not against guessing: take a random secret.
    ///
    /// # Errors
    /// When the secret has fewer than 16 characters, more than 256 bytes, or control characters.
    pub fn from_secret(secret: &str) -> Result<Self, InvalidBypassKey> {
        if secret.chars().count() < Self::MIN_SECRET_CHARS {
            return Err(InvalidBypassKey("a secret has at least 16 characters"));
        }
        if secret.len() > Self::MAX_SECRET_BYTES {
            return Err(InvalidBypassKey("a secret has at most 256 bytes"));
        }
        // Mostly the line break of a file that the secret was read from.
        if secret.chars().any(char::is_control) {
            return Err(InvalidBypassKey("a secret has no control characters"));
        }
        Ok(Self::from_stored(hash_secret(secret.as_bytes())))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When `hex` is not 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, InvalidBypassKey> {
        decode_hex(&hex.to_ascii_lowercase())
            .map(Self::from_stored)
            .ok_or(InvalidBypassKey("a stored key is 64 hexadecimal digits"))
    }

    /// The stored form: 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        encode_hex(&self.stored)
    }

    fn from_stored(stored: [u8; 32]) -> Self {
        let derived = keyed(&stored)
            .chain_update(b"tenancy bypass cookie v1")
            .finalize()
            .into_bytes();
        let cookie_mac = keyed(&derived.into());
        Self { stored, cookie_mac }
    }

    /// Whether this key was made from `secret`. Takes the same time for every wrong one of its length.
    fn is_of(&self, secret: &PresentedSecret) -> bool {
        hash_secret(&secret.0).ct_eq(&self.stored).into()
    }
}

impl fmt::Debug for BypassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BypassKey(redacted)")
    }
}

fn hash_secret(secret: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"tenancy bypass secret v1\0")
        .chain_update(secret)
        .finalize()
        .into()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // RFC 2104 pads short keys with zeros; a key of block size cannot have a wrong length.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// How bypass links and cookies look, for all tenants alike.
#[derive(Clone, Debug)]
pub struct BypassSettings {
    parameter: Box<str>,
    lifetime: Duration,
}

impl BypassSettings {
    /// Name of the query parameter that carries the secret, unless set.
    pub const DEFAULT_PARAMETER: &str = "tenancy-bypass";
    /// How long a cookie opens, unless set: 12 hours.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

    /// Names the query parameter that carries the secret.
    ///
    /// # Errors
    /// When `name` is not 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
    pub fn with_parameter(mut self, name: &str) -> Result<Self, InvalidName> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(InvalidName::new(
                "bypass parameter",
                name,
                "it is 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-'",
            ));
        }
        self.parameter = name.into();
        Ok(self)
    }

    /// How long a cookie opens, in whole seconds. A shorter lifetime also ends cookies given out under a
    /// longer one.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}

impl Default for BypassSettings {
    fn default() -> Self {
        Self {
            parameter: Self::DEFAULT_PARAMETER.into(),
            lifetime: Self::DEFAULT_LIFETIME,
        }
    }
}

/// Whose maintenance a cookie opens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// That of one tenant. The incarnation tells it from an earlier tenant of the same name.
    Tenant { id: &'a TenantId, incarnation: u64 },
    /// That of the whole service.
    Global,
}

/// A secret as a client sent it, decoded; right or wrong.
pub(crate) struct PresentedSecret(Vec<u8>);

impl fmt::Debug for PresentedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedSecret(redacted)")
    }
}

/// One maintenance's way around it.
#[derive(Clone, Debug)]
pub(crate) struct Bypass {
    key: BypassKey,
    settings: BypassSettings,
}

impl Bypass {
    pub(crate) fn new(key: BypassKey, settings: BypassSettings) -> Self {
        Self { key, settings }
    }

    /// The secret in the query of a GET or HEAD request, if there is exactly one.
    pub(crate) fn presented(&self, method: &Method, uri: &Uri) -> Option<PresentedSecret> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        link::secret_in(uri.query()?, &self.settings.parameter)
    }

    /// Whether the secret is the right one.
    pub(crate) fn accepts(&self, secret: &PresentedSecret) -> bool {
        self.key.is_of(secret)
    }

    /// The same place without the secret, for `Location`: a path on this very host, whatever was asked for.
    /// `None` if the URI has no path to go back to.
    pub(crate) fn location_without_secret(&self, uri: &Uri) -> Option<HeaderValue> {
        link::without_secret(uri, &self.settings.parameter)
    }

    /// A `Set-Cookie` value that opens `subject` from `now` on. `secure` says that the client came over TLS.
    pub(crate) fn issue(&self, subject: Subject<'_>, now: Duration, secure: bool) -> HeaderValue {
        cookie::issue(&self.key.cookie_mac, self.settings.lifetime, subject, now, secure)
    }

    /// Whether the request has a cookie that opens `subject` at `now`.
    pub(crate) fn verify(
        &self,
        subject: Subject<'_>,
        headers: &HeaderMap,
        now: Duration,
        secure: bool,
    ) -> bool {
        cookie::verify(
            &self.key.cookie_mac,
            self.settings.lifetime,
            subject,
            headers,
            now,
            secure,
        )
    }
}
