//! With the meter. `tenancy-bench` runs it, under callgrind and by itself.

use std::{alloc::System, process::ExitCode};

use tenancy_memory::Metered;

#[global_allocator]
static ALLOCATOR: Metered<System> = Metered::new(System);

fn main() -> ExitCode {
    tenancy_bench_memory::main()
}
