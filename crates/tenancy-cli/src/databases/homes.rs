use tenancy_server::settings::{DatabaseKind, Settings};
use tenancy_sqlx::database::{DatabaseError, TenantHomes};

use super::engine::CliEngine;
use crate::{CliContext, CliError};

/// Where the data of tenants is, on any database: what [`CliContext::homes`] takes.
#[derive(Clone, Debug)]
pub struct CommandHomes(Homes);

#[derive(Clone, Debug)]
enum Homes {
    Sqlite(TenantHomes<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(TenantHomes<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(TenantHomes<sqlx::MySql>),
}

impl From<TenantHomes<sqlx::Sqlite>> for CommandHomes {
    fn from(homes: TenantHomes<sqlx::Sqlite>) -> Self {
        Self(Homes::Sqlite(homes))
    }
}

#[cfg(feature = "postgres")]
impl From<TenantHomes<sqlx::Postgres>> for CommandHomes {
    fn from(homes: TenantHomes<sqlx::Postgres>) -> Self {
        Self(Homes::Postgres(homes))
    }
}

#[cfg(feature = "mysql")]
impl From<TenantHomes<sqlx::MySql>> for CommandHomes {
    fn from(homes: TenantHomes<sqlx::MySql>) -> Self {
        Self(Homes::MySql(homes))
    }
}

/// What a command does where tenants are, whatever the database is.
pub(crate) trait OverHomes {
    type Done;

    fn over<DB: CliEngine>(
        self,
        homes: TenantHomes<DB>,
    ) -> impl Future<Output = Result<Self::Done, CliError>> + Send;
}

/// The one place where it is chosen which database tenants are on.
pub(crate) async fn dispatch<W: OverHomes>(
    context: &CliContext,
    settings: &Settings,
    work: W,
) -> Result<W::Done, CliError> {
    let homes = match context.given_homes() {
        Some(homes) => homes.0.clone(),
        None => of_settings(settings)?,
    };
    match homes {
        Homes::Sqlite(homes) => work.over(homes).await,
        #[cfg(feature = "postgres")]
        Homes::Postgres(homes) => work.over(homes).await,
        #[cfg(feature = "mysql")]
        Homes::MySql(homes) => work.over(homes).await,
    }
}

fn of_settings(settings: &Settings) -> Result<Homes, CliError> {
    match settings.database_kind() {
        DatabaseKind::Sqlite => built(settings).map(Homes::Sqlite),
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => built(settings).map(Homes::Postgres),
        #[cfg(feature = "mysql")]
        DatabaseKind::MySql => built(settings).map(Homes::MySql),
        other => Err(CliError::invalid(format!(
            "this program was built without {other:?} (`databases.url`)"
        ))),
    }
}

fn built<DB: CliEngine>(settings: &Settings) -> Result<TenantHomes<DB>, CliError> {
    let homes = settings.homes::<DB>().map_err(CliError::invalid)?;
    homes.build().map_err(|error| {
        CliError::invalid(error.to_string())
            .advise("Section `databases` of the settings says where the data of tenants is.")
    })
}

/// With all causes: what clients may read says too little for operators.
pub(crate) fn reason_of(error: &DatabaseError) -> String {
    let mut reason = if error.is_missing_database() {
        "its database, schema or file is not there".to_owned()
    } else if error.is_refused() {
        "the server does not let it in".to_owned()
    } else if error.is_unavailable() {
        "the server does not answer".to_owned()
    } else if error.is_misplaced() {
        "its placement leads where it may not".to_owned()
    } else if error.is_unknown_server() {
        "its placement names a server that the settings do not".to_owned()
    } else if error.is_guarded() {
        "it shares tables that no policy guards".to_owned()
    } else if error.is_behind_pooler() {
        "a pooler in transaction mode stands in between, which keeps no session".to_owned()
    } else {
        error.to_string()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason.push_str(&format!(": {error}"));
        cause = error.source();
    }
    reason
}

/// Of one tenant.
pub(crate) fn no_connection(id: &tenancy::core::TenantId, error: &DatabaseError) -> CliError {
    let message = format!("tenant {id}: {}", reason_of(error));
    let failed = if error.is_missing_database() {
        CliError::not_found(message)
    } else if error.is_misplaced() || error.is_unknown_server() {
        CliError::invalid(message)
    } else {
        CliError::failed(message)
    };
    if error.is_guarded() {
        failed.advise("Statements there see the rows of all tenants; connect to the database yourself if you mean that.")
    } else if error.is_behind_pooler() {
        failed.advise("--as-owner connects by the owner's URL, which leads to the server itself.")
    } else {
        failed
    }
}

/// With its causes.
pub(crate) fn reason_of_any(error: &(dyn std::error::Error + 'static)) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some say it of their cause already.
        if !reason.contains(&text) {
            reason.push_str(&format!(": {text}"));
        }
        cause = error.source();
    }
    reason
}
