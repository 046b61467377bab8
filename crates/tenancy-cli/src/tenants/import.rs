use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tenancy::core::TenantId;
use tenancy_sqlx::{
    CatalogueError, NewTenant,
    file::{TenantsFile, TenantsFileError},
    store::{BulkReport, SqlStore},
};

use crate::{
    CliContext, CliError,
    output::{Output, counted},
};

/// What is registered between two looks at the progress: what the store commits at once.
const CHUNK: usize = 500;

/// Arguments of `tenants import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// TOML file with a `[[tenant]]` for each; those whose slug is taken are left alone
    file: PathBuf,
}

#[derive(Serialize)]
struct ImportView<'a> {
    created: &'a [TenantId],
    existing: &'a [TenantId],
    failed: Vec<FailedView<'a>>,
    not_attempted: &'a [String],
}

#[derive(Serialize)]
struct FailedView<'a> {
    slug: &'a str,
    reason: String,
}

impl ImportArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let file = TenantsFile::read(&self.file).map_err(|error| unusable(&error))?;
        let store = context.catalogue_or_new().await?;
        let report = register(&store, file.tenants).await;
        store.close().await;
        if out.is_json() {
            out.json(&ImportView::from(&report))?;
        } else {
            out.line(format_args!(
                "{} created, {} left alone.",
                counted(report.created.len(), "tenant", "tenants"),
                report.existing.len()
            ))?;
        }
        if report.is_complete() {
            Ok(())
        } else {
            Err(incomplete(&report))
        }
    }
}

/// `ProgressBar` draws on standard error, and only where that is a terminal.
async fn register(store: &SqlStore, tenants: Vec<NewTenant>) -> BulkReport {
    let bar = ProgressBar::new(tenants.len() as u64);
    let mut total = BulkReport::default();
    let mut tenants = tenants.into_iter();
    loop {
        let chunk: Vec<_> = tenants.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len() as u64;
        let report = store.ensure_many(chunk).await;
        total.created.extend(report.created);
        total.existing.extend(report.existing);
        total.failed.extend(report.failed);
        total.not_attempted.extend(report.not_attempted);
        if !total.not_attempted.is_empty() {
            // The catalogue itself failed, and would fail again.
            total.not_attempted.extend(tenants.map(|tenant| tenant.slug));
            break;
        }
        bar.inc(length);
    }
    bar.finish_and_clear();
    total
}

fn unusable(error: &TenantsFileError) -> CliError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    if error.mistakes().is_empty() {
        return CliError::invalid(format!("{error}{}", cause.unwrap_or_default()));
    }
    let lines = error.to_string().lines().map(str::to_owned).collect();
    CliError::invalid("the tenants file has mistakes, so that nothing was imported").with_details(lines)
}

fn incomplete(report: &BulkReport) -> CliError {
    let refused = report
        .failed
        .iter()
        .map(|(slug, error)| format!("{slug}: {}", reason(error)));
    let not_tried = report
        .not_attempted
        .iter()
        .map(|slug| format!("{slug}: not tried, the catalogue failed before"));
    let details: Vec<_> = refused.chain(not_tried).collect();
    CliError::failed(format!(
        "{} could not be imported",
        counted(details.len(), "tenant", "tenants")
    ))
    .with_details(details)
    .advise("What was created stays. Import the file again once this is mended.")
}

fn reason(error: &CatalogueError) -> String {
    error
        .operator_detail()
        .map_or_else(|| error.to_string(), str::to_owned)
}

impl<'a> From<&'a BulkReport> for ImportView<'a> {
    fn from(report: &'a BulkReport) -> Self {
        Self {
            created: &report.created,
            existing: &report.existing,
            failed: report
                .failed
                .iter()
                .map(|(slug, error)| FailedView {
                    slug,
                    reason: reason(error),
                })
                .collect(),
            not_attempted: &report.not_attempted,
        }
    }
}
