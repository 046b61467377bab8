use std::path::PathBuf;

use clap::Args;
use tenancy_server::settings::Settings;
use tenancy_sqlx::migrate::{MigrationError, Migrations};

use super::homes::reason_of_any;
use crate::{CliContext, CliError};

/// Which migrations a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct MigrationsArgs {
    /// Folder of the migrations of tenants [default: what the settings say (`databases.migrations`)]
    #[arg(long, value_name = "DIRECTORY")]
    migrations: Option<PathBuf>,
}

impl MigrationsArgs {
    pub(crate) async fn read(
        &self,
        context: &CliContext,
        settings: &Settings,
    ) -> Result<Migrations, CliError> {
        let found = self.find(context, settings).await?;
        found.ok_or_else(|| {
            CliError::invalid("no folder of migrations is known")
                .advise("Give --migrations, or say it in the settings (`databases.migrations`).")
        })
    }

    /// `None` where nobody said which.
    pub(crate) async fn find(
        &self,
        context: &CliContext,
        settings: &Settings,
    ) -> Result<Option<Migrations>, CliError> {
        let given = context.given_migrations().filter(|_| self.migrations.is_none());
        if let Some(given) = given {
            return Ok(Some(given.clone()));
        }
        let Some(folder) = self
            .migrations
            .as_ref()
            .or(settings.databases.migrations.as_ref())
        else {
            return Ok(None);
        };
        let migrations = Migrations::from_directory(folder).await.map_err(|error| {
            CliError::invalid(format!(
                "the migrations in {} can not be read: {}",
                folder.display(),
                reason_of_any(&error)
            ))
        })?;
        Ok(Some(migrations))
    }
}

/// Of the whole run, or of what stands in its way.
pub(crate) fn not_migrated(error: &MigrationError) -> CliError {
    let message = reason_of_any(error);
    if error.is_catalogue() {
        CliError::no_catalogue(message)
    } else if error.is_no_such_version() {
        CliError::not_found(message)
            .advise("It must be the version of a migration before the newest one, or 0.")
    } else if error.is_busy() {
        CliError::conflict(message)
    } else {
        CliError::failed(message)
    }
}
