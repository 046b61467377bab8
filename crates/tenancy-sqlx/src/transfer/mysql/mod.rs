mod import;
mod lines;
mod tables;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row as _};

use self::tables::Table;
use super::{
    TransferError,
    engine::{Manner, Transfers},
    incoming::Incoming,
    manifest::{Contents, SequenceEntry, TableEntry, file_of_table},
    outgoing::Outgoing,
    place::Place,
    progress::Progress,
};
use crate::engine::Options;

impl Transfers for MySql {
    fn only_existing(options: Options<Self>) -> Options<Self> {
        options
    }

    async fn has_ledger(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let look = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                    AND TABLE_NAME = '_sqlx_migrations'";
        Ok(sqlx::raw_sql(look).fetch_optional(connection).await?.is_some())
    }

    async fn read_out(
        place: &Place<Self>,
        _: &mut MySqlConnection,
        outgoing: &Outgoing,
        progress: &mut Progress<'_>,
    ) -> Result<Contents, TransferError> {
        let mut connection = place.connect_app().await?;
        let begin = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET SESSION time_zone = '+00:00'; \
                     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
        run(&mut connection, "begin the export", begin.to_owned()).await?;
        let mut contents = Contents::default();
        for (number, table) in tables::tables(&mut connection).await?.iter().enumerate() {
            let name = file_of_table(number);
            contents
                .tables
                .push(read_table(&mut connection, table, outgoing, name, progress).await?);
            contents.sequences.extend(table.next.map(|value| SequenceEntry {
                schema: None,
                name: table.name.clone(),
                value,
            }));
        }
        run(&mut connection, "end the export", "ROLLBACK".to_owned()).await?;
        Ok(contents)
    }

    async fn take_in(
        _: &Place<Self>,
        owner: &mut MySqlConnection,
        incoming: &Incoming,
        manner: &Manner,
        progress: &mut Progress<'_>,
    ) -> Result<(), TransferError> {
        import::tables(owner, incoming, manner, progress).await
    }
}

async fn read_table(
    connection: &mut MySqlConnection,
    table: &Table,
    outgoing: &Outgoing,
    name: String,
    progress: &mut Progress<'_>,
) -> Result<TableEntry, TransferError> {
    let failed = |error| TransferError::server(format!("read the table {:?}", table.name), error);
    let mut file = outgoing.file(name)?;
    let mut told = progress.of(&table.name);
    let values: Vec<_> = table.columns.iter().map(tables::Column::read).collect();
    let select = format!("SELECT {} FROM {}", values.join(", "), table.quoted);
    let mut rows = sqlx::raw_sql(AssertSqlSafe(select)).fetch(connection);
    let mut line = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        line.clear();
        for number in 0..table.columns.len() {
            if number > 0 {
                line.push(b'\t');
            }
            lines::push_value(&mut line, row.try_get_unchecked(number).map_err(failed)?);
        }
        line.push(b'\n');
        file.write(&line).await?;
        told.add(1, line.len() as u64);
    }
    Ok(TableEntry {
        schema: None,
        name: table.name.clone(),
        columns: table.columns.iter().map(|column| column.name.clone()).collect(),
        rows: told.done(),
        file: Some(file.finish().await?),
    })
}

/// Runs text that was made of quoted names and numbers.
async fn run(connection: &mut MySqlConnection, doing: &str, text: String) -> Result<(), TransferError> {
    let ran = sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await;
    ran.map(drop).map_err(|error| TransferError::server(doing, error))
}
