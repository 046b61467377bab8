use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Subcommand;

use crate::{
    CliContext, CliError,
    cache::CacheArgs,
    catalogue::CatalogueArgs,
    completions::CompletionsArgs,
    databases::{
        doctor::DoctorArgs, life::Chore, migrate::MigrateArgs, pending::PendingArgs, psql::PsqlArgs,
        rollback::RollbackArgs, run::RunArgs, seed::SeedArgs,
    },
    domains::DomainsArgs,
    explain::ExplainArgs,
    order,
    output::Output,
    status::StatusArgs,
    tenants::TenantsArgs,
};

/// The commands. Embed them as a subcommand of your own; see the [crate](crate).
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum TenancyCommand {
    /// Create, list, show and change tenants
    Tenants(TenantsArgs),
    /// Give domains to tenants, and take them away
    Domains(DomainsArgs),
    /// Make a catalogue of tables that your application has already, and look after it
    Catalogue(CatalogueArgs),
    /// Bring the databases, schemas or files of tenants to the newest version
    ///
    /// Tenants that are up to date are not connected to. Any number of these commands may run at once, and may be killed: the
    /// next one goes on. Fails unless every tenant is at the version. Needs the owner's URL (`databases.owner_url`).
    Migrate(MigrateArgs),
    /// Take tenants back to a version, by `.down.sql`. Needs the owner's URL
    Rollback(RollbackArgs),
    /// Run the seeds (`databases.seeds`) in the homes of tenants, each in one transaction. Needs a managed catalogue
    Seed(SeedArgs),
    /// Show or fill the homes that are made ahead, so that a sign-up only has to claim one. Needs a managed catalogue
    Pending(PendingArgs),
    /// Run SQL or a program for each of many tenants
    ///
    /// SQL runs as the application, in the tenant's session, all or nothing for each tenant. With --json, an object is written for
    /// each tenant, and at last a summary.
    Run(Box<RunArgs>),
    /// Open psql, mariadb or sqlite3 in a tenant's session, which only reads unless --write is given
    Psql(PsqlArgs),
    /// Examine the databases of tenants: who could see whom, what is missing, who is behind
    ///
    /// Changes nothing. Problems and warnings come with what to do about them. Fails where there is a problem.
    Doctor(DoctorArgs),
    /// Tell why a request gets the tenant that it gets. Reads any catalogue
    Explain(ExplainArgs),
    /// Show the stages that a request passes, in the order in force. Needs no catalogue
    Order,
    /// Flush, warm and look into the cache that running servers share in Redis. Reads any catalogue
    Cache(CacheArgs),
    /// Show how the catalogue stands, or the memory of a running server. Reads any catalogue
    Status(StatusArgs),
    /// Write the completions of a shell
    Completions(CompletionsArgs),
}

impl TenancyCommand {
    /// Runs the command and writes its result.
    ///
    /// Needs a tokio runtime with time enabled. Questions to confirm a deletion are asked on standard error, and only
    /// where it is a terminal; progress is shown there too. `migrate`, `rollback` and `run` listen for Ctrl-C and SIGTERM, which end
    /// the process no more by themselves after that. `psql` becomes another program, where the system can do that.
    ///
    /// # Errors
    /// Each with the exit code that is meant for it. Where it fails half-way, what is committed stays.
    pub async fn run(self, context: &CliContext, out: &mut (dyn io::Write + Send)) -> Result<(), CliError> {
        let mut out = Output::new(out, context.is_json(), context.width());
        match self {
            Self::Tenants(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Domains(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Catalogue(args) => args.run(context, &mut out).await,
            Self::Migrate(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Rollback(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Seed(args) => Box::pin(args.run(Chore::Seed, context, &mut out)).await,
            Self::Pending(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Run(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Psql(args) => Box::pin(args.run(context)).await,
            Self::Doctor(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Explain(args) => args.run(context, &mut out).await,
            Self::Order => order::run(context, &mut out),
            Self::Cache(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Status(args) => Box::pin(args.run(context, &mut out)).await,
            Self::Completions(args) => args.run(context, &mut out),
        }
    }

    /// Runs the command on this process's standard output, reports an error on standard error, and returns the exit code.
    pub async fn execute(self, context: CliContext) -> ExitCode {
        let context = match columns_of_standard_output() {
            Some(columns) => context.terminal_width(Some(columns)),
            None => context,
        };
        let mut out = BufWriter::new(io::stdout());
        let done = self.run(&context, &mut out).await;
        // What was written before an error belongs before it.
        let flushed = out.flush().map_err(CliError::from_output);
        match done.and(flushed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nothing is left to do where standard error is closed too.
                let _ = error.report(context.is_json(), &mut io::stderr().lock());
                ExitCode::from(error.exit_code())
            }
        }
    }
}

fn columns_of_standard_output() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(out).map(|(columns, _)| columns.0)
}
