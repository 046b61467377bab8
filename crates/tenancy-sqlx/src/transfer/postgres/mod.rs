mod import;
mod sequences;
mod tables;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};

use self::tables::{Scope, Table};
use super::{
    TransferError,
    engine::{Manner, Transfers},
    incoming::Incoming,
    manifest::{Contents, TableEntry, file_of_table},
    outgoing::Outgoing,
    place::Place,
    progress::{Progress, rows_in},
};
use crate::{
    engine::{Engine, Options},
    pool::target::Session,
};

/// What texts of values depend on. Nothing waits for ever but the copy itself.
const TEXTS: &str = "SET LOCAL DateStyle TO ISO, YMD; SET LOCAL IntervalStyle TO postgres; SET LOCAL TimeZone TO 'UTC'; \
                     SET LOCAL extra_float_digits TO 1; SET LOCAL bytea_output TO hex; SET LOCAL lc_monetary TO 'C'; \
                     SET LOCAL client_encoding TO 'UTF8'; SET LOCAL statement_timeout TO 0; \
                     SET LOCAL idle_in_transaction_session_timeout TO 0";

impl Transfers for Postgres {
    fn only_existing(options: Options<Self>) -> Options<Self> {
        options
    }

    async fn has_ledger(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let look = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
        sqlx::query(look).fetch_one(connection).await?.try_get(0)
    }

    async fn read_out(
        place: &Place<Self>,
        owner: &mut PgConnection,
        outgoing: &Outgoing,
        progress: &mut Progress<'_>,
    ) -> Result<Contents, TransferError> {
        let mut connection = place.connect_app().await?;
        begin_export(&mut connection, place).await?;
        let mut contents = Contents::default();
        for (number, table) in tables::tables(&mut connection, place.scope())
            .await?
            .iter()
            .enumerate()
        {
            let name = file_of_table(number);
            contents
                .tables
                .push(copy_out(&mut connection, table, outgoing, name, progress).await?);
        }
        // What was set for the session is taken back with it, should a pooler hand it on.
        let ended = Self::run(&mut connection, "ROLLBACK".to_owned()).await;
        ended.map_err(|error| TransferError::server("end the export", error))?;
        if !place.is_shared() {
            // Later than the rows: a sequence is never behind them.
            contents.sequences = sequences::values(owner, place.scope()).await?;
        }
        Ok(contents)
    }

    async fn take_in(
        place: &Place<Self>,
        owner: &mut PgConnection,
        incoming: &Incoming,
        manner: &Manner,
        progress: &mut Progress<'_>,
    ) -> Result<(), TransferError> {
        if place.is_shared() {
            import::rows(place, owner, incoming, manner, progress).await
        } else {
            import::tables(place, owner, incoming, manner, progress).await
        }
    }
}

impl Place<Postgres> {
    fn scope(&self) -> Scope {
        match self.session {
            Session::Own => Scope::Database,
            Session::SearchPath { .. } => Scope::Schema,
            Session::Setting { .. } | Session::Guarded(_) => Scope::Policies,
        }
    }
}

async fn begin_export(connection: &mut PgConnection, place: &Place<Postgres>) -> Result<(), TransferError> {
    // Where tables are the tenant's own, policies would hide some of its rows: the server refuses that, then.
    let policies = if place.is_shared() { "on" } else { "off" };
    let mut begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {TEXTS}; SET LOCAL row_security TO {policies}"
    );
    if let Some(enter) = Postgres::enter(&place.session) {
        begin = format!("{begin}; {enter}");
    }
    let begun = Postgres::run(connection, begin).await;
    begun.map_err(|error| TransferError::server("begin the export", error))
}

async fn copy_out(
    connection: &mut PgConnection,
    table: &Table,
    outgoing: &Outgoing,
    name: String,
    progress: &mut Progress<'_>,
) -> Result<TableEntry, TransferError> {
    let label = table.label();
    let failed = |error| TransferError::server(format!("read the table {label:?}"), error);
    let mut file = outgoing.file(name)?;
    let mut told = progress.of(&label);
    let mut copy = connection.copy_out_raw(&table.copy_out()).await.map_err(failed)?;
    while let Some(piece) = copy.try_next().await.map_err(failed)? {
        file.write(&piece).await?;
        told.add(rows_in(&piece), piece.len() as u64);
    }
    Ok(TableEntry {
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        rows: told.done(),
        file: Some(file.finish().await?),
    })
}

/// Runs text that was made of quoted names, numbers and ids.
async fn run(connection: &mut PgConnection, doing: &str, text: String) -> Result<u64, TransferError> {
    let ran = sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await;
    Ok(ran
        .map_err(|error| TransferError::server(doing, error))?
        .rows_affected())
}

/// The answer to a yes-or-no question that was made like that.
async fn holds(connection: &mut PgConnection, doing: &str, text: String) -> Result<bool, TransferError> {
    let failed = |error| TransferError::server(doing, error);
    let row = sqlx::raw_sql(AssertSqlSafe(text))
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    row.try_get(0).map_err(failed)
}
