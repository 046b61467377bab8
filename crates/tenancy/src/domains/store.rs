use std::{future::Future, pin::Pin};

use tenancy_core::{InvalidName, TenantId};

use super::{ClaimTerms, DomainClaim, DomainEffect, DomainError, VerifiedDomain};

/// How a claim was proven. For stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimProof {
    /// The present, in milliseconds since 1970-01-01 UTC.
    pub now_ms: i64,
    /// Whether the proof shows who has the domain in hand. One that does not is refused for a domain that another tenant
    /// claims too, or had before.
    pub shows_control: bool,
}

impl ClaimProof {
    /// All that a store has to know.
    pub fn new(now_ms: i64, shows_control: bool) -> Self {
        Self {
            now_ms,
            shows_control,
        }
    }
}

/// What became of a proven claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofOutcome {
    /// The domain is the tenant's, by this proof or by an earlier one.
    Verified,
    /// The proof does not show control, and another tenant claims the domain too or had it before.
    Contested,
}

/// What a check of a verified domain has found. For stores.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecheckNote {
    /// It is still proven.
    Proven,
    /// It is not.
    Failed {
        /// What was found instead.
        reason: String,
        /// After how many such checks in a row the domain is to lead nowhere; `None`: never.
        unserve_after: Option<u32>,
    },
    /// Nobody could say. Counts for nothing.
    CouldNotTell {
        /// What failed.
        reason: String,
    },
}

/// Keeps claims, and moves those that are proven into the catalogue.
///
/// Claims are apart from domains: none leads a request anywhere, and several tenants may have one for the same domain.
/// Domains are given and returned in the form of [`canonical`](Self::canonical). All processes share one store.
pub trait ClaimStore: Send + Sync + 'static {
    /// The form in which domains are kept. Does not wait.
    ///
    /// # Errors
    /// When it is no domain.
    fn canonical(&self, domain: &str) -> Result<String, InvalidName>;

    /// Makes a claim, or returns the open one that this tenant has for the domain already, as it is.
    ///
    /// # Errors
    /// Not found, conflict (the domain is a tenant's, or the tenant is deleted), too many, unavailable.
    fn claim(
        &self,
        tenant: &TenantId,
        domain: &str,
        terms: ClaimTerms,
    ) -> impl Future<Output = Result<DomainClaim, DomainError>> + Send;

    /// Takes a claim back.
    ///
    /// # Errors
    /// Not found, unavailable.
    fn unclaim(
        &self,
        tenant: &TenantId,
        domain: &str,
    ) -> impl Future<Output = Result<(), DomainError>> + Send;

    /// One claim, expired or not.
    ///
    /// # Errors
    /// Unavailable.
    fn find_claim(
        &self,
        tenant: &TenantId,
        domain: &str,
    ) -> impl Future<Output = Result<Option<DomainClaim>, DomainError>> + Send;

    /// Claims by tenant and domain, of one tenant or of all, expired ones too; from behind `after`.
    ///
    /// # Errors
    /// Unavailable.
    fn claims(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(&TenantId, &str)>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DomainClaim>, DomainError>> + Send;

    /// Whether this is the token of an open claim of exactly this domain, or of exactly this verified domain.
    ///
    /// # Errors
    /// Unavailable.
    fn is_token_of(
        &self,
        domain: &str,
        token: &str,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, DomainError>> + Send;

    /// Keeps when a claim was checked, and what for lack of proof was found.
    ///
    /// # Errors
    /// Unavailable.
    fn note_check(
        &self,
        claim: &DomainClaim,
        now_ms: i64,
        reason: Option<&str>,
    ) -> impl Future<Output = Result<(), DomainError>> + Send;

    /// Makes the domain the tenant's in one transaction with one change number, and ends all claims of it.
    ///
    /// Judges anew, in that transaction: the claim must be there with this token and not expired, the tenant not deleted,
    /// and the domain nobody else's.
    ///
    /// # Errors
    /// Not found, expired, conflict, unavailable.
    fn prove(
        &self,
        claim: &DomainClaim,
        proof: ClaimProof,
    ) -> impl Future<Output = Result<ProofOutcome, DomainError>> + Send;

    /// Verified domains in their order, of one tenant or of all, from behind `after`. Those that an operator gave to a
    /// tenant are not among them.
    ///
    /// # Errors
    /// Unavailable.
    fn verified(
        &self,
        tenant: Option<&TenantId>,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<VerifiedDomain>, DomainError>> + Send;

    /// Keeps what a new check of a verified domain has found, and stops or begins to serve it where that says so. Does
    /// nothing for a domain that is no longer the one that was checked.
    ///
    /// # Errors
    /// Unavailable.
    fn note_recheck(
        &self,
        domain: &VerifiedDomain,
        now_ms: i64,
        note: RecheckNote,
    ) -> impl Future<Output = Result<DomainEffect, DomainError>> + Send;
}

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, DomainError>> + Send + 'a>>;

/// The object-safe twin.
pub(super) trait ErasedClaimStore: Send + Sync + 'static {
    fn canonical(&self, domain: &str) -> Result<String, InvalidName>;
    fn claim<'a>(
        &'a self,
        tenant: &'a TenantId,
        domain: &'a str,
        terms: ClaimTerms,
    ) -> BoxFuture<'a, DomainClaim>;
    fn unclaim<'a>(&'a self, tenant: &'a TenantId, domain: &'a str) -> BoxFuture<'a, ()>;
    fn find_claim<'a>(&'a self, tenant: &'a TenantId, domain: &'a str) -> BoxFuture<'a, Option<DomainClaim>>;
    fn claims<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        after: Option<(&'a TenantId, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Vec<DomainClaim>>;
    fn is_token_of<'a>(&'a self, domain: &'a str, token: &'a str, now_ms: i64) -> BoxFuture<'a, bool>;
    fn note_check<'a>(
        &'a self,
        claim: &'a DomainClaim,
        now_ms: i64,
        reason: Option<&'a str>,
    ) -> BoxFuture<'a, ()>;
    fn prove<'a>(&'a self, claim: &'a DomainClaim, proof: ClaimProof) -> BoxFuture<'a, ProofOutcome>;
    fn verified<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Vec<VerifiedDomain>>;
    fn note_recheck<'a>(
        &'a self,
        domain: &'a VerifiedDomain,
        now_ms: i64,
        note: RecheckNote,
    ) -> BoxFuture<'a, DomainEffect>;
}

impl<S: ClaimStore> ErasedClaimStore for S {
    fn canonical(&self, domain: &str) -> Result<String, InvalidName> {
        ClaimStore::canonical(self, domain)
    }

    fn claim<'a>(
        &'a self,
        tenant: &'a TenantId,
        domain: &'a str,
        terms: ClaimTerms,
    ) -> BoxFuture<'a, DomainClaim> {
        Box::pin(ClaimStore::claim(self, tenant, domain, terms))
    }

    fn unclaim<'a>(&'a self, tenant: &'a TenantId, domain: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(ClaimStore::unclaim(self, tenant, domain))
    }

    fn find_claim<'a>(&'a self, tenant: &'a TenantId, domain: &'a str) -> BoxFuture<'a, Option<DomainClaim>> {
        Box::pin(ClaimStore::find_claim(self, tenant, domain))
    }

    fn claims<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        after: Option<(&'a TenantId, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Vec<DomainClaim>> {
        Box::pin(ClaimStore::claims(self, tenant, after, limit))
    }

    fn is_token_of<'a>(&'a self, domain: &'a str, token: &'a str, now_ms: i64) -> BoxFuture<'a, bool> {
        Box::pin(ClaimStore::is_token_of(self, domain, token, now_ms))
    }

    fn note_check<'a>(
        &'a self,
        claim: &'a DomainClaim,
        now_ms: i64,
        reason: Option<&'a str>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(ClaimStore::note_check(self, claim, now_ms, reason))
    }

    fn prove<'a>(&'a self, claim: &'a DomainClaim, proof: ClaimProof) -> BoxFuture<'a, ProofOutcome> {
        Box::pin(ClaimStore::prove(self, claim, proof))
    }

    fn verified<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Vec<VerifiedDomain>> {
        Box::pin(ClaimStore::verified(self, tenant, after, limit))
    }

    fn note_recheck<'a>(
        &'a self,
        domain: &'a VerifiedDomain,
        now_ms: i64,
        note: RecheckNote,
    ) -> BoxFuture<'a, DomainEffect> {
        Box::pin(ClaimStore::note_recheck(self, domain, now_ms, note))
    }
}
