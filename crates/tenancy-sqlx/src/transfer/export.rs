use std::{fmt, path::Path};

use sqlx::Connection as _;
use tenancy_core::TenantRecord;

use super::{
    TransferError,
    engine::ledger,
    manifest::{Contents, ExportedTenant, FORMAT, Manifest, name_of},
    outgoing::Outgoing,
    place::Place,
    progress::{Progress, TransferProgress},
};
use crate::{database::TenantHomes, engine::TenantEngine};

/// Exports the data of one tenant. See the [module](super).
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(
/// #     homes: tenancy_sqlx::database::TenantHomes<sqlx::Postgres>,
/// #     acme: tenancy_core::TenantRecord,
/// # ) -> Result<(), tenancy_sqlx::transfer::TransferError> {
/// use tenancy_sqlx::transfer::Export;
///
/// let report = Export::of(&homes, &acme)
///     .observe(|progress| eprintln!("{}: {} rows", progress.table, progress.rows))
///     .to("backups/acme")
///     .await?;
/// println!("{} rows of {} tables", report.rows, report.tables);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is exported before `to`"]
pub struct Export<'a, DB: TenantEngine> {
    homes: &'a TenantHomes<DB>,
    record: &'a TenantRecord,
    with_settings: bool,
    reads_as_owner: bool,
    progress: Progress<'a>,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Tables, those without rows too.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all files but `tenant.json`.
    pub bytes: u64,
}

impl<'a, DB: TenantEngine> Export<'a, DB> {
    /// Of the tenant that the record leads to. Nobody is asked whether the record is its newest.
    pub fn of(homes: &'a TenantHomes<DB>, record: &'a TenantRecord) -> Self {
        Self {
            homes,
            record,
            with_settings: false,
            reads_as_owner: false,
            progress: Progress::unobserved(),
        }
    }

    /// Writes the record's settings too, which may hold secrets. They are left out unless this is called.
    pub fn with_settings(mut self) -> Self {
        self.with_settings = true;
        self
    }

    /// Reads what the application's role may not see, too: all of a home that its tenant has for itself.
    pub(crate) fn by_the_owner(mut self) -> Self {
        self.reads_as_owner = true;
        self
    }

    /// Is called for each MiB of a table and when it is done. Must not block.
    pub fn observe(mut self, observe: impl FnMut(TransferProgress<'_>) + Send + 'a) -> Self {
        self.progress = Progress::to(observe);
        self
    }

    /// Writes the export to a directory, which must be empty or not there; its parent must be. It is made for its owner alone.
    ///
    /// Until all is written, it is beside it under a name of its own that ends with `.partial`. Dropping the future removes that;
    /// after a crash it is left, and removed by the next export to the same directory (on Unix, where the file system has
    /// locks). Of two exports to one directory at the same time, at least one fails.
    ///
    /// # Errors
    /// When the home or the files can not be used; when tenants are kept apart by nothing that the database enforces; when the
    /// home was migrated meanwhile.
    pub async fn to(mut self, directory: impl AsRef<Path>) -> Result<ExportReport, TransferError> {
        let mut place = Place::of(self.homes, self.record)?;
        if self.reads_as_owner {
            place.app.clone_from(&place.owner);
        }
        let outgoing = Outgoing::begin(directory.as_ref()).await?;
        let mut owner = place.connect_owner().await?;
        let migrations = ledger::<DB>(&mut owner).await?;
        let contents = DB::read_out(&place, &mut owner, &outgoing, &mut self.progress).await?;
        if ledger::<DB>(&mut owner).await? != migrations {
            return Err(TransferError::migrating());
        }
        if let Err(error) = owner.close().await {
            tracing::debug!(%error, "a connection that had exported did not close well");
        }
        let Contents {
            tables,
            sequences,
            database,
        } = contents;
        let manifest = Manifest {
            format: FORMAT,
            engine: name_of(DB::KIND).to_owned(),
            isolation: place.strategy.to_owned(),
            tenant: ExportedTenant::of(self.record, self.with_settings),
            migrations,
            tables,
            sequences,
            database,
        };
        outgoing.finish(&manifest).await?;
        Ok(ExportReport {
            tables: manifest.tables.len(),
            rows: manifest.tables.iter().map(|table| table.rows).sum(),
            bytes: manifest.files().map(|(file, _)| file.bytes).sum(),
        })
    }
}

impl<DB: TenantEngine> fmt::Debug for Export<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("tenant", &self.record.id)
            .field("with_settings", &self.with_settings)
            .finish_non_exhaustive()
    }
}
