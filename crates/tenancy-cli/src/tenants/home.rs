//! What is done to a tenant together with its home.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tenancy_sqlx::TenantDetails;

use super::{changed, find};
use crate::{
    CliContext, CliError,
    confirm::{check_can_ask, confirm},
    databases::{
        life::{self, Errand, Outcome},
        migrations::MigrationsArgs,
        moves::{self, Move},
        transfer::{self, Transfer, Way},
    },
    output::{Output, counted},
    view::TenantView,
};

/// Arguments of `tenants reset`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResetArgs {
    /// The tenant's id
    id: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

/// Arguments of `tenants remove`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The tenant's id
    id: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl ResetArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        check_can_ask(self.yes)?;
        let settings = context.settings()?.settings;
        let migrations = self.migrations.find(context, &settings).await?;
        let store = context.catalogue_of(&settings).await?;
        let details = find::by_id(&store, &id).await?;
        let question = format!(
            "Reset {}? It gets an empty home, and what it has is dropped for good.",
            described(&details)
        );
        confirm(&question, id.as_str(), self.yes)?;
        let reset = life::run(context, &settings, &store, migrations, Errand::Reset(id.clone())).await;
        store.close().await;
        let details = match reset? {
            Outcome::Tenant(details) => *details,
            _ => details,
        };
        changed(&details, &format!("Tenant {id} has an empty home."), out)
    }
}

/// Arguments of `tenants move`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MoveArgs {
    /// The tenant's id
    id: String,

    /// The server that it goes to, as the settings name it: `main`, or one of `databases.servers`
    #[arg(long, value_name = "NAME")]
    server: String,

    /// The new database, schema or file, which must not be there [default: the slug and a random number]
    #[arg(long, value_name = "DATABASE")]
    name: Option<String>,

    /// Drop the old home at once, not when all processes have heard of the move
    #[arg(long)]
    drop_old: bool,

    /// Where its data lies in between [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIRECTORY")]
    through: Option<PathBuf>,

    #[command(flatten)]
    migrations: MigrationsArgs,
}

impl MoveArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        let settings = context.settings()?.settings;
        let migrations = self.migrations.find(context, &settings).await?;
        let store = context.catalogue_of(&settings).await?;
        let errand = Move {
            id: id.clone(),
            server: self.server.clone(),
            name: self.name,
            drops_left: self.drop_old,
            through: self.through,
        };
        let moved = moves::run(context, &settings, &store, migrations, errand).await;
        store.close().await;
        let moved = moved?;
        if out.is_json() {
            return out.json(&json!({
                "tenant": TenantView::from(&moved.tenant),
                "tables": moved.tables,
                "rows": moved.rows,
            }));
        }
        out.line(format_args!(
            "Tenant {id} is on {} now, with {} of {}.",
            self.server,
            counted(usize::try_from(moved.rows).unwrap_or(usize::MAX), "row", "rows"),
            counted(moved.tables, "table", "tables"),
        ))
    }
}

impl RemoveArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        check_can_ask(self.yes)?;
        let settings = context.settings()?.settings;
        let store = context.catalogue_of(&settings).await?;
        let details = find::by_id(&store, &id).await?;
        let question = format!(
            "Remove {} with all its data? Both are gone for good.",
            described(&details)
        );
        confirm(&question, id.as_str(), self.yes)?;
        let removed = life::run(context, &settings, &store, None, Errand::Remove(id.clone())).await;
        store.close().await;
        removed?;
        if out.is_json() {
            return out.json(&json!({ "removed": id }));
        }
        out.line(format_args!("Tenant {id} is removed, and its data is dropped."))
    }
}

fn described(details: &TenantDetails) -> String {
    let record = &details.record;
    format!(
        "the {} tenant {} (slug {})",
        record.status,
        record.id,
        record.slug()
    )
}

/// Takes up what killed processes left.
pub(super) async fn recover(context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
    let settings = context.settings()?.settings;
    let store = context.catalogue_of(&settings).await?;
    let recovered = life::run(context, &settings, &store, None, Errand::Recover).await;
    store.close().await;
    let homes = match recovered? {
        Outcome::Recovered(homes) => homes,
        _ => 0,
    };
    if out.is_json() {
        return out.json(&json!({ "recovered": homes }));
    }
    out.line(format_args!(
        "{} taken back or finished.",
        counted(homes, "home was", "homes were")
    ))
}

/// Arguments of `tenants export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// The tenant's id
    id: String,

    /// Where to: a directory that is empty or not there
    directory: PathBuf,

    /// Write the application's settings for the tenant, too, which may be secrets
    #[arg(long)]
    with_settings: bool,
}

impl ExportArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let way = Way::Out {
            with_settings: self.with_settings,
        };
        let done = transfer::run(
            context,
            Transfer {
                id: &self.id,
                directory: &self.directory,
                way,
            },
        )
        .await?;
        if out.is_json() {
            return out.json(&done);
        }
        out.line(format_args!(
            "Exported {} of {} to {}.",
            counted(usize::try_from(done.rows).unwrap_or(usize::MAX), "row", "rows"),
            counted(done.tables, "table", "tables"),
            self.directory.display()
        ))
    }
}

/// Arguments of `tenants import-data`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportDataArgs {
    /// The id of the tenant that gets the data. Its home must be there, with the same migrations
    id: String,

    /// Where `tenants export` wrote it
    directory: PathBuf,

    /// Delete what the tenant has; else its tables must be empty
    #[arg(long)]
    replace: bool,

    /// The column that tells tenants apart where they share tables
    #[arg(long, value_name = "COLUMN", default_value = "tenant_id")]
    tenant_column: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl ImportDataArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        if self.replace {
            let question = format!("Replace all data of the tenant {}?", self.id);
            confirm(&question, &self.id, self.yes)?;
        }
        let way = Way::In {
            replaces: self.replace,
            tenant_column: &self.tenant_column,
        };
        let done = transfer::run(
            context,
            Transfer {
                id: &self.id,
                directory: &self.directory,
                way,
            },
        )
        .await?;
        if out.is_json() {
            return out.json(&done);
        }
        out.line(format_args!(
            "Imported {} of {} into {}.",
            counted(usize::try_from(done.rows).unwrap_or(usize::MAX), "row", "rows"),
            counted(done.tables, "table", "tables"),
            self.id
        ))
    }
}
