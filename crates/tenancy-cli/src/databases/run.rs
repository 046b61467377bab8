//! `run`: SQL or a program for each of many tenants.

mod program;
mod sql;
mod tell;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::Args;
use futures_util::StreamExt as _;
use tenancy::core::TenantRecord;
use tenancy_sqlx::{
    TenantDetails,
    database::{Login, TenantHomes},
};

use self::{
    program::Program,
    sql::Script,
    tell::{Done, Teller},
};
use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch},
    places::{Places, check_is_alone, chosen, every_tenant},
    signals::unless_broken_off,
};
use crate::{
    CliContext, CliError,
    output::{Output, counted},
    tenants::read_text,
};

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Tenants, by id
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,

    /// Every tenant that is not deleted, in the order of their ids
    #[arg(long)]
    all: bool,

    /// Run this SQL
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "command"])]
    sql: Option<String>,

    /// Run the SQL of this file
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,

    /// Run this program for each tenant, after `--`; its environment has TENANT_ID, TENANT_SLUG and DATABASE_URL, and
    /// PGOPTIONS. One argument with white space in it is SQL: `-- 'SELECT 1'`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Let nothing be written. Programs are told so on PostgreSQL alone
    #[arg(long)]
    read_only: bool,

    /// Log in as the owner of what tenants have, who may change tables, and not as the application
    #[arg(long)]
    as_owner: bool,

    /// Do not put the SQL of each tenant into a transaction, for VACUUM and the like
    #[arg(long, conflicts_with_all = ["command", "read_only"])]
    no_transaction: bool,

    /// How many tenants at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,

    /// Go on with the other tenants when one fails
    #[arg(long)]
    keep_going: bool,

    /// At most so many rows are shown of each answer
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    rows: usize,
}

/// More is no script, but a dump.
const LONGEST_SCRIPT: u64 = 64 * 1024 * 1024;

impl RunArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let task = self.task()?;
        let settings = context.settings()?.settings;
        let store = context.catalogue_to_read_of(&settings).await?;
        let everybody = every_tenant(&store).await?;
        let records = chosen(&store, &everybody, &self.ids).await?;
        store.close().await;
        let run = Run {
            task: &task,
            args: &self,
            records,
            everybody: &everybody,
            out,
        };
        dispatch(context, &settings, run).await
    }

    fn task(&self) -> Result<Task, CliError> {
        let text = match (&self.sql, &self.file, &*self.command) {
            (Some(text), ..) => text.clone(),
            (None, Some(file), _) => read_text(file, LONGEST_SCRIPT)?,
            (None, None, [one]) if is_sql(one) => one.to_string_lossy().into_owned(),
            (None, None, [program, arguments @ ..]) => {
                return Ok(Task::Program(Program {
                    program: program.clone(),
                    arguments: arguments.to_vec(),
                    login: self.login(),
                    is_read_only: self.read_only,
                }));
            }
            (None, None, []) => {
                return Err(CliError::usage("what is to be run is not said")
                    .advise("Give --sql TEXT, --file FILE, or `--` and a program with its arguments."));
            }
        };
        Ok(Task::Script(Script {
            text,
            login: self.login(),
            is_read_only: self.read_only,
            is_transaction: !self.no_transaction,
            most_rows: self.rows,
        }))
    }

    fn login(&self) -> Login {
        if self.as_owner {
            Login::Owner
        } else {
            Login::Application
        }
    }
}

/// Programs have no blanks in their names, or can be given by a path that exists.
fn is_sql(argument: &OsString) -> bool {
    argument.to_string_lossy().contains(char::is_whitespace) && !std::path::Path::new(argument).exists()
}

enum Task {
    Script(Script),
    Program(Program),
}

struct Run<'a, 'o> {
    task: &'a Task,
    args: &'a RunArgs,
    records: Vec<TenantRecord>,
    everybody: &'a [TenantDetails],
    out: &'a mut Output<'o>,
}

impl OverHomes for Run<'_, '_> {
    type Done = ();

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<(), CliError> {
        let places = Places::of(&homes, self.everybody.iter().map(|details| &details.record));
        let is_stopped = AtomicBool::new(false);
        let total = self.records.len();
        let mut teller = Teller::new(self.out, &self.records);
        let one = |record: TenantRecord| {
            let (homes, places, is_stopped, args, task) =
                (&homes, &places, &is_stopped, self.args, self.task);
            async move {
                if is_stopped.load(Ordering::Relaxed) {
                    return (record, Done::NotTried);
                }
                let done = match check_is_alone(homes, places, &record) {
                    Err(reason) => Done::Failed(reason),
                    Ok(()) => task.run(homes, &record).await,
                };
                if done.is_failed() && !args.keep_going {
                    is_stopped.store(true, Ordering::Relaxed);
                }
                (record, done)
            }
        };
        let told = async {
            let mut ended = futures_util::stream::iter(self.records.clone())
                .map(one)
                .buffered(self.args.parallel.into());
            while let Some((record, done)) = ended.next().await {
                teller.tell(&record, &done)?;
            }
            Ok::<_, CliError>(())
        };
        let told = unless_broken_off(told).await;
        let counts = teller.counts();
        teller.end(total)?;
        match told {
            Some(told) => told?,
            None => {
                return Err(CliError::failed("broken off").advise(
                    "Transactions that were open are rolled back, and programs that ran were killed.",
                ));
            }
        }
        if counts.failed == 0 {
            return Ok(());
        }
        let failed = CliError::failed(format!(
            "{} of {total} failed",
            counted(counts.failed, "tenant", "tenants")
        ));
        Err(match self.args.keep_going {
            true => failed,
            false => failed.advise("--keep-going goes on with the others when one fails."),
        })
    }
}

impl Task {
    async fn run<DB: CliEngine>(&self, homes: &TenantHomes<DB>, record: &TenantRecord) -> Done {
        match self {
            Self::Script(script) => script.run(homes, record).await,
            Self::Program(program) => program.run(homes, record).await,
        }
    }
}
