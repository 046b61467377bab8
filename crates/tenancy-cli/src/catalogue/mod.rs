//! `catalogue`: a catalogue over tables that an application has already.

mod adopt;
mod check;

use clap::{Args, Subcommand};

use crate::{CliContext, CliError, output::Output};

/// Arguments of `catalogue`.
#[derive(Clone, Debug, Args)]
pub struct CatalogueArgs {
    #[command(subcommand)]
    command: CatalogueCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum CatalogueCommand {
    /// Print the SQL that makes a catalogue of your own tables, or takes it out again
    ///
    /// Views and triggers beside your tables, which get no new column. Nothing is run without --apply. Needs no catalogue;
    /// on a managed one the SQL fails before it changes anything. Where a column is asked for, `column->key` is the value
    /// of a key in a column of JSON text.
    Adopt(Box<adopt::AdoptArgs>),
    /// Tell what is wrong with an adoption: what is missing, and rows that break the rules. Needs an adopted catalogue
    Check,
}

impl CatalogueArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        match self.command {
            CatalogueCommand::Adopt(args) => args.run(context, out).await,
            CatalogueCommand::Check => check::run(context, out).await,
        }
    }
}
