//! The tenant cache, measured: in memory, with a real Redis, and in trouble.
//!
//! `just bench` runs this with everything else; `just bench cache level1 fair` runs these groups alone. This package has what
//! tenancy is compared with anyway, moka and bb8-redis. The other contenders are in `contenders`, outside of the workspace:
//! nobody compiles them but who measures.
//!
//! # Method
//!
//! **Rounds.** All contenders of a row run in one process on the same keys, in the same order, against the same Redis: in
//! each round once, in changing order. A ratio is the median of the rounds' ratios; other work on the machine meets both
//! alike. Beside it stands moka (or one connection) beside itself, which is noise.
//!
//! **A hit** of tenancy is `TenantCache::get`, the public method, polled once by hand: with the tenant's lease, and whether
//! anything of the tenant was flushed since the versions of its base, its two tags and its key were compared. A key has its hash
//! in it; "get with its key" makes the key, and so the hash, for each call. moka is asked with a key that borrows, and hashes it by
//! the same function. Each key has a value of its own, in all of them.
//!
//! **Zipf.** Level 1 by itself, so that putting in costs no task: `tenancy::bench::MemoryLevel`, with two tags. A third of
//! the steps fills the cache; the rate is of all of them, the hits are of the rest. moka counts entries, which is its fastest
//! way; "by bytes" weighs them, as tenancy does.
//!
//! **Level 2** has 256 tasks on two threads, that share the processors with Redis.
//!
//! **Right or wrong** is 1 or 0, for what speed does not show. The numbers of pitfalls are those of the issue that asked for
//! them.
//!
//! **Allocations** are counted by the program of this package, `tenancy-bench-cache`: its allocator counts, which would slow
//! down what is timed.

pub mod correctness;
mod fair;
pub mod flush;
mod level1;
mod level2;
pub mod loading;
pub mod memory;
mod outage;
mod rounds;
mod stack;
mod trace;

use clap::{Parser, ValueEnum};
use futures_util::future::BoxFuture;
use tenancy_bench::{Extent, Failure, report::Report};

use crate::{correctness::Others, flush::FlushOne, memory::Contender};

/// What to measure, and how.
#[derive(Debug, Parser)]
#[command(name = "tenancy-bench-cache")]
pub struct Arguments {
    /// What to measure. Everything if nothing is named
    groups: Vec<Group>,
    /// A fewer rounds: to see whether it works
    #[arg(long)]
    check: bool,
    /// Rows for another program instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Hits, and what is asked for by Zipf's law
    Level1,
    /// Many tasks that read from Redis
    Level2,
    /// One tenant among a million entries
    Flush,
    /// Redis frozen or killed
    Outage,
    /// A quiet tenant beside a loud one
    Fair,
    /// Races and faults, on every contender
    Correctness,
    /// Caches of other languages
    Elsewhere,
}

/// What tenancy is compared with, besides moka and bb8-redis.
#[derive(Debug)]
pub struct Contenders {
    /// Of level 1.
    pub memory: Vec<Contender>,
    /// Which flush one tenant in Redis.
    pub flush: Vec<FlushOne>,
    /// Of races and faults.
    pub others: Others,
    /// What is measured in processes of its own.
    pub elsewhere: Elsewhere,
}

/// Measures what is not of this process.
pub type Elsewhere = for<'a> fn(&'a mut Report) -> BoxFuture<'a, Result<(), Failure>>;

/// Measures what was asked for.
///
/// # Errors
/// Something could not be measured.
pub fn run(arguments: &Arguments, contenders: &Contenders) -> Result<Report, Failure> {
    let extent = if arguments.check {
        Extent::Check
    } else {
        Extent::Full
    };
    let mut report = Report::default();
    for &group in Group::value_variants() {
        if arguments.groups.is_empty() || arguments.groups.contains(&group) {
            measure(group, &mut report, contenders, extent)?;
        }
    }
    Ok(report)
}

fn measure(
    group: Group,
    report: &mut Report,
    contenders: &Contenders,
    extent: Extent,
) -> Result<(), Failure> {
    // Each with a runtime of its own: what one leaves behind does not disturb the next.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match group {
        Group::Level1 => level1::measure(report, &contenders.memory, extent),
        Group::Level2 => runtime.block_on(level2::measure(report, extent)),
        Group::Flush => runtime.block_on(flush::measure(report, &contenders.flush, extent)),
        Group::Outage => runtime.block_on(outage::measure(report, extent)),
        Group::Fair => runtime.block_on(fair::measure(report, &contenders.memory)),
        Group::Elsewhere => runtime.block_on((contenders.elsewhere)(report)),
        Group::Correctness => runtime.block_on(correctness::measure(report, &contenders.others)),
    }
}

/// The allocations of a hit, if `counted` says how many were made while a function ran.
///
/// # Errors
/// The cache can not be made.
pub fn allocations(counted: impl FnMut(&mut dyn FnMut()) -> u64) -> Result<Report, Failure> {
    level1::allocations(counted)
}
