mod claims;

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
    /// Claim a domain for a tenant, and tell how to prove it. Needs a managed catalogue
    ///
    /// A claim leads nowhere until it is verified, and does not hold the domain. Who has claimed it already is told the
    /// same again.
    Claim {
        /// The tenant's id
        id: String,
        /// The domain; Unicode is accepted
        domain: String,
    },
    /// List the claims of a tenant, or of all. Reads any catalogue
    Claims {
        /// The tenant's id
        id: Option<String>,
    },
    /// Look whether a claim is proven, and give the domain to the tenant if so. Needs a managed catalogue
    #[cfg(feature = "dns")]
    Verify(claims::VerifyArgs),
    /// Take a claim back. Needs a managed catalogue
    Unclaim {
        /// The tenant's id
        id: String,
        /// The domain
        domain: String,
    },
}

#[derive(Serialize)]
struct DomainList<'a> {
    id: &'a str,
    domains: Vec<DomainView<'a>>,
}

impl DomainsArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        match self.command {
            DomainsCommand::Add { id, domain, primary } => add(&id, &domain, primary, context, out).await,
            DomainsCommand::Remove { id, domain } => remove(&id, &domain, context, out).await,
            DomainsCommand::List { id } => {
                let store = context.catalogue_to_read().await?;
                let found = find::by_id(&store, &find::parse_id(&id)?).await;
                store.close().await;
                list(&found?, out)
            }
            DomainsCommand::Claim { id, domain } => claims::claim(&id, &domain, context, out).await,
            DomainsCommand::Claims { id } => claims::list(id.as_deref(), context, out).await,
            #[cfg(feature = "dns")]
            DomainsCommand::Verify(args) => args.run(context, out).await,
            DomainsCommand::Unclaim { id, domain } => claims::unclaim(&id, &domain, context, out).await,
        }
    }
}

async fn add(
    id: &str,
    domain: &str,
    is_primary: bool,
    context: &CliContext,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let store = context.catalogue().await?;
    let id = find::parse_id(id)?;
    let added = match store.add_domain(&id, domain, is_primary).await {
        Ok(details) => Ok(details),
        Err(error) => Err(find::refused(&store, &id, error).await),
    };
    store.close().await;
    changed(&added?, "has", domain, out)
}

async fn remove(id: &str, domain: &str, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
    let store = context.catalogue().await?;
    let id = find::parse_id(id)?;
    let removed = match store.remove_domain(&id, domain).await {
        Ok(details) => Ok(details),
        Err(error) => Err(find::refused(&store, &id, error).await),
    };
    store.close().await;
    changed(&removed?, "has no more", domain, out)
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
