//! Single-use tokens beside the catalogue, shared by all processes that open it.

use std::{fmt, time::Duration};

use tenancy::handoff::{Grant, HandoffStore, TokenHash};
use tenancy_core::StoreError;

use super::SqlStore;
use crate::{
    CatalogueError,
    central::{Dialect, Pool, Statement, sql},
};

/// As many tokens may wait to be used.
const LIMIT: i64 = 100_000;

fn table(dialect: Dialect) -> &'static str {
    match dialect {
        // Without rowid: the hash is the key, and nothing else ever leads to a row.
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS tenancy_handoffs (
                 token_hash BLOB PRIMARY KEY NOT NULL,
                 expires_at_ms INTEGER NOT NULL,
                 grant_json TEXT NOT NULL
             ) WITHOUT ROWID, STRICT;
             CREATE INDEX IF NOT EXISTS tenancy_handoffs_by_expiry ON tenancy_handoffs (expires_at_ms)"
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS tenancy_handoffs (
                 token_hash bytea PRIMARY KEY,
                 expires_at_ms bigint NOT NULL,
                 grant_json text NOT NULL
             );
             CREATE INDEX IF NOT EXISTS tenancy_handoffs_by_expiry ON tenancy_handoffs (expires_at_ms)"
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "CREATE TABLE IF NOT EXISTS tenancy_handoffs (
                 token_hash VARBINARY(64) NOT NULL PRIMARY KEY,
                 expires_at_ms BIGINT NOT NULL,
                 grant_json MEDIUMTEXT NOT NULL,
                 INDEX tenancy_handoffs_by_expiry (expires_at_ms)
             ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        }
    }
}

/// Grants of single-use tokens beside the catalogue, in a table of their own. Made by [`SqlStore::handoffs`].
///
/// A token is deleted and returned in one step, so that one redemption wins, in all processes.
/// 100,000 tokens may wait to be used; beyond that, new ones are refused as unavailable. Cloning copies a pointer.
#[derive(Clone)]
pub struct SqlHandoffStore {
    writer: Pool,
    wait: Duration,
}

impl SqlStore {
    /// The store of single-use tokens beside this catalogue. Creates its table if it is missing.
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
    /// When the catalogue can not be reached or written, and for catalogues that are only read
    /// ([`is_read_only`](CatalogueError::is_read_only)).
    pub async fn handoffs(&self) -> Result<SqlHandoffStore, CatalogueError> {
        let writer = self.writer()?.clone();
        super::schema::create_table(&writer, table(writer.dialect())).await?;
        let wait = self.inner.options.wait;
        Ok(SqlHandoffStore { writer, wait })
    }
}

impl HandoffStore for SqlHandoffStore {
    async fn put(&self, token: TokenHash, grant: &Grant, now_ms: u64) -> Result<(), StoreError> {
        let text = serde_json::to_string(grant).map_err(StoreError::corrupt)?;
        let expired = sql("DELETE FROM tenancy_handoffs WHERE expires_at_ms <= ?").bind(column(now_ms));
        self.execute(expired).await?;
        let kept = sql(
            "INSERT INTO tenancy_handoffs (token_hash, expires_at_ms, grant_json)
             SELECT ?, ?, ? FROM (SELECT count(*) AS waiting FROM tenancy_handoffs) c WHERE waiting < ?",
        )
        .bind(token.as_bytes().as_slice())
        .bind(column(grant.expires_at_ms()))
        .bind(text)
        .bind(LIMIT);
        if self.execute(kept).await? == 1 {
            Ok(())
        } else {
            Err(StoreError::unavailable(
                "as many tokens as may be are waiting to be used",
            ))
        }
    }

    async fn take(&self, token: TokenHash) -> Result<Option<Grant>, StoreError> {
        let taking = tokio::time::timeout(self.wait * 2, self.take_text(token.as_bytes()));
        let taken = taking
            .await
            .map_err(StoreError::unavailable)?
            .map_err(|error| CatalogueError::from_sqlx(error).into_store_error())?;
        let grant = taken.as_deref().map(serde_json::from_str);
        grant.transpose().map_err(StoreError::corrupt)
    }
}

impl SqlHandoffStore {
    async fn execute(&self, statement: Statement) -> Result<u64, StoreError> {
        self.writer
            .execute_within(self.wait * 2, statement)
            .await
            .map_err(CatalogueError::into_store_error)
    }

    /// Burns the token, whatever becomes of the answer.
    async fn take_text(&self, token: &[u8]) -> Result<Option<String>, sqlx::Error> {
        let mut connection = self.writer.acquire().await?;
        let taken = match connection.dialect() {
            #[cfg(feature = "mysql")]
            Dialect::MySql => {
                connection.begin_write(self.wait).await?;
                let look = sql("SELECT grant_json FROM tenancy_handoffs WHERE token_hash = ? FOR UPDATE");
                let found = connection.fetch_optional(look.bind(token)).await?;
                let burn = sql("DELETE FROM tenancy_handoffs WHERE token_hash = ?");
                connection.execute(burn.bind(token)).await?;
                connection.commit().await?;
                found
            }
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            _ => {
                let take = sql("DELETE FROM tenancy_handoffs WHERE token_hash = ? RETURNING grant_json");
                connection.fetch_optional(take.bind(token)).await?
            }
        };
        taken
            .map(|row| row.text("grant_json").map(str::to_owned))
            .transpose()
    }
}

fn column(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqlHandoffStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlHandoffStore").finish_non_exhaustive()
    }
}
