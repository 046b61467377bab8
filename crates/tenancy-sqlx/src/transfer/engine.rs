//! What differs between databases for what is exported and imported.

use sqlx::migrate::Migrate as _;

use super::{
    TransferError,
    incoming::Incoming,
    manifest::{AppliedVersion, Contents},
    outgoing::{Outgoing, hex},
    place::Place,
    progress::Progress,
};
use crate::engine::{Engine, Migrates, Options};

/// What is to be done where a home is not as empty, or its tenant not as called, as in the export.
#[derive(Clone, Debug)]
pub struct Manner {
    pub(super) replaces: bool,
    pub(super) tenant_column: Box<str>,
}

/// Not reachable from outside: it seals [`TenantEngine`](crate::TenantEngine).
pub trait Transfers: Engine + Migrates {
    /// The same options, which make no database that is not there.
    fn only_existing(options: Options<Self>) -> Options<Self>;

    /// Whether the home has a ledger of migrations.
    fn has_ledger(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Writes all that the tenant's session sees at one moment. `owner` may look at what the application's role may not.
    fn read_out(
        place: &Place<Self>,
        owner: &mut Self::Connection,
        outgoing: &Outgoing,
        progress: &mut Progress<'_>,
    ) -> impl Future<Output = Result<Contents, TransferError>> + Send
    where
        Self: Sized;

    /// Takes all of an export in, or nothing.
    fn take_in(
        place: &Place<Self>,
        owner: &mut Self::Connection,
        incoming: &Incoming,
        manner: &Manner,
        progress: &mut Progress<'_>,
    ) -> impl Future<Output = Result<(), TransferError>> + Send
    where
        Self: Sized;
}

/// Tables of migrations: a home has its own.
pub(super) const LEDGERS: [&str; 2] = ["_sqlx_migrations", "_tenancy_migration_steps"];

/// What was migrated in a home; nothing where it never was.
pub(super) async fn ledger<DB: Transfers>(
    connection: &mut DB::Connection,
) -> Result<Vec<AppliedVersion>, TransferError> {
    let failed = |error| TransferError::server("read the ledger of migrations", error);
    if !DB::has_ledger(connection).await.map_err(failed)? {
        return Ok(Vec::new());
    }
    let of_ledger = |error: sqlx::migrate::MigrateError| failed(sqlx::Error::Migrate(Box::new(error)));
    if let Some(version) = connection.dirty_version(LEDGERS[0]).await.map_err(of_ledger)? {
        return Err(TransferError::mismatch(format!(
            "the home's migration {version} is half applied: migrate it first"
        )));
    }
    let applied = connection
        .list_applied_migrations(LEDGERS[0])
        .await
        .map_err(of_ledger)?;
    let mut versions: Vec<_> = applied
        .iter()
        .map(|applied| AppliedVersion {
            version: applied.version,
            checksum: hex(&applied.checksum),
        })
        .collect();
    versions.sort_unstable_by_key(|applied| applied.version);
    Ok(versions)
}
