//! `doctor`: what is wrong with the databases of tenants, and what to do about it.

mod catalogue;
mod finding;
mod looks;
mod places;

use clap::Args;
use serde::Serialize;
use tenancy_sqlx::{
    TenantDetails,
    database::TenantHomes,
    migrate::{FleetPlan, Migrations},
    store::{CatalogueStatus, SqlStore, StoreKind},
};

use self::finding::{Finding, Findings, Severity};
use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch, reason_of_any},
    migrations::{MigrationsArgs, not_migrated},
    places::every_tenant,
};
use crate::{
    CliContext, CliError,
    output::{Output, counted, printable},
    place::CataloguePlace,
};

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Connect to no tenant: believe the journal of migrations
    #[arg(long)]
    fast: bool,

    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,

    /// How many tenants are looked at at once
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

#[derive(Serialize)]
struct DoctorView {
    catalogue: String,
    kind: &'static str,
    schema_version: u32,
    database: String,
    tenants: usize,
    /// Tenants that were connected to, or places that they share.
    looked_at: usize,
    /// Of the newest migration; `None` where none are known.
    version: Option<i64>,
    /// Tenants that are being set up.
    pending: u64,
    /// Homes that are ready for tenants to come.
    pending_homes: usize,
    problems: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

impl DoctorArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let settings = context.settings()?.settings;
        let migrations = self.migrations.find(context, &settings).await?;
        let store = context.catalogue_to_read_of(&settings).await?;
        let place = CataloguePlace::of(&settings.catalogue);
        let examination = Examination {
            args: &self,
            store: &store,
            place: &place,
            migrations,
        };
        let examined = dispatch(context, &settings, examination).await;
        store.close().await;
        let view = examined?;
        if out.is_json() {
            out.json(&view)?;
        } else {
            view.write(out)?;
        }
        let (problems, warnings) = (view.problems, view.warnings);
        if problems == 0 && (warnings == 0 || !self.strict) {
            return Ok(());
        }
        Err(CliError::failed("something is wrong with the databases of tenants").told())
    }
}

struct Examination<'a> {
    args: &'a DoctorArgs,
    store: &'a SqlStore,
    place: &'a CataloguePlace,
    migrations: Option<Migrations>,
}

impl OverHomes for Examination<'_> {
    type Done = DoctorView;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<DoctorView, CliError> {
        let status = self.store.status().await.map_err(CliError::from_catalogue)?;
        let everybody = every_tenant(self.store).await?;
        let mut findings = Findings::default();
        catalogue::examine(self.store, &everybody, &mut findings).await?;
        let pending_homes = catalogue::examine_homes(self.store, &everybody, &mut findings).await?;
        places::examine(&homes, &everybody, self.place, &mut findings);
        let is_reachable = audit(&homes, &mut findings).await;
        if self.migrations.is_none() {
            findings.warn(
                "migrations",
                "settings",
                "no folder of migrations is known, so that nobody can tell who is behind",
                "give --migrations, or say databases.migrations in the settings",
            );
        }
        let looked_at = match self.args.fast {
            true => {
                self.believe_the_journal(&mut findings).await?;
                0
            }
            false if is_reachable => {
                let parallel = self.args.parallel.into();
                looks::examine(
                    &homes,
                    &everybody,
                    self.migrations.as_ref(),
                    parallel,
                    &mut findings,
                )
                .await
            }
            false => 0,
        };
        let view = self.view::<DB>(&status, &everybody, looked_at, findings);
        Ok(DoctorView {
            pending_homes,
            ..view
        })
    }
}

impl Examination<'_> {
    async fn believe_the_journal(&self, findings: &mut Findings) -> Result<(), CliError> {
        let Some(migrations) = &self.migrations else {
            return Ok(());
        };
        let plan = FleetPlan::of(self.store, migrations)
            .await
            .map_err(|error| not_migrated(&error))?;
        for id in plan.waiting {
            let what = format!("not at version {}, as far as the journal knows", plan.version);
            findings.warn("drift", id.as_str(), &what, "`migrate` brings it there");
        }
        Ok(())
    }

    fn view<DB: CliEngine>(
        &self,
        status: &CatalogueStatus,
        everybody: &[TenantDetails],
        looked_at: usize,
        findings: Findings,
    ) -> DoctorView {
        let findings = findings.sorted();
        let of = |severity| {
            findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count()
        };
        DoctorView {
            catalogue: self.place.to_string(),
            kind: match self.store.kind() {
                StoreKind::Adopted => StoreKind::Adopted.as_str(),
                _ => StoreKind::Managed.as_str(),
            },
            schema_version: status.schema_version,
            database: <DB as sqlx::Database>::NAME.to_owned(),
            tenants: everybody.len(),
            looked_at,
            version: self.migrations.as_ref().map(Migrations::newest),
            pending: status.pending,
            pending_homes: 0,
            problems: of(Severity::Problem),
            warnings: of(Severity::Warning),
            findings,
        }
    }
}

/// Whether the servers could be looked at.
async fn audit<DB: CliEngine>(homes: &TenantHomes<DB>, findings: &mut Findings) -> bool {
    match homes.audit().await {
        Ok(report) => {
            for found in report.findings() {
                findings.add_audited(found);
            }
            true
        }
        Err(error) => {
            let remedy = "start it, or correct `databases.url`; tenants were not connected to";
            findings.problem("server", "databases.url", &reason_of_any(&error), remedy);
            false
        }
    }
}

impl DoctorView {
    fn write(&self, out: &mut Output<'_>) -> Result<(), CliError> {
        out.facts([
            ("catalogue", self.catalogue.clone()),
            ("kind", self.kind.to_owned()),
            ("schema version", self.schema_version.to_string()),
            ("databases on", self.database.clone()),
            ("tenants", format!("{}, {} pending", self.tenants, self.pending)),
            ("pending homes", self.pending_homes.to_string()),
            ("looked at", self.looked_at.to_string()),
            (
                "newest migration",
                self.version
                    .map_or("not known".to_owned(), |version| version.to_string()),
            ),
        ])?;
        for finding in &self.findings {
            let Finding {
                severity,
                check,
                subject,
                what,
                remedy,
            } = finding;
            let severity = severity.as_str();
            let (subject, what) = (printable(subject), printable(what));
            out.line(format_args!("\n{severity} ({check}): {subject}: {what}"))?;
            out.line(format_args!("  {remedy}"))?;
        }
        let problems = counted(self.problems, "problem", "problems");
        let warnings = counted(self.warnings, "warning", "warnings");
        out.line(format_args!("\n{problems}, {warnings}."))
    }
}
