//! Running the SQL of an adoption where the application's tables are.

use std::path::Path;

use super::{Adoption, Removal, source::check_name};
use crate::{
    CatalogueError,
    central::{Connection, Dialect, Pool, sql},
    store::Place,
};

impl Adoption {
    /// Adopts the tables of a SQLite file, in one transaction: [`sqlite`](Self::sqlite), run.
    ///
    /// Needs a tokio runtime. Waits up to five seconds for other writers. A dropped future leaves the file as it was,
    /// or adopted.
    ///
    /// # Errors
    /// Invalid when a name is not valid or not there; unavailable when the file cannot be opened or is locked.
    pub async fn apply(&self, path: impl AsRef<Path>) -> Result<(), CatalogueError> {
        self.apply_in(&Place::file(path)).await
    }

    /// As [`apply`](Self::apply), in the database of a URL: [`sql`](Self::sql), run.
    ///
    /// # Errors
    /// Also invalid when it is no such URL; read-only when the role may not make the objects.
    pub async fn apply_at(&self, url: &str) -> Result<(), CatalogueError> {
        self.apply_in(&Place::parse(url)?).await
    }

    async fn apply_in(&self, place: &Place) -> Result<(), CatalogueError> {
        let opened = Opened::at(place).await?;
        let steps = match opened.connection.dialect() {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => vec![super::sqlite::adoption(self)?],
            #[cfg(feature = "postgres")]
            Dialect::Postgres => vec![super::postgres::adoption(self)?],
            #[cfg(feature = "mysql")]
            Dialect::MySql => super::mysql::adoption(self)?,
        };
        opened.run(steps).await
    }

    /// Takes an adoption out of a SQLite file, in one transaction: [`removal`](Self::removal), run.
    ///
    /// Needs a tokio runtime. Waits up to five seconds for other writers.
    ///
    /// # Errors
    /// Invalid on a managed catalogue; unavailable when the file cannot be opened or is locked.
    pub async fn take_out(path: impl AsRef<Path>, what: Removal) -> Result<(), CatalogueError> {
        take_out_of(&Place::file(path), what).await
    }

    /// As [`take_out`](Self::take_out), of the database of a URL.
    ///
    /// # Errors
    /// Also invalid when it is no such URL; read-only when the role may not drop the objects.
    pub async fn take_out_at(url: &str, what: Removal) -> Result<(), CatalogueError> {
        take_out_of(&Place::parse(url)?, what).await
    }
}

async fn take_out_of(place: &Place, what: Removal) -> Result<(), CatalogueError> {
    let opened = Opened::at(place).await?;
    let steps = match opened.connection.dialect() {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => vec![super::sqlite::removal(what)],
        #[cfg(feature = "postgres")]
        Dialect::Postgres => vec![super::postgres::removal(what)],
        #[cfg(feature = "mysql")]
        Dialect::MySql => super::mysql::removal(what),
    };
    opened.run(steps).await
}

/// The columns of a table in a SQLite file, in its order: for [`AdoptedData::Columns`](super::AdoptedData::Columns).
///
/// Needs a tokio runtime.
///
/// # Errors
/// Not found when there is no such table; unavailable when the file cannot be opened.
pub async fn columns(path: impl AsRef<Path>, table: &str) -> Result<Vec<String>, CatalogueError> {
    columns_in(&Place::file(path), table).await
}

/// As [`columns`], in the database of a URL.
///
/// # Errors
/// Also invalid when it is no such URL.
pub async fn columns_at(url: &str, table: &str) -> Result<Vec<String>, CatalogueError> {
    columns_in(&Place::parse(url)?, table).await
}

async fn columns_in(place: &Place, table: &str) -> Result<Vec<String>, CatalogueError> {
    check_name("table", table)?;
    let mut opened = Opened::at(place).await?;
    let text = match opened.connection.dialect() {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => "SELECT name AS answer FROM pragma_table_info(?)",
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            "SELECT attname AS answer FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped
                 AND attrelid = to_regclass(quote_ident(?)) ORDER BY attnum"
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "SELECT column_name AS answer FROM information_schema.columns
                 WHERE table_schema = database() AND table_name = ? ORDER BY ordinal_position"
        }
    };
    let rows = opened.connection.fetch_all(sql(text).bind(table)).await;
    let columns: Vec<String> = rows
        .map_err(CatalogueError::from_sqlx)?
        .iter()
        .map(|row| row.text("answer").map(str::to_owned))
        .collect::<Result<_, _>>()
        .map_err(CatalogueError::from_sqlx)?;
    opened.close().await;
    if columns.is_empty() {
        return Err(CatalogueError::not_found(
            "there is no such table",
            format!("{place} has no table {table:?}"),
        ));
    }
    Ok(columns)
}

/// One connection to the application's database.
struct Opened {
    pool: Pool,
    connection: Connection,
}

impl Opened {
    async fn at(place: &Place) -> Result<Self, CatalogueError> {
        let pool = place.single_connection()?;
        let connection = pool
            .acquire()
            .await
            .map_err(|error| CatalogueError::unavailable(format!("{place} cannot be opened"), error))?;
        Ok(Self { pool, connection })
    }

    /// The texts open and commit transactions of their own. An error leaves one open, and closing rolls it back.
    async fn run(mut self, steps: Vec<String>) -> Result<(), CatalogueError> {
        self.connection.hold();
        let mut done = Ok(());
        for step in steps {
            // What was given is quoted and escaped in it; see `columns`.
            done = self.connection.run_made(step).await;
            if done.is_err() {
                break;
            }
        }
        self.close().await;
        done.map_err(explain)
    }

    async fn close(self) {
        drop(self.connection);
        self.pool.close().await;
    }
}

/// What a database says of names, types and rows, it says of the tables; the rest is its own.
fn explain(error: sqlx::Error) -> CatalogueError {
    let message = error
        .as_database_error()
        .filter(|cause| is_about_the_tables(*cause))
        .map(|cause| cause.message().to_owned());
    match message {
        Some(message) => CatalogueError::invalid(
            "the adoption does not fit the tables",
            format!("the adoption does not fit the tables, which are left as they were: {message}"),
        ),
        None => CatalogueError::from_sqlx(error),
    }
}

fn is_about_the_tables(cause: &dyn sqlx::error::DatabaseError) -> bool {
    #[cfg(feature = "sqlite")]
    if cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // `SQLITE_ERROR` and `SQLITE_CONSTRAINT`.
        let code = cause.code().and_then(|code| code.parse::<u32>().ok());
        return matches!(code.map(|code| code & 0xff), Some(1 | 19));
    }
    let code = cause.code().unwrap_or_default();
    // Of SQLSTATE: syntax and names, but not missing rights; wrong values; broken rules; wrong kind of object.
    code != "42501"
        && ["42", "22", "23", "HY"]
            .iter()
            .any(|class| code.starts_with(class))
}
