use std::{
    error::Error as _,
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tenancy_core::{BoxError, TenantRecord};

use super::{
    Inner, Lifecycle, LifecycleError,
    seed::{self, Fill},
    step::{Hook, LifecycleStep},
};
use crate::{
    database::{TenantDatabases, TenantHomes},
    engine::TenantEngine,
    isolation::EngineKind,
    migrate::{FleetMigrator, FleetSettings, Migrations},
    store::SqlStore,
};

/// How old a step must be to be taken for broken off. What is at work says so four times in this time.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a home is kept that its tenant left. Processes serve a tenant for an hour without hearing of the catalogue, unless
/// set otherwise.
const KEEP_LEFT: Duration = Duration::from_secs(2 * 3600);

/// Sets up a [`Lifecycle`].
pub struct LifecycleBuilder<DB: TenantEngine> {
    store: SqlStore,
    homes: TenantHomes<DB>,
    migrations: Option<Migrations>,
    migration_settings: FleetSettings,
    seed: Option<Box<Fill<DB>>>,
    seeds: Option<PathBuf>,
    remove_rows: Option<Box<Fill<DB>>>,
    hooks: Vec<Box<Hook>>,
    template: Option<Box<str>>,
    grants: bool,
    served: Option<TenantDatabases<DB>>,
    patience: Duration,
    keep_left: Duration,
    moves_through: Option<PathBuf>,
}

impl<DB: TenantEngine> LifecycleBuilder<DB> {
    pub(super) fn new(store: &SqlStore, homes: &TenantHomes<DB>) -> Self {
        Self {
            store: store.clone(),
            homes: homes.clone(),
            migrations: None,
            migration_settings: FleetSettings::new(),
            seed: None,
            seeds: None,
            remove_rows: None,
            hooks: Vec::new(),
            template: None,
            grants: true,
            served: None,
            patience: PATIENCE,
            keep_left: KEEP_LEFT,
            moves_through: None,
        }
    }

    /// What makes the tables of a new home. Without, it stays empty.
    #[must_use]
    pub fn migrations(mut self, migrations: Migrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// How a home is migrated. The defaults unless set.
    #[must_use]
    pub fn migration_settings(mut self, settings: FleetSettings) -> Self {
        self.migration_settings = settings;
        self
    }

    /// Fills a new home, after its migrations and before its tenant is served.
    ///
    /// It is given a connection of the owner, in a transaction that is committed if it returns `Ok`, pointed at the tenant's
    /// schema or with the tenant's setting in force. If it fails, the tenant is not made. It may be called again for a tenant,
    /// by [`seed`](Lifecycle::seed) and [`reset`](Lifecycle::reset).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # fn example(builder: tenancy_sqlx::lifecycle::LifecycleBuilder<sqlx::Sqlite>) {
    /// let builder = builder.seed(|connection, record| {
    ///     Box::pin(async move {
    ///         let hello = sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(record.slug().to_owned());
    ///         hello.execute(connection).await?;
    ///         Ok(())
    ///     })
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn seed(
        mut self,
        seed: impl for<'c> Fn(
            &'c mut DB::Connection,
            &'c TenantRecord,
        ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'c>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.seed = Some(Box::new(seed));
        self
    }

    /// Fills a new home with what the `.sql` files of a directory say, in the order of their names, in one transaction and
    /// before [`seed`](Self::seed). They say nothing of the tenant, so that homes that are made ahead have it, too.
    #[must_use]
    pub fn seeds_from_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.seeds = Some(directory.into());
        self
    }

    /// Deletes a tenant's rows where tenants share tables. Must be given where no policies say which they are
    /// ([`GuardedTables`](crate::isolation::GuardedTables)); given, it is called in place of deleting what policies leave to the
    /// tenant. The connection is that of [`seed`](Self::seed).
    #[must_use]
    pub fn remove_rows(
        mut self,
        remove: impl for<'c> Fn(
            &'c mut DB::Connection,
            &'c TenantRecord,
        ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'c>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.remove_rows = Some(Box::new(remove));
        self
    }

    /// Calls this before and after each step, in the order in which hooks were added. See [`Moment`](super::Moment).
    #[must_use]
    pub fn hook<F>(mut self, hook: impl Fn(LifecycleStep) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.push(Box::new(move |step| Box::pin(hook(step))));
        self
    }

    /// Makes databases as copies of this one, or files as copies of this file, which is migrated and seeded already: much
    /// quicker than to migrate each. Nobody may be connected to it meanwhile: `ALTER DATABASE … ALLOW_CONNECTIONS false`. Schemas
    /// are made empty. Not on MySQL and MariaDB.
    #[must_use]
    pub fn template(mut self, database: impl Into<Box<str>>) -> Self {
        self.template = Some(database.into());
        self
    }

    /// Leaves it to others to let the application's role into new homes. Unless said, it may connect, and read and write all
    /// tables that the owner makes there.
    #[must_use]
    pub fn without_grants(mut self) -> Self {
        self.grants = false;
        self
    }

    /// Where this process serves tenants from: connections to homes that are migrated, reset or dropped are closed. Other
    /// processes notice by the newer record.
    #[must_use]
    pub fn serving(mut self, databases: &TenantDatabases<DB>) -> Self {
        self.served = Some(databases.clone());
        self
    }

    /// How old a step must be for [`recover`](Lifecycle::recover) to take it for broken off; ten minutes unless set. Processes
    /// that are at work say so four times in this time.
    #[must_use]
    pub fn broken_off_after(mut self, age: Duration) -> Self {
        self.patience = age;
        self
    }

    /// How long [`recover`](Lifecycle::recover) keeps a home that its tenant left by a [move](Lifecycle::move_home); two hours
    /// unless set. Nobody can write to it. Shorter than processes serve tenants without hearing of the catalogue
    /// (`max_stale`, an hour unless set), and one that hears of nothing may be refused before it knows why.
    #[must_use]
    pub fn keep_left_homes(mut self, age: Duration) -> Self {
        self.keep_left = age;
        self
    }

    /// The directory below which the data of a tenant lies while it [moves](Lifecycle::move_home), readable by nobody else. The
    /// system's for temporary files unless set. It must have room for all of a tenant's data.
    #[must_use]
    pub fn move_through(mut self, directory: impl Into<PathBuf>) -> Self {
        self.moves_through = Some(directory.into());
        self
    }

    /// Reads the seeds, and opens a connection to the catalogue's database, in which it makes the journal's tables if they are
    /// missing. No server of tenants is connected to.
    ///
    /// # Errors
    /// When the settings [can not be](LifecycleError::is_settings), and when the catalogue was opened read-only, can not be
    /// reached, or its role may not make tables.
    pub async fn build(self) -> Result<Lifecycle<DB>, LifecycleError> {
        if self.template.is_some() && !DB::HAS_TEMPLATES {
            return Err(LifecycleError::settings("there are no templates on this server"));
        }
        for (name, site) in self.homes.sites() {
            site.owner().map_err(|error| {
                let why = error
                    .source()
                    .map_or_else(|| error.to_string(), ToString::to_string);
                LifecycleError::settings(format!("server {name:?}: {why}"))
            })?;
        }
        let seeds = match &self.seeds {
            Some(directory) => seed::read(directory).await?,
            None => Vec::new(),
        };
        let journal = self.store.migration_journal().await?;
        let fleet = self.migrations.map(|migrations| {
            let fleet = FleetMigrator::of_homes(&self.store, migrations, &self.homes);
            let fleet = fleet.settings(self.migration_settings);
            let fleet = match &self.served {
                Some(databases) => fleet.serving(databases),
                None => fleet,
            };
            fleet.build_on(journal.clone())
        });
        Ok(Lifecycle(Arc::new(Inner {
            store: self.store,
            homes: self.homes,
            journal,
            fleet,
            seed: self.seed,
            seeds,
            remove_rows: self.remove_rows,
            hooks: self.hooks,
            template: self.template,
            // Whoever has the file has all of it.
            grants: self.grants && DB::KIND != EngineKind::Sqlite,
            let_in: Mutex::default(),
            served: self.served,
            patience: self.patience,
            keep_left: self.keep_left,
            moves_through: self.moves_through.unwrap_or_else(std::env::temp_dir),
        })))
    }
}

impl<DB: TenantEngine> fmt::Debug for LifecycleBuilder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifecycleBuilder")
            .field("homes", &self.homes)
            .field("migrations", &self.migrations)
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}
