use std::{ffi::OsString, process::Command};

use clap::Args;
use tenancy_sqlx::database::{Login, TenantHomes};

use super::{
    clients::Client,
    engine::CliEngine,
    homes::{OverHomes, dispatch, no_connection},
    places::{Places, check_is_alone, every_tenant},
};
use crate::{CliContext, CliError, tenants::find};

/// Arguments of `psql`.
#[derive(Clone, Debug, Args)]
pub struct PsqlArgs {
    /// The tenant's id
    id: String,

    /// Let statements write; else the session only reads
    #[arg(long)]
    write: bool,

    /// Log in as the owner of what tenants have, who may change tables, and not as the application
    #[arg(long)]
    as_owner: bool,

    /// What else the program gets, after `--`: `-- -c 'SELECT 1'`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl PsqlArgs {
    pub(crate) async fn run(self, context: &CliContext) -> Result<(), CliError> {
        let settings = context.settings()?.settings;
        let id = find::parse_id(&self.id)?;
        let store = context.catalogue_to_read_of(&settings).await?;
        let record = find::by_id(&store, &id).await?.record;
        let everybody = every_tenant(&store).await?;
        store.close().await;
        let work = Open {
            record: &record,
            everybody: &everybody,
            args: &self,
        };
        let client = dispatch(context, &settings, work).await?;
        // What it is, and what it may, is not to be taken for a plain session.
        eprintln!("{}", self.described(&client.1));
        start(&client.0, &self.arguments)
    }

    fn described(&self, warning: &str) -> String {
        let access = if self.write { "may write" } else { "only reads" };
        let login = if self.as_owner {
            "the owner"
        } else {
            "the application"
        };
        let hint = if self.write { "" } else { "; --write lets it write" };
        format!(
            "tenant {}, as {login}; the session {access}{hint}{warning}",
            self.id
        )
    }
}

struct Open<'a> {
    record: &'a tenancy::core::TenantRecord,
    everybody: &'a [tenancy_sqlx::TenantDetails],
    args: &'a PsqlArgs,
}

impl OverHomes for Open<'_> {
    type Done = (Client, String);

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<Self::Done, CliError> {
        let id = &self.record.id;
        let login = if self.args.as_owner {
            Login::Owner
        } else {
            Login::Application
        };
        let home = homes
            .client(self.record, login)
            .map_err(|error| no_connection(id, &error))?;
        let places = Places::of(&homes, self.everybody.iter().map(|details| &details.record));
        check_is_alone(&homes, &places, self.record)
            .map_err(|reason| CliError::invalid(format!("tenant {id}: {reason}")))?;
        if home.is_behind_pooler() {
            return Err(CliError::failed(
                "a pooler in transaction mode stands in between, which keeps no session",
            )
            .advise("--as-owner connects by the owner's URL, which leads to the server itself."));
        }
        // The schema of a path may be missing, and a client shows what is behind it then.
        let reachable = match home.is_guarded() {
            true => Ok(()),
            false => homes.connect(self.record, login, true).await.map(drop),
        };
        reachable.map_err(|error| no_connection(id, &error))?;
        let warning = match home.is_guarded() {
            true => {
                ". CAUTION: its tables are shared, and nothing but your own WHERE keeps other tenants out"
            }
            false => "",
        };
        let client = DB::client(&home, !self.args.write)
            .map_err(|reason| CliError::not_found(format!("tenant {id}: {reason}")))?;
        Ok((client, warning.to_owned()))
    }
}

/// Becomes the first of the programs that is installed, so that signals and the exit code are its own.
fn start(client: &Client, more: &[OsString]) -> Result<(), CliError> {
    let mut last = None;
    for program in client.programs {
        let mut command = Command::new(program);
        for name in client.forgotten {
            command.env_remove(name);
        }
        command
            .envs(client.environment.iter().map(|(name, value)| (name, value)))
            .args(&client.arguments)
            .args(more);
        match become_it(command) {
            Ok(done) => return done,
            Err(error) => last = Some((program, error)),
        }
    }
    let reason = last.map_or_else(String::new, |(program, error)| {
        format!("{program} can not be started: {error}")
    });
    Err(CliError::failed(reason).advise(client.install))
}

/// An error, unless it was started.
#[cfg(unix)]
fn become_it(mut command: Command) -> Result<Result<(), CliError>, std::io::Error> {
    Err(std::os::unix::process::CommandExt::exec(&mut command))
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> Result<Result<(), CliError>, std::io::Error> {
    let status = command.status()?;
    Ok(match status.success() {
        true => Ok(()),
        // It has said why.
        false => Err(CliError::failed(format!("it ended with {status}")).told()),
    })
}
