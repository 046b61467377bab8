use std::{borrow::Cow, fmt};

use http::Extensions;
use tenancy_core::{Identification, Identify, Reads, RequestHead, TenantKey};

use super::value::invalid;
use crate::credential::CredentialClaim;

/// Identifies by what a credential says of its tenant, from what your authentication left in the request's extensions.
///
/// No credential, and one without tenant, is absent; one that can not be read is invalid. Copies the id.
///
/// Authentication has to run before the resolve stage then, or there is nothing to read: put it there with
/// [`insert_before`](crate::stack::TenancyBuilder::insert_before), or say with
/// [`auth_stands_outside`](crate::stack::TenancyBuilder::auth_stands_outside) that it wraps the whole stack. Otherwise
/// the stack is refused when it is built, and [`Tenancy::new`](crate::Tenancy::new), which refuses nothing, answers
/// every request with 400. Where authentication runs later, do not identify by a claim: let
/// [`BindCredential`](crate::credential::BindCredential) compare it with the tenant that was found.
///
/// Keep `BindCredential` in any case: an identifier yields an id, so that a token of a purged tenant leads to one that
/// was created under the same id later. The layer sees the difference.
///
/// ```
/// use tenancy::{MemoryStore, Tenancy, TenantRef, credential::CredentialClaim, resolve::Claim};
///
/// /// Left by the authentication layer: a verified token.
/// #[derive(Clone)]
/// struct Token {
///     tenant: TenantRef,
/// }
///
/// let by_token = || {
///     Claim::new("token", |extensions| match extensions.get::<Token>() {
///         Some(token) => CredentialClaim::from(&token.tenant),
///         None => CredentialClaim::Absent,
///     })
/// };
/// let store = MemoryStore::of(["acme"])?;
/// assert!(Tenancy::builder(by_token(), store.clone()).build().is_err(), "nobody has left a token yet");
/// Tenancy::builder(by_token(), store).auth_stands_outside().build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Claim {
    name: Box<str>,
    read: Box<dyn Fn(&Extensions) -> CredentialClaim + Send + Sync>,
}

impl Claim {
    /// Identifies by what `read` finds in the extensions. `name` is what people call it: "token".
    pub fn new(
        name: impl Into<Box<str>>,
        read: impl Fn(&Extensions) -> CredentialClaim + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            read: Box::new(read),
        }
    }
}

impl Identify for Claim {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let id = match (self.read)(head.extensions()) {
            CredentialClaim::Absent | CredentialClaim::Unbound => return Identification::Absent,
            CredentialClaim::Unreadable => return invalid("its tenant can not be read"),
            CredentialClaim::Bound(bound) => bound.id().clone(),
            CredentialClaim::BoundToId(id) => id,
        };
        TenantKey::id(&id).into_owned().into()
    }

    fn reads(&self) -> Reads {
        Reads::Extensions
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("claim {}", self.name))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Stands for an identifier that reads what authentication leaves, in a stack where nothing can have left it.
/// It never makes room for another identifier: what would be identified by it is refused.
pub(super) struct ClaimWithoutAuth;

impl Identify for ClaimWithoutAuth {
    fn identify<'a>(&self, _: &RequestHead<'a>) -> Identification<'a> {
        invalid("no authentication stands before the resolve stage; build the stack with Tenancy::builder")
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{super::testing::outcome, *};

    #[test]
    fn a_claim_yields_the_id_and_one_that_can_not_be_read_is_invalid() {
        #[derive(Clone)]
        struct Token(&'static str);
        let by_claim = Claim::new("token", |extensions| match extensions.get::<Token>() {
            Some(Token("operator")) => CredentialClaim::Unbound,
            Some(token) => CredentialClaim::from_text(token.0),
            None => CredentialClaim::Absent,
        });
        let with = |text| outcome(&by_claim, Request::get("/").extension(Token(text)));
        assert_eq!(with("acme.3"), "id:acme");
        assert_eq!(with("acme"), "id:acme");
        assert_eq!(with("ACME"), "invalid");
        assert_eq!(with(""), "invalid");
        assert_eq!(with("operator"), "absent");
        assert_eq!(outcome(&by_claim, Request::get("/")), "absent");
        assert_eq!(by_claim.name(), "claim token");
    }
}
