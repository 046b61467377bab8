use std::{fmt, path::Path};

use sha2::{Digest as _, Sha256};
use sqlx::migrate::{Migration, Migrator};

use super::MigrationError;
use crate::store::journal::Goal;

/// The migrations of a tenant's schema, in the order of their versions.
///
/// They are sqlx's: a folder of `VERSION_description.sql`, or `.up.sql` and `.down.sql`, read at
/// [run time](Self::from_directory) or by `sqlx::migrate!`. A file that begins with `-- no-transaction` runs
/// [apart](super#apart-from-transactions).
///
/// ```
/// use sqlx::migrate::{Migration, MigrationType, Migrator};
/// use tenancy_sqlx::migrate::Migrations;
/// # use sqlx::SqlSafeStr as _;
///
/// // Or `static MIGRATOR: Migrator = sqlx::migrate!("migrations/tenants");`
/// let notes = Migration::new(
///     1,
///     "notes".into(),
///     MigrationType::Simple,
///     "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)".into_sql_str(),
///     false,
/// );
/// let migrations = Migrations::new(&Migrator::with_migrations(vec![notes]));
/// assert_eq!(migrations.newest(), 1);
/// ```
#[derive(Clone)]
pub struct Migrations(Vec<Migration>);

impl Migrations {
    /// Those of a migrator. Its settings for locks, ledger and missing migrations are not taken over.
    pub fn new(migrator: &Migrator) -> Self {
        let mut migrations: Vec<_> = migrator.iter().cloned().collect();
        migrations.sort();
        Self(migrations)
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// When it can not be read, or a file is not named as sqlx names them.
    pub async fn from_directory(directory: impl AsRef<Path>) -> Result<Self, MigrationError> {
        match Migrator::new(directory.as_ref()).await {
            Ok(migrator) => Ok(Self::new(&migrator)),
            Err(error) => Err(MigrationError::unreadable(error)),
        }
    }

    /// The version of the last one; 0 where there is none.
    pub fn newest(&self) -> i64 {
        self.0.last().map_or(0, |migration| migration.version)
    }

    /// How many there are, those that lead back not counted.
    pub fn len(&self) -> usize {
        self.ups().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn ups(&self) -> impl Iterator<Item = &Migration> {
        self.0
            .iter()
            .filter(|migration| migration.migration_type.is_up_migration())
    }

    pub(crate) fn way_back(&self, version: i64) -> Option<&Migration> {
        self.0
            .iter()
            .find(|migration| migration.version == version && migration.migration_type.is_down_migration())
    }

    pub(crate) fn knows(&self, version: i64) -> bool {
        self.ups().any(|migration| migration.version == version)
    }

    /// The state that all up to a version lead to: two sets with the same texts have the same.
    pub(crate) fn goal(&self, up_to: i64) -> Goal {
        let mut digest = Sha256::new();
        let mut version = 0;
        for migration in self.ups().filter(|migration| migration.version <= up_to) {
            version = migration.version;
            digest.update(version.to_be_bytes());
            digest.update(&migration.checksum);
        }
        Goal {
            version,
            checksum: hex(&digest.finalize()),
        }
    }
}

pub(super) fn checksum_of(text: &str) -> Box<str> {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> Box<str> {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.ups().map(|migration| migration.version))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{SqlSafeStr as _, migrate::MigrationType};

    use super::*;

    fn of(texts: &[(i64, &'static str)]) -> Migrations {
        let migrations = texts.iter().map(|(version, text)| {
            let kind = MigrationType::Simple;
            Migration::new(*version, "test".into(), kind, text.into_sql_str(), false)
        });
        Migrations::new(&Migrator::with_migrations(migrations.collect()))
    }

    #[test]
    fn a_goal_is_what_the_texts_up_to_it_are() {
        let both = of(&[(1, "a"), (2, "b")]);
        assert_eq!(both.goal(2), of(&[(2, "b"), (1, "a")]).goal(i64::MAX));
        assert_eq!(both.goal(1), of(&[(1, "a")]).goal(1));
        for other in [
            of(&[(1, "a"), (2, "c")]),
            of(&[(1, "a"), (3, "b")]),
            of(&[(1, "a")]),
        ] {
            assert_ne!(both.goal(i64::MAX), other.goal(i64::MAX));
        }
        assert_eq!((both.newest(), both.len()), (2, 2));
        assert!(of(&[]).is_empty());
    }
}
