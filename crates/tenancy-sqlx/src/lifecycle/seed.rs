//! What is put into a home before its tenant is served.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, Connection as _};
use tenancy_core::TenantRecord;

use super::{Inner, LifecycleAction, LifecycleError, place::Spot, step::Work};
use crate::engine::TenantEngine;

pub(super) type Fill<DB> =
    dyn for<'c> Fn(&'c mut <DB as sqlx::Database>::Connection, &'c TenantRecord) -> Work<'c> + Send + Sync;

/// A file of seeds.
#[derive(Clone)]
pub(super) struct SeedFile {
    name: Box<str>,
    text: String,
}

/// Reads the `.sql` files of a directory, in the order of their names.
pub(super) async fn read(directory: &Path) -> Result<Vec<SeedFile>, LifecycleError> {
    let directory = directory.to_owned();
    let read = tokio::task::spawn_blocking(move || read_now(&directory)).await;
    read.map_err(|_| LifecycleError::ended())?
        .map_err(LifecycleError::settings)
}

fn read_now(directory: &Path) -> Result<Vec<SeedFile>, String> {
    let failed = |path: &Path, error| format!("the seeds {} can not be read: {error}", path.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| failed(directory, error))? {
        let path = entry.map_err(|error| failed(directory, error))?.path();
        if path.extension().is_some_and(|end| end == "sql") {
            files.push(path);
        }
    }
    files.sort();
    let read = files.into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into());
        Ok(SeedFile {
            name: name.unwrap_or_default(),
            text,
        })
    });
    read.collect()
}

/// Which seeds are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seeds {
    /// Those that are the same for every tenant.
    OfAll,
    /// Those that ask who it is.
    OfTenant,
    Both,
}

impl<DB: TenantEngine> Inner<DB> {
    pub(super) fn asks_who_it_is(&self) -> bool {
        self.seed.is_some()
    }

    /// In one transaction, as the owner.
    pub(super) async fn fill(
        &self,
        spot: &Spot<'_, DB>,
        record: &TenantRecord,
        seeds: Seeds,
    ) -> Result<(), LifecycleError> {
        let files = match seeds {
            Seeds::OfTenant => &[],
            Seeds::OfAll | Seeds::Both => &*self.seeds,
        };
        let callback = self.seed.as_deref().filter(|_| seeds != Seeds::OfAll);
        if files.is_empty() && callback.is_none() {
            return Ok(());
        }
        let of_tenant = (seeds != Seeds::OfAll).then_some(record);
        self.before(LifecycleAction::Seed, record.slug(), of_tenant)
            .await?;
        self.in_home(spot, record, files, callback).await?;
        self.after(LifecycleAction::Seed, record.slug(), of_tenant).await;
        Ok(())
    }

    /// Deletes a tenant's rows from tables that it shares.
    pub(super) async fn empty(
        &self,
        spot: &Spot<'_, DB>,
        record: &TenantRecord,
    ) -> Result<(), LifecycleError> {
        if let Some(remove) = self.remove_rows.as_deref() {
            return self.in_home(spot, record, &[], Some(remove)).await;
        }
        if !spot.has_policies() {
            return Err(LifecycleError::not_emptied());
        }
        DB::empty_home(&spot.plot()).await.map_err(LifecycleError::server)
    }

    async fn in_home(
        &self,
        spot: &Spot<'_, DB>,
        record: &TenantRecord,
        files: &[SeedFile],
        callback: Option<&Fill<DB>>,
    ) -> Result<(), LifecycleError> {
        let options = DB::at(spot.owner, spot.target.database_name());
        let mut connection = options.connect().await.map_err(LifecycleError::server)?;
        let filled = fill::<DB>(&mut connection, spot, record, files, callback).await;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "a connection that had seeded did not close well");
        }
        filled
    }
}

async fn fill<DB: TenantEngine>(
    connection: &mut DB::Connection,
    spot: &Spot<'_, DB>,
    record: &TenantRecord,
    files: &[SeedFile],
    callback: Option<&Fill<DB>>,
) -> Result<(), LifecycleError> {
    if let Some(enter) = DB::enter(spot.target.session()) {
        DB::run(connection, enter).await.map_err(LifecycleError::server)?;
    }
    let mut transaction = connection.begin().await.map_err(LifecycleError::server)?;
    for file in files {
        let run = DB::run_made(&mut transaction, file.text.clone()).await;
        run.map_err(|error| LifecycleError::seed(format!("{}: {error}", file.name)))?;
    }
    if let Some(callback) = callback {
        callback(&mut transaction, record)
            .await
            .map_err(LifecycleError::seed)?;
    }
    transaction.commit().await.map_err(LifecycleError::server)
}
