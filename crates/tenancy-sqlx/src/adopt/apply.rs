//! Running the SQL of an adoption on a SQLite file.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};

use super::{Adoption, Removal, source::check_name};
use crate::CatalogueError;

impl Adoption {
    /// Adopts the tables of a SQLite file, in one transaction: [`sqlite`](Self::sqlite), run.
    ///
    /// Needs a tokio runtime. Waits up to five seconds for other writers. A dropped future leaves the file as it was,
    /// or adopted.
    ///
    /// # Errors
    /// Invalid when a name is not valid or not there; unavailable when the file cannot be opened or is locked.
    pub async fn apply(&self, path: impl AsRef<Path>) -> Result<(), CatalogueError> {
        run(path.as_ref(), self.sqlite()?).await
    }

    /// Takes an adoption out of a SQLite file, in one transaction: [`removal`](Self::removal), run.
    ///
    /// Needs a tokio runtime. Waits up to five seconds for other writers.
    ///
    /// # Errors
    /// Invalid on a managed catalogue; unavailable when the file cannot be opened or is locked.
    pub async fn take_out(path: impl AsRef<Path>, what: Removal) -> Result<(), CatalogueError> {
        run(path.as_ref(), Self::removal(what)).await
    }
}

/// The columns of a table in a SQLite file, in its order: for [`AdoptedData::Columns`](super::AdoptedData::Columns).
///
/// Needs a tokio runtime.
///
/// # Errors
/// Not found when there is no such table; unavailable when the file cannot be opened.
pub async fn columns(path: impl AsRef<Path>, table: &str) -> Result<Vec<String>, CatalogueError> {
    check_name("table", table)?;
    let mut connection = connect(path.as_ref()).await?;
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(&mut connection)
        .await
        .map_err(CatalogueError::from_sqlx)?;
    let columns: Vec<String> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()
        .map_err(CatalogueError::from_sqlx)?;
    if columns.is_empty() {
        return Err(CatalogueError::not_found(
            "there is no such table",
            format!("{} has no table {table:?}", path.as_ref().display()),
        ));
    }
    Ok(columns)
}

async fn connect(path: &Path) -> Result<SqliteConnection, CatalogueError> {
    SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .map_err(|error| CatalogueError::unavailable(format!("{} cannot be opened", path.display()), error))
}

/// The text opens and commits a transaction of its own. An error leaves it open, and closing rolls it back.
async fn run(path: &Path, sql: String) -> Result<(), CatalogueError> {
    let mut connection = connect(path).await?;
    // What was given is quoted and escaped in it; see `source`.
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
    let closed = connection.close().await;
    match done {
        Ok(_) => closed.map_err(CatalogueError::from_sqlx),
        Err(error) => Err(explain(error)),
    }
}

/// `SQLITE_ERROR` and `SQLITE_CONSTRAINT` say that the tables are not as the adoption takes them to be.
fn explain(error: sqlx::Error) -> CatalogueError {
    let code = error.as_database_error().and_then(|cause| {
        let code = cause.code()?.parse::<u32>().ok()?;
        Some((code & 0xff, cause.message().to_owned()))
    });
    match code {
        Some((1 | 19, message)) => CatalogueError::invalid(
            "the adoption does not fit the tables",
            format!("the adoption does not fit the file, which is left as it was: {message}"),
        ),
        _ => CatalogueError::from_sqlx(error),
    }
}
