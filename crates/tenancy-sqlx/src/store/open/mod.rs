#[cfg(feature = "sqlite")]
mod file;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;

use std::sync::Arc;

use tenancy_core::ChangeSignal;
use tokio::sync::RwLock;

#[cfg(feature = "postgres")]
use super::place::Server;
use super::{Inner, SqlStore, SqlStoreOptions, StoreKind, options::Access, place::Place};
use crate::{
    CatalogueError,
    central::{Dialect, Pool},
};

/// What opening found, and made.
struct Opened {
    kind: StoreKind,
    readers: Pool,
    writer: Option<Pool>,
    /// A file that is read without locks, since nothing can be written beside it: only while nobody else has it open.
    is_read_alone: bool,
}

impl SqlStore {
    /// Opens a catalogue and brings its schema up to date. A file is created if it is missing, readable by its owner only;
    /// on a server, the database must be there.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, the server cannot be reached or refuses the role, what is there is
    /// no catalogue, or a newer program made it that this one cannot read.
    /// [`operator_detail`](CatalogueError::operator_detail) says what to do.
    ///
    /// With [`read_only`](SqlStoreOptions::read_only) or [`adopted`](SqlStoreOptions::adopted): when it is not there, cannot
    /// be read, or is [not of that kind](CatalogueError::is_wrong_shape).
    pub async fn open(options: SqlStoreOptions) -> Result<Self, CatalogueError> {
        let opened = match (&options.place, options.access) {
            #[cfg(feature = "sqlite")]
            (Place::File(path), Access::Manage) => file::open_to_manage(path, &options).await?,
            #[cfg(feature = "sqlite")]
            (Place::File(path), _) => file::open_to_read(path, &options).await?,
            #[cfg(not(feature = "sqlite"))]
            (Place::File(_), _) => return Err(no_sqlite()),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            (Place::Server(server), Access::Manage) => server::open_to_manage(server, &options).await?,
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            (Place::Server(server), _) => server::open_to_read(server, &options).await?,
        };
        Ok(Self::over(options, opened))
    }

    fn over(options: SqlStoreOptions, opened: Opened) -> Self {
        let signal = ChangeSignal::new();
        Self {
            inner: Arc::new(Inner {
                kind: opened.kind,
                readers: opened.readers,
                writer: opened.writer,
                is_read_alone: opened.is_read_alone,
                #[cfg(feature = "postgres")]
                listener: match &options.place {
                    Place::Server(Server::Postgres(server)) => Some(super::listen::Listener::start(
                        (**server).clone(),
                        options.connect,
                        signal.clone(),
                    )),
                    _ => None,
                },
                signal,
                options,
                running_changes: RwLock::new(()),
            }),
            actor: None,
        }
    }

    pub(super) fn check_is_still_alone(&self) -> Result<(), CatalogueError> {
        if !self.inner.is_read_alone {
            return Ok(());
        }
        match &self.inner.options.place {
            #[cfg(feature = "sqlite")]
            Place::File(path) => file::check_is_still_alone(path),
            #[cfg(any(not(feature = "sqlite"), feature = "postgres", feature = "mysql"))]
            _ => Ok(()),
        }
    }
}

/// The text that makes tables beside the catalogue's.
pub(super) type Tables = fn(Dialect) -> &'static str;

/// Opens a place for leases, with one connection.
pub(super) async fn open_locks(options: &SqlStoreOptions) -> Result<Pool, CatalogueError> {
    open_beside(options, super::locks::table).await
}

/// Opens a place with one connection, and makes tables there if they are missing.
pub(super) async fn open_beside(options: &SqlStoreOptions, tables: Tables) -> Result<Pool, CatalogueError> {
    match &options.place {
        #[cfg(feature = "sqlite")]
        Place::File(path) => file::open_beside(path, options, tables).await,
        #[cfg(not(feature = "sqlite"))]
        Place::File(_) => Err(no_sqlite()),
        #[cfg(any(feature = "postgres", feature = "mysql"))]
        Place::Server(server) => server::open_beside(server, options, tables).await,
    }
}

#[cfg(not(feature = "sqlite"))]
fn no_sqlite() -> CatalogueError {
    CatalogueError::invalid(
        "the catalogue's place is not valid",
        "this program was built without SQLite (feature `sqlite`)",
    )
}

fn checked_kind(found: Option<StoreKind>, options: &SqlStoreOptions) -> Result<StoreKind, CatalogueError> {
    let place = &options.place;
    match found {
        None => Err(CatalogueError::wrong_shape(format!(
            "{place} holds no catalogue; `tenancy catalogue adopt` prints the SQL that makes one of your own tables"
        ))),
        Some(StoreKind::Adopted) => Ok(StoreKind::Adopted),
        Some(_) if options.access == Access::ReadAdopted => Err(CatalogueError::wrong_shape(format!(
            "{place} is a managed catalogue, not views over your own tables: open it without `adopted`"
        ))),
        Some(kind) => Ok(kind),
    }
}

/// Before anything is written: the tables are the application's.
fn refuse_adopted(found: Option<StoreKind>, options: &SqlStoreOptions) -> Result<(), CatalogueError> {
    match found {
        Some(StoreKind::Adopted) => Err(CatalogueError::read_only(format!(
            "{} holds a catalogue that is made of views over your own tables: open it with `adopted` or `read_only`, \
             and change tenants in your application",
            options.place
        ))),
        _ => Ok(()),
    }
}
