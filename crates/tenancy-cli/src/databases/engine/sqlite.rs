use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqliteConnection, TypeInfo as _, ValueRef as _, sqlite::SqliteRow,
};
use tenancy_sqlx::database::ClientHome;

use super::{Answer, CliEngine, answers, hex};
use crate::databases::clients::{self, Client};

impl CliEngine for Sqlite {
    /// The connection was told to only read.
    fn begin_statement(_: bool) -> &'static str {
        "BEGIN"
    }

    async fn ask(
        connection: &mut SqliteConnection,
        sql: String,
        most_rows: usize,
    ) -> Result<Vec<Answer>, sqlx::Error> {
        let parts = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
        answers::<Self>(parts, most_rows, text, |end| end.rows_affected()).await
    }

    fn client(home: &ClientHome, is_read_only: bool) -> Result<Client, String> {
        clients::sqlite3(home, is_read_only)
    }

    fn environment(_: &ClientHome, is_read_only: bool) -> Option<Vec<(&'static str, String)>> {
        (!is_read_only).then(Vec::new)
    }
}

/// SQLite writes every value as text that is not a blob.
fn text(row: &SqliteRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    if value.type_info().name() == "BLOB" {
        return row
            .try_get_unchecked::<Vec<u8>, _>(index)
            .map(|bytes| Some(hex(&bytes)));
    }
    row.try_get_unchecked(index).map(Some)
}
