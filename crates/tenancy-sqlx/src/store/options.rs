use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tenancy_core::{Clock, SystemClock};

/// How to open a [`SqlStore`](super::SqlStore).
///
/// ```
/// use std::time::Duration;
/// use tenancy_sqlx::store::SqlStoreOptions;
///
/// let options = SqlStoreOptions::new("data/catalogue.db")
///     .wait(Duration::from_secs(1))
///     .reserve(["billing", "status"]);
/// ```
#[derive(Clone, Debug)]
pub struct SqlStoreOptions {
    pub(super) path: PathBuf,
    pub(super) access: Access,
    pub(super) readers: u32,
    pub(super) wait: Duration,
    pub(super) announce: Duration,
    pub(super) reserved: Arc<[Box<str>]>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What is to be opened, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Manage,
    Read,
    ReadAdopted,
}

impl SqlStoreOptions {
    /// The defaults, for a file. The file is created if it is missing; its directory is not.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            access: Access::Manage,
            readers: 4,
            wait: Duration::from_secs(3),
            announce: Duration::from_secs(2),
            reserved: Arc::new([]),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Opens what is there only to read it: a managed catalogue or an adopted one. Nothing is created, migrated or
    /// written, and no right to write is needed. Methods that change tenants fail as
    /// [read-only](crate::CatalogueError::is_read_only).
    ///
    /// A managed catalogue in a directory that this process cannot write to, and that no other process has open, can be
    /// read only until another one opens it; what is read after that fails as unavailable.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    /// Opens a catalogue that was [adopted](crate::adopt): views over the application's own tables, in its own file.
    /// Read-only, as by [`read_only`](Self::read_only), and refuses a file that is no adopted catalogue.
    #[must_use]
    pub fn adopted(mut self) -> Self {
        self.access = Access::ReadAdopted;
        self
    }

    /// How many connections serve reads; 4 unless set, 1 at least. Changes have one connection of their own.
    #[must_use]
    pub fn readers(mut self, connections: u32) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// The longest wait for a free connection, for the write lock that another process holds, and for the
    /// answer of a read; 3 s unless set. What waits longer fails as unavailable.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// How long a committed change waits for the readers of this process to see it; 2 s unless set.
    #[must_use]
    pub fn announce(mut self, limit: Duration) -> Self {
        self.announce = limit;
        self
    }

    /// Names that no tenant may have, besides [`RESERVED_NAMES`](crate::RESERVED_NAMES).
    #[must_use]
    pub fn reserve<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: Into<Box<str>>>,
    {
        self.reserved = names.into_iter().map(Into::into).collect();
        self
    }

    /// The clock that times of creation and change are taken from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
