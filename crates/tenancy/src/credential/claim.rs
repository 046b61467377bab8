use std::fmt;

use tenancy_core::TenantId;

use crate::{Tenant, TenantRef, rejection::RejectionReason};

/// Which tenant a credential says it is for.
///
/// Made from a [`TenantRef`], from a [`TenantId`], or from text by [`from_text`](Self::from_text).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialClaim {
    /// The request has no credential.
    Absent,
    /// There is a credential, and it is for no tenant: that of an operator, or one that was never bound.
    Unbound,
    /// It is for this tenant, and for no other that ever has the same id.
    Bound(TenantRef),
    /// It is for the tenant of this id. Weaker: where a tenant is purged and its id taken anew, the new one passes.
    BoundToId(TenantId),
    /// It names a tenant in a way that can not be read. Refused everywhere.
    Unreadable,
}

impl CredentialClaim {
    /// Reads what a credential says of its tenant: the text of a [`TenantRef`] (`acme.17`, exact) or of an id (`acme`,
    /// weaker). Anything else is [`Unreadable`](Self::Unreadable), never "without tenant".
    ///
    /// ```
    /// use tenancy::credential::CredentialClaim;
    ///
    /// assert!(matches!(CredentialClaim::from_text("acme.17"), CredentialClaim::Bound(_)));
    /// assert!(matches!(CredentialClaim::from_text("acme"), CredentialClaim::BoundToId(_)));
    /// assert_eq!(CredentialClaim::from_text(""), CredentialClaim::Unreadable);
    /// ```
    pub fn from_text(text: &str) -> Self {
        // No id has a dot.
        let read = if text.contains('.') {
            text.parse().map(Self::Bound)
        } else {
            text.parse().map(Self::BoundToId)
        };
        read.unwrap_or(Self::Unreadable)
    }

    /// Why the credential is no good for a request of this tenant, or a central one.
    pub(super) fn judge(&self, tenant: Option<&Tenant>, demanded: bool) -> Result<(), RejectionReason> {
        let is_for_it = match (self, tenant) {
            (Self::Absent, _) if demanded => return Err(RejectionReason::NoCredential),
            (Self::Unbound, Some(_)) if demanded => return Err(RejectionReason::UnboundCredential),
            (Self::Absent | Self::Unbound, _) => true,
            (Self::Bound(bound), Some(tenant)) => {
                bound.id() == tenant.id() && bound.incarnation() == tenant.incarnation()
            }
            (Self::BoundToId(bound), Some(tenant)) => bound == tenant.id(),
            (Self::Bound(_) | Self::BoundToId(_), None) | (Self::Unreadable, _) => false,
        };
        if is_for_it {
            Ok(())
        } else {
            Err(RejectionReason::WrongTenant)
        }
    }
}

/// For logs: "bound to acme.17".
impl fmt::Display for CredentialClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Unbound => f.write_str("bound to no tenant"),
            Self::Bound(bound) => write!(f, "bound to {bound}"),
            Self::BoundToId(bound) => write!(f, "bound to {bound}"),
            Self::Unreadable => f.write_str("bound to something that can not be read"),
        }
    }
}

impl From<TenantRef> for CredentialClaim {
    fn from(bound: TenantRef) -> Self {
        Self::Bound(bound)
    }
}

impl From<&TenantRef> for CredentialClaim {
    fn from(bound: &TenantRef) -> Self {
        Self::Bound(bound.clone())
    }
}

impl From<TenantId> for CredentialClaim {
    fn from(bound: TenantId) -> Self {
        Self::BoundToId(bound)
    }
}

impl From<&TenantId> for CredentialClaim {
    fn from(bound: &TenantId) -> Self {
        Self::BoundToId(bound.clone())
    }
}

impl From<&str> for CredentialClaim {
    fn from(bound: &str) -> Self {
        Self::from_text(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::tests::tenant;

    #[test]
    fn only_the_tenant_that_it_is_bound_to_lets_a_credential_through() {
        use RejectionReason::{NoCredential, UnboundCredential, WrongTenant};
        let acme = tenant("acme");
        let exact = |text: &str| CredentialClaim::from_text(text);
        // The claim; then for a tenant's request and a central one, each without and with the demand.
        let table = [
            (
                CredentialClaim::Absent,
                [None, Some(NoCredential), None, Some(NoCredential)],
            ),
            (
                CredentialClaim::Unbound,
                [None, Some(UnboundCredential), None, None],
            ),
            (
                exact("acme.0"),
                [None, None, Some(WrongTenant), Some(WrongTenant)],
            ),
            (exact("acme"), [None, None, Some(WrongTenant), Some(WrongTenant)]),
            (exact("acme.1"), [Some(WrongTenant); 4]),
            (exact("globex.0"), [Some(WrongTenant); 4]),
            (exact("globex"), [Some(WrongTenant); 4]),
            (CredentialClaim::Unreadable, [Some(WrongTenant); 4]),
        ];
        for (claim, expected) in table {
            let found = [
                claim.judge(Some(&acme), false),
                claim.judge(Some(&acme), true),
                claim.judge(None, false),
                claim.judge(None, true),
            ];
            assert_eq!(found.map(Result::err), expected, "{claim}");
        }
    }

    #[test]
    fn text_that_is_no_tenant_is_never_taken_for_no_binding() {
        for text in ["", ".", "ACME", "acme.", "acme.01", " acme", "acme\n", "a/b"] {
            assert_eq!(
                CredentialClaim::from_text(text),
                CredentialClaim::Unreadable,
                "{text:?}"
            );
        }
    }
}
