//! What the connections to tenants' databases cost and keep, on real PostgreSQL, MariaDB and SQLite.
//!
//! `just bench` runs this with everything else; `just bench databases contend flood` runs these groups alone.
//!
//! # Method
//!
//! Servers are those of `tenancy_test::servers`, each group with one of its own, its data in memory. What is compared
//! runs in one process against one server, one after the other in changing order, with the same seeds; beside each
//! comparison stands the same for the pool and the pool again, which shows what is noise.
//!
//! **Connections** are what the server counts in `pg_stat_activity`, asked every 20 ms by a thread of its own. Those that
//! log in are counted too.
//!
//! **A request** takes a connection, reads one row by a prepared statement, checks that it is its tenant's database, and
//! gives the connection back. One that fails is no request: it is counted apart, and its time is in no percentile.
//!
//! **Dropped futures** are polled so many times and no more, with so many from 0 to where the operation ends, so that each
//! place where it waits is met.
//!
//! `--check` measures what is counted and takes less than a minute; figures that a busy machine changes have no budget
//! then.

#![expect(clippy::print_stdout, reason = "a program that prints a report")]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tenancy_bench::{Extent, Failure, report::Report};

mod bed;
mod cancel;
mod contend;
mod crowd;
mod fleet;
mod flood;
mod processes;
mod round_trips;
mod sampler;
mod schemas;
mod signup;
mod slow;
mod warm;

/// Measures the connections to tenants' databases.
#[derive(Debug, Parser)]
#[command(name = "tenancy-bench-databases")]
struct Arguments {
    /// What to measure. Everything if nothing is named
    groups: Vec<Group>,
    /// Only what is counted, in less than a minute
    #[arg(long)]
    check: bool,
    /// Rows for another program instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    child: processes::Child,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Many databases, few connections, beside an LRU of pools and a keyed queue
    Contend,
    /// The tenant's own idle connection
    Warm,
    /// Futures dropped where they wait
    Cancel,
    /// A slow statement that nobody waits for
    Slow,
    /// Ten thousand tenants with nothing to migrate
    Fleet,
    /// Sign-ups, into homes that are ready and into new ones
    Signup,
    /// One tenant that asks too much
    Flood,
    /// Memory of the server where tenants are schemas, beside sqlx's own pool
    Schemas,
    /// Processes that come and go, with one budget
    Processes,
    /// What putting a transaction into a schema or a row costs
    RoundTrips,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tenancy-bench-databases: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let extent = if arguments.check {
        Extent::Check
    } else {
        Extent::Full
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if arguments.child.is_one() {
        println!("{}", runtime.block_on(Box::pin(arguments.child.run()))?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    for &group in Group::value_variants() {
        if arguments.groups.is_empty() || arguments.groups.contains(&group) {
            runtime.block_on(Box::pin(measure(group, &mut report, extent)))?;
        }
    }
    report.print(arguments.json)
}

async fn measure(group: Group, report: &mut Report, extent: Extent) -> Result<(), Failure> {
    match group {
        Group::Contend => Box::pin(contend::measure(report, extent)).await,
        Group::Warm => Box::pin(warm::measure(report, extent)).await,
        Group::Cancel => Box::pin(cancel::measure(report)).await,
        Group::Slow => Box::pin(slow::measure(report, extent)).await,
        Group::Fleet => Box::pin(fleet::measure(report, extent)).await,
        Group::Signup => Box::pin(signup::measure(report, extent)).await,
        Group::Flood => Box::pin(flood::measure(report, extent)).await,
        Group::Schemas => Box::pin(schemas::measure(report, extent)).await,
        Group::Processes => Box::pin(processes::measure(report, extent)).await,
        Group::RoundTrips => Box::pin(round_trips::measure(report)).await,
    }
}
