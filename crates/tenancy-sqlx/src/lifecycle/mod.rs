//! Makes the homes of tenants, resets, moves and removes them: the database, schema or file that each lives in, or its rows.
//!
//! * [`Lifecycle::create`] makes the record, the home, its tables ([`migrations`](LifecycleBuilder::migrations), or a
//!   [template](LifecycleBuilder::template)) and what your seeds put there; only then is the tenant served. It runs to its end
//!   even if its future is dropped. **If a step fails, nothing is left behind**, but for the id, which is never given again.
//! * [`Lifecycle::make_home`] makes the home of a tenant that is registered already, where its record leads.
//! * [`Lifecycle::remove`] deletes the tenant, so that no request comes any more, drops its home and purges its record.
//! * [`Lifecycle::reset`] gives a tenant an empty home, migrated and seeded, and drops the old one.
//! * [`Lifecycle::move_home`] takes a tenant to another server, database, schema or file with all that it has. See [below](#moves).
//! * [`Lifecycle::keep_pending`] keeps [homes](PendingHomes) that a sign-up only has to claim.
//! * Each is journaled before it begins. What a killed process left is taken back, or taken to its end, by
//!   [`Lifecycle::recover`], any number of times.
//! * **Nothing is dropped that was not made here**: not what a placement names by mistake, such as the central database or
//!   another tenant's. Names of homes end in a random number, so that none is ever met by accident.
//! * The application's role owns nothing: it is let into what [the owner](crate::database::Server::owner) makes.
//!
//! | strategy | a home is | a reset |
//! |---|---|---|
//! | database, schema, file | made and dropped | leads the tenant to a new home, at once and for all processes |
//! | rows | the rows that policies leave to the tenant; deleted as the application, table by table | deletes and seeds while the tenant is served: suspend it before |
//! | guarded | what [`remove_rows`](LifecycleBuilder::remove_rows) deletes; refused without | as above |
//!
//! # Moves
//!
//! 1. The new home is made and [migrated](LifecycleBuilder::migrations), while the tenant is served from the old one. There must be
//!    migrations, or a template with the same tables, and the old home must be at their version.
//! 2. The tenant is put into maintenance: requests get 503 with `Retry-After: 10`, in other processes as soon as they ask
//!    the catalogue, which they do every half second unless their
//!    [`poll_interval`](tenancy::resolve::ResolveSettings::poll_interval) is another.
//! 3. The old home is **fenced**: triggers on each of its tables refuse all writes. They come into force between transactions:
//!    those that wrote before are waited for, and those after are refused by the database, whoever begins them: processes that
//!    hear nothing of the catalogue, roles with other grants, functions of the owner's. It is tried for a minute, all tables
//!    together; whoever then waits for a lock in vain once more, for a second at most, gives up, and the tenant stays.
//! 4. The data is [exported](crate::transfer) as the owner, imported, and the rows of each table are counted again. What
//!    sequences and `AUTO_INCREMENT` go on from goes with it.
//! 5. One transaction of the catalogue leads the tenant to the new home, with a new epoch, and out of maintenance. Until then,
//!    everything is taken back if it fails; after that, nothing.
//! 6. The old home stays, fenced, for [two hours](LifecycleBuilder::keep_left_homes): who has not heard of the move reads what was
//!    there, and writes nothing. [`Lifecycle::recover`] drops it then; one that was not made here is never dropped.
//!
//! | | a fence needs | it waits for | it does not hold for |
//! |---|---|---|---|
//! | PostgreSQL | an owner of all tables | transactions that wrote | sequences; superusers who set `session_replication_role` |
//! | MySQL, MariaDB | the right `TRIGGER`, and with a binary log `log_bin_trust_function_creators` or `SUPER` | transactions that used a table | who may `TRUNCATE` or `DROP`, which the application's role may not |
//! | SQLite | | the one who writes | who makes a table of its own in the file |
//!
//! The way back is another move. Not moved: tenants that share tables, and those with materialized views or large objects
//! (PostgreSQL), triggers or sequences beside tables (MySQL, MariaDB) or virtual tables (SQLite). Grants go with the migrations that make them. Of a database that tenants have a
//! schema in each, large objects can not be told apart: they stay. The data lies in a
//! [directory](LifecycleBuilder::move_through) of this machine in between; of a process that was killed, `recover` on the same
//! machine removes it.
//!
//! # Caveats
//!
//! On MySQL and MariaDB, the owner must hold what it grants, with `GRANT OPTION`. A seed may run twice for a
//! home whose making was broken off: let it mind what is there. What a tenant has elsewhere is for a hook after
//! [`Drop`](LifecycleAction::Drop) to erase: `tenancy_redis::Redis::erase`, `tenancy_files::TenantFiles::delete_all`. Its error is
//! logged, and it is not called again: keep the record of whom it failed for.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example(store: tenancy_sqlx::store::SqlStore) -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::Postgres;
//! use tenancy_sqlx::{
//!     NewTenant,
//!     database::{Server, TenantHomes},
//!     isolation::Isolation,
//!     lifecycle::Lifecycle,
//!     migrate::Migrations,
//! };
//!
//! let homes = TenantHomes::<Postgres>::builder()
//!     .server("main", Server::at("postgres://app@db/app").owner("postgres://owner@db/app"))
//!     .isolation(Isolation::database())
//!     .build()?;
//! let lifecycle = Lifecycle::builder(&store, &homes)
//!     .migrations(Migrations::from_directory("migrations/tenants").await?)
//!     .seeds_from_directory("seeds")
//!     .build()
//!     .await?;
//! lifecycle.recover().await?;
//!
//! let acme = lifecycle.create(NewTenant::new("acme")).await?;
//! let home = acme.record.placement.unwrap().database;
//! assert!(home.starts_with("acme_"));
//!
//! lifecycle.remove(&acme.record.id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Files, with a hook:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::Sqlite;
//! use tenancy_sqlx::{
//!     NewTenant,
//!     database::{Server, TenantHomes},
//!     lifecycle::Lifecycle,
//!     store::SqlStore,
//! };
//!
//! # let directory = tempfile::tempdir()?;
//! # let folder = directory.path().display();
//! let store = SqlStore::connect(directory.path().join("catalogue.db")).await?;
//! let homes = TenantHomes::<Sqlite>::builder()
//!     .server("files", Server::at(format!("sqlite://{folder}/tenants?mode=rwc")))
//!     .build()?;
//! let lifecycle = Lifecycle::builder(&store, &homes)
//!     .hook(|step| async move {
//!         println!("{:?} {}: {}", step.moment, step.action, step.slug);
//!         Ok(())
//!     })
//!     .seed(|connection, _| {
//!         Box::pin(async move {
//!             sqlx::query("CREATE TABLE notes (text TEXT)").execute(connection).await?;
//!             Ok(())
//!         })
//!     })
//!     .build()
//!     .await?;
//! let acme = lifecycle.create(NewTenant::new("acme")).await?;
//! lifecycle.remove(&acme.record.id).await?;
//! assert_eq!(std::fs::read_dir(directory.path().join("tenants"))?.count(), 0);
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod builder;
mod error;
mod known;
mod make;
mod moves;
mod pending;
mod place;
mod remove;
mod reset;
mod seed;
mod step;

use std::{
    collections::HashSet,
    convert::Infallible,
    fmt,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tenancy_core::{TenantId, TenantRecord};

use crate::{
    NewTenant, TenantDetails,
    database::{TenantDatabases, TenantHomes},
    engine::TenantEngine,
    migrate::FleetMigrator,
    store::{
        SqlStore,
        journal::{HomePlace, MigrationJournal},
    },
};
use seed::{Fill, SeedFile};
use step::Hook;

pub use builder::LifecycleBuilder;
pub use error::LifecycleError;
pub use known::{HomeState, KnownHome};
pub use moves::{MoveReport, MoveTo};
pub use pending::{PendingHomes, PendingRefill, PendingStatus};
pub use step::{LifecycleAction, LifecycleStep, Moment};

/// Makes, resets and removes tenants with their homes. See the [module](self). Cloning copies a pointer.
pub struct Lifecycle<DB: TenantEngine>(Arc<Inner<DB>>);

struct Inner<DB: TenantEngine> {
    store: SqlStore,
    homes: TenantHomes<DB>,
    journal: MigrationJournal,
    fleet: Option<FleetMigrator<DB>>,
    seed: Option<Box<Fill<DB>>>,
    seeds: Vec<SeedFile>,
    remove_rows: Option<Box<Fill<DB>>>,
    hooks: Vec<Box<Hook>>,
    template: Option<Box<str>>,
    grants: bool,
    /// Servers where the application may use what tenants share.
    let_in: Mutex<HashSet<Box<str>>>,
    served: Option<TenantDatabases<DB>>,
    patience: Duration,
    keep_left: Duration,
    /// Where the data of a tenant lies while it moves.
    moves_through: PathBuf,
}

impl<DB: TenantEngine> Lifecycle<DB> {
    /// Begins to set up the life of the tenants of a managed catalogue, where `homes` say that they are.
    pub fn builder(store: &SqlStore, homes: &TenantHomes<DB>) -> LifecycleBuilder<DB> {
        LifecycleBuilder::new(store, homes)
    }

    /// Makes a tenant with a home. Its placement's server and isolation are kept, its database is chosen here. It is served
    /// with the status that was asked for, once all is done.
    ///
    /// # Errors
    /// When the catalogue refuses the tenant, or a step fails; all is taken back then.
    pub async fn create(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let inner = Arc::clone(&self.0);
        run_to_its_end(Box::pin(async move { inner.create(new).await })).await
    }

    /// Makes the home of a tenant that is in the catalogue, in the place that its record leads to, with its tables and seeds.
    /// The tenant's status stays.
    ///
    /// Any number of times: a home that was made is migrated. So is one that was there before and was not made here; it is not
    /// seeded. What fails half-way is gone on with by the next call. Where tenants share tables, these are migrated.
    ///
    /// # Errors
    /// [Misplaced](LifecycleError::is_misplaced) when another tenant lives there, [busy](LifecycleError::is_busy) while
    /// somebody else makes it. When there is no such tenant, or a step fails.
    pub async fn make_home(&self, tenant: &TenantId) -> Result<TenantDetails, LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(Box::pin(async move { inner.make_home(&tenant).await })).await
    }

    /// Runs the seeds in the home of a tenant, in one transaction.
    ///
    /// # Errors
    /// When there is no such tenant, or the seeds fail; nothing of them stays then.
    pub async fn seed(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(Box::pin(async move { inner.seed(&tenant).await })).await
    }

    /// Gives a tenant an empty home, migrated and seeded, and drops the old one. The tenant is served all the time: from the old
    /// home until the new one is ready. Processes that have not heard of the new one yet are refused by the old one's server.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), and when a step fails; the tenant keeps its home then.
    pub async fn reset(&self, tenant: &TenantId) -> Result<TenantDetails, LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(Box::pin(async move { inner.reset(&tenant).await })).await
    }

    /// Moves a tenant to another server, database, schema or file with all that it has, while it is written to.
    ///
    /// It is refused with 503 and `Retry-After` while its data is copied. The home that it leaves is fenced first: **whoever
    /// writes there from then on is refused by the database itself**, also a process that has not heard of the move. What was
    /// committed before is in the new home, and nothing is in both. What fails half-way is taken back: the tenant is served
    /// where it was. See the [module](self#moves).
    ///
    /// # Errors
    /// [Not movable](LifecycleError::is_not_movable) where tenants share tables, or what it has is not copied;
    /// [occupied](LifecycleError::is_occupied), when there is something at the new place;
    /// [misplaced](LifecycleError::is_misplaced), when there is no such server; [busy](LifecycleError::is_busy) while somebody
    /// migrates, resets or moves it; [transfer](LifecycleError::is_transfer), when its data can not be copied: its home is not at
    /// the version of the migrations, for one. When there is no such tenant, or a server, a hook or the catalogue fails.
    pub async fn move_home(&self, tenant: &TenantId, to: MoveTo) -> Result<MoveReport, LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(Box::pin(async move { inner.move_home(&tenant, to).await })).await
    }

    /// Removes a tenant for good, with its home; also one that is deleted already. What fails half-way is gone on with by
    /// [`recover`](Self::recover), or by the next call.
    ///
    /// # Errors
    /// [Not ours](LifecycleError::is_not_ours) when its home was not made here, or the placement of another tenant leads there;
    /// [not emptied](LifecycleError::is_not_emptied) where nothing says which rows are its own. Nothing is done then. When there
    /// is no such tenant, or the catalogue or the server fails.
    pub async fn remove(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(Box::pin(async move { inner.remove(&tenant).await })).await
    }

    /// Takes back what was begun to be made, or left, and goes on with what was begun to be dropped, by processes that ended
    /// before it was done. Drops homes that were [left long enough ago](LifecycleBuilder::keep_left_homes). Returns how many
    /// homes that were. For the start of a process, and now and then.
    ///
    /// # Errors
    /// The first one, after all others were tried. What was done stays done.
    pub async fn recover(&self) -> Result<usize, LifecycleError> {
        let inner = Arc::clone(&self.0);
        run_to_its_end(Box::pin(async move { inner.recover().await })).await
    }

    /// Where tenants are.
    pub fn homes(&self) -> &TenantHomes<DB> {
        &self.0.homes
    }

    /// The catalogue.
    pub fn store(&self) -> &SqlStore {
        &self.0.store
    }

    /// What migrates homes, if migrations were given.
    pub fn fleet(&self) -> Option<&FleetMigrator<DB>> {
        self.0.fleet.as_ref()
    }

    /// Closes the connection to the journal, of clones too.
    pub async fn close(&self) {
        self.0.journal.close().await;
    }
}

/// A step is not left half-way because nobody waits for it any more.
async fn run_to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, LifecycleError>> + Send + 'static,
) -> Result<T, LifecycleError> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|_| Err(LifecycleError::ended()))
}

impl<DB: TenantEngine> Inner<DB> {
    async fn details(&self, tenant: &TenantId) -> Result<TenantDetails, LifecycleError> {
        let found = self.store.get(tenant).await?;
        found.ok_or_else(LifecycleError::no_tenant)
    }

    fn patience_ms(&self) -> i64 {
        milliseconds(self.patience)
    }

    /// Says now and then that somebody is at it, while it lasts.
    ///
    /// Both go on beside each other: the work may have the very connection that saying so waits for.
    async fn at_work_on<T>(&self, place: &HomePlace, work: impl Future<Output = T> + Send) -> T {
        tokio::select! {
            done = work => done,
            never = self.keep_saying_so(place) => match never {},
        }
    }

    async fn keep_saying_so(&self, place: &HomePlace) -> Infallible {
        let pause = (self.patience / 4).max(Duration::from_millis(100));
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.journal.beat_home(place).await {
                tracing::warn!(
                    ?error,
                    "the journal of homes does not answer; if it stays so, others take over"
                );
            }
        }
    }

    /// Connections to where the tenant was.
    fn end_use(&self, record: &TenantRecord) {
        if let Some(served) = &self.served {
            served.forget_record(record);
        }
    }

    async fn before(
        &self,
        action: LifecycleAction,
        slug: &str,
        record: Option<&TenantRecord>,
    ) -> Result<(), LifecycleError> {
        for hook in &self.hooks {
            let step = step_of(Moment::Before, action, slug, record);
            hook(step).await.map_err(LifecycleError::hook)?;
        }
        Ok(())
    }

    async fn after(&self, action: LifecycleAction, slug: &str, record: Option<&TenantRecord>) {
        for hook in &self.hooks {
            if let Err(error) = hook(step_of(Moment::After, action, slug, record)).await {
                tracing::warn!(%action, %error, "a hook failed after what it was called for was done");
            }
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn step_of(
    moment: Moment,
    action: LifecycleAction,
    slug: &str,
    record: Option<&TenantRecord>,
) -> LifecycleStep {
    LifecycleStep {
        moment,
        action,
        slug: slug.into(),
        record: record.cloned(),
    }
}

impl<DB: TenantEngine> Clone for Lifecycle<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for Lifecycle<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("homes", &self.0.homes)
            .field("fleet", &self.0.fleet)
            .field("seeds", &self.0.seeds.len())
            .field("has_seed", &self.0.seed.is_some())
            .field("hooks", &self.0.hooks.len())
            .field("template", &self.0.template)
            .field("broken_off_after", &self.0.patience)
            .finish_non_exhaustive()
    }
}
