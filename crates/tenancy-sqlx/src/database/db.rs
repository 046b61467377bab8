use std::fmt;

use axum::extract::{FromRef, FromRequestParts};
use futures_core::future::BoxFuture;
use http::request::Parts;
use tenancy::{Tenant, extract::ExtractRejection};

use super::{DatabaseError, GuardedTransaction, TenantConnection, TenantDatabases, TenantTransaction};
use crate::{
    engine::{Access, TenantEngine},
    pool::{Lease, Servers, Target, breaker::FaultKind, target::Session},
};

/// The database of one tenant. An extractor; see the [module](super).
///
/// Asks for no connection before it is told to. Cloning copies two pointers.
pub struct TenantDb<DB: TenantEngine> {
    databases: TenantDatabases<DB>,
    tenant: Tenant,
}

impl<DB: TenantEngine> TenantDb<DB> {
    pub(super) fn new(databases: TenantDatabases<DB>, tenant: Tenant) -> Self {
        Self { databases, tenant }
    }

    /// Whose database it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Begins a transaction: one round trip on a connection that is idle, whatever keeps tenants apart.
    ///
    /// Awaits a connection, for as long as [`PoolSettings`](crate::pool::PoolSettings) allow, and the database. The future may be
    /// dropped at any time.
    ///
    /// # Errors
    /// When there is no connection, when the tenant's placement leads nowhere, and when the database refuses. Where tables
    /// are shared without policies, always: use [`guarded`](Self::guarded).
    pub async fn begin(&self) -> Result<TenantTransaction<DB>, DatabaseError> {
        self.begin_on(&self.databases.0.primaries, false).await
    }

    /// Begins a transaction that reads, on the server's replica if it has one.
    ///
    /// What was written a moment ago may not be there yet. If the replica can not be had, the primary is read instead,
    /// unless [`reads_fall_back`](super::TenantDatabasesBuilder::reads_fall_back) says otherwise. The database refuses
    /// to write; SQLite does not.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn read(&self) -> Result<TenantTransaction<DB>, DatabaseError> {
        let databases = &self.databases.0;
        let record = self.tenant.record();
        if databases.replicas.has(databases.primaries.name_of(&record)) {
            match self.begin_on(&databases.replicas, true).await {
                Err(error) if databases.reads_fall_back && may_be_elsewhere(&error) => {}
                answer => return answer,
            }
        }
        self.begin_on(&databases.primaries, true).await
    }

    /// A connection outside of a transaction, each statement of which is one of its own.
    ///
    /// Where tenants share a database it is made the tenant's first, which costs a round trip.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); and where tenants share a database, behind a pooler in transaction mode, which would give the
    /// next statement to another session.
    pub async fn acquire(&self) -> Result<TenantConnection<DB>, DatabaseError> {
        let site = self.databases.homes().site_of(&self.tenant.record())?;
        let (lease, target) = self.lease(&self.databases.0.primaries).await?;
        let enter = DB::enter(target.session());
        if enter.is_some() && site.is_pooled {
            return Err(DatabaseError::behind_pooler());
        }
        Ok(TenantConnection::enter(lease, enter).await?)
    }

    /// Runs `work` in a transaction, which is committed if it returns `Ok` and rolled back otherwise.
    ///
    /// If a statement fails because a migration has changed what it returns, what the connection remembers of statements
    /// is forgotten and `work` runs a second time, in another transaction: nothing of the first one lasts.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(db: tenancy_sqlx::database::TenantDb<sqlx::Postgres>) -> Result<(), tenancy_sqlx::database::DatabaseError> {
    /// let text = db
    ///     .transaction(|transaction| {
    ///         Box::pin(async move {
    ///             let row: (String,) = sqlx::query_as("SELECT text FROM notes").fetch_one(&mut **transaction).await?;
    ///             Ok(row.0)
    ///         })
    ///     })
    ///     .await?;
    /// # drop(text);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`begin`](Self::begin), and with what `work` returns.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut TenantTransaction<DB>) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let mut transaction = self.begin().await?;
        let error = match work(&mut transaction).await {
            Ok(result) => return transaction.commit().await.map(|()| result),
            Err(error) => error,
        };
        transaction.rollback_in_place().await?;
        if !error.as_sqlx().is_some_and(DB::is_stale) {
            return Err(error);
        }
        DB::forget_statements(&mut transaction).await?;
        transaction.begin_again().await?;
        let result = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(result)
    }

    /// Begins a transaction on tables that tenants share, of which it takes only statements with the tenant in them.
    ///
    /// Works with every strategy; where there is [another wall](crate::isolation) it is a second one.
    ///
    /// # Errors
    /// When there is no connection, when the tenant's placement leads nowhere, and when the database refuses.
    pub async fn guarded(&self) -> Result<GuardedTransaction<DB>, DatabaseError> {
        let databases = &self.databases.0;
        let (lease, target) = self.databases.lease(&databases.primaries, &self.tenant).await?;
        let begin = self.begin_message(&target, false)?;
        let transaction = TenantTransaction::begin(lease, &self.tenant, begin).await?;
        Ok(GuardedTransaction::new(transaction, self.tenant.id().clone()))
    }

    async fn begin_on(
        &self,
        servers: &Servers<DB>,
        is_read_only: bool,
    ) -> Result<TenantTransaction<DB>, DatabaseError> {
        let (lease, target) = self.lease(servers).await?;
        let begin = self.begin_message(&target, is_read_only)?;
        match TenantTransaction::begin(lease, &self.tenant, begin).await {
            // The server was restarted while the connection was idle: nothing has happened yet.
            Err(error) if DB::classify(&error) == FaultKind::Unreachable => {
                let (lease, target) = self.lease(servers).await?;
                let begin = self.begin_message(&target, is_read_only)?;
                Ok(TenantTransaction::begin(lease, &self.tenant, begin).await?)
            }
            begun => Ok(begun?),
        }
    }

    fn begin_message(&self, target: &Target, is_read_only: bool) -> Result<Option<String>, DatabaseError> {
        let access = Access {
            is_read_only,
            is_pooled: self.databases.homes().site_of(&self.tenant.record())?.is_pooled,
        };
        Ok(DB::begin(target.session(), access))
    }

    async fn lease(&self, servers: &Servers<DB>) -> Result<(Lease<DB>, Target), DatabaseError> {
        let (lease, target) = self.databases.lease(servers, &self.tenant).await?;
        if let Session::Guarded(_) = target.session() {
            return Err(DatabaseError::guarded());
        }
        Ok((lease, target))
    }
}

/// Whether a replica failed in a way that says nothing of the primary.
fn may_be_elsewhere(error: &DatabaseError) -> bool {
    error.is_unavailable() || error.is_busy() || error.is_missing_database() || error.is_refused()
}

impl<S, DB> FromRequestParts<S> for TenantDb<DB>
where
    S: Send + Sync,
    DB: TenantEngine,
    TenantDatabases<DB>: FromRef<S>,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        Ok(Self::new(TenantDatabases::from_ref(state), tenant))
    }
}

impl<DB: TenantEngine> Clone for TenantDb<DB> {
    fn clone(&self) -> Self {
        Self::new(self.databases.clone(), self.tenant.clone())
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantDb<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantDb")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
