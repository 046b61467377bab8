use std::time::Duration;

use serde::Serialize;
use tenancy::core::TenantId;
use tenancy_sqlx::migrate::MigrationReport;

use crate::{
    CliError,
    output::{Output, counted, printable},
    redact::without_passwords,
};

/// What a run did.
#[derive(Debug, Serialize)]
pub(crate) struct ReportView {
    outcome: &'static str,
    is_complete: bool,
    version: i64,
    pub(super) migrated: u64,
    pub(super) up_to_date: u64,
    failed: Vec<FailedView>,
    not_tried: u64,
    elapsed_ms: u128,
}

#[derive(Debug, Serialize)]
struct FailedView {
    tenant: TenantId,
    reason: String,
}

impl ReportView {
    pub(super) fn of(version: i64) -> Self {
        Self {
            outcome: "done",
            is_complete: true,
            version,
            migrated: 0,
            up_to_date: 0,
            failed: Vec::new(),
            not_tried: 0,
            elapsed_ms: 0,
        }
    }

    pub(super) fn fail(&mut self, tenant: TenantId, reason: &str) {
        self.is_complete = false;
        let reason = without_passwords(reason);
        self.failed.push(FailedView { tenant, reason });
    }

    pub(super) fn took(&mut self, elapsed: Duration) {
        self.elapsed_ms = elapsed.as_millis();
    }

    /// Writes it, and fails unless every tenant is at the version.
    pub(crate) fn tell(self, out: &mut Output<'_>) -> Result<(), CliError> {
        if out.is_json() {
            out.json(&self)?;
        } else {
            self.write(out)?;
        }
        if self.is_complete {
            return Ok(());
        }
        let left = self.failed.len() + usize::try_from(self.not_tried).unwrap_or(usize::MAX);
        Err(CliError::failed(format!(
            "{} not at version {}",
            counted(left, "tenant is", "tenants are"),
            self.version
        ))
        .advise(
            "Mend what failed and give the same command again: those that are at the version are left alone.",
        ))
    }

    fn write(&self, out: &mut Output<'_>) -> Result<(), CliError> {
        out.facts([
            ("outcome", self.outcome.to_owned()),
            ("version", self.version.to_string()),
            ("migrated", self.migrated.to_string()),
            ("up to date", self.up_to_date.to_string()),
            ("failed", self.failed.len().to_string()),
            ("not tried", self.not_tried.to_string()),
            ("took", took(self.elapsed_ms)),
        ])?;
        if self.failed.is_empty() {
            return Ok(());
        }
        out.line("")?;
        let rows = self
            .failed
            .iter()
            .map(|failed| [failed.tenant.to_string(), printable(&failed.reason)]);
        out.table(["FAILED", "REASON"], rows)
    }
}

fn took(elapsed_ms: u128) -> String {
    let ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

impl From<&MigrationReport> for ReportView {
    fn from(report: &MigrationReport) -> Self {
        let failed = report.failed.iter().map(|failed| FailedView {
            tenant: failed.tenant.clone(),
            reason: without_passwords(&failed.reason),
        });
        Self {
            outcome: report.outcome.as_str(),
            is_complete: report.is_complete(),
            version: report.version,
            migrated: report.migrated,
            up_to_date: report.up_to_date,
            failed: failed.collect(),
            not_tried: report.not_tried,
            elapsed_ms: report.elapsed.as_millis(),
        }
    }
}
