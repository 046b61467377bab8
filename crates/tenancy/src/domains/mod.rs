//! Custom domains: claimed by a tenant, verified, and told to the proxy that makes certificates.
//!
//! * A tenant *claims* a domain. A claim is no domain: it leads no request anywhere, and several tenants may claim one
//!   domain. It has a random token, and ends after 7 days; a tenant has 20 open ones at most.
//! * A [`DomainCheck`] looks whether the token is where only the domain's holder can put it: [`DnsCheck`] in a TXT record,
//!   [`HttpCheck`] at a path of the domain, or one of your own.
//! * On proof the domain becomes the tenant's, in one transaction with one change number, and every process sees it
//!   through the change log. The first that proves a domain gets it; all other claims of it end.
//! * [`Domains::recheck_all`] looks again at what was verified, and tells the [listener](crate::event).
//! * [`CertificateAsk`] tells a proxy whether to make a certificate for a name, before anybody can make it ask an
//!   authority for a million of them.
//!
//! What an operator does by hand (`SqlStore::add_domain`, `tenancy domains add`) is trusted and needs no proof.
//!
//! **Caveats.** A domain that a tenant holds can not be taken by a claim, also if the name has a new owner: an operator has to
//! take it away first. Nothing here knows who may claim for a tenant, nor how often: check it before you call.
//! [`HttpCheck`] proves less than [`DnsCheck`]; read its page before you use it. Claims live beside the tenants; a
//! catalogue that was adopted from an application's own tables has none.
//!
//! Features: `dns` has [`DnsCheck`], `http-check` has [`HttpCheck`]. Neither is on by default.
//!
//! ```
//! use tenancy::{
//!     core::TenantId,
//!     domains::{Challenge, CheckAnswer, DomainCheck, DomainError, Domains, Verification},
//! };
//!
//! /// A check of your own: here, a list that somebody keeps.
//! struct Registrar(Vec<String>);
//!
//! impl DomainCheck for Registrar {
//!     async fn check(&self, challenge: &Challenge) -> CheckAnswer {
//!         if self.0.iter().any(|domain| domain == challenge.domain()) {
//!             CheckAnswer::Proven
//!         } else {
//!             CheckAnswer::not_yet("the registrar does not know of it")
//!         }
//!     }
//! }
//!
//! async fn connect(domains: &Domains, acme: &TenantId) -> Result<String, DomainError> {
//!     let claim = domains.claim(acme, "shop.acme.example").await?;
//!     let registrar = Registrar(vec!["shop.acme.example".to_owned()]);
//!     Ok(match domains.verify(acme, &claim.domain, &registrar).await? {
//!         Verification::Verified => "connected".to_owned(),
//!         Verification::NotYet { reason } => format!(
//!             "{reason}; put {} into a TXT record at {}",
//!             claim.token,
//!             claim.challenge().dns_name(),
//!         ),
//!         _ => "try again".to_owned(),
//!     })
//! }
//! ```
//!
//! ```
//! use std::time::Duration;
//! use tenancy::{Tenancy, core::LockStore, domains::{DomainCheck, Domains}, schedule::TenantJob};
//!
//! /// Every day, by one of several processes: are the domains still our tenants'?
//! async fn look_again(tenancy: Tenancy, domains: Domains, locks: impl LockStore, check: impl DomainCheck + Clone) {
//!     let day = Duration::from_secs(24 * 60 * 60);
//!     let job = TenantJob::new("domains", locks).at_most_every(day - Duration::from_secs(60));
//!     let mut due = tokio::time::interval(day);
//!     loop {
//!         due.tick().await;
//!         if let Err(error) = domains.recheck_all(&tenancy, &job, check.clone()).await {
//!             tracing::warn!(?error, "the domains were not checked");
//!         }
//!     }
//! }
//! ```

mod answer;
mod ask;
mod challenge;
mod check;
mod claim;
#[cfg(feature = "dns")]
mod dns;
mod error;
#[cfg(feature = "http-check")]
mod http;
mod manage;
#[cfg(feature = "http-check")]
mod public_address;
mod recheck;
mod report;
mod store;

#[cfg(feature = "dns")]
pub use self::dns::DnsCheck;
#[cfg(feature = "http-check")]
pub use self::http::HttpCheck;
pub use self::{
    ask::CertificateAsk,
    challenge::Challenge,
    check::{CheckAnswer, DomainCheck},
    claim::{ClaimTerms, DomainClaim, DomainEffect, VerifiedDomain},
    error::DomainError,
    manage::{Domains, Verification},
    report::DomainReport,
    store::{ClaimProof, ClaimStore, ProofOutcome, RecheckNote},
};
