use std::{ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

use tenancy_core::{Clock, SystemClock};

use super::place::Place;
use crate::CatalogueError;

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
    pub(super) place: Place,
    pub(super) access: Access,
    pub(super) readers: u32,
    pub(super) connections: RangeInclusive<u32>,
    pub(super) connect: Duration,
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
        Self::at(Place::file(path))
    }

    /// The defaults, for a URL: `postgres://user:password@host:5432/database`, `mysql://…` or `mariadb://…`, or
    /// `sqlite:path/of/a/file`. The database must be there; tables are made in it.
    ///
    /// Parameters are those of sqlx: `?host=/run/postgresql` or `?socket=/run/mysqld/mysqld.sock` for a Unix socket,
    /// `?sslmode=verify-full` (`ssl-mode` on MySQL) for TLS, which needs one of sqlx's `tls-*` features. A server on the
    /// same machine is best reached by its socket: sqlx 0.9.0 does not set `TCP_NODELAY`, which costs MySQL up to 40 ms
    /// a statement over TCP. What a setting does not name, PostgreSQL takes from `PGHOST`, `PGUSER`, … and `.pgpass`.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")] {
    /// use tenancy_sqlx::store::SqlStoreOptions;
    ///
    /// let options = SqlStoreOptions::url("postgres://app:secret@db.internal/app")?.connections(2..=10);
    /// assert!(!format!("{options:?}").contains("secret"));
    /// # }
    /// # Ok::<(), tenancy_sqlx::CatalogueError>(())
    /// ```
    ///
    /// # Errors
    /// Invalid when it is no such URL, or the feature of that database was not compiled in. The error does not repeat
    /// the URL.
    pub fn url(url: &str) -> Result<Self, CatalogueError> {
        Place::parse(url).map(Self::at)
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            access: Access::Manage,
            readers: 4,
            connections: 5..=20,
            connect: Duration::from_secs(10),
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

    /// How many connections to a file serve reads; 4 unless set, 1 at least. Changes have one connection of their own.
    #[must_use]
    pub fn readers(mut self, connections: u32) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// How many connections to a server are kept open, and how many there may be; 5 to 20 unless set, two at least. One of
    /// them is for changes. On PostgreSQL there is one more, which listens.
    #[must_use]
    pub fn connections(mut self, connections: RangeInclusive<u32>) -> Self {
        self.connections = connections;
        self
    }

    /// How long a connection to a server may take to open; 10 s unless set. Who waits for one waits no longer than
    /// [`wait`](Self::wait); it goes on to open for the next.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// The longest wait for a free connection, for the write lock that another process holds, and for the
    /// answer of a read; 3 s unless set. What waits longer fails as unavailable. MySQL counts its locks in whole seconds.
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
