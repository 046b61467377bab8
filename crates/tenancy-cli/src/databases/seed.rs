use clap::Args;
use serde::Serialize;
use tenancy::core::TenantId;

use super::{
    life::{Chore, ChoreReport, run_for_many},
    migrations::MigrationsArgs,
    places::{chosen, every_tenant},
};
use crate::{
    CliContext, CliError,
    output::{Output, counted, printable},
};

/// Arguments of `seed`, and of `tenants make-home`.
#[derive(Clone, Debug, Args)]
pub struct SeedArgs {
    /// Tenants, by id
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,

    /// Every tenant that is not deleted
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

#[derive(Serialize)]
struct ChoreView<'a> {
    done: &'a [TenantId],
    failed: Vec<FailedView<'a>>,
}

#[derive(Serialize)]
struct FailedView<'a> {
    tenant: &'a TenantId,
    reason: &'a str,
}

impl SeedArgs {
    pub(crate) async fn run(
        self,
        chore: Chore,
        context: &CliContext,
        out: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let settings = context.settings()?.settings;
        if chore == Chore::Seed && settings.databases.seeds.is_none() {
            return Err(CliError::invalid("no folder of seeds is known")
                .advise("Say it in the settings: databases.seeds."));
        }
        let migrations = self.migrations.find(context, &settings).await?;
        let store = context.catalogue_of(&settings).await?;
        let everybody = every_tenant(&store).await?;
        let records = chosen(&store, &everybody, &self.ids).await?;
        let ids = records.into_iter().map(|record| record.id).collect();
        let report = run_for_many(context, &settings, &store, migrations, chore, ids).await;
        store.close().await;
        tell(chore, &report?, out)
    }
}

fn tell(chore: Chore, report: &ChoreReport, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        let failed = report.failed.iter();
        out.json(&ChoreView {
            done: &report.done,
            failed: failed
                .map(|(tenant, reason)| FailedView { tenant, reason })
                .collect(),
        })?;
    } else {
        let what = match chore {
            Chore::Seed => "seeded",
            Chore::MakeHome => "with a home",
        };
        let done = counted(report.done.len(), "tenant", "tenants");
        out.line(format_args!("{done} {what}, {} failed.", report.failed.len()))?;
        for (id, reason) in &report.failed {
            out.line(format_args!("{id}: {}", printable(reason)))?;
        }
    }
    if report.failed.is_empty() {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "{} failed",
        counted(report.failed.len(), "tenant", "tenants")
    )))
}
