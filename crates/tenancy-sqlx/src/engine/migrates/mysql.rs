use std::time::Duration;

use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row, mysql::MySqlDatabaseError};

use super::{Fault, Grammar, Migrates, fault_of_connection};
use crate::isolation::Identifier;

impl Migrates for MySql {
    const GRAMMAR: Grammar = Grammar { is_mysql: true };
    /// A statement that changes a schema commits.
    const IS_ATOMIC: bool = false;
    const IS_ONE_FILE: bool = false;

    async fn point(_: &mut MySqlConnection, _: &[Identifier]) -> Result<bool, sqlx::Error> {
        Ok(true)
    }

    async fn limit_lock_waits(
        connection: &mut MySqlConnection,
        limit: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        const LONGEST: u64 = 31_536_000;
        let wait_s = limit.map_or(LONGEST, |limit| limit.as_secs().clamp(1, LONGEST));
        let settings =
            format!("SET SESSION lock_wait_timeout = {wait_s}, SESSION innodb_lock_wait_timeout = {wait_s}");
        Self::run_made(connection, settings).await
    }

    async fn try_lock(connection: &mut MySqlConnection, _: &[Identifier]) -> Result<bool, sqlx::Error> {
        let lock =
            "SELECT coalesce(get_lock(concat('tenancy:', sha1(concat('migrations ', database()))), 0), 0)";
        let got: i64 = sqlx::query(lock).fetch_one(connection).await?.try_get(0)?;
        Ok(got == 1)
    }

    async fn run_made(connection: &mut MySqlConnection, text: String) -> Result<(), sqlx::Error> {
        let text = sqlx::raw_sql(AssertSqlSafe(text));
        text.execute(connection).await.map(drop)
    }

    async fn ask_made(connection: &mut MySqlConnection, text: String) -> Result<Vec<String>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
        rows.iter().map(|row| row.try_get_unchecked(0)).collect()
    }

    async fn clear_after(_: &mut MySqlConnection, _: &str) -> Result<(), sqlx::Error> {
        Ok(())
    }

    fn fault_of(error: &sqlx::Error) -> Fault {
        let number = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
            .map(MySqlDatabaseError::number);
        match number {
            None => fault_of_connection(error),
            // Lock wait, deadlock, no room, shutting down.
            Some(1205 | 1213 | 1040 | 1203 | 1053) => Fault::Passing,
            // Table, column, key, key name or constraint is there; table, column or key to drop is not.
            Some(1050 | 1060 | 1061 | 1022 | 1826 | 1051 | 1091) => Fault::DoneBefore,
            Some(1049) => Fault::Missing,
            Some(_) => Fault::Other,
        }
    }
}
