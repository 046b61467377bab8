use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tenancy_core::{InvalidName, TenantId};

use super::ReturnPath;
use crate::TenantRef;

/// What a token is for. A token of one purpose is no good for another.
///
/// A purpose has the grammar of a tenant's id: 1 to 48 of `a-z`, `0-9`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Purpose(Cow<'static, str>);

impl Purpose {
    /// Support signs in as a user of the tenant.
    pub const IMPERSONATION: Self = Self(Cow::Borrowed("impersonation"));
    /// A user who signed in at the central host goes on to the tenant's.
    pub const SIGN_ON: Self = Self(Cow::Borrowed("sign-on"));

    /// A purpose of the application's own.
    ///
    /// # Errors
    /// When the name does not follow the grammar.
    pub fn named(name: &str) -> Result<Self, InvalidName> {
        if TenantId::is_valid(name) {
            return Ok(Self(Cow::Owned(name.to_owned())));
        }
        let reason = "it is 1 to 48 characters of a-z, 0-9, '_' and '-', and does not begin with '-'";
        Err(InvalidName::new("purpose", name, reason))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Purpose({})", self.0)
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        Self::named(&name).map_err(de::Error::custom)
    }
}

/// A token to be given out: for which user, what for, and on whose word.
#[derive(Clone, Debug)]
pub struct HandoffRequest {
    pub(super) purpose: Purpose,
    pub(super) user: Box<str>,
    pub(super) issued_by: Box<str>,
    pub(super) lifetime: Duration,
    pub(super) return_to: Option<ReturnPath>,
    pub(super) browser: Option<[u8; 32]>,
}

impl HandoffRequest {
    /// How long a token lives unless set: 60 seconds.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
    /// The longest that a token may live: 10 minutes.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(10 * 60);
    /// The most bytes that the names of the user and of who asked may have.
    pub const MAX_NAME_LEN: usize = 256;

    /// A token for `user`, as the tenant's part of the application names users. `issued_by` is who asked for it, for the
    /// audit: a member of staff, a service.
    pub fn new(purpose: Purpose, user: &str, issued_by: &str) -> Self {
        Self {
            purpose,
            user: user.into(),
            issued_by: issued_by.into(),
            lifetime: Self::DEFAULT_LIFETIME,
            return_to: None,
            browser: None,
        }
    }

    /// A token by which `issued_by` signs in as `user`.
    pub fn impersonation(user: &str, issued_by: &str) -> Self {
        Self::new(Purpose::IMPERSONATION, user, issued_by)
    }

    /// How long it may be redeemed. [`MAX_LIFETIME`](Self::MAX_LIFETIME) at most.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Where to go after it was redeemed.
    #[must_use]
    pub fn return_to(mut self, path: ReturnPath) -> Self {
        self.return_to = Some(path);
        self
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let is_name = |name: &str| {
            (1..=Self::MAX_NAME_LEN).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        if !is_name(&self.user) {
            Some("the user's name is empty, longer than 256 bytes, or has control characters")
        } else if !is_name(&self.issued_by) {
            Some("the name of who asks is empty, longer than 256 bytes, or has control characters")
        } else if self.lifetime.is_zero() || self.lifetime > Self::MAX_LIFETIME {
            Some("a token lives longer than nothing and 10 minutes at most")
        } else {
            None
        }
    }
}

/// What a token stands for. A store keeps it beside the token's hash; redeeming yields it.
///
/// Stores keep it by serde: as JSON, it is an object of a few short fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// A field that this version does not know may be a condition: better no grant than one without it.
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub(super) tenant: TenantRef,
    pub(super) purpose: Purpose,
    pub(super) user: Box<str>,
    pub(super) issued_by: Box<str>,
    pub(super) expires_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) return_to: Option<ReturnPath>,
    /// Hash of what the browser must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) browser: Option<[u8; 32]>,
}

impl Grant {
    /// Whose user it is.
    pub fn tenant(&self) -> &TenantRef {
        &self.tenant
    }

    /// What for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Which user of the tenant.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Who asked for the token. Keep it in the session of an impersonation, and show it.
    pub fn issued_by(&self) -> &str {
        &self.issued_by
    }

    /// When it expires, in milliseconds since 1970-01-01 UTC.
    pub fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// Where to go now: what the token says, or `/`.
    pub fn return_to(&self) -> ReturnPath {
        self.return_to.clone().unwrap_or_default()
    }
}
