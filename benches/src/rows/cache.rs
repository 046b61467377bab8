//! The tenant cache, measured by programs of their own.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Extent, Failure,
    load::{build, build_alone, executable},
    report::Report,
};

/// Counts allocations.
const PACKAGE: &str = "tenancy-bench-cache";
/// Times, beside what is outside of the workspace.
const CONTENDERS: &str = "tenancy-bench-cache-contenders";

/// Measures the rows of these groups; of all where none is named.
pub(crate) fn measure(report: &mut Report, extent: Extent, groups: &[String]) -> Result<(), Failure> {
    if groups.is_empty() || groups.iter().any(|group| group == "level1") {
        eprintln!("cache     building {PACKAGE}");
        run(report, &build(PACKAGE)?, PACKAGE, &[])?;
    }
    eprintln!("cache     building {CONTENDERS}, a few minutes at first");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/contenders/Cargo.toml");
    let mut arguments: Vec<&str> = groups.iter().map(String::as_str).collect();
    if extent == Extent::Check {
        arguments.push("--check");
    }
    run(report, &build_alone(&manifest)?, CONTENDERS, &arguments)
}

fn run(report: &mut Report, built: &str, program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let path = executable(built, program).ok_or("cargo did not say where it is")?;
    let output = Command::new(path)
        .arg("--json")
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    // With rows that pass their budgets it succeeds too.
    if !output.status.success() {
        return Err(format!("{program}: {}", output.status).into());
    }
    report.add_json(&output.stdout)
}
