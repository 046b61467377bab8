//! What differs between databases for who runs SQL from a command line.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use futures_util::{Stream, TryStreamExt as _};
use serde::Serialize;
use sqlx::{Column as _, Database, Either, Row};
use tenancy_sqlx::{TenantEngine, database::ClientHome};

use super::clients::Client;

/// A database whose tenants the commands look after.
pub(crate) trait CliEngine: TenantEngine {
    /// What begins a transaction.
    fn begin_statement(is_read_only: bool) -> &'static str;

    /// Runs text that the operator wrote, and keeps at most so many rows of each answer.
    fn ask(
        connection: &mut Self::Connection,
        sql: String,
        most_rows: usize,
    ) -> impl Future<Output = Result<Vec<Answer>, sqlx::Error>> + Send;

    /// The program that people type SQL into.
    fn client(home: &ClientHome, is_read_only: bool) -> Result<Client, String>;

    /// What other programs are told in their environment, besides the URL; `None` where they can not be told to only read.
    fn environment(home: &ClientHome, is_read_only: bool) -> Option<Vec<(&'static str, String)>>;

    /// The URL that programs get.
    fn url(home: &ClientHome, _is_read_only: bool) -> String {
        home.url().to_owned()
    }
}

/// What one statement answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// None where there was no row to tell.
    pub(crate) columns: Vec<String>,
    /// As the database writes them; NULL is none.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// Rows that were left out.
    pub(crate) more_rows: u64,
    pub(crate) rows_affected: u64,
}

/// Cuts a stream of rows and ends of statements into answers.
async fn answers<DB: Database>(
    mut parts: impl Stream<Item = Result<Either<DB::QueryResult, DB::Row>, sqlx::Error>> + Unpin,
    most_rows: usize,
    text: fn(&DB::Row, usize) -> Result<Option<String>, sqlx::Error>,
    affected: fn(&DB::QueryResult) -> u64,
) -> Result<Vec<Answer>, sqlx::Error> {
    let mut answers = Vec::new();
    let mut answer = Answer::default();
    while let Some(part) = parts.try_next().await? {
        match part {
            Either::Left(end) => {
                answer.rows_affected = affected(&end);
                answers.push(std::mem::take(&mut answer));
            }
            Either::Right(_) if answer.rows.len() >= most_rows => answer.more_rows += 1,
            Either::Right(row) => {
                if answer.columns.is_empty() {
                    answer.columns = row
                        .columns()
                        .iter()
                        .map(|column| column.name().to_owned())
                        .collect();
                }
                let values = (0..row.len()).map(|index| text(&row, index));
                answer.rows.push(values.collect::<Result<_, _>>()?);
            }
        }
    }
    Ok(answers)
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}
