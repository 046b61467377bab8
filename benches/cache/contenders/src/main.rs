//! The tenant cache beside other caches: see `tenancy-bench-cache`.

mod bentocache;
mod memory;
mod multi_tier;
mod races;

use std::process::ExitCode;

use clap::Parser;
use tenancy_bench::Failure;
use tenancy_bench_cache::{Arguments, Contenders, correctness::Others, loading::Loader, memory::Contender};

const QUICK_CACHE: &str = "quick_cache 0.7";
const FOYER: &str = "foyer 0.22";
const CACHED: &str = "cached 4.1";
const BENTOCACHE: &str = "bentocache 1.6 (Node)";
const MULTI_TIER_CACHE: &str = "multi-tier-cache 0.6";

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tenancy-bench-cache-contenders: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    tenancy_bench_cache::run(arguments, &contenders())?.print(arguments.json)
}

fn contenders() -> Contenders {
    Contenders {
        memory: vec![
            Contender {
                name: QUICK_CACHE,
                make: memory::quick_cache,
            },
            Contender {
                name: FOYER,
                make: memory::foyer,
            },
            Contender {
                name: CACHED,
                make: memory::cached,
            },
            Contender {
                name: MULTI_TIER_CACHE,
                make: memory::multi_tier,
            },
        ],
        flush: vec![
            |crowded| Box::pin(multi_tier::flush_by_pattern(crowded)),
            |crowded| Box::pin(bentocache::flush(crowded)),
        ],
        elsewhere: |report| Box::pin(bentocache::speed(report)),
        others: Others {
            loaders: vec![
                Loader {
                    name: QUICK_CACHE,
                    make: races::quick_cache,
                },
                Loader {
                    name: FOYER,
                    make: races::foyer,
                },
                Loader {
                    name: MULTI_TIER_CACHE,
                    make: races::multi_tier,
                },
            ],
            without_loader: vec![(
                CACHED,
                "its stores take a loader by `&mut`: nobody else gets in meanwhile",
            )],
            removed: vec![|| Box::pin(bentocache::removed_while_loading())],
            together: vec![|| Box::pin(bentocache::many_callers())],
            lost_message: vec![|server| Box::pin(multi_tier::lost_message(server)), |server| {
                Box::pin(bentocache::lost_message(server))
            }],
            frozen: vec![|server| Box::pin(multi_tier::frozen(server)), |server| {
                Box::pin(bentocache::frozen(server))
            }],
            of_one_process: vec!["moka", QUICK_CACHE, FOYER, CACHED],
        },
    }
}
