//! What tenancy costs, measured: a table on the terminal and `target/bench/report.json`.
//!
//! `tenancy-bench check` measures what has a budget and fails where one is exceeded; `tenancy-bench` or `just bench`
//! measures everything, with more repetitions. `tenancy-bench explain default bare` says in which functions one
//! scenario spends more than another.
//!
//! # Method
//!
//! **Instructions** are counted by callgrind: clocks on small virtual machines differ by 10 % and more between equal
//! runs, instructions of one build by less than 0.1 %. Counting is on only within [`request::counted_request`], so that set-up,
//! warm-up (200 requests) and the building of requests cost nothing in the count. Each request is built right before
//! it is sent: the allocator is then in the steady state of a server. A request goes through a clone of the service
//! and `oneshot`, as in `axum::serve`; it is polled by hand, without a runtime, and its body is read to the end. What
//! is reported is the mean of 2,000 requests, and differences of two scenarios, never a figure with the loop in it.
//! The allocator is given free blocks before: see [`request::fill_allocator`]. Which copying functions glibc takes depends
//! on the processor; one without AVX counts some 5 % more.
//! One build gives one figure; another build of almost the same source can differ by some hundred instructions on either
//! side, for what the optimizer inlines. Compare `explain` before looking for the cause of less.
//!
//! **Allocations** are counted in the same run by an allocator that adds to two atomics ([`stats_alloc`]), which is in
//! the instruction counts: about three for each allocation or release. Reallocations count as allocations.
//!
//! **Memory** is the growth of `VmRSS` in a fresh process, over a store that makes its tenants up while they are
//! listed and holds none.
//!
//! **Growth** is that of jemalloc's own count of what is live in the example server, which its admin address tells: the median of the slopes
//! between all pairs of 64 samples, over loopback, after a warm-up.
//!
//! **Load** is paired: the example server, and the same routes served the same way without the stack, both built in
//! release mode, each a process of one worker thread, in turn and in changing order. Reported are the median of the pairs' ratios and its interval by bootstrap, and
//! beside it the same for two processes without the stack: what differs there is noise. CPU time is the scheduler's
//! own (`/proc/<pid>/task/*/schedstat`), kernel included. On a machine that does other work, neither time shows a few
//! per cent: read the interval, and rather the instructions. Response times are the best of three runs, for other work
//! only ever adds to them.
//!
//! **Connections to databases** are measured by a program of their own, `tenancy-bench-databases`: sqlx would change what
//! is compiled into what counts instructions. It says how. So is **the tenant cache**, by `tenancy-bench-cache`; the caches that
//! it stands beside are in a package outside of the workspace, with a lock file of its own.
//!
//! Budgets stand in the code beside their rows, in [`rows`].

#![expect(clippy::print_stdout, reason = "a program that prints a report")]

use std::{
    alloc::System,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use tenancy_bench::{Extent, Failure, process, report, statistics};

use crate::report::Report;

mod callgrind;
mod load;
mod request;
mod rows;
mod scale;
mod scenario;
mod stores;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures what tenancy costs.
#[derive(Debug, Parser)]
#[command(name = "tenancy-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What has a budget, in a few minutes. Fails when a budget is exceeded
    Check,
    /// Everything, with more repetitions. What runs without a command too
    Full,
    /// The connections to tenants' databases alone, all rows or those of some groups
    Databases {
        /// `contend`, `processes`, `warm`, `cancel`, `slow`, `flood`, `schemas`, `fleet`,
        /// `signup`, `round-trips`
        groups: Vec<String>,
        /// Only what is counted, in a minute
        #[arg(long)]
        check: bool,
    },
    /// The tenant cache alone, beside other caches, all rows or those of some groups
    Cache {
        /// `level1`, `level2`, `flush`, `outage`, `fair`, `correctness`
        groups: Vec<String>,
        /// Fewer rounds: to see whether it works
        #[arg(long)]
        check: bool,
    },
    /// The memory growth of the example server alone, over a million requests
    Growth {
        /// A tenth of them
        #[arg(long)]
        check: bool,
    },
    /// What counting the memory of requests costs, alone
    MemoryOfRequests,
    /// Shows in which functions one scenario spends more instructions than another
    Explain {
        /// Such as `default`, `order:resolve,gate`, `resolve-only`, `routes`
        scenario: String,
        /// What to compare with
        #[arg(default_value = "bare")]
        base: String,
    },
    #[command(hide = true)]
    Measure { scenario: String, times: usize },
    #[command(hide = true)]
    Memory {
        tenants: usize,
        #[arg(long)]
        domains: bool,
    },
    #[command(hide = true)]
    Flood {
        hosts: usize,
        #[arg(long)]
        finds_only: bool,
    },
    #[command(hide = true)]
    HangUps { clients: usize },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command.unwrap_or(Command::Full)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tenancy-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    let folder = output_folder();
    match command {
        Command::Check => return measure(Extent::Check, &folder),
        Command::Full => return measure(Extent::Full, &folder),
        Command::Databases { groups, check } => {
            let extent = if check { Extent::Check } else { Extent::Full };
            let mut report = Report::default();
            rows::databases::measure(&mut report, extent, &groups)?;
            return conclude(&report, &folder.join("databases.json"));
        }
        Command::Cache { groups, check } => {
            let extent = if check { Extent::Check } else { Extent::Full };
            let mut report = Report::default();
            rows::cache::measure(&mut report, extent, &groups)?;
            return conclude(&report, &folder.join("cache.json"));
        }
        Command::Growth { check } => {
            let extent = if check { Extent::Check } else { Extent::Full };
            let mut report = Report::default();
            rows::growth::measure(&mut report, extent, &folder)?;
            return conclude(&report, &folder.join("growth.json"));
        }
        Command::MemoryOfRequests => {
            let mut report = Report::default();
            rows::memory::measure(&mut report, Extent::Full, &folder)?;
            return conclude(&report, &folder.join("memory.json"));
        }
        Command::Explain { scenario, base } => {
            print!("{}", rows::requests::explain(&scenario, &base, &folder)?);
        }
        Command::Measure { scenario, times } => scenario::run(&scenario, times)?,
        Command::Memory { tenants, domains } => scale::memory(tenants, domains)?,
        Command::Flood { hosts, finds_only } => scale::flood(hosts, finds_only)?,
        Command::HangUps { clients } => scale::hang_ups(clients)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `target/bench` of the workspace, wherever the program is started.
fn output_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    workspace.unwrap_or(Path::new(".")).join("target/bench")
}

fn measure(extent: Extent, folder: &Path) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    rows::requests::measure(&mut report, folder)?;
    rows::memory::measure(&mut report, extent, folder)?;
    rows::scale::measure(&mut report, extent)?;
    rows::served::measure(&mut report, extent, folder)?;
    rows::growth::measure(&mut report, extent, folder)?;
    // Compiling sqlx once more, optimised, takes longer than all that stands above; what is counted there is tested, too.
    if extent == Extent::Full {
        rows::databases::measure(&mut report, extent, &[])?;
        rows::cache::measure(&mut report, extent, &[])?;
    }
    conclude(&report, &folder.join("report.json"))
}

fn conclude(report: &Report, path: &Path) -> Result<ExitCode, Failure> {
    println!("{}", report.table());
    report.write(path)?;
    println!("written to {}", path.display());
    let failed: Vec<&str> = report.failed().map(|row| row.name.as_str()).collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} budgets are exceeded: {}", failed.len(), failed.join("; "));
    Ok(ExitCode::FAILURE)
}
