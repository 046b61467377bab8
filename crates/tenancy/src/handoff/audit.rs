use std::{fmt, sync::Arc};

use super::{Grant, Purpose};
use crate::{TenantRef, event::Event, home::Home};

/// Why a token was refused. For the audit alone: clients get one answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandoffRefusal {
    /// It does not have the form of a token, or its signature is wrong.
    Malformed,
    /// It was never given out, was used before, or expired so long ago that nobody remembers it.
    Unknown,
    /// It was given out, and was used too late.
    Expired,
    /// It is for another tenant, or for an earlier one of that name.
    WrongTenant,
    /// It is for another purpose.
    WrongPurpose,
    /// It is for another browser.
    WrongBrowser,
    /// Its tenant is not served.
    TenantNotServed,
}

impl HandoffRefusal {
    /// A short name for logs and metrics. The set is fixed and small.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::WrongTenant => "wrong_tenant",
            Self::WrongPurpose => "wrong_purpose",
            Self::WrongBrowser => "wrong_browser",
            Self::TenantNotServed => "tenant_not_served",
        }
    }
}

impl fmt::Display for HandoffRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandoffStep {
    /// It was given out.
    Issued,
    /// It was redeemed.
    Redeemed,
    /// It was refused. If it was a real one, it is burnt.
    Refused(HandoffRefusal),
    /// The store could not tell.
    Failed,
}

/// One line of the audit: who, for whom, what for. Never has the token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandoffAudit {
    /// What happened.
    pub step: HandoffStep,
    /// Tells tokens apart: beginning of the hash, 16 hexadecimal digits. `None` for what has not the form of a token.
    pub reference: Option<Box<str>>,
    /// What the token stands for; `None` for one that nobody knows.
    pub grant: Option<Grant>,
    /// On whose host it was presented; `None` when it was given out, and on central hosts.
    pub presented_to: Option<TenantRef>,
    /// What it was presented for.
    pub presented_for: Option<Purpose>,
}

impl HandoffAudit {
    pub(super) fn new(step: HandoffStep) -> Self {
        Self {
            step,
            reference: None,
            grant: None,
            presented_to: None,
            presented_for: None,
        }
    }

    /// Writes it to the log and tells the listener.
    pub(super) fn write(self, home: &Home) {
        let grant = self.grant.as_ref();
        let reference = self.reference.as_deref();
        let tenant = grant.map(|grant| tracing::field::display(&grant.tenant));
        let purpose = grant.map(|grant| tracing::field::display(&grant.purpose));
        let user = grant.map(|grant| &*grant.user);
        let issued_by = grant.map(|grant| &*grant.issued_by);
        let presented_to = self.presented_to.as_ref().map(tracing::field::display);
        let presented_for = self.presented_for.as_ref().map(tracing::field::display);
        match self.step {
            HandoffStep::Issued => tracing::info!(
                target: "tenancy::handoff",
                reference, tenant, purpose, user, issued_by, "token issued"
            ),
            HandoffStep::Redeemed => tracing::info!(
                target: "tenancy::handoff",
                reference, tenant, purpose, user, issued_by, "token redeemed"
            ),
            HandoffStep::Refused(refusal) => tracing::warn!(
                target: "tenancy::handoff",
                reference, tenant, purpose, user, issued_by, presented_to, presented_for,
                reason = refusal.as_str(),
                "token refused"
            ),
            HandoffStep::Failed => tracing::error!(
                target: "tenancy::handoff",
                reference, presented_to, presented_for, "the store of tokens could not tell"
            ),
        }
        home.emit(|| Event::Handoff {
            audit: Arc::new(self),
        });
    }
}
