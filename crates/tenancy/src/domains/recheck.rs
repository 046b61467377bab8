use std::{collections::HashSet, sync::Arc};

use tenancy_core::TenantId;

use super::{
    CheckAnswer, DomainCheck, DomainEffect, DomainError, DomainReport, Domains, RecheckNote, VerifiedDomain,
};
use crate::{
    Tenancy,
    schedule::{JobOutcome, TenantJob},
};

const PAGE: usize = 1_000;

/// Checks of domains that were verified before. Each is noted and told to the listener; none takes a domain from its
/// tenant, and none stops it from being served unless [`unserve_after`](Domains::unserve_after) says so.
impl Domains {
    /// Checks the verified domains of a tenant again, one after the other. Waits for the checks and the store.
    ///
    /// # Errors
    /// Unavailable. What was checked before stays noted.
    pub async fn recheck(
        &self,
        tenant: &TenantId,
        check: &impl DomainCheck,
    ) -> Result<Vec<DomainReport>, DomainError> {
        let mut reports = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.verified(Some(tenant), after.as_deref(), PAGE).await?;
            for verified in &page {
                reports.push(self.recheck_one(verified, check).await?);
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.domain),
                None => return Ok(reports),
            }
        }
    }

    /// Checks the verified domains of all served tenants again, as a job: some tenants at a time, and each by one process
    /// at a time. When to run it is yours to say, as for every [`TenantJob`].
    ///
    /// # Errors
    /// Unavailable when the list of domains can not be read. What fails for one tenant is in its outcome.
    pub async fn recheck_all<C: DomainCheck>(
        &self,
        tenancy: &Tenancy,
        job: &TenantJob,
        check: C,
    ) -> Result<Vec<JobOutcome>, DomainError> {
        let holders = self.holders().await?;
        let tenants = tenancy.tenants().into_iter();
        let tenants = tenants.filter(|tenant| holders.contains(tenant.id()));
        let (domains, check) = (self.clone(), Arc::new(check));
        let outcomes = job.run(tenants, move |tenant| {
            let (domains, check) = (domains.clone(), Arc::clone(&check));
            async move { domains.recheck(tenant.id(), &check).await.map(drop) }
        });
        Ok(outcomes.await)
    }

    async fn holders(&self) -> Result<HashSet<TenantId>, DomainError> {
        let mut holders = HashSet::new();
        let mut after = None;
        loop {
            let page = self.store.verified(None, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(holders);
            };
            after = Some(last.domain.clone());
            holders.extend(page.into_iter().map(|verified| verified.tenant));
        }
    }

    async fn recheck_one(
        &self,
        verified: &VerifiedDomain,
        check: &impl DomainCheck,
    ) -> Result<DomainReport, DomainError> {
        let answer = check.check(&verified.challenge()).await;
        let (note, failures) = match &answer {
            CheckAnswer::Proven => (RecheckNote::Proven, 0),
            CheckAnswer::NotYet { reason } => {
                let note = RecheckNote::Failed {
                    reason: reason.clone(),
                    unserve_after: self.unserve_after,
                };
                (note, verified.failures.saturating_add(1))
            }
            CheckAnswer::CouldNotTell { reason } => {
                let note = RecheckNote::CouldNotTell {
                    reason: reason.clone(),
                };
                (note, verified.failures)
            }
        };
        let effect = self.store.note_recheck(verified, self.now_ms(), note).await?;
        let report = DomainReport {
            tenant: verified.tenant.clone(),
            domain: verified.domain.clone(),
            answer,
            effect,
            failures,
            is_recheck: true,
        };
        self.tell(report.clone());
        Ok(report)
    }
}

impl VerifiedDomain {
    /// What a recheck has to do to its serving, for stores: whether it fails often enough to end, or serves again.
    pub fn effect_of(&self, note: &RecheckNote) -> DomainEffect {
        match note {
            RecheckNote::Proven if !self.is_served => DomainEffect::ServedAgain,
            RecheckNote::Failed {
                unserve_after: Some(limit),
                ..
            } if self.is_served && self.failures.saturating_add(1) >= *limit => DomainEffect::Unserved,
            _ => DomainEffect::None,
        }
    }
}
