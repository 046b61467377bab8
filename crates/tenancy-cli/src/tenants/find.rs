use clap::Args;
use tenancy::{core::TenantId, domains::DomainError};
use tenancy_sqlx::{CatalogueError, TenantDetails, store::SqlStore};

use crate::{
    CliContext, CliError, CliErrorKind,
    output::Output,
    redact::Values,
    view::{self, TenantView},
};

/// Arguments of `tenants show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The tenant's id, its slug or one of its domains; where several fit, the first of these
    #[arg(value_name = "ID|SLUG|DOMAIN")]
    name: String,

    /// Print the values of its settings and of its adopted row too, which may be secrets; else their names
    #[arg(long)]
    reveal: bool,
}

impl ShowArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let store = context.catalogue_to_read().await?;
        let found = by_any_name(&store, &self.name).await?;
        store.close().await;
        let details = found.ok_or_else(|| {
            CliError::not_found(format!(
                "no tenant has the id, the slug or the domain {:?}",
                cut(&self.name)
            ))
        })?;
        let values = if self.reveal {
            Values::Shown
        } else {
            Values::Hidden
        };
        if out.is_json() {
            out.json(&TenantView::new(&details, values))
        } else {
            out.facts(view::facts(&details, values))
        }
    }
}

async fn by_any_name(store: &SqlStore, name: &str) -> Result<Option<TenantDetails>, CliError> {
    if let Ok(id) = TenantId::new(name)
        && let Some(details) = store.get(&id).await.map_err(CliError::from_catalogue)?
    {
        return Ok(Some(details));
    }
    by_slug_or_domain(store, name).await
}

async fn by_slug_or_domain(store: &SqlStore, name: &str) -> Result<Option<TenantDetails>, CliError> {
    if let Some(details) = store.get_by_slug(name).await.map_err(CliError::from_catalogue)? {
        return Ok(Some(details));
    }
    store.get_by_domain(name).await.map_err(CliError::from_catalogue)
}

pub(crate) fn parse_id(id: &str) -> Result<TenantId, CliError> {
    TenantId::new(id).map_err(|error| {
        CliError::invalid_name(&error).advise("`tenants show` finds a tenant's id by its slug or domain.")
    })
}

pub(crate) async fn by_id(store: &SqlStore, id: &TenantId) -> Result<TenantDetails, CliError> {
    match store.get(id).await.map_err(CliError::from_catalogue)? {
        Some(details) => Ok(details),
        None => {
            Err(explain_missing(store, id, CliError::not_found(format!("there is no tenant {id}"))).await)
        }
    }
}

/// What was refused of a claim, with advice where another tenant may have been meant.
pub(crate) async fn refused_claim(store: &SqlStore, id: &TenantId, error: DomainError) -> CliError {
    let error = CliError::from_domains(error);
    if error.kind() == CliErrorKind::NotFound && matches!(store.get(id).await, Ok(None)) {
        return explain_missing(store, id, error).await;
    }
    error
}

/// What the catalogue refused, with advice where another tenant may have been meant.
pub(crate) async fn refused(store: &SqlStore, id: &TenantId, error: CatalogueError) -> CliError {
    let error = CliError::from_catalogue(error);
    if error.kind() == CliErrorKind::NotFound && matches!(store.get(id).await, Ok(None)) {
        explain_missing(store, id, error).await
    } else {
        error
    }
}

/// After a purge the slug of a new tenant differs from its id, and people type slugs.
async fn explain_missing(store: &SqlStore, id: &TenantId, error: CliError) -> CliError {
    match by_slug_or_domain(store, id.as_str()).await {
        Ok(Some(meant)) => error.advise(format!(
            "{id} is a name of the tenant with the id {}: give that id if you mean it.",
            meant.record.id
        )),
        _ => error.advise("`tenants list` shows those there are."),
    }
}

fn cut(name: &str) -> String {
    name.chars().take(64).collect()
}
