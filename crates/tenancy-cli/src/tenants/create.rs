use clap::Args;
use tenancy::core::TenantStatus;
use tenancy_sqlx::{NewTenant, TenantDetails, store::SqlStore};

use super::{changed, find, json_argument};
use crate::{
    CliContext, CliError,
    databases::{
        life::{self, Errand, Outcome},
        migrations::MigrationsArgs,
    },
    output::Output,
};

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

    /// Make its home, too: database, schema or file, migrated and seeded. Needs the owner's URL (`databases.owner_url`)
    #[arg(long)]
    home: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

/// If a step fails, nothing of it stays but the id, which is never given again.
async fn create_with_home(
    context: &CliContext,
    store: &SqlStore,
    migrations: &MigrationsArgs,
    new: NewTenant,
) -> Result<TenantDetails, CliError> {
    let settings = context.settings()?.settings;
    let migrations = migrations.find(context, &settings).await?;
    match life::run(
        context,
        &settings,
        store,
        migrations,
        Errand::Create(Box::new(new)),
    )
    .await?
    {
        Outcome::Tenant(details) => Ok(*details),
        _ => Err(CliError::failed("the tenant was not made")),
    }
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let (has_home, migrations) = (self.home, self.migrations.clone());
        let new = self.new_tenant()?;
        let store = context.catalogue_or_new().await?;
        let made = match has_home {
            true => create_with_home(context, &store, &migrations, new).await,
            false => store.create(new).await.map_err(CliError::from_catalogue),
        };
        store.close().await;
        let details = made?;
        let record = &details.record;
        let mut sentence = format!("Created tenant {}", record.id);
        if record.slug.is_some() {
            sentence.push_str(&format!(" with the slug {}", record.slug()));
        }
        sentence.push_str(match record.status {
            TenantStatus::Pending => "; it is pending until `tenants resume`.",
            _ => ".",
        });
        if has_home {
            sentence.push_str(" Its home is made.");
        }
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
