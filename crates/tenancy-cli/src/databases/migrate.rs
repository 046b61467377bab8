mod report;

use clap::Args;
use tenancy::core::{Clock as _, SystemClock, TenantId, TenantRecord};
use tenancy_sqlx::{
    database::TenantHomes,
    migrate::{FleetMigrator, FleetPlan, FleetSettings, MigrationEvent, Migrations},
    store::SqlStore,
};

pub(crate) use self::report::ReportView;
use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch},
    migrations::{MigrationsArgs, not_migrated},
    places::{chosen, every_tenant},
    progress::Progress,
    signals::unless_broken_off,
};
use crate::{
    CliContext, CliError,
    output::{Output, counted},
    tenants::find,
};

/// Arguments of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// Only this tenant, by id, whether or not a run is under way; may be given more than once
    #[arg(long = "tenant", value_name = "ID", conflicts_with_all = ["canaries", "stop_at"])]
    tenants: Vec<String>,

    /// How many tenants are migrated at once, each over one connection
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// A tenant that is migrated before all others, by id; may be given more than once. If it fails, no other is begun
    /// [default: the first one by id]
    #[arg(long = "canary", value_name = "ID")]
    canaries: Vec<String>,

    /// The share of tenants that may fail before the run ends: 0.05 or 5% [default: 5%]
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    stop_at: Option<f64>,

    /// List who would be migrated, by what the journal knows, and connect to nobody
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

impl MigrateArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let settings = context.settings()?.settings;
        let migrations = self.migrations.read(context, &settings).await?;
        if self.dry_run {
            let store = context.catalogue_to_read_of(&settings).await?;
            let shown = self.show_plan(&store, &migrations, out).await;
            store.close().await;
            return shown;
        }
        let canaries = parse_ids(&self.canaries)?;
        let store = context.catalogue_of_any_kind(&settings).await?;
        for canary in &canaries {
            find::by_id(&store, canary).await?;
        }
        let mut fleet = FleetSettings::new()
            .workers(self.workers.into())
            .canary_tenants(canaries);
        if let Some(rate) = self.stop_at {
            fleet = fleet.stop_at(rate);
        }
        let work = Migrate {
            store: &store,
            migrations,
            settings: fleet,
            tenants: &self.tenants,
            workers: self.workers.into(),
            goal: Goal::Newest,
        };
        let report = dispatch(context, &settings, work).await;
        store.close().await;
        report?.tell(out)
    }

    async fn show_plan(
        &self,
        store: &SqlStore,
        migrations: &Migrations,
        out: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let mut plan = FleetPlan::of(store, migrations)
            .await
            .map_err(|error| not_migrated(&error))?;
        if !self.tenants.is_empty() {
            let asked = parse_ids(&self.tenants)?;
            for id in &asked {
                find::by_id(store, id).await?;
            }
            let total = asked.len();
            plan.waiting.retain(|id| asked.contains(id));
            plan.up_to_date = (total - plan.waiting.len()) as u64;
        }
        if out.is_json() {
            return out.json(&serde_json::json!({
                "version": plan.version,
                "up_to_date": plan.up_to_date,
                "would_migrate": plan.waiting,
            }));
        }
        out.line(format_args!(
            "{} would be migrated to version {}, {} up to date.",
            counted(plan.waiting.len(), "tenant", "tenants"),
            plan.version,
            plan.up_to_date
        ))?;
        plan.waiting.iter().try_for_each(|id| out.line(id))
    }
}

fn parse_ids(ids: &[String]) -> Result<Vec<TenantId>, CliError> {
    ids.iter().map(|id| find::parse_id(id)).collect()
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, divisor) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let rate: f64 = number.trim().parse().map_err(|_| "write 0.05 or 5%")?;
    let rate = rate / divisor;
    if (0.0..=1.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("it is from 0 to 1, or from 0% to 100%".to_owned())
    }
}

/// Which version tenants are brought to.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    Newest,
    BackTo(i64),
}

/// A run over a fleet, or over the tenants that are named.
pub(crate) struct Migrate<'a> {
    pub(crate) store: &'a SqlStore,
    pub(crate) migrations: Migrations,
    pub(crate) settings: FleetSettings,
    pub(crate) tenants: &'a [String],
    pub(crate) workers: usize,
    pub(crate) goal: Goal,
}

impl OverHomes for Migrate<'_> {
    type Done = ReportView;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<ReportView, CliError> {
        let records = match self.tenants {
            [] => Vec::new(),
            ids => chosen(self.store, &every_tenant(self.store).await?, ids).await?,
        };
        let progress = Progress::new(records.len() as u64);
        let seen = progress.clone();
        let version = match self.goal {
            Goal::Newest => self.migrations.newest(),
            Goal::BackTo(version) => version,
        };
        let fleet = FleetMigrator::of_homes(self.store, self.migrations, &homes)
            .settings(self.settings)
            .observe(move |event| note(&seen, event))
            .build()
            .await
            .map_err(|error| not_migrated(&error))?;
        let run = async {
            match &*records {
                [] => all(&fleet, self.goal).await,
                records => some(&fleet, self.goal, version, records, self.workers, &progress).await,
            }
        };
        let report = unless_broken_off(run).await;
        progress.clear();
        match report {
            Some(report) => {
                fleet.close().await;
                report
            }
            None => Err(broken_off(&progress)),
        }
    }
}

fn note(progress: &Progress, event: MigrationEvent<'_>) {
    match event {
        MigrationEvent::Begun { tenants, .. } => progress.set_length(tenants),
        MigrationEvent::Migrated { .. } => progress.done(),
        MigrationEvent::Failed { .. } => progress.failed(),
        _ => {}
    }
}

async fn all<DB: CliEngine>(fleet: &FleetMigrator<DB>, goal: Goal) -> Result<ReportView, CliError> {
    let report = match goal {
        Goal::Newest => fleet.migrate().await,
        Goal::BackTo(version) => fleet.roll_back(version).await,
    };
    report
        .map(|report| ReportView::from(&report))
        .map_err(|error| not_migrated(&error))
}

async fn some<DB: CliEngine>(
    fleet: &FleetMigrator<DB>,
    goal: Goal,
    version: i64,
    records: &[TenantRecord],
    workers: usize,
    progress: &Progress,
) -> Result<ReportView, CliError> {
    use futures_util::StreamExt as _;
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let mut report = ReportView::of(version);
    let one = |record: TenantRecord| {
        let fleet = fleet.clone();
        async move {
            let brought = match goal {
                Goal::Newest => fleet.migrate_tenant(&record).await,
                Goal::BackTo(version) => fleet.roll_back_tenant(&record, version).await,
            };
            (record.id, brought)
        }
    };
    let mut ended = futures_util::stream::iter(records.to_vec())
        .map(one)
        .buffered(workers);
    while let Some((id, brought)) = ended.next().await {
        match brought {
            Ok(0) => report.up_to_date += 1,
            Ok(_) => report.migrated += 1,
            Err(error) if error.is_tenants() => {
                progress.failed();
                report.fail(id, &error.to_string());
                continue;
            }
            Err(error) => return Err(not_migrated(&error)),
        }
        progress.done();
    }
    report.took(clock.monotonic().saturating_sub(started));
    Ok(report)
}

fn broken_off(progress: &Progress) -> CliError {
    let (done, failed) = progress.tally();
    CliError::failed(format!(
        "broken off: {done} tenants were brought to the version by this process, {failed} failed"
    ))
    .advise(
        "What was begun is taken back. The same command goes on with those that are left, within seconds.",
    )
}

#[cfg(test)]
mod tests {
    use super::parse_rate;

    #[test]
    fn a_rate_is_a_share_or_percent() {
        for (text, rate) in [
            ("0", 0.0),
            ("0.05", 0.05),
            ("5%", 0.05),
            ("100%", 1.0),
            ("1", 1.0),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for bad in ["", "5", "-1%", "101%", "many", "NaN"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
