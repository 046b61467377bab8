use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row as _, mysql::MySqlRow};
use tenancy_sqlx::database::ClientHome;

use super::{Answer, CliEngine, answers, hex};
use crate::databases::clients::{self, Client};

impl CliEngine for MySql {
    fn begin_statement(is_read_only: bool) -> &'static str {
        if is_read_only {
            "START TRANSACTION READ ONLY"
        } else {
            "START TRANSACTION"
        }
    }

    async fn ask(
        connection: &mut MySqlConnection,
        sql: String,
        most_rows: usize,
    ) -> Result<Vec<Answer>, sqlx::Error> {
        let parts = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
        answers::<Self>(parts, most_rows, text, |end| end.rows_affected()).await
    }

    fn client(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
        clients::mariadb(home, is_read_only)
    }

    fn environment(_: &ClientHome, is_read_only: bool) -> Option<Vec<(&'static str, String)>> {
        (!is_read_only).then(Vec::new)
    }
}

/// The text protocol answers in text, but for what is binary.
fn text(row: &MySqlRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(index)?;
    Ok(bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(|error| hex(error.as_bytes()))))
}
