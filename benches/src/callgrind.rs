//! Runs this program under callgrind and reads what it counted.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Failure;

/// What callgrind is told to count: this function and all that it calls. See [`crate::request::counted_request`].
const COUNTED: &str = "*counted_request*";

/// The allocator's lists of free blocks are long enough for what [`crate::request::fill_allocator`] puts there. Other C
/// libraries ignore it. <https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html>
const LONG_FREE_LISTS: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=100");

/// Instructions, by function. Names are numbers of the profile's own table.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) total: u64,
    names: HashMap<u32, String>,
    own: HashMap<u32, u64>,
    /// What a function's calls cost, without itself.
    called: HashMap<u32, u64>,
}

/// One function of a profile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionCost {
    pub(crate) name: String,
    pub(crate) own: u64,
    pub(crate) inclusive: u64,
}

impl Profile {
    /// Reads callgrind's own format, "profile data" of version 1 with one event.
    /// <https://valgrind.org/docs/manual/cl-format.html>
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut profile = Self::default();
        let mut function = None;
        let mut is_cost_of_call = false;
        let mut total = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = Some(profile.name(name)?);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                profile.name(name)?;
            } else if line.starts_with("calls=") {
                is_cost_of_call = true;
            } else if let Some(figure) = line.strip_prefix("totals:") {
                total = Some(figure.trim().parse()?);
            } else if line.starts_with(['+', '-', '*', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
                && let (Some(function), Some(cost)) = (function, line.split_whitespace().nth(1))
            {
                let cost: u64 = cost.parse()?;
                let costs = if is_cost_of_call {
                    &mut profile.called
                } else {
                    &mut profile.own
                };
                *costs.entry(function).or_default() += cost;
                is_cost_of_call = false;
            }
        }
        profile.total = total.ok_or("callgrind's file ends without totals: the run was cut short")?;
        Ok(profile)
    }

    /// `(7) name` the first time, `(7)` from then on.
    fn name(&mut self, text: &str) -> Result<u32, Failure> {
        let (number, name) = text
            .strip_prefix('(')
            .and_then(|text| text.split_once(')'))
            .ok_or("callgrind's file has a function without a number")?;
        let number = number.parse()?;
        if !name.is_empty() {
            self.names.insert(number, name.trim().to_owned());
        }
        Ok(number)
    }

    /// All functions of one name together, the costliest in itself first. Recursion counts once for each level.
    pub(crate) fn functions(&self) -> Vec<FunctionCost> {
        let mut costs: HashMap<&str, (u64, u64)> = HashMap::new();
        for (number, name) in &self.names {
            let own = self.own.get(number).copied().unwrap_or(0);
            let called = self.called.get(number).copied().unwrap_or(0);
            let cost = costs.entry(name).or_default();
            cost.0 += own;
            cost.1 += own + called;
        }
        let mut functions: Vec<FunctionCost> = costs
            .into_iter()
            .filter(|(_, (_, inclusive))| *inclusive > 0)
            .map(|(name, (own, inclusive))| FunctionCost {
                name: name.to_owned(),
                own,
                inclusive,
            })
            .collect();
        functions.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| a.name.cmp(&b.name)));
        functions
    }
}

/// Where valgrind is, or what to do about it.
pub(crate) fn require_valgrind() -> Result<(), Failure> {
    match Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        _ => Err("valgrind is missing, and instructions are counted with it: \
                  run scripts/install-test-tools bench, or install your system's package 'valgrind'"
            .into()),
    }
}

/// Runs a scenario of this program under callgrind. Returns the profile and the last line that the scenario printed.
///
/// `late` starts to count only once the scenario says that it is set up; until then valgrind is some ten times
/// faster. For scenarios with many tenants.
pub(crate) fn run(arguments: &[String], late: bool, folder: &Path) -> Result<(Profile, String), Failure> {
    run_program(&env::current_exe()?, arguments, late, folder)
}

/// The same with another program, which has a function of that name and says when it is ready, too.
pub(crate) fn run_program(
    program: &Path,
    arguments: &[String],
    late: bool,
    folder: &Path,
) -> Result<(Profile, String), Failure> {
    fs::create_dir_all(folder)?;
    let file: PathBuf = folder.join(format!(
        "callgrind.{}",
        arguments.join("-").replace([':', '/'], "_")
    ));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .env(LONG_FREE_LISTS.0, LONG_FREE_LISTS.1);
    if late {
        command.arg("--instr-atstart=no");
    }
    let mut child = command
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let outcome = converse(&mut child, late);
    if outcome.is_err() {
        // It may still run, and nobody waits for what it says.
        let _ = child.kill();
    }
    let output = child.wait_with_output()?;
    let last_line = outcome?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}\n{said}", arguments.join(" "), output.status).into());
    }
    Ok((Profile::parse(&fs::read_to_string(&file)?)?, last_line))
}

/// The child prints `ready` and waits for a line before it runs what is counted.
fn converse(child: &mut Child, late: bool) -> Result<String, Failure> {
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut lines = BufReader::new(output).lines();
    match lines.next() {
        Some(Ok(line)) if line == "ready" => {}
        _ => {
            let said = child.stderr.take().map(std::io::read_to_string);
            return Err(format!(
                "a scenario did not get ready: {}",
                said.transpose()?.unwrap_or_default()
            )
            .into());
        }
    }
    if late {
        let switched = Command::new("callgrind_control")
            .arg("--instr=on")
            .arg(child.id().to_string())
            .stdout(Stdio::null())
            .status()?;
        if !switched.success() {
            return Err("callgrind_control could not switch counting on".into());
        }
    }
    let mut input = child.stdin.take().ok_or("the child has no input")?;
    input.write_all(b"go\n")?;
    drop(input);
    let mut last = String::new();
    for line in lines {
        last = line?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
positions: line
events: Ir
summary: 130

ob=(1) /bin/bench
fl=(1) src/request.rs
fn=(1) bench::counted_request
10 20
+2 5
cfi=(2) src/stack.rs
cfn=(2) tenancy::call
calls=3 40
* 105

fl=(2)
fn=(2)
40 60
-1 15
cob=(2) /lib/libc.so
cfn=(3) malloc
calls=3 0
41 30

ob=(2)
fn=(3)
0 30

totals: 130
";

    #[test]
    fn own_and_called_costs_are_told_apart() {
        let profile = Profile::parse(FILE).unwrap();
        assert_eq!(profile.total, 130);
        let cost = |name: &str, own, inclusive| FunctionCost {
            name: name.to_owned(),
            own,
            inclusive,
        };
        assert_eq!(
            profile.functions(),
            [
                cost("tenancy::call", 75, 105),
                cost("malloc", 30, 30),
                cost("bench::counted_request", 25, 130),
            ]
        );
    }

    #[test]
    fn own_costs_add_up_to_the_total() {
        let profile = Profile::parse(FILE).unwrap();
        let own: u64 = profile.functions().iter().map(|function| function.own).sum();
        assert_eq!(own, profile.total);
    }

    #[test]
    fn a_file_that_was_cut_short_is_refused() {
        let cut = FILE.split_once("totals").unwrap().0;
        assert!(Profile::parse(cut).unwrap_err().to_string().contains("totals"));
        assert!(Profile::parse("").is_err());
        assert!(Profile::parse("fn=nonsense\ntotals: 1\n").is_err());
    }
}
