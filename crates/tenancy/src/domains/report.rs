use std::sync::Arc;

use tenancy_core::TenantId;

use super::{CheckAnswer, DomainEffect};
use crate::{event::Event, home::Home};

/// What a check of a claim or of a verified domain has found, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DomainReport {
    /// The tenant.
    pub tenant: TenantId,
    /// The domain.
    pub domain: String,
    /// What was found.
    pub answer: CheckAnswer,
    /// What it changed.
    pub effect: DomainEffect,
    /// How many rechecks in a row have found no proof, this one included.
    pub failures: u32,
    /// Whether the domain had been verified before.
    pub is_recheck: bool,
}

impl DomainReport {
    /// Writes it to the log and tells the listener.
    pub(super) fn write(self, home: Option<&Home>) {
        let Self {
            tenant,
            domain,
            answer,
            effect,
            failures,
            is_recheck,
        } = &self;
        let (result, reason, effect) = (answer.as_str(), answer.reason(), effect.as_str());
        match answer {
            CheckAnswer::NotYet { .. } if *is_recheck => tracing::warn!(
                target: "tenancy::domains",
                %tenant, domain, reason, failures, effect, "a verified domain is not proven any more"
            ),
            _ => tracing::info!(
                target: "tenancy::domains",
                %tenant, domain, result, reason, effect, is_recheck, "domain checked"
            ),
        }
        if let Some(home) = home {
            home.emit(|| Event::DomainChecked {
                report: Arc::new(self),
            });
        }
    }
}
