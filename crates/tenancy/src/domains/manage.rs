use std::{fmt, sync::Arc, time::Duration};

use tenancy_core::{Clock, Host, SystemClock, TenantId};

use super::{
    CheckAnswer, ClaimProof, ClaimStore, ClaimTerms, DomainCheck, DomainClaim, DomainEffect, DomainError,
    DomainReport, ProofOutcome, challenge, store::ErasedClaimStore,
};
use crate::{Tenancy, hex::encode_hex, home::Home, resolve::is_public_suffix};

/// Makes claims and verifies them. Clones share the store. See the [module](super).
#[derive(Clone)]
pub struct Domains {
    pub(super) store: Arc<dyn ErasedClaimStore>,
    pub(super) clock: Arc<dyn Clock>,
    home: Option<Arc<Home>>,
    stack: Option<Tenancy>,
    own_domains: Arc<[Box<str>]>,
    max_open: u32,
    lifetime: Duration,
    pub(super) unserve_after: Option<u32>,
}

/// What became of a claim that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verification {
    /// The domain is the tenant's, and leads to it as soon as the stack has seen the change.
    Verified,
    /// The domain is not proven. The claim stays.
    NotYet {
        /// Why, for the customer.
        reason: String,
    },
    /// Nobody could say. The claim stays; try again.
    CouldNotTell {
        /// What failed.
        reason: String,
    },
}

impl Verification {
    /// Whether the domain is the tenant's now.
    pub fn is_verified(&self) -> bool {
        *self == Self::Verified
    }
}

const CONTESTED: &str =
    "another tenant claims the domain too, or had it before: only a DNS record can prove whose it is";

impl Domains {
    /// Claims in `store`, by the machine's clock and with no listener: for commands and workers without a stack.
    pub fn new(store: impl ClaimStore) -> Self {
        Self {
            store: Arc::new(store),
            clock: Arc::new(SystemClock::new()),
            home: None,
            stack: None,
            own_domains: Arc::new([]),
            max_open: 20,
            lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            unserve_after: None,
        }
    }

    /// Claims in `store`, with clock and listener of a stack. Its central hosts can not be claimed.
    pub fn of(tenancy: &Tenancy, store: impl ClaimStore) -> Self {
        let home = &tenancy.shared().home;
        Self {
            clock: Arc::clone(&home.clock),
            home: Some(Arc::clone(home)),
            stack: Some(tenancy.clone()),
            ..Self::new(store)
        }
    }

    /// Names of the service itself, such as its base domains: neither they nor what is under them can be claimed.
    /// Default: none.
    ///
    /// # Errors
    /// Invalid when one is no domain.
    pub fn own_domains<I>(mut self, domains: I) -> Result<Self, DomainError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let canonical = |domain: I::Item| {
            let canonical = self.store.canonical(domain.as_ref());
            canonical.map(Into::into).map_err(DomainError::invalid_name)
        };
        self.own_domains = domains.into_iter().map(canonical).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// How many open claims a tenant may have. Default: 20.
    #[must_use]
    pub fn max_open_claims(mut self, claims: u32) -> Self {
        self.max_open = claims;
        self
    }

    /// How long a claim stays open. Default: 7 days.
    #[must_use]
    pub fn claim_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// After how many failed [rechecks](Self::recheck) in a row a domain leads nowhere, until one succeeds. It stays its
    /// tenant's. At least 1. Default: never.
    #[must_use]
    pub fn unserve_after(mut self, failures: u32) -> Self {
        self.unserve_after = Some(failures.max(1));
        self
    }

    /// Makes a claim; Unicode is accepted. The open one that the tenant has for this domain already is returned as it is.
    /// Waits for the store.
    ///
    /// # Errors
    /// Invalid when the name can not be a custom domain: no domain, one label, a public suffix, or the service's own.
    /// Not found when there is no such tenant; conflict when the domain is a tenant's or the tenant is deleted; too many;
    /// unavailable.
    pub async fn claim(&self, tenant: &TenantId, domain: &str) -> Result<DomainClaim, DomainError> {
        let domain = self.canonical(domain)?;
        self.check_may_be_claimed(&domain)?;
        let token = random_token()?;
        let terms = ClaimTerms::new(token, self.now_ms(), self.lifetime, self.max_open);
        let claim = self.store.claim(tenant, &domain, terms).await?;
        let made_by = claim.made_by.as_deref();
        tracing::info!(target: "tenancy::domains", %tenant, domain, made_by, "domain claimed");
        Ok(claim)
    }

    /// Takes a claim back. Waits for the store.
    ///
    /// # Errors
    /// Not found; invalid when it is no domain; unavailable.
    pub async fn unclaim(&self, tenant: &TenantId, domain: &str) -> Result<(), DomainError> {
        let domain = self.canonical(domain)?;
        self.store.unclaim(tenant, &domain).await?;
        tracing::info!(target: "tenancy::domains", %tenant, domain, "claim taken back");
        Ok(())
    }

    /// Up to 1,000 claims by tenant and domain, of one tenant or of all, expired ones too; from behind `after`. Waits for
    /// the store.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn claims(
        &self,
        tenant: Option<&TenantId>,
        after: Option<&DomainClaim>,
    ) -> Result<Vec<DomainClaim>, DomainError> {
        let after = after.map(|claim| (&claim.tenant, claim.domain.as_str()));
        self.store.claims(tenant, after, 1_000).await
    }

    /// Checks a claim once, and makes the domain the tenant's if it is proven. Waits for the check and the store.
    ///
    /// Of several tenants that prove one domain, the first gets it; the claims of the others end. If the future is
    /// dropped, the domain may be verified or not, never half.
    ///
    /// # Errors
    /// Not found when there is no such claim; expired; conflict when the domain has become another's or the tenant is
    /// deleted; invalid when it is no domain; unavailable.
    pub async fn verify(
        &self,
        tenant: &TenantId,
        domain: &str,
        check: &impl DomainCheck,
    ) -> Result<Verification, DomainError> {
        let domain = self.canonical(domain)?;
        let Some(claim) = self.store.find_claim(tenant, &domain).await? else {
            return self.verified_before(tenant, &domain).await;
        };
        if claim.is_expired_at(self.now_ms()) {
            return Err(DomainError::expired(format!(
                "the claim of {tenant} on {domain} has expired: make it again"
            )));
        }
        // Settings may have changed since it was made.
        self.check_may_be_claimed(&domain)?;
        let answer = check.check(&claim.challenge()).await;
        if answer.is_proven() {
            return self.prove(&claim, check.shows_control()).await;
        }
        self.store
            .note_check(&claim, self.now_ms(), answer.reason())
            .await?;
        Ok(self.report(&claim, answer))
    }

    async fn prove(&self, claim: &DomainClaim, shows_control: bool) -> Result<Verification, DomainError> {
        let proof = ClaimProof::new(self.now_ms(), shows_control);
        let answer = match self.store.prove(claim, proof).await? {
            ProofOutcome::Verified => CheckAnswer::Proven,
            ProofOutcome::Contested => {
                self.store
                    .note_check(claim, self.now_ms(), Some(CONTESTED))
                    .await?;
                CheckAnswer::not_yet(CONTESTED)
            }
        };
        Ok(self.report(claim, answer))
    }

    /// Who asks twice, as one does who did not get the first answer, is not told that there is no claim.
    async fn verified_before(&self, tenant: &TenantId, domain: &str) -> Result<Verification, DomainError> {
        let mut after = None;
        loop {
            let page = self.store.verified(Some(tenant), after.as_deref(), 1_000).await?;
            if page.iter().any(|verified| verified.domain == domain) {
                return Ok(Verification::Verified);
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.domain),
                None => {
                    let detail = format!("the tenant {tenant} has no claim on {domain}");
                    return Err(DomainError::not_found(detail));
                }
            }
        }
    }

    fn report(&self, claim: &DomainClaim, answer: CheckAnswer) -> Verification {
        let effect = match answer {
            CheckAnswer::Proven => DomainEffect::Verified,
            _ => DomainEffect::None,
        };
        let verification = match &answer {
            CheckAnswer::Proven => Verification::Verified,
            CheckAnswer::NotYet { reason } => Verification::NotYet {
                reason: reason.clone(),
            },
            CheckAnswer::CouldNotTell { reason } => Verification::CouldNotTell {
                reason: reason.clone(),
            },
        };
        let report = DomainReport {
            tenant: claim.tenant.clone(),
            domain: claim.domain.clone(),
            answer,
            effect,
            failures: 0,
            is_recheck: false,
        };
        self.tell(report);
        verification
    }

    pub(super) fn tell(&self, report: DomainReport) {
        report.write(self.home.as_deref());
    }

    fn canonical(&self, domain: &str) -> Result<String, DomainError> {
        self.store.canonical(domain).map_err(DomainError::invalid_name)
    }

    fn check_may_be_claimed(&self, domain: &str) -> Result<(), DomainError> {
        let refused = |reason: &str| Err(DomainError::invalid(format!("{domain} {reason}")));
        if domain.len() > challenge::MAX_DOMAIN {
            return refused("is too long: its challenge would have no name in DNS");
        }
        if !domain.contains('.') || is_public_suffix(domain) {
            return refused("is a public suffix or a single label: it is nobody's own");
        }
        if self.own_domains.iter().any(|own| is_or_is_under(domain, own)) || self.is_central(domain) {
            return refused("is a name of this service, or under one");
        }
        Ok(())
    }

    fn is_central(&self, domain: &str) -> bool {
        let host = Host::parse(domain.as_bytes());
        let stack = self.stack.as_ref();
        stack.is_some_and(|stack| host.is_ok_and(|host| stack.resolver().is_central(&host)))
    }

    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_time().as_millis()).unwrap_or(i64::MAX)
    }
}

fn is_or_is_under(domain: &str, own: &str) -> bool {
    let before = domain.strip_suffix(own);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn random_token() -> Result<String, DomainError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| DomainError::unavailable("the system gave no random number").caused_by(error))?;
    Ok(encode_hex(&bytes))
}

impl fmt::Debug for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domains")
            .field("own_domains", &self.own_domains)
            .field("max_open", &self.max_open)
            .field("lifetime", &self.lifetime)
            .field("unserve_after", &self.unserve_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_whole_labels() {
        for (domain, expected) in [
            ("example.com", true),
            ("acme.example.com", true),
            ("a.b.example.com", true),
            ("notexample.com", false),
            ("example.com.evil.test", false),
            ("com", false),
        ] {
            assert_eq!(is_or_is_under(domain, "example.com"), expected, "{domain}");
        }
    }

    #[test]
    fn tokens_have_128_random_bits() {
        let token = random_token().unwrap();
        assert!(challenge::is_token(&token), "{token}");
        assert_ne!(token, random_token().unwrap());
    }
}
