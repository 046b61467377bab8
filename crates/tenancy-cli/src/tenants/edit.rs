use clap::Args;
use tenancy_sqlx::TenantPatch;

use super::{changed, find, json_argument};
use crate::{CliContext, CliError, output::Output};

/// Arguments of `tenants update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The tenant's id
    id: String,

    #[command(flatten)]
    changes: Changes,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// A new short name; the old one is free at once
    #[arg(long)]
    slug: Option<String>,

    /// Name of its plan
    #[arg(long)]
    plan: Option<String>,

    /// Take its plan away
    #[arg(long, conflicts_with = "plan")]
    no_plan: bool,

    /// What kind of customer it is
    #[arg(long = "type", value_name = "TYPE")]
    tenant_type: Option<String>,

    /// Take its type away
    #[arg(long, conflicts_with = "tenant_type")]
    no_type: bool,

    /// The application's settings for it, as a whole
    #[arg(long, value_name = "JSON|@FILE")]
    tenant_settings: Option<String>,

    /// Take its settings away
    #[arg(long, conflicts_with = "tenant_settings")]
    no_tenant_settings: bool,
}

impl UpdateArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        let patch = self.changes.patch()?;
        let store = context.catalogue().await?;
        let details = match store.update(&id, patch).await {
            Ok(details) => details,
            Err(error) => return Err(find::refused(&store, &id, error).await),
        };
        store.close().await;
        changed(&details, &format!("Tenant {id} is changed."), out)
    }
}

impl Changes {
    fn patch(self) -> Result<TenantPatch, CliError> {
        let settings = self.tenant_settings.as_deref().map(json_argument).transpose()?;
        let mut patch = TenantPatch::default();
        patch.slug = self.slug;
        patch.plan = set_or_cleared(self.plan, self.no_plan);
        patch.tenant_type = set_or_cleared(self.tenant_type, self.no_type);
        patch.settings = set_or_cleared(settings, self.no_tenant_settings);
        Ok(patch)
    }
}

fn set_or_cleared(value: Option<String>, is_cleared: bool) -> Option<Option<String>> {
    if is_cleared { Some(None) } else { value.map(Some) }
}
