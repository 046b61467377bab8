use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, ValueRef as _, postgres::PgRow};
use tenancy_sqlx::database::ClientHome;

use super::{Answer, CliEngine, answers};
use crate::databases::clients::{self, Client};

impl CliEngine for Postgres {
    fn begin_statement(is_read_only: bool) -> &'static str {
        if is_read_only { "BEGIN READ ONLY" } else { "BEGIN" }
    }

    async fn ask(
        connection: &mut PgConnection,
        sql: String,
        most_rows: usize,
    ) -> Result<Vec<Answer>, sqlx::Error> {
        let parts = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
        answers::<Self>(parts, most_rows, text, |end| end.rows_affected()).await
    }

    fn client(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
        clients::psql(home, is_read_only)
    }

    fn environment(home: &ClientHome, is_read_only: bool) -> Option<Vec<(&'static str, String)>> {
        Some(
            clients::pg_options(home, is_read_only)
                .map_or_else(Vec::new, |options| vec![("PGOPTIONS", options)]),
        )
    }

    fn url(home: &ClientHome, is_read_only: bool) -> String {
        clients::url_with_options(home, is_read_only)
    }
}

/// The simple protocol answers in text.
fn text(row: &PgRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().map_err(sqlx::Error::Decode)?;
    Ok(Some(text.to_owned()))
}
