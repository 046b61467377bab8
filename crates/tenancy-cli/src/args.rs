use std::path::PathBuf;

use clap::Args;
use tenancy_server::settings::DatabaseUrl;

use crate::CliContext;

/// Keeps them together in the help of each command.
const HEADING: &str = "Common options";

/// The options that every command takes. Flatten them into your own; see the [crate](crate).
#[derive(Clone, Debug, Default, Args)]
pub struct TenancyArgs {
    /// Settings file (TOML) [default: none, so that environment and defaults count]
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    pub(crate) settings: Option<PathBuf>,

    /// Directory of the catalogue [default: what the settings say, or tenancy-data]
    #[arg(long, value_name = "DIRECTORY", global = true, help_heading = HEADING)]
    pub(crate) data_dir: Option<PathBuf>,

    /// SQLite file of the catalogue, where it is not in that directory: your application's own, if you adopted its tables
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    pub(crate) database: Option<PathBuf>,

    /// Database of the catalogue on a server, or your application's own: postgres://…, mysql://… or mariadb://…. A password
    /// is better kept in TENANCY__CATALOGUE__URL, for others see command lines
    #[arg(long, value_name = "URL", value_parser = parse_url, global = true, help_heading = HEADING, conflicts_with = "database")]
    pub(crate) catalogue: Option<DatabaseUrl>,

    /// Write JSON instead of text, errors too
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,
}

impl TenancyArgs {
    /// What the commands need to run. Reads `USER`; settings and catalogue are read when a command asks for them.
    pub fn context(&self) -> CliContext {
        CliContext::from_args(self.clone())
    }
}

fn parse_url(given: &str) -> Result<DatabaseUrl, std::convert::Infallible> {
    Ok(DatabaseUrl::new(given))
}
