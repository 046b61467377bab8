use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};

use super::{Fault, Grammar, Migrates, fault_of_connection};
use crate::isolation::Identifier;

impl Migrates for Sqlite {
    const GRAMMAR: Grammar = Grammar { is_mysql: false };
    const IS_ATOMIC: bool = true;
    const IS_ONE_FILE: bool = true;

    async fn point(_: &mut SqliteConnection, _: &[Identifier]) -> Result<bool, sqlx::Error> {
        Ok(true)
    }

    async fn limit_lock_waits(
        connection: &mut SqliteConnection,
        limit: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        let longest = i32::MAX as u128;
        let wait_ms = limit.map_or(longest, |limit| limit.as_millis().clamp(1, longest));
        Self::run_made(connection, format!("PRAGMA busy_timeout = {wait_ms}")).await
    }

    /// A file has no lock but that of its transactions. Of two that apply one migration, the ledger's key refuses the
    /// second, with all that it did.
    async fn try_lock(_: &mut SqliteConnection, _: &[Identifier]) -> Result<bool, sqlx::Error> {
        Ok(true)
    }

    async fn run_made(connection: &mut SqliteConnection, text: String) -> Result<(), sqlx::Error> {
        let text = sqlx::raw_sql(AssertSqlSafe(text));
        text.execute(connection).await.map(drop)
    }

    async fn ask_made(connection: &mut SqliteConnection, text: String) -> Result<Vec<String>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    async fn clear_after(_: &mut SqliteConnection, _: &str) -> Result<(), sqlx::Error> {
        Ok(())
    }

    fn fault_of(error: &sqlx::Error) -> Fault {
        let Some(cause) = error.as_database_error() else {
            return fault_of_connection(error);
        };
        let code = cause.code().and_then(|code| code.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            // `SQLITE_BUSY`, `SQLITE_LOCKED`
            Some(5 | 6) => Fault::Passing,
            // `SQLITE_CANTOPEN`
            Some(14) => Fault::Missing,
            // It knows no other code for that: the second of two that apply one migration.
            _ if cause.message().contains("_sqlx_migrations.version") => Fault::Passing,
            _ => Fault::Other,
        }
    }
}
