use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Connection, SqlSafeStr, Transaction};
use sqlx_core::transaction::TransactionManager;
use tenancy::Tenant;

use super::DatabaseError;
use crate::{engine::TenantEngine, pool::Lease};

/// A transaction in a tenant's database. Derefs to sqlx's connection.
///
/// Dropped without [`commit`](Self::commit), it is rolled back in the background before anybody else has the connection.
/// This holds for futures that are dropped at any await, too.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct TenantTransaction<DB: TenantEngine> {
    lease: Lease<DB>,
    tenant: Tenant,
    /// What it began with. The connection leads to where this belongs, whatever the tenant's record says by now.
    begin: Option<Arc<str>>,
}

impl<DB: TenantEngine> TenantTransaction<DB> {
    /// Begins on a connection that carries nothing.
    pub(super) async fn begin(
        lease: Lease<DB>,
        tenant: &Tenant,
        begin: Option<String>,
    ) -> Result<Self, sqlx::Error> {
        let mut transaction = Self {
            lease,
            tenant: tenant.clone(),
            begin: begin.map(Arc::from),
        };
        transaction.begin_again().await?;
        Ok(transaction)
    }

    /// In whose database it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(super) async fn begin_again(&mut self) -> Result<(), sqlx::Error> {
        let begin = self.begin.clone();
        let begin = begin.map(|sql| AssertSqlSafe(sql).into_sql_str());
        DB::TransactionManager::begin(&mut self.lease, begin).await
    }

    pub(super) async fn rollback_in_place(&mut self) -> Result<(), sqlx::Error> {
        while DB::TransactionManager::get_transaction_depth(&self.lease) > 0 {
            DB::TransactionManager::rollback(&mut self.lease).await?;
        }
        Ok(())
    }

    /// A transaction inside of this one (a savepoint). Dropped without a commit of its own, it is rolled back alone.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn nested(&mut self) -> Result<Transaction<'_, DB>, DatabaseError> {
        Ok(self.lease.begin().await?)
    }

    /// Makes the transaction's changes last, and gives the connection back.
    ///
    /// If this fails, or its future is dropped, whether they last is not known.
    ///
    /// # Errors
    /// When the database refuses it, or does not answer; and when a nested transaction was neither ended nor dropped.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        if DB::TransactionManager::get_transaction_depth(&self.lease) != 1 {
            return Err(sqlx::Error::InvalidSavePointStatement.into());
        }
        Ok(DB::TransactionManager::commit(&mut self.lease).await?)
    }

    /// Takes the transaction's changes back, and waits for the answer. Dropping does the same without waiting.
    ///
    /// # Errors
    /// When the database does not answer: the connection is closed then.
    pub async fn rollback(mut self) -> Result<(), DatabaseError> {
        Ok(self.rollback_in_place().await?)
    }
}

impl<DB: TenantEngine> Deref for TenantTransaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.lease
    }
}

impl<DB: TenantEngine> DerefMut for TenantTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.lease
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTransaction").finish_non_exhaustive()
    }
}

/// A connection to a tenant's database, outside of a transaction. Derefs to sqlx's connection.
///
/// What is set in its session is taken away when it is dropped, before anybody else has the connection.
pub struct TenantConnection<DB: TenantEngine> {
    lease: Lease<DB>,
}

impl<DB: TenantEngine> TenantConnection<DB> {
    pub(super) async fn enter(mut lease: Lease<DB>, enter: Option<String>) -> Result<Self, sqlx::Error> {
        if let Some(enter) = enter {
            DB::run(&mut lease, enter).await?;
        }
        Ok(Self { lease })
    }
}

impl<DB: TenantEngine> Deref for TenantConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.lease
    }
}

impl<DB: TenantEngine> DerefMut for TenantConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.lease
    }
}

impl<DB: TenantEngine> fmt::Debug for TenantConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantConnection").finish_non_exhaustive()
    }
}
