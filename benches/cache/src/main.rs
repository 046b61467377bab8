//! Counts what a hit of the tenant cache allocates. What is timed is timed by `contenders`.

use std::{alloc::System, process::ExitCode};

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tenancy_bench::Failure;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts the allocations of a hit.
#[derive(Debug, Parser)]
#[command(name = "tenancy-bench-cache")]
struct Arguments {
    /// Rows for another program instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tenancy-bench-cache: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let report = tenancy_bench_cache::allocations(|work| {
        let region = Region::new(ALLOCATOR);
        work();
        let made = region.change();
        (made.allocations + made.reallocations) as u64
    })?;
    report.print(arguments.json)
}
