//! Single-use tokens beside the catalogue, shared by all processes that open its file.

use std::fmt;

use sqlx::SqlitePool;
use tenancy::handoff::{Grant, HandoffStore, TokenHash};
use tenancy_core::StoreError;

use super::SqlStore;
use crate::CatalogueError;

/// As many tokens may wait to be used.
const LIMIT: i64 = 100_000;

// Without rowid: the hash is the key, and nothing else ever leads to a row.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS tenancy_handoffs (
        token_hash BLOB PRIMARY KEY NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        grant_json TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS tenancy_handoffs_by_expiry ON tenancy_handoffs (expires_at_ms)";

/// Grants of single-use tokens in the catalogue's file, in a table of their own. Made by [`SqlStore::handoffs`].
///
/// A token is taken by one statement that deletes and returns, so that one redemption wins, in all processes.
/// 100,000 tokens may wait to be used; beyond that, new ones are refused as unavailable. Cloning copies a pointer.
#[derive(Clone)]
pub struct SqlHandoffStore {
    writer: SqlitePool,
}

impl SqlStore {
    /// The store of single-use tokens in this file. Creates its table if it is missing.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tenancy::{Tenancy, handoff::{HandoffRequest, Handoffs, Purpose}, resolve::Subdomain};
    /// use tenancy_sqlx::{NewTenant, store::SqlStore};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("catalogue.db");
    /// let catalogue = SqlStore::connect(&path).await?;
    /// catalogue.create(NewTenant::new("acme")).await?;
    /// let tenancy = Tenancy::new(Subdomain::of("example.com")?, catalogue.clone());
    /// let handoffs = Handoffs::new(&tenancy, catalogue.handoffs().await?);
    ///
    /// let acme = tenancy.enter(&"acme".parse()?).await?;
    /// let token = handoffs.issue(&acme, HandoffRequest::impersonation("7", "sam@support")).await?;
    /// assert_eq!(handoffs.redeem(&acme, &Purpose::IMPERSONATION, token.as_str()).await?.user(), "7");
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the file can not be reached or written, and for catalogues that are only read
    /// ([`is_read_only`](CatalogueError::is_read_only)).
    pub async fn handoffs(&self) -> Result<SqlHandoffStore, CatalogueError> {
        let writer = self.writer()?.clone();
        sqlx::raw_sql(CREATE)
            .execute(&writer)
            .await
            .map_err(CatalogueError::from_sqlx)?;
        Ok(SqlHandoffStore { writer })
    }
}

impl HandoffStore for SqlHandoffStore {
    async fn put(&self, token: TokenHash, grant: &Grant, now_ms: u64) -> Result<(), StoreError> {
        let text = serde_json::to_string(grant).map_err(StoreError::corrupt)?;
        sqlx::query("DELETE FROM tenancy_handoffs WHERE expires_at_ms <= ?")
            .bind(column(now_ms))
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        let kept = sqlx::query(
            "INSERT INTO tenancy_handoffs (token_hash, expires_at_ms, grant_json)
             SELECT ?, ?, ? WHERE (SELECT count(*) FROM tenancy_handoffs) < ?",
        )
        .bind(token.as_bytes().as_slice())
        .bind(column(grant.expires_at_ms()))
        .bind(text)
        .bind(LIMIT)
        .execute(&self.writer)
        .await
        .map_err(store_error)?;
        if kept.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::unavailable(
                "as many tokens as may be are waiting to be used",
            ))
        }
    }

    async fn take(&self, token: TokenHash) -> Result<Option<Grant>, StoreError> {
        // All rows, of which there is one at most: a statement that is left half-way commits later.
        let taken: Vec<String> =
            sqlx::query_scalar("DELETE FROM tenancy_handoffs WHERE token_hash = ? RETURNING grant_json")
                .bind(token.as_bytes().as_slice())
                .fetch_all(&self.writer)
                .await
                .map_err(store_error)?;
        let grant = taken.first().map(|text| serde_json::from_str(text));
        grant.transpose().map_err(StoreError::corrupt)
    }
}

fn column(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

fn store_error(error: sqlx::Error) -> StoreError {
    CatalogueError::from_sqlx(error).into_store_error()
}

impl fmt::Debug for SqlHandoffStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlHandoffStore").finish_non_exhaustive()
    }
}
