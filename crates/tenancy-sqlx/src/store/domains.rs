//! Claims of custom domains beside the catalogue, and their way into it.

use tenancy::domains::{
    ClaimProof, ClaimStore, ClaimTerms, DomainClaim, DomainEffect, DomainError, ProofOutcome, RecheckNote,
    VerifiedDomain,
};
use tenancy_core::{BoxError, InvalidName, TenantId};

use super::{SqlStore, StoreKind, change::Change, row::logged_domain, shape};
use crate::{
    CatalogueError, canonical_domain,
    central::{Row, Statement, sql},
};

/// What a change of claims says: the catalogue's own failures apart from what is refused.
type Judged<T> = Result<T, DomainError>;

const CLAIM: &str =
    "SELECT tenant_id, domain, token, made_by, made_at_ms, expires_at_ms, last_checked_ms, last_error
    FROM tenancy_domain_claims WHERE ";

const VERIFIED: &str = "SELECT p.tenant_id, p.domain, p.token, p.verified_at_ms, p.last_checked_ms, p.last_error, \
    p.failures, d.is_active FROM tenancy_domain_proofs p JOIN domains d ON d.domain = p.domain WHERE ";

/// Claims in tables of their own, beside the catalogue. Those of a tenant that is purged go with it.
///
/// A domain that is given to a tenant in whatever way ends all claims of it. Adopted catalogues have no claims, and a
/// store that only reads can list them.
impl ClaimStore for SqlStore {
    fn canonical(&self, domain: &str) -> Result<String, InvalidName> {
        canonical_domain(domain)
    }

    async fn claim(
        &self,
        tenant: &TenantId,
        domain: &str,
        terms: ClaimTerms,
    ) -> Result<DomainClaim, DomainError> {
        let (tenant, domain) = (tenant.clone(), domain.to_owned());
        let work = self.change(move |change| {
            Box::pin(async move { change.claim_domain(&tenant, &domain, &terms).await })
        });
        work.await.map_err(refused)?
    }

    async fn unclaim(&self, tenant: &TenantId, domain: &str) -> Result<(), DomainError> {
        let (tenant, domain) = (tenant.clone(), domain.to_owned());
        let work =
            self.change(move |change| Box::pin(async move { change.unclaim_domain(&tenant, &domain).await }));
        work.await.map_err(refused)?
    }

    async fn find_claim(&self, tenant: &TenantId, domain: &str) -> Result<Option<DomainClaim>, DomainError> {
        if !self.keeps_claims().await? {
            return Ok(None);
        }
        let mut query = sql(CLAIM);
        by_key(&mut query, tenant, domain);
        let rows = self.fetch_all(query).await.map_err(refused)?;
        rows.first().map(|row| decode(row, claim_of)).transpose()
    }

    async fn claims(
        &self,
        tenant: Option<&TenantId>,
        after: Option<(&TenantId, &str)>,
        limit: usize,
    ) -> Result<Vec<DomainClaim>, DomainError> {
        if !self.keeps_claims().await? {
            return Ok(Vec::new());
        }
        let mut query = sql(CLAIM);
        query.push("1 = 1");
        if let Some(tenant) = tenant {
            query.push(" AND tenant_id = ").push_bind(tenant.as_str());
        }
        if let Some((tenant, domain)) = after {
            query
                .push(" AND (tenant_id, domain) > (")
                .push_bind(tenant.as_str());
            query.push(", ").push_bind(domain).push(")");
        }
        query
            .push(" ORDER BY tenant_id, domain LIMIT ")
            .push_bind(limit_of(limit));
        self.rows(query, claim_of).await
    }

    async fn is_token_of(&self, domain: &str, token: &str, now_ms: i64) -> Result<bool, DomainError> {
        if !self.keeps_claims().await? {
            return Ok(false);
        }
        let query = sql("SELECT count(*) AS answer FROM tenancy_domain_claims
                 WHERE domain = ? AND token = ? AND expires_at_ms > ?
             UNION ALL SELECT count(*) FROM tenancy_domain_proofs WHERE domain = ? AND token = ?")
        .bind(domain)
        .bind(token)
        .bind(now_ms)
        .bind(domain)
        .bind(token);
        let rows = self.fetch_all(query).await.map_err(refused)?;
        is_any_counted(&rows).map_err(refused)
    }

    async fn note_check(
        &self,
        claim: &DomainClaim,
        now_ms: i64,
        reason: Option<&str>,
    ) -> Result<(), DomainError> {
        let (claim, reason) = (claim.clone(), reason.map(str::to_owned));
        let work = self.change(move |change| {
            Box::pin(async move { change.note_check(&claim, now_ms, reason.as_deref()).await })
        });
        work.await.map_err(refused)
    }

    async fn prove(&self, claim: &DomainClaim, proof: ClaimProof) -> Result<ProofOutcome, DomainError> {
        let claim = claim.clone();
        let work =
            self.change(move |change| Box::pin(async move { change.prove_domain(&claim, proof).await }));
        work.await.map_err(refused)?
    }

    async fn verified(
        &self,
        tenant: Option<&TenantId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<VerifiedDomain>, DomainError> {
        if !self.keeps_claims().await? {
            return Ok(Vec::new());
        }
        let mut query = sql(VERIFIED);
        query.push("1 = 1");
        if let Some(tenant) = tenant {
            query.push(" AND p.tenant_id = ").push_bind(tenant.as_str());
        }
        if let Some(after) = after {
            query.push(" AND p.domain > ").push_bind(after);
        }
        query.push(" ORDER BY p.domain LIMIT ").push_bind(limit_of(limit));
        self.rows(query, verified_of).await
    }

    async fn note_recheck(
        &self,
        domain: &VerifiedDomain,
        now_ms: i64,
        note: RecheckNote,
    ) -> Result<DomainEffect, DomainError> {
        let domain = domain.clone();
        let work = self
            .change(move |change| Box::pin(async move { change.note_recheck(&domain, now_ms, &note).await }));
        work.await.map_err(refused)
    }
}

impl SqlStore {
    /// A store that only reads may have a file that no newer program has opened yet, or an adopted one.
    async fn keeps_claims(&self) -> Result<bool, DomainError> {
        if self.inner.kind == StoreKind::Managed {
            return Ok(true);
        }
        let there = async {
            let mut connection = self.inner.readers.acquire().await?;
            shape::is_there(&mut connection, "tenancy_domain_proofs").await
        };
        self.read(there).await.map_err(refused)
    }

    async fn rows<T>(
        &self,
        query: Statement,
        of: fn(&Row) -> Result<T, BoxError>,
    ) -> Result<Vec<T>, DomainError> {
        let rows = self.fetch_all(query).await;
        rows.map_err(refused)?.iter().map(|row| decode(row, of)).collect()
    }
}

impl Change {
    async fn claim_domain(
        &mut self,
        tenant: &TenantId,
        domain: &str,
        terms: &ClaimTerms,
    ) -> Result<Judged<DomainClaim>, CatalogueError> {
        self.details_of_living(tenant).await?;
        if let Some(owner) = self.owner_of(domain).await? {
            return Ok(Err(taken(domain, &owner)));
        }
        if let Some(claim) = self.find_claim(tenant, domain).await?
            && !claim.is_expired_at(terms.now_ms)
        {
            return Ok(Ok(claim));
        }
        if self.open_claims(tenant, terms.now_ms).await? >= i64::from(terms.max_open) {
            return Ok(Err(DomainError::too_many(format!(
                "the tenant {tenant} has {} open claims: verify one or take one back first",
                terms.max_open
            ))));
        }
        self.insert_claim(tenant, domain, terms).await?;
        let claim = self.find_claim(tenant, domain).await?;
        Ok(claim.ok_or_else(|| no_claim(tenant, domain)))
    }

    async fn insert_claim(
        &mut self,
        tenant: &TenantId,
        domain: &str,
        terms: &ClaimTerms,
    ) -> Result<(), CatalogueError> {
        // Expired ones are told as such for as long again as they were open.
        let long_expired_ms = terms.now_ms.saturating_mul(2).saturating_sub(terms.expires_at_ms);
        self.keep_without_number();
        let statement = sql(
            "DELETE FROM tenancy_domain_claims WHERE expires_at_ms <= ? OR (tenant_id = ? AND domain = ?)",
        )
        .bind(long_expired_ms)
        .bind(tenant.as_str())
        .bind(domain);
        self.execute(statement).await?;
        let made_by = self.actor().map(str::to_owned);
        let statement = sql(
            "INSERT INTO tenancy_domain_claims (tenant_id, domain, token, made_by, made_at_ms, expires_at_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(tenant.as_str())
        .bind(domain)
        .bind(&terms.token)
        .bind(made_by)
        .bind(terms.now_ms)
        .bind(terms.expires_at_ms);
        self.execute(statement).await
    }

    async fn unclaim_domain(
        &mut self,
        tenant: &TenantId,
        domain: &str,
    ) -> Result<Judged<()>, CatalogueError> {
        self.keep_without_number();
        let gone = sql("DELETE FROM tenancy_domain_claims WHERE tenant_id = ? AND domain = ?")
            .bind(tenant.as_str())
            .bind(domain);
        if self.execute_counted(gone).await? == 0 {
            return Ok(Err(no_claim(tenant, domain)));
        }
        Ok(Ok(()))
    }

    async fn note_check(
        &mut self,
        claim: &DomainClaim,
        now_ms: i64,
        reason: Option<&str>,
    ) -> Result<(), CatalogueError> {
        self.keep_without_number();
        let statement = sql(
            "UPDATE tenancy_domain_claims SET last_checked_ms = ?, last_error = ?
             WHERE tenant_id = ? AND domain = ? AND token = ?",
        )
        .bind(now_ms)
        .bind(reason)
        .bind(claim.tenant.as_str())
        .bind(&claim.domain)
        .bind(&claim.token);
        self.execute(statement).await
    }

    /// Everything is judged under the write lock: of two that prove one domain at once, the second finds it taken.
    async fn prove_domain(
        &mut self,
        claim: &DomainClaim,
        proof: ClaimProof,
    ) -> Result<Judged<ProofOutcome>, CatalogueError> {
        let (tenant, domain) = (&claim.tenant, claim.domain.as_str());
        let details = self.details_of_living(tenant).await?;
        match self.owner_of(domain).await? {
            Some(owner) if *tenant == owner.as_str() => return Ok(Ok(ProofOutcome::Verified)),
            Some(owner) => return Ok(Err(taken(domain, &owner))),
            None => {}
        }
        match self.find_claim(tenant, domain).await? {
            Some(present) if present.token != claim.token => return Ok(Err(no_claim(tenant, domain))),
            Some(present) if present.is_expired_at(proof.now_ms) => {
                return Ok(Err(DomainError::expired(format!(
                    "the claim of {tenant} on {domain} has expired: make it again"
                ))));
            }
            Some(_) => {}
            None => return Ok(Err(no_claim(tenant, domain))),
        }
        if !proof.shows_control && self.is_contested(tenant, domain, proof.now_ms).await? {
            return Ok(Ok(ProofOutcome::Contested));
        }
        let number = self.log(tenant, "verify_domain", &[logged_domain(domain)])?;
        self.insert_domain(tenant, domain, details.domains.is_empty());
        self.insert_proof(claim, proof.now_ms).await?;
        self.touch(tenant, number);
        Ok(Ok(ProofOutcome::Verified))
    }

    async fn insert_proof(&mut self, claim: &DomainClaim, now_ms: i64) -> Result<(), CatalogueError> {
        let statement = sql(
            "INSERT INTO tenancy_domain_proofs (domain, tenant_id, token, verified_at_ms) VALUES (?, ?, ?, ?)",
        )
        .bind(&claim.domain)
        .bind(claim.tenant.as_str())
        .bind(&claim.token)
        .bind(now_ms);
        self.execute(statement).await
    }

    /// Whether another tenant claims the domain too, or was the last that had it.
    async fn is_contested(
        &mut self,
        tenant: &TenantId,
        domain: &str,
        now_ms: i64,
    ) -> Result<bool, CatalogueError> {
        let query = sql("SELECT count(*) AS answer FROM tenancy_domain_claims
                 WHERE domain = ? AND tenant_id <> ? AND expires_at_ms > ?
             UNION ALL SELECT count(*) FROM tenancy_former_domains WHERE domain = ? AND tenant_id <> ?")
        .bind(domain)
        .bind(tenant.as_str())
        .bind(now_ms)
        .bind(domain)
        .bind(tenant.as_str());
        is_any_counted(&self.fetch_all(query).await?)
    }

    async fn note_recheck(
        &mut self,
        checked: &VerifiedDomain,
        now_ms: i64,
        note: &RecheckNote,
    ) -> Result<DomainEffect, CatalogueError> {
        // As it is now: several processes may have checked it.
        let Some(present) = self.find_verified(checked).await? else {
            return Ok(DomainEffect::None);
        };
        let (failures, reason) = match note {
            RecheckNote::Failed { reason, .. } => (present.failures.saturating_add(1), Some(reason)),
            RecheckNote::CouldNotTell { reason } => (present.failures, Some(reason)),
            _ => (0, None),
        };
        self.keep_without_number();
        let statement = sql(
            "UPDATE tenancy_domain_proofs SET last_checked_ms = ?, last_error = ?, failures = ? WHERE domain = ?",
        )
        .bind(now_ms)
        .bind(reason)
        .bind(i64::from(failures))
        .bind(&present.domain);
        self.execute(statement).await?;
        let effect = present.effect_of(note);
        match effect {
            DomainEffect::Unserved => self.serve_domain(&present, false, "unserve_domain")?,
            DomainEffect::ServedAgain => self.serve_domain(&present, true, "serve_domain")?,
            _ => {}
        }
        Ok(effect)
    }

    fn serve_domain(
        &mut self,
        domain: &VerifiedDomain,
        is_active: bool,
        kind: &'static str,
    ) -> Result<(), CatalogueError> {
        let number = self.log(&domain.tenant, kind, &[logged_domain(&domain.domain)])?;
        let statement = sql("UPDATE domains SET is_active = ? WHERE domain = ?")
            .bind(is_active)
            .bind(&domain.domain);
        self.defer(statement);
        self.touch(&domain.tenant, number);
        Ok(())
    }

    async fn find_verified(
        &mut self,
        checked: &VerifiedDomain,
    ) -> Result<Option<VerifiedDomain>, CatalogueError> {
        let mut query = sql(VERIFIED);
        query.push("p.domain = ").push_bind(checked.domain.as_str());
        query.push(" AND p.token = ").push_bind(checked.token.as_str());
        let found = self.find(query).await?;
        found
            .as_ref()
            .map(|row| verified_of(row).map_err(unreadable))
            .transpose()
    }

    async fn find_claim(
        &mut self,
        tenant: &TenantId,
        domain: &str,
    ) -> Result<Option<DomainClaim>, CatalogueError> {
        let mut query = sql(CLAIM);
        by_key(&mut query, tenant, domain);
        let found = self.find(query).await?;
        found
            .as_ref()
            .map(|row| claim_of(row).map_err(unreadable))
            .transpose()
    }

    async fn open_claims(&mut self, tenant: &TenantId, now_ms: i64) -> Result<i64, CatalogueError> {
        let open = sql(
            "SELECT count(*) AS answer FROM tenancy_domain_claims WHERE tenant_id = ? AND expires_at_ms > ?",
        )
        .bind(tenant.as_str())
        .bind(now_ms);
        let counted = self.find(open).await?.map(|row| row.int("answer")).transpose();
        Ok(counted.map_err(CatalogueError::from_sqlx)?.unwrap_or_default())
    }
}

/// Whether one of the counts in the column `answer` is not 0.
fn is_any_counted(rows: &[Row]) -> Result<bool, CatalogueError> {
    for row in rows {
        if row.int("answer").map_err(CatalogueError::from_sqlx)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn by_key(query: &mut Statement, tenant: &TenantId, domain: &str) {
    query.push("tenant_id = ").push_bind(tenant.as_str().to_owned());
    query.push(" AND domain = ").push_bind(domain.to_owned());
}

fn claim_of(row: &Row) -> Result<DomainClaim, BoxError> {
    let tenant = TenantId::new(row.text("tenant_id")?)?;
    let mut claim = DomainClaim::new(tenant, row.text("domain")?, row.text("token")?);
    claim.made_by = row.optional_text("made_by")?.map(Into::into);
    claim.made_at_ms = row.int("made_at_ms")?;
    claim.expires_at_ms = row.int("expires_at_ms")?;
    claim.last_checked_ms = row.optional_int("last_checked_ms")?;
    claim.last_error = row.optional_text("last_error")?.map(Into::into);
    Ok(claim)
}

fn verified_of(row: &Row) -> Result<VerifiedDomain, BoxError> {
    let tenant = TenantId::new(row.text("tenant_id")?)?;
    let mut verified = VerifiedDomain::new(tenant, row.text("domain")?, row.text("token")?);
    verified.verified_at_ms = row.int("verified_at_ms")?;
    verified.last_checked_ms = row.optional_int("last_checked_ms")?;
    verified.last_error = row.optional_text("last_error")?.map(Into::into);
    verified.failures = row.int("failures")?.try_into()?;
    verified.is_served = row.int("is_active")? != 0;
    Ok(verified)
}

fn decode<T>(row: &Row, of: fn(&Row) -> Result<T, BoxError>) -> Result<T, DomainError> {
    of(row).map_err(|cause| refused(unreadable(cause)))
}

fn unreadable(cause: BoxError) -> CatalogueError {
    CatalogueError::corrupt(format!("the row of a claim cannot be read: {cause}"), cause)
}

fn taken(domain: &str, owner: &str) -> DomainError {
    DomainError::conflict(format!("the domain {domain} belongs to the tenant {owner:?}"))
}

fn no_claim(tenant: &TenantId, domain: &str) -> DomainError {
    DomainError::not_found(format!("the tenant {tenant} has no claim on {domain}"))
}

/// The catalogue's error as one of claims.
fn refused(error: CatalogueError) -> DomainError {
    let detail = error.operator_detail().unwrap_or_default().to_owned();
    let refused = if error.is_not_found() {
        DomainError::not_found(detail)
    } else if error.is_conflict() {
        DomainError::conflict(detail)
    } else if error.is_invalid() {
        DomainError::invalid(detail)
    } else {
        DomainError::unavailable(detail)
    };
    refused.caused_by(error)
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
