//! `tenants`: from creation to purge.

mod create;
mod edit;
pub(crate) mod find;
mod home;
mod import;
mod life;
mod list;
mod maintenance;

use std::{fs::File, io::Read as _, path::Path};

use clap::{Args, Subcommand};
use tenancy_sqlx::TenantDetails;

use crate::{
    CliContext, CliError,
    databases::{life::Chore, seed::SeedArgs},
    output::Output,
    view::TenantView,
};

/// Arguments of `tenants`.
#[derive(Clone, Debug, Args)]
pub struct TenantsArgs {
    #[command(subcommand)]
    command: TenantsCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum TenantsCommand {
    /// Create a tenant, and the catalogue if it is not there. Needs a managed catalogue
    Create(create::CreateArgs),
    /// Register the tenants of a TOML file, and make the catalogue if it is not there. Needs a managed catalogue
    Import(import::ImportArgs),
    /// List tenants, the last created first. Reads any catalogue
    List(list::ListArgs),
    /// Show one tenant. Reads any catalogue
    Show(find::ShowArgs),
    /// Change slug, plan, type or settings. Needs a managed catalogue
    Update(edit::UpdateArgs),
    /// Stop serving a tenant until it is resumed. Needs a managed catalogue
    Suspend(life::IdArgs),
    /// Serve a suspended or pending tenant. Needs a managed catalogue
    Resume(life::IdArgs),
    /// Put a tenant into maintenance, or out of it. Needs a managed catalogue
    ///
    /// `on` replaces all that was set before, the bypass too: what is not given goes back to its default.
    Maintenance(maintenance::MaintenanceArgs),
    /// Delete a tenant softly: not served any more, its names stay taken. Needs a managed catalogue
    Delete(life::ConfirmedArgs),
    /// Take a deletion back; the tenant is suspended then. Needs a managed catalogue
    Restore(life::IdArgs),
    /// Remove a deleted tenant and its domains from the catalogue for good. Needs a managed catalogue
    Purge(life::ConfirmedArgs),
    /// Make the homes of tenants that have none: database, schema or file, migrated and seeded. Needs a managed catalogue
    ///
    /// Where it is there already, it is migrated. Needs the owner's URL (`databases.owner_url`).
    MakeHome(SeedArgs),
    /// Give a tenant an empty home, migrated and seeded, and drop what it has. Needs a managed catalogue
    Reset(home::ResetArgs),
    /// Move a tenant to another server, database, schema or file with all its data. Needs a managed catalogue
    ///
    /// It is refused with 503 while its data is copied; nothing that was written is lost. The old home takes no writes from
    /// then on, and is dropped by `tenants recover` after two hours. What fails is taken back.
    Move(home::MoveArgs),
    /// Remove a tenant for good, with its home and all its data. Needs a managed catalogue
    Remove(home::RemoveArgs),
    /// Take back, or finish, what processes that were killed had begun to make or drop. Needs a managed catalogue
    Recover,
    /// Write the data of a tenant to a directory. Reads any catalogue
    Export(home::ExportArgs),
    /// Read the data of an export into the home of a tenant: all of it or nothing. Reads any catalogue
    ImportData(home::ImportDataArgs),
}

impl TenantsArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        match self.command {
            TenantsCommand::Create(args) => args.run(context, out).await,
            TenantsCommand::Import(args) => args.run(context, out).await,
            TenantsCommand::List(args) => args.run(context, out).await,
            TenantsCommand::Show(args) => args.run(context, out).await,
            TenantsCommand::Update(args) => args.run(context, out).await,
            TenantsCommand::Maintenance(args) => args.run(context, out).await,
            TenantsCommand::Suspend(args) => args.run(life::Step::Suspend, context, out).await,
            TenantsCommand::Resume(args) => args.run(life::Step::Resume, context, out).await,
            TenantsCommand::Restore(args) => args.run(life::Step::Restore, context, out).await,
            TenantsCommand::Delete(args) => args.delete(context, out).await,
            TenantsCommand::Purge(args) => args.purge(context, out).await,
            TenantsCommand::MakeHome(args) => args.run(Chore::MakeHome, context, out).await,
            TenantsCommand::Reset(args) => args.run(context, out).await,
            TenantsCommand::Move(args) => args.run(context, out).await,
            TenantsCommand::Remove(args) => args.run(context, out).await,
            TenantsCommand::Recover => home::recover(context, out).await,
            TenantsCommand::Export(args) => args.run(context, out).await,
            TenantsCommand::ImportData(args) => args.run(context, out).await,
        }
    }
}

/// The answer to a change: the tenant for programs, a sentence for people.
fn changed(details: &TenantDetails, sentence: &str, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        out.json(&TenantView::from(details))
    } else {
        out.line(sentence)
    }
}

/// The text of a file that may not be longer than `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, CliError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(CliError::invalid(format!(
            "{} can not be read: {error}",
            path.display()
        ))),
        Ok(length) if length as u64 > limit => Err(CliError::invalid(format!(
            "{} is longer than {limit} bytes",
            path.display()
        ))),
        Ok(_) => Ok(text),
    }
}

/// JSON as it was given, or `@` and the file that holds it.
fn json_argument(given: &str) -> Result<String, CliError> {
    // The store's own limit is far below; this one keeps a wrong file out of memory.
    const LIMIT: u64 = 1024 * 1024;
    match given.strip_prefix('@') {
        Some(path) => read_text(Path::new(path), LIMIT).map(|text| text.trim().to_owned()),
        None => Ok(given.to_owned()),
    }
}
