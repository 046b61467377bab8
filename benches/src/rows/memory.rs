//! What counting memory costs, measured by programs of their own: they have another allocator than this one.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    Extent, Failure, callgrind,
    load::{build, executable},
    report::{Report, Row},
};

const PACKAGE: &str = "tenancy-bench-memory";
const BARE: &str = "tenancy-bench-memory-bare";
const TIMES: usize = 2_000;
/// Requests before those that are counted, for which the meter counts, too.
const WARM_UP: usize = 200;

/// As the programs say it.
#[derive(Deserialize)]
struct Said {
    allocations: u64,
    wrong_bytes: u64,
    nanoseconds: f64,
}

struct Programs<'a> {
    metered: PathBuf,
    bare: PathBuf,
    folder: &'a Path,
}

impl Programs<'_> {
    /// Instructions of one time, and what the program says.
    fn count(&self, program: &Path, scenario: &str) -> Result<(f64, Said), Failure> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("memory    {name} {scenario}");
        let arguments = [scenario.to_owned(), TIMES.to_string()];
        let folder = self.folder.join(&*name);
        let (profile, said) = callgrind::run_program(program, &arguments, false, &folder)?;
        Ok((profile.total as f64 / TIMES as f64, serde_json::from_str(&said)?))
    }

    fn over(&self, scenario: &str, base: &str) -> Result<f64, Failure> {
        Ok(self.count(&self.metered, scenario)?.0 - self.count(&self.bare, base)?.0)
    }

    fn say(program: &Path, scenario: &str, times: usize) -> Result<Said, Failure> {
        let output = Command::new(program)
            .args([scenario, &times.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Measures all rows; what is timed only in full.
pub(crate) fn measure(report: &mut Report, extent: Extent, folder: &Path) -> Result<(), Failure> {
    callgrind::require_valgrind()?;
    eprintln!("memory    building {PACKAGE}");
    let built = build(PACKAGE)?;
    let find = |name| executable(&built, name).ok_or("cargo did not say where it is");
    let programs = Programs {
        metered: find(PACKAGE)?,
        bare: find(BARE)?,
        folder,
    };
    let section = "memory of requests";
    let instructions = |name: &str, value: f64, most| Row::shown(name, "instructions", value).at_most(most);
    let pair = programs.over("pair", "pair")?;
    let off = programs.over("pair-off", "pair")? / 2.0;
    let poll = programs.count(&programs.metered, "poll")?.0 - programs.count(&programs.metered, "loop")?.0;
    let request = programs.over("request-metered", "request")?;
    let allocations = |scenario| -> Result<f64, Failure> {
        let said = programs.count(&programs.metered, scenario)?.1;
        Ok(said.allocations as f64 / (TIMES + WARM_UP) as f64)
    };
    let more = allocations("request-metered")? - allocations("request")?;
    let wrong = Programs::say(&programs.metered, "accuracy", TIMES)?.wrong_bytes;
    report.add(
        section,
        [
            instructions(
                "allocation and release in an account, over the same allocator bare",
                pair,
                24.0,
            ),
            instructions("a poll of an account", poll, 25.0),
            instructions(
                "the whole layer: a request with 50 allocations and 5 polls",
                request,
                1_700.0,
            ),
            Row::shown("the whole layer: allocations", "allocations", more).at_most(1.0),
            instructions("the meter switched off, a call", off, 8.0),
            Row::shown(
                "accounts on eight threads against the sizes that were asked for",
                "bytes",
                wrong as f64,
            )
            .at_most(0.0),
        ],
    );
    if extent == Extent::Full {
        let time = |program: &Path| Programs::say(program, "time-pair", 3_000).map(|said| said.nanoseconds);
        let row = Row::shown(
            "allocation and release in an account, over the same allocator bare",
            "ns",
            time(&programs.metered)? - time(&programs.bare)?,
        );
        report.add(
            section,
            [row.at_most(2.5).note("the shortest of 3,000 runs each")],
        );
    }
    Ok(())
}
