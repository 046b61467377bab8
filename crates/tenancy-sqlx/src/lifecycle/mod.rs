//! Makes the homes of tenants, and removes them: the database or schema that each lives in.
//!
//! * [`Lifecycle::create`] makes the record, the home, its tables (by [`FleetMigrator`], or from a
//!   [template](Homes::template)) and what your seed puts there; only then is the tenant served. It runs to its end even if
//!   its future is dropped. **If a step fails, nothing is left behind**, but for the id, which is never given again.
//! * [`Lifecycle::remove`] deletes the tenant, so that no request comes any more, drops its home and purges its record.
//! * Each is journaled before it begins. What a killed process left is taken back, or taken to its end, by
//!   [`Lifecycle::recover`], any number of times.
//! * **Nothing is dropped that was not made here**: not what a placement names by mistake, such as the central database or
//!   another tenant's. Names of homes end in a random number, so that none is ever met by accident.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example(
//! #     store: tenancy_sqlx::store::SqlStore,
//! #     fleet: tenancy_sqlx::migrate::FleetMigrator<sqlx::Postgres>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::postgres::PgConnectOptions;
//! use tenancy_sqlx::{NewTenant, lifecycle::{Homes, Lifecycle}};
//!
//! let owner: PgConnectOptions = "postgres://owner@db.internal/postgres".parse()?;
//! let lifecycle = Lifecycle::new(&store, &fleet, Homes::<sqlx::Postgres>::databases(owner));
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

mod error;
mod homes;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tenancy_core::{BoxError, TenantId, TenantRecord, TenantStatus};

use crate::{
    NewTenant, TenantDetails,
    engine::TenantEngine,
    migrate::FleetMigrator,
    store::{
        SqlStore,
        journal::{Home, HomeStage, MigrationJournal},
    },
};

pub use error::LifecycleError;
pub use homes::Homes;

type Seed = dyn Fn(TenantRecord) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// Letters of the slug that a home's name begins with. With what follows, it fits wherever names of 63 bytes do.
const NAME_LETTERS: usize = 40;

/// Makes and removes tenants with their homes. See the [module](self). Cloning copies a pointer.
pub struct Lifecycle<DB: TenantEngine>(Arc<Inner<DB>>);

struct Inner<DB: TenantEngine> {
    store: SqlStore,
    fleet: FleetMigrator<DB>,
    homes: Homes<DB>,
    seed: Option<Box<Seed>>,
    patience: Duration,
}

impl<DB: TenantEngine> Lifecycle<DB> {
    /// Over a managed catalogue. `fleet` has to find a tenant's home by the database of its placement.
    pub fn new(store: &SqlStore, fleet: &FleetMigrator<DB>, homes: Homes<DB>) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            fleet: fleet.clone(),
            homes,
            seed: None,
            patience: Duration::from_secs(600),
        }))
    }

    /// Fills a new home, after its migrations and before the tenant is served. If it fails, the tenant is not made. It may
    /// run again for another home of the same slug.
    ///
    /// # Panics
    /// When this was cloned before.
    #[must_use]
    pub fn seed<F>(mut self, seed: impl Fn(TenantRecord) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.unshared().seed = Some(Box::new(move |record| Box::pin(seed(record))));
        self
    }

    /// How old a step must be for [`recover`](Self::recover) to take it for broken off; ten minutes unless set. Longer than
    /// any home takes to make.
    ///
    /// # Panics
    /// When this was cloned before.
    #[must_use]
    pub fn broken_off_after(mut self, age: Duration) -> Self {
        self.unshared().patience = age;
        self
    }

    #[expect(clippy::expect_used, reason = "documented: it is set up before it is shared")]
    fn unshared(&mut self) -> &mut Inner<DB> {
        Arc::get_mut(&mut self.0).expect("it is set up before it is cloned")
    }

    /// Makes a tenant with a home. Its placement's server and isolation are kept, its database is chosen here. It is served
    /// with the status that was asked for, once all is done.
    ///
    /// # Errors
    /// When the catalogue refuses the tenant, or a step fails; all is taken back then.
    pub async fn create(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let inner = Arc::clone(&self.0);
        run_to_its_end(async move { inner.create(new).await }).await
    }

    /// Removes a tenant for good, with its home. No error if it is deleted already; what fails half-way is gone on with by
    /// [`recover`](Self::recover), or by the next call.
    ///
    /// # Errors
    /// [Not ours](LifecycleError::is_not_ours) when its home was not made here; nothing is done then. When there is no such
    /// tenant, or the catalogue or the server fails.
    pub async fn remove(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        run_to_its_end(async move { inner.remove(&tenant).await }).await
    }

    /// Takes back what was begun to be made, and drops what was begun to be dropped, by processes that ended before it was
    /// done. Returns how many homes that were.
    ///
    /// # Errors
    /// When the catalogue or the server fails. What was done stays done.
    pub async fn recover(&self) -> Result<usize, LifecycleError> {
        let inner = Arc::clone(&self.0);
        run_to_its_end(async move { inner.recover().await }).await
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

impl<DB: TenantEngine> Clone for Lifecycle<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: TenantEngine> fmt::Debug for Lifecycle<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("homes", &self.0.homes)
            .field("has_seed", &self.0.seed.is_some())
            .field("broken_off_after", &self.0.patience)
            .finish_non_exhaustive()
    }
}

impl<DB: TenantEngine> Inner<DB> {
    fn journal(&self) -> &MigrationJournal {
        self.fleet.journal()
    }

    async fn create(&self, new: NewTenant) -> Result<TenantDetails, LifecycleError> {
        let (home, slug) = (name_for(&new.slug)?, new.slug.clone());
        self.journal().begin_home(&home, &slug).await?;
        let made = self.make(new, &home).await;
        if made.is_err()
            && let Err(left) = self.take_back(&home, &[HomeStage::Making, HomeStage::Made]).await
        {
            tracing::error!(error = ?left, "what a failed creation left is taken back later, by `recover`");
        }
        made
    }

    async fn make(&self, mut new: NewTenant, home: &str) -> Result<TenantDetails, LifecycleError> {
        let status = std::mem::replace(&mut new.status, TenantStatus::Pending);
        new.placement.get_or_insert_default().database = home.into();
        let made = self.store.create(new).await?;
        let id = &made.record.id;
        self.journal().give_home(home, id).await?;
        self.homes.make(home).await.map_err(LifecycleError::server)?;
        self.fleet.migrate_tenant(&made.record).await?;
        if let Some(seed) = &self.seed {
            seed(made.record.clone()).await.map_err(LifecycleError::seed)?;
        }
        // Before it is served. Another process may have taken this one for dead.
        if !self.move_home(home, HomeStage::Making, HomeStage::Made).await? {
            return Err(LifecycleError::ended());
        }
        Ok(match status {
            TenantStatus::Pending => made,
            TenantStatus::Suspended => self.store.suspend(id).await?,
            _ => self.store.resume(id).await?,
        })
    }

    async fn move_home(&self, home: &str, from: HomeStage, to: HomeStage) -> Result<bool, LifecycleError> {
        Ok(self.journal().move_home(home, from, to).await?)
    }

    /// Drops a home that is at one of these stages, or that was begun to be dropped. The home first: as long as it may be
    /// there, its record says where.
    async fn take_back(&self, name: &str, from: &[HomeStage]) -> Result<(), LifecycleError> {
        for stage in from {
            self.move_home(name, *stage, HomeStage::Dropping).await?;
        }
        let home = self.journal().home(name).await?;
        let Some(home) = home.filter(|home| home.stage == HomeStage::Dropping) else {
            return Ok(());
        };
        self.homes.drop(name).await.map_err(LifecycleError::server)?;
        if let Some(tenant) = self.tenant_in(&home).await? {
            self.store.force_purge(&tenant).await?;
            self.fleet.look_again(&tenant).await?;
        }
        Ok(self.journal().end_home(name).await?)
    }

    /// The tenant that lives there. One that was made, and not noted yet, is found by its slug.
    async fn tenant_in(&self, home: &Home) -> Result<Option<TenantId>, LifecycleError> {
        let found = match &home.tenant {
            Some(tenant) => self.store.get(tenant).await?,
            None => self.store.get_by_slug(&home.slug).await?,
        };
        let lives_there = found.filter(|details| home_of(&details.record) == Some(&*home.name));
        Ok(lives_there.map(|details| details.record.id))
    }

    async fn remove(&self, tenant: &TenantId) -> Result<(), LifecycleError> {
        let details = self
            .store
            .get(tenant)
            .await?
            .ok_or_else(LifecycleError::no_tenant)?;
        let name = home_of(&details.record).ok_or_else(LifecycleError::not_ours)?;
        let home = self.journal().home(name).await?;
        if home.and_then(|home| home.tenant).as_ref() != Some(tenant) {
            return Err(LifecycleError::not_ours());
        }
        self.store.delete(tenant).await?;
        self.take_back(name, &[HomeStage::Made]).await
    }

    async fn recover(&self) -> Result<usize, LifecycleError> {
        let age = i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX);
        let homes = self.journal().broken_off_homes(age).await?;
        for home in &homes {
            self.take_back(&home.name, &[HomeStage::Making]).await?;
        }
        Ok(homes.len())
    }
}

fn home_of(record: &TenantRecord) -> Option<&str> {
    let placement = record.placement.as_ref()?;
    Some(&*placement.database).filter(|name| !name.is_empty())
}

/// The slug, so that people find it, and a number that nothing else has.
fn name_for(slug: &str) -> Result<Box<str>, LifecycleError> {
    let plain = slug.chars().map(|letter| match letter {
        'a'..='z' | '0'..='9' => letter,
        _ => '_',
    });
    let readable: String = plain.take(NAME_LETTERS).collect();
    Ok(format!("{readable}_{:016x}", crate::store::random_stamp()?).into())
}
