//! The same work in the words of each database.

use sqlx::{AssertSqlSafe, MySql, MySqlConnection, PgConnection, Postgres, Row, Sqlite, SqliteConnection};
use tenancy_sqlx::TenantEngine;

/// What a borrower sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The number that it asked for.
    pub(super) answered: i64,
    pub(super) is_in_transaction: bool,
    /// What was written by transactions before.
    pub(super) rows: i64,
}

/// A database to drop futures of.
pub(super) trait Subject: TenantEngine {
    async fn write(connection: &mut Self::Connection) -> Result<(), sqlx::Error>;

    /// In one message where there are messages, so that nothing of it is begun by looking.
    async fn look(connection: &mut Self::Connection, nonce: i64) -> Result<Look, sqlx::Error>;
}

impl Subject for Postgres {
    async fn write(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // A key of its own: rows of commits stay.
        sqlx::query("INSERT INTO notes SELECT max(id) + 1, $1 FROM notes")
            .bind("abandoned")
            .execute(connection)
            .await
            .map(drop)
    }

    async fn look(connection: &mut PgConnection, nonce: i64) -> Result<Look, sqlx::Error> {
        // A transaction of its own begins with its statement.
        let look = format!(
            "SELECT {nonce}::int8, now() <> statement_timestamp(), \
             (SELECT count(*) FROM notes WHERE text = 'abandoned')"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(look)).fetch_one(connection).await?;
        Ok(Look {
            answered: row.try_get(0)?,
            is_in_transaction: row.try_get(1)?,
            rows: row.try_get(2)?,
        })
    }
}

impl Subject for MySql {
    async fn write(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO notes VALUES (?)")
            .bind("abandoned")
            .execute(connection)
            .await
            .map(drop)
    }

    async fn look(connection: &mut MySqlConnection, nonce: i64) -> Result<Look, sqlx::Error> {
        let look = format!(
            "SELECT CAST({nonce} AS CHAR), CAST(@@in_transaction AS CHAR), \
             CAST((SELECT COUNT(*) FROM notes) AS CHAR)"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(look)).fetch_one(connection).await?;
        let number = |at: usize| {
            let text: String = row.try_get(at)?;
            text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
        };
        Ok(Look {
            answered: number(0)?,
            is_in_transaction: number(1)? != 0,
            rows: number(2)?,
        })
    }
}

impl Subject for Sqlite {
    async fn write(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO notes VALUES (?)")
            .bind("abandoned")
            .execute(connection)
            .await
            .map(drop)
    }

    async fn look(connection: &mut SqliteConnection, nonce: i64) -> Result<Look, sqlx::Error> {
        let look = format!("SELECT {nonce}, (SELECT count(*) FROM notes)");
        let row = sqlx::raw_sql(AssertSqlSafe(look))
            .fetch_one(&mut *connection)
            .await?;
        // There are no transactions in a transaction.
        let begun = sqlx::raw_sql("BEGIN").execute(&mut *connection).await;
        if begun.is_ok() {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        }
        Ok(Look {
            answered: row.try_get(0)?,
            is_in_transaction: begun.is_err(),
            rows: row.try_get(1)?,
        })
    }
}
