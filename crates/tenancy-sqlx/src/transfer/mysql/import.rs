use sqlx::{Arguments as _, AssertSqlSafe, MySqlConnection, mysql::MySqlArguments};

use super::{
    super::{TransferError, engine::Manner, incoming::Incoming, manifest::TableEntry, progress::Progress},
    lines::{Lines, values_of},
    run,
    tables::{self, Table, ask, check_references, pair, text},
};

/// Rows of one statement, unless they have so many columns that the server would not take it.
const ROWS: usize = 500;
const VALUES: usize = 60_000;
/// Bytes of one statement, unless one row has more. Servers take 16 MiB unless set otherwise.
const BYTES: usize = 1024 * 1024;

/// References are looked at when all rows are there: the server has no other way to take in a table that refers to itself.
pub(super) async fn tables(
    owner: &mut MySqlConnection,
    incoming: &Incoming,
    manner: &Manner,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let begin = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'; \
                 SET SESSION time_zone = '+00:00'; SET SESSION foreign_key_checks = 0; START TRANSACTION";
    run(owner, "begin the import", begin.to_owned()).await?;
    let manifest = &incoming.manifest;
    let pairs = pair(&manifest.tables, tables::tables(owner).await?)?;
    for (entry, table) in &pairs {
        if manner.replaces {
            run(
                owner,
                "empty the home's tables",
                format!("DELETE FROM {}", table.quoted),
            )
            .await?;
        } else if count(owner, table).await? > 0 {
            return Err(TransferError::not_empty(&entry.label()));
        }
    }
    for (entry, table) in &pairs {
        take_table(owner, entry, table, incoming, progress).await?;
    }
    check_references(owner).await?;
    for (entry, table) in &pairs {
        let found = count(owner, table).await?;
        if found != entry.rows {
            return Err(TransferError::mismatch(format!(
                "the table {:?} has {found} rows after the import and not {}: a trigger of the home may have made or \
                 dropped some",
                entry.name, entry.rows
            )));
        }
    }
    run(owner, "commit the import", "COMMIT".to_owned()).await?;
    for (_, table) in &pairs {
        let next = manifest
            .sequences
            .iter()
            .find(|sequence| sequence.name == table.name);
        if let Some(next) = next.filter(|next| table.next.is_some() && next.value > 1) {
            // It ends a transaction, so that it comes after it. The server never counts back behind the rows there.
            let set = format!("ALTER TABLE {} AUTO_INCREMENT = {}", table.quoted, next.value);
            run(
                owner,
                "set what a table counts from, after all rows were taken in",
                set,
            )
            .await?;
        }
    }
    Ok(())
}

async fn count(owner: &mut MySqlConnection, table: &Table) -> Result<u64, TransferError> {
    const DOING: &str = "count the home's rows";
    let failed = |error| TransferError::server(DOING, error);
    let rows = ask(
        owner,
        DOING,
        format!("SELECT CAST(count(*) AS CHAR) FROM {}", table.quoted),
    )
    .await?;
    let row = rows.first().ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
    let count = text(row, 0).map_err(failed)?;
    count
        .parse()
        .map_err(|error| failed(sqlx::Error::Decode(Box::new(error))))
}

async fn take_table(
    owner: &mut MySqlConnection,
    entry: &TableEntry,
    table: &Table,
    incoming: &Incoming,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let Some(file) = &entry.file else {
        return Err(TransferError::damaged(format!(
            "the table {:?} has no file",
            entry.name
        )));
    };
    let longest = file.bytes;
    let mut lines = Lines::of(incoming.file(file).await?);
    let mut told = progress.of(&entry.name);
    let mut batch = Batch::of(table);
    let mut line = Vec::new();
    while lines.next(&mut line, longest).await? {
        batch.add(entry, &line)?;
        told.add(1, line.len() as u64 + 1);
        if batch.is_full() {
            batch.insert(owner).await?;
        }
    }
    if batch.rows > 0 {
        batch.insert(owner).await?;
    }
    lines.finish()?;
    told.done();
    Ok(())
}

/// Rows that go with one statement.
struct Batch<'a> {
    table: &'a Table,
    most: usize,
    arguments: MySqlArguments,
    rows: usize,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn of(table: &'a Table) -> Self {
        Self {
            table,
            most: (VALUES / table.columns.len().max(1)).clamp(1, ROWS),
            arguments: MySqlArguments::default(),
            rows: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, entry: &TableEntry, line: &[u8]) -> Result<(), TransferError> {
        let damaged = || TransferError::damaged(format!("a row of the table {:?} is none", entry.name));
        let values = values_of(line)
            .filter(|values| values.len() == self.table.columns.len())
            .ok_or_else(damaged)?;
        for (value, column) in values.into_iter().zip(&self.table.columns) {
            if value.as_ref().is_some_and(|value| !column.takes(value)) {
                return Err(damaged());
            }
            self.arguments.add(value).map_err(|_| damaged())?;
        }
        self.rows += 1;
        self.bytes += line.len();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= self.most || self.bytes >= BYTES
    }

    async fn insert(&mut self, owner: &mut MySqlConnection) -> Result<(), TransferError> {
        let values: Vec<_> = self.table.columns.iter().map(tables::Column::write).collect();
        let row = format!("({})", values.join(", "));
        let rows = vec![&*row; self.rows].join(", ");
        let (table, columns) = (&self.table.quoted, self.table.column_list());
        let insert = format!("INSERT INTO {table} ({columns}) VALUES {rows}");
        let arguments = std::mem::take(&mut self.arguments);
        // Most batches are full ones of the same text; others are not worth remembering.
        let is_common = self.rows == self.most;
        (self.rows, self.bytes) = (0, 0);
        let insert = sqlx::query_with(AssertSqlSafe(insert), arguments)
            .persistent(is_common)
            .execute(owner)
            .await;
        let failed = |error| TransferError::server(format!("take in the table {:?}", self.table.name), error);
        insert.map(drop).map_err(failed)
    }
}
