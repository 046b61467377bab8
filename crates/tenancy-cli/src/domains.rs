use clap::{Args, Subcommand};
use serde::Serialize;
use tenancy_sqlx::{TenantDetails, canonical_domain};

use crate::{
    CliContext, CliError,
    output::Output,
    tenants::find,
    view::{DomainView, TenantView},
};

/// Arguments of `domains`.
#[derive(Clone, Debug, Args)]
pub struct DomainsArgs {
    #[command(subcommand)]
    command: DomainsCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum DomainsCommand {
    /// Give a domain to a tenant. Needs a managed catalogue
    Add {
        /// The tenant's id
        id: String,
        /// The domain; Unicode is accepted
        domain: String,
        /// Make it the one to link to, as a tenant's first domain is
        #[arg(long)]
        primary: bool,
    },
    /// Take a domain from a tenant. Needs a managed catalogue
    Remove {
        /// The tenant's id
        id: String,
        /// The domain
        domain: String,
    },
    /// List the domains of a tenant. Reads any catalogue
    List {
        /// The tenant's id
        id: String,
    },
}

#[derive(Serialize)]
struct DomainList<'a> {
    id: &'a str,
    domains: Vec<DomainView<'a>>,
}

impl DomainsArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let store = match self.command {
            DomainsCommand::List { .. } => context.catalogue_to_read().await?,
            DomainsCommand::Add { .. } | DomainsCommand::Remove { .. } => context.catalogue().await?,
        };
        let done = match self.command {
            DomainsCommand::Add { id, domain, primary } => {
                let id = find::parse_id(&id)?;
                match store.add_domain(&id, &domain, primary).await {
                    Ok(details) => changed(&details, "has", &domain, out),
                    Err(error) => Err(find::refused(&store, &id, error).await),
                }
            }
            DomainsCommand::Remove { id, domain } => {
                let id = find::parse_id(&id)?;
                match store.remove_domain(&id, &domain).await {
                    Ok(details) => changed(&details, "has no more", &domain, out),
                    Err(error) => Err(find::refused(&store, &id, error).await),
                }
            }
            DomainsCommand::List { id } => match find::by_id(&store, &find::parse_id(&id)?).await {
                Ok(details) => list(&details, out),
                Err(error) => Err(error),
            },
        };
        store.close().await;
        done
    }
}

fn changed(details: &TenantDetails, has: &str, domain: &str, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(&TenantView::from(details));
    }
    // As it is stored and compared, which may differ from what was typed.
    let domain = canonical_domain(domain).unwrap_or_else(|_| domain.to_owned());
    out.line(format_args!("Tenant {} {has}: {domain}", details.record.id))
}

fn list(details: &TenantDetails, out: &mut Output<'_>) -> Result<(), CliError> {
    let list = DomainList {
        id: details.record.id.as_str(),
        domains: details.domains.iter().map(DomainView::from).collect(),
    };
    if out.is_json() {
        return out.json(&list);
    }
    if list.domains.is_empty() {
        return out.line(format_args!("Tenant {} has no domain.", list.id));
    }
    out.table(
        ["DOMAIN", "PRIMARY", "ACTIVE", "ADDED"],
        list.domains.iter().map(DomainView::row),
    )
}
