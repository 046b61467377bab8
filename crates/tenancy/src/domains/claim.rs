use std::{fmt, time::Duration};

use tenancy_core::TenantId;

use super::challenge::Challenge;

/// What a tenant says is its own and has not proven yet. It leads no request anywhere and holds no name: another
/// tenant may claim the same domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DomainClaim {
    /// Who claims it.
    pub tenant: TenantId,
    /// The domain, as the store keeps it: lower-case ASCII.
    pub domain: String,
    /// 128 random bits as 32 hexadecimal digits. Each claim has its own. No secret: it will stand in DNS.
    pub token: String,
    /// Who made the claim, if that was said.
    pub made_by: Option<String>,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub made_at_ms: i64,
    /// When it ends, unless it was proven before.
    pub expires_at_ms: i64,
    /// When it was last checked.
    pub last_checked_ms: Option<i64>,
    /// What was found then, in words for operators and the customer.
    pub last_error: Option<String>,
}

impl DomainClaim {
    /// A claim that was never checked. For stores.
    pub fn new(tenant: TenantId, domain: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            tenant,
            domain: domain.into(),
            token: token.into(),
            made_by: None,
            made_at_ms: 0,
            expires_at_ms: 0,
            last_checked_ms: None,
            last_error: None,
        }
    }

    /// What has to be put where.
    pub fn challenge(&self) -> Challenge {
        Challenge::new(&self.domain, &self.token)
    }

    /// Whether it has ended at this time, in milliseconds since 1970.
    pub fn is_expired_at(&self, now_ms: i64) -> bool {
        self.expires_at_ms <= now_ms
    }
}

/// What a claim is made with. For stores.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimTerms {
    /// The token of a new claim.
    pub token: String,
    /// The present, in milliseconds since 1970-01-01 UTC.
    pub now_ms: i64,
    /// When a new claim ends.
    pub expires_at_ms: i64,
    /// How many open claims a tenant may have.
    pub max_open: u32,
}

impl ClaimTerms {
    /// All that a store has to know.
    pub fn new(token: impl Into<String>, now_ms: i64, lifetime: Duration, max_open: u32) -> Self {
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        Self {
            token: token.into(),
            now_ms,
            expires_at_ms: now_ms.saturating_add(lifetime),
            max_open,
        }
    }
}

/// A domain that was verified, with what it was proven by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedDomain {
    /// Whose it is.
    pub tenant: TenantId,
    /// The domain, as the store keeps it.
    pub domain: String,
    /// The token of the claim that it came from.
    pub token: String,
    /// When it was proven, in milliseconds since 1970-01-01 UTC.
    pub verified_at_ms: i64,
    /// When it was last checked again.
    pub last_checked_ms: Option<i64>,
    /// What was found then, if it was not proven.
    pub last_error: Option<String>,
    /// How many checks in a row have found no proof.
    pub failures: u32,
    /// Whether requests are led to the tenant; no longer once too many checks have failed, if the operator said so.
    pub is_served: bool,
}

impl VerifiedDomain {
    /// A domain that was never checked again. For stores.
    pub fn new(tenant: TenantId, domain: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            tenant,
            domain: domain.into(),
            token: token.into(),
            verified_at_ms: 0,
            last_checked_ms: None,
            last_error: None,
            failures: 0,
            is_served: true,
        }
    }

    /// What has to stay where it was put.
    pub fn challenge(&self) -> Challenge {
        Challenge::new(&self.domain, &self.token)
    }
}

/// What a check of a claim, or of a verified domain, has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DomainEffect {
    /// Nothing but what is noted of the check.
    None,
    /// The claim has become a domain of its tenant.
    Verified,
    /// The domain leads nowhere any more, for too many checks have failed.
    Unserved,
    /// The domain leads to its tenant again.
    ServedAgain,
}

impl DomainEffect {
    /// A short name for logs and metrics. The set is fixed and small.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Verified => "verified",
            Self::Unserved => "unserved",
            Self::ServedAgain => "served_again",
        }
    }
}

impl fmt::Display for DomainEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
