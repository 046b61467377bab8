//! Without the meter: what the figures of the other program are compared with.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenancy_bench_memory::main()
}
