use std::{fmt, path::PathBuf};

use tenancy_server::settings::{CatalogueSettings, DatabaseUrl};
use tenancy_sqlx::store::SqlStoreOptions;

use crate::{
    CliError,
    context::{check_is_there, full_path},
};

/// Where a catalogue is. Shown without a password.
#[derive(Clone, Debug)]
pub(crate) enum CataloguePlace {
    File(PathBuf),
    Url(DatabaseUrl),
}

impl CataloguePlace {
    pub(crate) fn of(settings: &CatalogueSettings) -> Self {
        match &settings.url {
            Some(url) => Self::Url(url.clone()),
            None => Self::File(settings.file()),
        }
    }

    /// The application's own database; `None` when there is only a place where one would be made.
    pub(crate) fn of_application(settings: &CatalogueSettings) -> Option<Self> {
        match (&settings.url, &settings.database) {
            (Some(url), _) => Some(Self::Url(url.clone())),
            (None, Some(file)) => Some(Self::File(file.clone())),
            (None, None) => None,
        }
    }

    pub(crate) fn check_is_there(&self) -> Result<(), CliError> {
        match self {
            Self::File(file) => check_is_there(file),
            // Opening it tells.
            Self::Url(_) => Ok(()),
        }
    }

    pub(crate) fn options(&self) -> Result<SqlStoreOptions, CliError> {
        let options = match self {
            Self::File(file) => SqlStoreOptions::new(file),
            Self::Url(url) => SqlStoreOptions::url(url.as_str()).map_err(CliError::from_catalogue)?,
        };
        // A command does one thing after the other.
        Ok(options.connections(0..=2))
    }
}

impl fmt::Display for CataloguePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => full_path(file).display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}
