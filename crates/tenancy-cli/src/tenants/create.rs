use clap::Args;
use tenancy::core::TenantStatus;
use tenancy_sqlx::NewTenant;

use super::{changed, find, json_argument};
use crate::{CliContext, CliError, output::Output};

/// Arguments of `tenants create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its short name, as it stands in a subdomain
    slug: String,

    /// Its id, which never changes [default: the slug, with a number if it was used before]
    #[arg(long)]
    id: Option<String>,

    /// Name of its plan
    #[arg(long)]
    plan: Option<String>,

    /// What kind of customer it is
    #[arg(long = "type", value_name = "TYPE")]
    tenant_type: Option<String>,

    /// A domain of its own; may be given more than once, the first is the primary one
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,

    /// The application's settings for it
    #[arg(long, value_name = "JSON|@FILE")]
    tenant_settings: Option<String>,

    /// Do not serve it before `tenants resume`
    #[arg(long)]
    pending: bool,
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let new = self.new_tenant()?;
        let store = context.catalogue_or_new().await?;
        let details = store.create(new).await.map_err(CliError::from_catalogue)?;
        store.close().await;
        let record = &details.record;
        let mut sentence = format!("Created tenant {}", record.id);
        if record.slug.is_some() {
            sentence.push_str(&format!(" with the slug {}", record.slug()));
        }
        sentence.push_str(match record.status {
            TenantStatus::Pending => "; it is pending until `tenants resume`.",
            _ => ".",
        });
        changed(&details, &sentence, out)
    }

    fn new_tenant(self) -> Result<NewTenant, CliError> {
        let mut new = NewTenant::new(self.slug);
        new.id = self.id.as_deref().map(find::parse_id).transpose()?;
        new.plan = self.plan;
        new.tenant_type = self.tenant_type;
        new.domains = self.domains;
        new.settings = self.tenant_settings.as_deref().map(json_argument).transpose()?;
        if self.pending {
            new.status = TenantStatus::Pending;
        }
        Ok(new)
    }
}
