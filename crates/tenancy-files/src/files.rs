use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use tenancy::Tenant;

use crate::{FilesError, path::Root};

/// The files of all tenants, in one store. Clones share it. See the [crate](crate).
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
}

/// One tenant's files. Had from [`Files::of`], and in no other way. Clones share the store.
///
/// All futures may be dropped at any await. A put is whole or not at all, if the store makes it so: the one in memory
/// and the one in a directory do.
#[derive(Clone)]
pub struct TenantFiles {
    store: Arc<dyn ObjectStore>,
    root: Root,
    tenant: Tenant,
}

/// A file that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its path, as [`TenantFiles::get`] takes it.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Files {
    /// Keeps files in this store, under `t/`.
    pub fn new(store: impl ObjectStore) -> Self {
        Self {
            store: Arc::new(store),
        }
    }

    /// The tenant's part. Copies two pointers and allocates its prefix; asks nobody.
    pub fn of(&self, tenant: &Tenant) -> TenantFiles {
        TenantFiles {
            store: Arc::clone(&self.store),
            root: Root::of(tenant),
            tenant: tenant.clone(),
        }
    }
}

impl TenantFiles {
    /// Whose files these are.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Writes a file, in place of one that is there.
    ///
    /// # Errors
    /// When the path is none, or the store failed.
    pub async fn put(&self, path: &str, content: impl Into<Bytes>) -> Result<(), FilesError> {
        let place = self.root.file(path)?;
        self.store.put(&place, content.into().into()).await?;
        Ok(())
    }

    /// Reads a whole file into memory; `None` if there is none. For large ones, see [`stream`](Self::stream).
    ///
    /// # Errors
    /// When the path is none, or the store failed.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, FilesError> {
        let place = self.root.file(path)?;
        match self.store.get(&place).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a file piece by piece.
    ///
    /// # Errors
    /// When the path is none, there is no such file, or the store failed; while it is read, too.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, FilesError>> + Send + 'static, FilesError> {
        let place = self.root.file(path)?;
        let found = self.store.get(&place).await?;
        Ok(found.into_stream().map_err(FilesError::from))
    }

    /// Deletes a file. One that is not there is no error.
    ///
    /// # Errors
    /// When the path is none, or the store failed.
    pub async fn delete(&self, path: &str) -> Result<(), FilesError> {
        let place = self.root.file(path)?;
        self.delete_place(&place).await
    }

    /// All files in a directory and below it, in no order; the empty path lists all that the tenant has.
    ///
    /// # Errors
    /// When the path is none; while it is read, when the store failed.
    pub fn list(
        &self,
        directory: &str,
    ) -> Result<impl Stream<Item = Result<FileEntry, FilesError>> + Send + 'static, FilesError> {
        let places = self.places(directory)?;
        Ok(places.map_ok(|(path, place)| FileEntry {
            path,
            size: place.size,
        }))
    }

    /// Deletes all files in a directory and below it, and says how many; the empty path deletes all that the tenant has.
    /// What is written meanwhile may stay.
    ///
    /// # Errors
    /// When the path is none, or the store failed; some may be deleted then.
    pub async fn delete_all(&self, directory: &str) -> Result<usize, FilesError> {
        let places = self.places(directory)?;
        // First all, then away: what is deleted while it is listed could hide what comes after it.
        let places: Vec<_> = places.try_collect().await?;
        for (_, place) in &places {
            self.delete_place(&place.location).await?;
        }
        Ok(places.len())
    }

    /// What lies in a directory and, whatever the store answers, inside of the tenant's prefix.
    fn places(
        &self,
        directory: &str,
    ) -> Result<impl Stream<Item = Result<(String, ObjectMeta), FilesError>> + Send + 'static, FilesError>
    {
        let directory = self.root.directory(directory)?;
        let root = self.root.clone();
        let listed = self.store.list(Some(&directory));
        Ok(listed.filter_map(move |place| {
            let inside = match place {
                Ok(place) if place.location.prefix_matches(&directory) => {
                    root.relative(&place.location).map(|path| Ok((path, place)))
                }
                Ok(_) => None,
                Err(error) => Some(Err(error.into())),
            };
            std::future::ready(inside)
        }))
    }

    async fn delete_place(&self, place: &Path) -> Result<(), FilesError> {
        if self.root.relative(place).is_none() {
            return Err(FilesError::invalid_path("it does not lie inside"));
        }
        match self.store.delete(place).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("store", &self.store).finish()
    }
}

impl fmt::Debug for TenantFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantFiles")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
