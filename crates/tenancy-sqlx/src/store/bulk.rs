use tenancy_core::{InvalidName, TenantId};
use tracing::Instrument as _;

use super::{
    SqlStore,
    change::Change,
    create::{CheckedTenant, NamesInUse},
};
use crate::{CatalogueError, NewTenant};

/// Large enough that commits cost little, small enough that other writers get their turn.
const CHUNK: usize = 500;

/// What became of many tenants.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BulkReport {
    /// The ids of the tenants that were created and committed.
    pub created: Vec<TenantId>,
    /// The ids of those that were there before, by slug. Only [`SqlStore::ensure_many`] fills it.
    pub existing: Vec<TenantId>,
    /// The slugs of those that were refused, with the reason.
    pub failed: Vec<(String, CatalogueError)>,
    /// The slugs of those that were not tried, because the catalogue itself failed before.
    pub not_attempted: Vec<String>,
}

impl BulkReport {
    /// Whether every tenant is in the catalogue now.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.not_attempted.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Fail,
    Keep,
}

enum Outcome {
    Created(TenantId),
    Existing(TenantId),
    Failed(CatalogueError),
}

impl SqlStore {
    /// Creates many tenants, 500 in a transaction; a refused one does not stop the others.
    ///
    /// When the catalogue fails half-way, what is committed stays, and the report says what was not done.
    /// Runs to its end even if the future is dropped.
    pub async fn create_many(&self, tenants: impl IntoIterator<Item = NewTenant>) -> BulkReport {
        self.bulk(tenants.into_iter().collect(), IfExists::Fail).await
    }

    /// As [`create_many`](Self::create_many), but a tenant whose slug is taken is left alone, whatever its status
    /// and its other values. For tenants that are registered at every start.
    pub async fn ensure_many(&self, tenants: impl IntoIterator<Item = NewTenant>) -> BulkReport {
        self.bulk(tenants.into_iter().collect(), IfExists::Keep).await
    }

    async fn bulk(&self, tenants: Vec<NewTenant>, if_exists: IfExists) -> BulkReport {
        let store = self.clone();
        let slugs: Vec<String> = tenants.iter().map(|tenant| tenant.slug.clone()).collect();
        let running = async move {
            let _running = store.inner.running_changes.read().await;
            store.bulk_here(tenants, if_exists).await
        };
        match tokio::spawn(running.in_current_span()).await {
            Ok(report) => report,
            // The runtime is shutting down: nobody knows how far it came.
            Err(_) => BulkReport {
                not_attempted: slugs,
                ..BulkReport::default()
            },
        }
    }

    async fn bulk_here(&self, tenants: Vec<NewTenant>, if_exists: IfExists) -> BulkReport {
        let mut report = BulkReport::default();
        let mut newest = None;
        let mut tenants = tenants.into_iter();
        loop {
            let chunk = self.checked(tenants.by_ref().take(CHUNK), &mut report);
            let Some(chunk) = chunk else { break };
            if !self
                .create_chunk(chunk, if_exists, &mut report, &mut newest)
                .await
            {
                break;
            }
        }
        report.not_attempted.extend(tenants.map(|tenant| tenant.slug));
        self.announce(newest).await;
        report
    }

    /// Checks a chunk and files what is refused; `None` when nothing is left.
    fn checked(
        &self,
        tenants: impl Iterator<Item = NewTenant>,
        report: &mut BulkReport,
    ) -> Option<Vec<CheckedTenant>> {
        let mut is_empty = true;
        let mut chunk = Vec::new();
        for tenant in tenants {
            is_empty = false;
            let slug = tenant.slug.clone();
            match CheckedTenant::check(tenant, &self.inner.options.reserved) {
                Ok(checked) => chunk.push(checked),
                Err(error) => report.failed.push((slug, error)),
            }
        }
        (!is_empty).then_some(chunk)
    }

    /// Creates a chunk in one transaction; if that fails, one by one. Returns whether to go on.
    async fn create_chunk(
        &self,
        chunk: Vec<CheckedTenant>,
        if_exists: IfExists,
        report: &mut BulkReport,
        newest: &mut Option<u64>,
    ) -> bool {
        if self.try_chunk(&chunk, if_exists, report, newest).await.is_ok() {
            return true;
        }
        let mut rest = chunk.into_iter();
        while let Some(tenant) = rest.next() {
            let single = std::slice::from_ref(&tenant);
            if let Err(error) = self.try_chunk(single, if_exists, report, newest).await {
                let goes_on = !error.is_store_failure();
                report.failed.push((tenant.slug().to_owned(), error));
                if !goes_on {
                    report
                        .not_attempted
                        .extend(rest.map(|tenant| tenant.slug().to_owned()));
                    return false;
                }
            }
        }
        true
    }

    async fn try_chunk(
        &self,
        chunk: &[CheckedTenant],
        if_exists: IfExists,
        report: &mut BulkReport,
        newest: &mut Option<u64>,
    ) -> Result<(), CatalogueError> {
        let work = chunk.to_vec();
        let (outcomes, committed) = self
            .change_here(move |change| {
                Box::pin(async move {
                    let mut outcomes = Vec::with_capacity(work.len());
                    let mut in_use = change.names_in_use(&work).await?;
                    for tenant in &work {
                        outcomes.push(create_or_keep(change, tenant, &mut in_use, if_exists).await?);
                    }
                    Ok(outcomes)
                })
            })
            .await?;
        if let Some(number) = committed {
            *newest = Some(number);
            self.inner.signal.wake(number);
        }
        for (tenant, outcome) in chunk.iter().zip(outcomes) {
            match outcome {
                Outcome::Created(id) => report.created.push(id),
                Outcome::Existing(id) => report.existing.push(id),
                Outcome::Failed(error) => report.failed.push((tenant.slug().to_owned(), error)),
            }
        }
        Ok(())
    }
}

/// A refusal is an outcome, since it wrote nothing; only a failure of the store ends the transaction.
async fn create_or_keep(
    change: &mut Change,
    tenant: &CheckedTenant,
    in_use: &mut NamesInUse,
    if_exists: IfExists,
) -> Result<Outcome, CatalogueError> {
    if if_exists == IfExists::Keep
        && let Some(id) = in_use.owner_of_slug(tenant.slug())
    {
        return Ok(match TenantId::new(id) {
            Ok(id) => Outcome::Existing(id),
            Err(error) => Outcome::Failed(unreadable(error)),
        });
    }
    match change.create_unless_in_use(tenant, in_use).await {
        Ok(created) => Ok(Outcome::Created(created.record.id)),
        Err(error) if error.is_store_failure() => Err(error),
        Err(error) => Ok(Outcome::Failed(error)),
    }
}

fn unreadable(error: InvalidName) -> CatalogueError {
    CatalogueError::corrupt(error.to_string(), error)
}
