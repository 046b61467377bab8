use clap::Args;
use tenancy_sqlx::migrate::FleetSettings;

use super::{
    homes::dispatch,
    migrate::{Goal, Migrate},
    migrations::MigrationsArgs,
};
use crate::{
    CliContext, CliError,
    confirm::{check_can_ask, confirm},
    output::{Output, counted},
};

/// Arguments of `rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The version that is left: what came after it is taken back by its `.down.sql`; 0 takes all back
    #[arg(long, value_name = "VERSION")]
    to: i64,

    /// Only this tenant, by id; may be given more than once
    #[arg(long = "tenant", value_name = "ID")]
    tenants: Vec<String>,

    /// How many tenants are taken back at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

impl RollbackArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        check_can_ask(self.yes)?;
        let settings = context.settings()?.settings;
        let migrations = self.migrations.read(context, &settings).await?;
        let store = context.catalogue_of_any_kind(&settings).await?;
        let who = match &*self.tenants {
            [] => "all tenants".to_owned(),
            [one] => format!("the tenant {one}"),
            several => counted(several.len(), "tenant", "tenants"),
        };
        let question = format!(
            "Take {who} back to version {}? What later migrations made is dropped, with the data in it.",
            self.to
        );
        confirm(&question, &self.to.to_string(), self.yes)?;
        let work = Migrate {
            store: &store,
            migrations,
            settings: FleetSettings::new().workers(self.workers.into()),
            tenants: &self.tenants,
            workers: self.workers.into(),
            goal: Goal::BackTo(self.to),
        };
        let report = dispatch(context, &settings, work).await;
        store.close().await;
        report?.tell(out)
    }
}
