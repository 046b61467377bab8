use std::{fmt, path::Path};

use sqlx::Connection as _;
use tenancy_core::TenantRecord;

use super::{
    TransferError,
    engine::{Manner, ledger},
    incoming::Incoming,
    manifest::{AppliedVersion, ExportedTenant},
    place::Place,
    progress::{Progress, TransferProgress},
};
use crate::{database::TenantHomes, engine::TenantEngine};

/// Imports an export into the home of a tenant. See the [module](super).
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(
/// #     homes: tenancy_sqlx::database::TenantHomes<sqlx::Postgres>,
/// #     copy: tenancy_core::TenantRecord,
/// # ) -> Result<(), tenancy_sqlx::transfer::TransferError> {
/// use tenancy_sqlx::transfer::Import;
///
/// let report = Import::into(&homes, &copy).replace().from("backups/acme").await?;
/// println!("{} rows of {}", report.rows, report.exported.id);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is imported before `from`"]
pub struct Import<'a, DB: TenantEngine> {
    homes: &'a TenantHomes<DB>,
    record: &'a TenantRecord,
    manner: Manner,
    longest_row: u64,
    progress: Progress<'a>,
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Tables, those without rows too.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
    /// The tenant that was exported, by its own account: whoever has the directory can write there what they like.
    pub exported: ExportedTenant,
}

/// 64 MiB.
const LONGEST_ROW: u64 = 64 * 1024 * 1024;

impl<'a, DB: TenantEngine> Import<'a, DB> {
    /// Into the home that the record leads to, which must be there and migrated.
    pub fn into(homes: &'a TenantHomes<DB>, record: &'a TenantRecord) -> Self {
        Self {
            homes,
            record,
            manner: Manner {
                replaces: false,
                tenant_column: "tenant_id".into(),
            },
            longest_row: LONGEST_ROW,
            progress: Progress::unobserved(),
        }
    }

    /// Deletes all rows of the home's tables first, in the same transaction. Unless this is called, they must have none.
    pub fn replace(mut self) -> Self {
        self.manner.replaces = true;
        self
    }

    /// The column that policies tell tenants by, where they share tables: `tenant_id` unless set. It gets the id of the new
    /// tenant. A table that has none is taken to be one whose policies look at another table.
    pub fn tenant_column(mut self, column: &str) -> Self {
        self.manner.tenant_column = column.into();
        self
    }

    /// How many bytes a row may have as text, 64 MiB unless set. On MySQL and MariaDB, one is held in memory.
    pub fn longest_row(mut self, bytes: u64) -> Self {
        self.longest_row = bytes;
        self
    }

    /// Is called for each MiB of a table and when it is done. What it was told does not last if the import fails. Must not
    /// block.
    pub fn observe(mut self, observe: impl FnMut(TransferProgress<'_>) + Send + 'a) -> Self {
        self.progress = Progress::to(observe);
        self
    }

    /// Reads an export, checks all of it, and takes it in with one transaction. Dropping the future takes all of it back.
    ///
    /// # Errors
    /// When the home or the files can not be used, the export is not whole, or is of other migrations; when there are rows in
    /// the home. Nothing is changed then.
    pub async fn from(mut self, directory: impl AsRef<Path>) -> Result<ImportReport, TransferError> {
        let place = Place::of(self.homes, self.record)?;
        let incoming = Incoming::open(directory.as_ref(), DB::KIND, self.longest_row).await?;
        let mut owner = place.connect_owner().await?;
        let locked = DB::try_lock(&mut owner, &place.search_path).await;
        if !locked.map_err(|error| TransferError::server("lock the home", error))? {
            return Err(TransferError::migrating());
        }
        compare(&incoming.manifest.migrations, &ledger::<DB>(&mut owner).await?)?;
        DB::take_in(&place, &mut owner, &incoming, &self.manner, &mut self.progress).await?;
        if let Err(error) = owner.close().await {
            tracing::debug!(%error, "a connection that had imported did not close well");
        }
        let manifest = incoming.manifest;
        Ok(ImportReport {
            tables: manifest.tables.len(),
            rows: manifest.tables.iter().map(|table| table.rows).sum(),
            exported: manifest.tenant,
        })
    }
}

/// Says which migrations differ, and what to do.
fn compare(exported: &[AppliedVersion], home: &[AppliedVersion]) -> Result<(), TransferError> {
    if exported == home {
        return Ok(());
    }
    let changed = exported.iter().find(|one| {
        home.iter()
            .any(|other| other.version == one.version && other != *one)
    });
    if let Some(changed) = changed {
        return Err(TransferError::mismatch(format!(
            "migration {} has another text in the export than in the home: import with the program that exported",
            changed.version
        )));
    }
    let missing = |from: &[AppliedVersion], among: &[AppliedVersion]| {
        let versions = from.iter().filter(|one| !among.contains(one)).take(8);
        versions
            .map(|one| one.version.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (ahead, behind) = (missing(exported, home), missing(home, exported));
    let mut text = String::from("export and home have not the same migrations");
    if !ahead.is_empty() {
        text += &format!("; the home lacks {ahead}: migrate it first");
    }
    if !behind.is_empty() {
        text += &format!(
            "; the export lacks {behind}: import into a home that was rolled back, and migrate then"
        );
    }
    Err(TransferError::mismatch(text))
}

impl<DB: TenantEngine> fmt::Debug for Import<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("tenant", &self.record.id)
            .field("manner", &self.manner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_ledgers_is_said_with_what_to_do() {
        let of = |versions: &[(i64, &str)]| -> Vec<_> {
            let version = |(version, checksum): &(i64, &str)| AppliedVersion {
                version: *version,
                checksum: (*checksum).to_owned(),
            };
            versions.iter().map(version).collect()
        };
        let (a, b) = ((1, "a"), (2, "b"));
        for (exported, home, said) in [
            (of(&[a, b]), of(&[a, b]), None),
            (of(&[]), of(&[]), None),
            (of(&[a, b]), of(&[a]), Some("lacks 2: migrate it")),
            (of(&[a]), of(&[a, b]), Some("the export lacks 2")),
            (
                of(&[a]),
                of(&[(1, "other")]),
                Some("migration 1 has another text"),
            ),
        ] {
            let compared = compare(&exported, &home).map_err(|error| error.to_string()).err();
            match (compared, said) {
                (None, None) => {}
                (Some(text), Some(said)) => assert!(text.contains(said), "{text}"),
                (compared, said) => panic!("{compared:?}, not {said:?}"),
            }
        }
    }
}
