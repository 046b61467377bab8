//! The `tenancy` command, over the catalogue and the stack that settings describe.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use tenancy_cli::{EXIT_CODES, TenancyArgs, TenancyCommand};
use tenancy_server::{
    log,
    settings::{LogFormat, LogSettings},
};

/// Manage the tenants of an application built with tenancy.
///
/// Settings come from the options, from variables spelled TENANCY__SECTION__KEY, from the settings file, and from
/// defaults; the first that says something wins.
#[derive(Parser)]
#[command(name = "tenancy", version, max_term_width = 100, after_help = EXIT_CODES)]
struct TenancyCli {
    #[command(flatten)]
    args: TenancyArgs,

    #[command(subcommand)]
    command: TenancyCommand,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = TenancyCli::parse();
    let context = cli.args.context().command(TenancyCli::command());
    let mut log = LogSettings::default();
    // sqlx warns of slow statements, which on a busy machine say nothing of the catalogue.
    log.filter = "warn,sqlx=error".to_owned();
    if context.is_json() {
        log.format = LogFormat::Json;
    }
    log::set_up(&log);
    cli.command.execute(context).await
}
