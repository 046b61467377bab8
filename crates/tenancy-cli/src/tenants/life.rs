use clap::Args;
use tenancy::core::TenantId;
use tenancy_sqlx::{CatalogueError, TenantDetails, store::SqlStore};

use super::{changed, find};
use crate::{
    CliContext, CliError,
    confirm::{check_can_ask, confirm},
    output::{Output, counted},
};

/// Arguments of the steps that can be taken back.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdArgs {
    /// The tenant's id
    id: String,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    Suspend,
    Resume,
    Restore,
}

impl Step {
    async fn take(self, store: &SqlStore, id: &TenantId) -> Result<TenantDetails, CatalogueError> {
        match self {
            Self::Suspend => store.suspend(id).await,
            Self::Resume => store.resume(id).await,
            Self::Restore => store.restore(id).await,
        }
    }
}

impl IdArgs {
    pub(crate) async fn run(
        self,
        step: Step,
        context: &CliContext,
        out: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        let store = context.catalogue().await?;
        let details = match step.take(&store, &id).await {
            Ok(details) => details,
            Err(error) => return Err(find::refused(&store, &id, error).await),
        };
        store.close().await;
        changed(
            &details,
            &format!("Tenant {id} is {}.", details.record.status),
            out,
        )
    }
}

/// Arguments of the steps that hurt.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfirmedArgs {
    /// The tenant's id
    id: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl ConfirmedArgs {
    pub(crate) async fn delete(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let (store, details) = self.find(context).await?;
        let id = &details.record.id;
        let question = format!(
            "Delete {}? It is not served any more; `tenants restore` takes that back.",
            described(&details)
        );
        confirm(&question, id.as_str(), self.yes)?;
        let details = store.delete(id).await.map_err(CliError::from_catalogue)?;
        store.close().await;
        let id = &details.record.id;
        changed(
            &details,
            &format!("Tenant {id} is deleted. Its names stay taken until `tenants purge`."),
            out,
        )
    }

    pub(crate) async fn purge(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let (store, details) = self.find(context).await?;
        let id = &details.record.id;
        let question = format!(
            "Purge {}? It is gone from the catalogue for good, and its id is never given again.",
            described(&details)
        );
        confirm(&question, id.as_str(), self.yes)?;
        store.purge(id).await.map_err(CliError::from_catalogue)?;
        store.close().await;
        if out.is_json() {
            return out.json(&serde_json::json!({ "purged": id }));
        }
        out.line(format_args!(
            "Tenant {id} is purged. Its slug and its domains are free."
        ))
    }

    async fn find(&self, context: &CliContext) -> Result<(SqlStore, TenantDetails), CliError> {
        let id = find::parse_id(&self.id)?;
        check_can_ask(self.yes)?;
        let store = context.catalogue().await?;
        let details = find::by_id(&store, &id).await?;
        Ok((store, details))
    }
}

fn described(details: &TenantDetails) -> String {
    let record = &details.record;
    format!(
        "the {} tenant {} (slug {}, {})",
        record.status,
        record.id,
        record.slug(),
        counted(details.domains.len(), "domain", "domains")
    )
}
