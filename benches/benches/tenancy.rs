//! `cargo bench`: the whole report of the `tenancy-bench` program.

use std::{
    env,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    // Cargo passes `--bench` to tell benches from tests.
    let arguments = env::args_os().skip(1).filter(|argument| argument != "--bench");
    let status = Command::new(env!("CARGO_BIN_EXE_tenancy-bench"))
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tenancy-bench did not start: {error}");
            ExitCode::FAILURE
        }
    }
}
