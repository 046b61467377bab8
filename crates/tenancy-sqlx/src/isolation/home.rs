use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tenancy_core::InvalidName;

use super::{EngineKind, is_alike};

/// What a strategy may know of the server that a tenant is on.
pub struct ServerHome {
    engine: EngineKind,
    database: Box<str>,
    reserved: Arc<[Box<str>]>,
    /// Schemas with types of their own, as the last audit found them.
    pinned: RwLock<HashSet<Box<str>>>,
}

/// Databases that servers come with.
const OF_SERVERS: [&str; 7] = [
    "postgres",
    "template0",
    "template1",
    "mysql",
    "information_schema",
    "performance_schema",
    "sys",
];

impl ServerHome {
    pub(crate) fn new(engine: EngineKind, database: &str, reserved: Arc<[Box<str>]>) -> Self {
        Self {
            engine,
            database: database.into(),
            reserved,
            pinned: RwLock::default(),
        }
    }

    /// What the server speaks.
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    /// The database that the server's URL names; on SQLite, the directory.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Passes a database on that may be a tenant's.
    ///
    /// # Errors
    /// When it is the one of the server's URL, comes with the server, or is reserved in the settings. Letters of either
    /// case count as one.
    pub fn check_database(&self, name: &str) -> Result<(), InvalidName> {
        let is = |other: &str| is_alike(name, other);
        if is(&self.database) || OF_SERVERS.into_iter().any(is) {
            return Err(InvalidName::new(
                "placement",
                name,
                "this database is no tenant's",
            ));
        }
        self.check_reserved(name)
    }

    /// Passes a schema on that may be a tenant's.
    ///
    /// # Errors
    /// When it is `public`, comes with the server, or is reserved in the settings; and `$user`, which no quotes keep from
    /// meaning another schema on a path.
    pub fn check_schema(&self, name: &str) -> Result<(), InvalidName> {
        let lower = name.to_ascii_lowercase();
        if ["public", "information_schema", "$user"].contains(&&*lower) || lower.starts_with("pg_") {
            return Err(InvalidName::new("placement", name, "this schema is no tenant's"));
        }
        self.check_reserved(name)
    }

    /// Passes any name on that is not reserved in the settings.
    ///
    /// # Errors
    /// When it is.
    pub fn check_reserved(&self, name: &str) -> Result<(), InvalidName> {
        if self.reserved.iter().any(|other| is_alike(name, other)) {
            return Err(InvalidName::new("placement", name, "it is reserved"));
        }
        Ok(())
    }

    /// Whether the last audit found types in the schema, which sqlx remembers for each connection.
    pub fn has_types_of_its_own(&self, schema: &str) -> bool {
        self.pinned
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(schema)
    }

    pub(crate) fn pin(&self, schemas: HashSet<Box<str>>) {
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = schemas;
    }
}

impl fmt::Debug for ServerHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHome")
            .field("engine", &self.engine)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
