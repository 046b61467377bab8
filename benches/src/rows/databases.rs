//! The connections to tenants' databases, measured by a program of their own.

use std::process::{Command, Stdio};

use crate::{
    Extent, Failure,
    load::{build, executable},
    report::Report,
};

const PACKAGE: &str = "tenancy-bench-databases";

/// Measures the rows of these groups; of all where none is named.
pub(crate) fn measure(report: &mut Report, extent: Extent, groups: &[String]) -> Result<(), Failure> {
    eprintln!("databases building {PACKAGE}");
    let program = executable(&build(PACKAGE)?, PACKAGE).ok_or("cargo did not say where it is")?;
    let mut command = Command::new(program);
    command.arg("--json").args(groups).stderr(Stdio::inherit());
    if extent == Extent::Check {
        command.arg("--check");
    }
    let output = command.output()?;
    // With rows that pass their budgets it succeeds too.
    if !output.status.success() {
        return Err(format!("{PACKAGE}: {}", output.status).into());
    }
    report.add_json(&output.stdout)
}
