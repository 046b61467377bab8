//! Shared tables without policies: statements that can not be written without the tenant.

mod text;

use std::fmt;

use sqlx::{Arguments, AssertSqlSafe, Encode, FromRow, Type, query::Query};
use tenancy_core::TenantId;

use self::text::Text;
use super::{DatabaseError, TenantTransaction};
use crate::{engine::TenantEngine, isolation::EngineKind};

/// A transaction that takes only statements which have the tenant in them.
///
/// Does not deref to a connection. A statement is text of the program, with `{tenant}` where the tenant's id goes, outside of
/// quotes and comments; the id is bound there, and no caller can bind another. Values of one's own are `?` on MySQL and
/// SQLite, `$1`, `$2` and so on on PostgreSQL.
///
/// **Caveat.** It sees that the tenant is there, not what is done with it: `WHERE tenant_id = {tenant} OR true` passes. Where
/// there are policies ([`SharedRows`](crate::isolation::SharedRows)), use these.
///
/// ```
/// # #[cfg(feature = "mysql")]
/// # async fn example(db: tenancy_sqlx::database::TenantDb<sqlx::MySql>) -> Result<(), tenancy_sqlx::database::DatabaseError> {
/// let mut transaction = db.guarded().await?;
/// transaction
///     .query("INSERT INTO notes (tenant_id, text) VALUES ({tenant}, ?)")
///     .bind("milk")
///     .execute()
///     .await?;
/// let notes: Vec<(i64, String)> = transaction
///     .query("SELECT id, text FROM notes WHERE tenant_id = {tenant} AND id > ?")
///     .bind(17_i64)
///     .fetch_all_as()
///     .await?;
/// transaction.commit().await?;
/// # drop(notes);
/// # Ok(())
/// # }
/// ```
#[must_use = "a transaction that is dropped is rolled back"]
pub struct GuardedTransaction<DB: TenantEngine> {
    transaction: TenantTransaction<DB>,
    tenant: TenantId,
}

impl<DB: TenantEngine> GuardedTransaction<DB> {
    pub(super) fn new(transaction: TenantTransaction<DB>, tenant: TenantId) -> Self {
        Self { transaction, tenant }
    }

    /// Begins a statement. What is wrong with it is said when it is run.
    pub fn query(&mut self, sql: &'static str) -> GuardedQuery<'_, DB> {
        let (text, fault) = match Text::new(sql, DB::KIND) {
            Ok(text) => (Some(text), None),
            Err(fault) => (None, Some(sqlx::Error::Configuration(fault.into()))),
        };
        GuardedQuery {
            transaction: self,
            text,
            arguments: DB::Arguments::default(),
            bound: 0,
            marked: 0,
            fault,
        }
    }

    /// As [`TenantTransaction::commit`].
    ///
    /// # Errors
    /// When the database refuses it, or does not answer.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        self.transaction.commit().await
    }

    /// For statements that have the tenant in them by themselves.
    pub(crate) fn into_transaction(self) -> TenantTransaction<DB> {
        self.transaction
    }

    /// As [`TenantTransaction::rollback`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollback(self) -> Result<(), DatabaseError> {
        self.transaction.rollback().await
    }
}

impl<DB: TenantEngine> fmt::Debug for GuardedTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedTransaction")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// A statement of a [`GuardedTransaction`].
#[must_use = "a statement does nothing until it is run"]
pub struct GuardedQuery<'t, DB: TenantEngine> {
    transaction: &'t mut GuardedTransaction<DB>,
    /// None if it has a fault.
    text: Option<Text>,
    arguments: DB::Arguments,
    bound: usize,
    /// How many marks have their value already.
    marked: usize,
    fault: Option<sqlx::Error>,
}

impl<DB: TenantEngine> GuardedQuery<'_, DB> {
    /// Binds the next value.
    pub fn bind<'v, T: Encode<'v, DB> + Type<DB>>(mut self, value: T) -> Self {
        // Where values have numbers, the tenant comes last.
        if DB::KIND != EngineKind::Postgres {
            let marks = self.text.as_ref();
            let marks = marks.map_or(0, |text| text.marks_before(self.bound, self.marked));
            self.bind_tenant(marks);
        }
        self.bound += 1;
        if let Err(error) = self.arguments.add(value) {
            self.fault.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }

    fn bind_tenant(&mut self, times: usize) {
        for _ in 0..times {
            self.marked += 1;
            if let Err(error) = DB::bind_text(&mut self.arguments, self.transaction.tenant.as_str()) {
                self.fault.get_or_insert(sqlx::Error::Encode(error));
            }
        }
    }

    /// Runs it, and returns what the database says it did.
    ///
    /// # Errors
    /// When the tenant is not in it, or the database refuses it.
    pub async fn execute(self) -> Result<DB::QueryResult, DatabaseError> {
        let (transaction, query) = self.prepare()?;
        Ok(DB::execute(transaction, query).await?)
    }

    /// Runs it, and returns its rows.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn fetch_all(self) -> Result<Vec<DB::Row>, DatabaseError> {
        let (transaction, query) = self.prepare()?;
        Ok(DB::fetch_all(transaction, query).await?)
    }

    /// Runs it, and returns its rows as values.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and when a row is no such value.
    pub async fn fetch_all_as<T: for<'r> FromRow<'r, DB::Row>>(self) -> Result<Vec<T>, DatabaseError> {
        let rows = self.fetch_all().await?;
        Ok(rows.iter().map(T::from_row).collect::<Result<_, _>>()?)
    }
}

type Prepared<'t, DB> = (
    &'t mut TenantTransaction<DB>,
    Query<'t, DB, <DB as sqlx::Database>::Arguments>,
);

impl<'t, DB: TenantEngine> GuardedQuery<'t, DB> {
    fn prepare(mut self) -> Result<Prepared<'t, DB>, sqlx::Error> {
        let marks = match (&self.text, DB::KIND) {
            (Some(_), EngineKind::Postgres) => 1,
            (Some(text), _) => text.marks() - self.marked,
            (None, _) => 0,
        };
        self.bind_tenant(marks);
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let text = self.text.as_ref().map(|text| match DB::KIND {
            EngineKind::Postgres => text.with(&format!("${}", self.bound + 1)),
            EngineKind::MySql | EngineKind::Sqlite => text.with("?"),
        });
        let sql = AssertSqlSafe(text.unwrap_or_default());
        let query = sqlx::query_with(sql, self.arguments);
        Ok((&mut self.transaction.transaction, query))
    }
}

impl<DB: TenantEngine> fmt::Debug for GuardedQuery<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedQuery")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}
