use clap::Args;
use serde::Serialize;
use tenancy_sqlx::lifecycle::PendingStatus;

use super::{
    life::{self, Errand, Outcome},
    migrations::MigrationsArgs,
};
use crate::{
    CliContext, CliError,
    confirm::confirm,
    output::{Output, counted},
};

/// Arguments of `pending`.
#[derive(Clone, Debug, Args)]
pub struct PendingArgs {
    /// Make homes until there are so many, and migrate those that are outdated
    #[arg(long, value_name = "NUMBER")]
    fill: Option<u64>,

    /// Drop all homes that nobody has taken. Stop the servers that make them before
    #[arg(long, conflicts_with = "fill")]
    drain: bool,

    /// Do not ask before they are dropped
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

/// What `pending` did, and how many there are then.
pub(crate) struct PendingReport {
    pub(crate) status: PendingStatus,
    pub(crate) made: u64,
    pub(crate) migrated: u64,
    pub(crate) dropped: u64,
}

#[derive(Serialize)]
struct PendingView {
    ready: u64,
    outdated: u64,
    unfinished: u64,
    made: u64,
    migrated: u64,
    dropped: u64,
}

impl PendingArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        if self.drain {
            confirm("Drop all homes that nobody has taken?", "drain", self.yes)?;
        }
        let settings = context.settings()?.settings;
        let migrations = self.migrations.find(context, &settings).await?;
        let store = context.catalogue_of(&settings).await?;
        let errand = match (self.fill, self.drain) {
            (Some(wanted), _) => Errand::Fill(wanted),
            (None, true) => Errand::Drain,
            (None, false) => Errand::LookAtPending,
        };
        let outcome = life::run(context, &settings, &store, migrations, errand).await;
        store.close().await;
        let Outcome::Pending(report) = outcome? else {
            return Err(CliError::failed("nobody counted the homes"));
        };
        tell(&report, out)
    }
}

fn tell(report: &PendingReport, out: &mut Output<'_>) -> Result<(), CliError> {
    let PendingReport {
        status,
        made,
        migrated,
        dropped,
    } = *report;
    let view = PendingView {
        ready: status.ready,
        outdated: status.outdated,
        unfinished: status.unfinished,
        made,
        migrated,
        dropped,
    };
    if out.is_json() {
        return out.json(&view);
    }
    if made + migrated + dropped > 0 {
        out.line(format_args!(
            "{made} made, {migrated} migrated, {dropped} dropped."
        ))?;
    }
    out.line(format_args!(
        "{} ready, {} outdated, {} unfinished.",
        counted(
            usize::try_from(status.ready).unwrap_or(usize::MAX),
            "home is",
            "homes are"
        ),
        status.outdated,
        status.unfinished
    ))
}
