use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, sqlite::SqliteConnectOptions,
};

use super::{
    TransferError,
    engine::{LEDGERS, Manner, Transfers},
    incoming::Incoming,
    manifest::{Contents, DATABASE, TableEntry},
    outgoing::Outgoing,
    place::Place,
    progress::Progress,
};
use crate::isolation::{EngineKind, Identifier};

impl Transfers for Sqlite {
    fn only_existing(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.create_if_missing(false)
    }

    async fn has_ledger(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let look = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
        Ok(sqlx::raw_sql(look).fetch_optional(connection).await?.is_some())
    }

    async fn read_out(
        place: &Place<Self>,
        _: &mut SqliteConnection,
        outgoing: &Outgoing,
        progress: &mut Progress<'_>,
    ) -> Result<Contents, TransferError> {
        let path = outgoing.path(DATABASE);
        let path = text_of(&path)?;
        let mut connection = place.connect_app().await?;
        let _stop = StopOnDrop::of(&mut connection).await?;
        let copied = sqlx::query("VACUUM main INTO ?")
            .bind(path)
            .execute(&mut connection)
            .await;
        copied.map_err(|error| TransferError::server("copy the tenant's file", error))?;
        close(connection).await;

        // Counted in the copy: the file itself may have been written to since.
        let copy = SqliteConnectOptions::new().filename(path).read_only(true);
        let failed = |error| TransferError::server("read the copy", error);
        let mut copy = SqliteConnection::connect_with(&copy).await.map_err(failed)?;
        let _stop = StopOnDrop::of(&mut copy).await?;
        let mut contents = Contents::default();
        for table in tables(&mut copy, Part::Main).await? {
            let rows = count(&mut copy, Part::Main, &table).await?;
            tell(progress, &table.name, rows);
            contents.tables.push(TableEntry {
                schema: None,
                columns: table.columns,
                name: table.name,
                rows,
                file: None,
            });
        }
        close(copy).await;
        contents.database = Some(outgoing.sum_of(DATABASE).await?);
        Ok(contents)
    }

    async fn take_in(
        _: &Place<Self>,
        owner: &mut SqliteConnection,
        incoming: &Incoming,
        manner: &Manner,
        progress: &mut Progress<'_>,
    ) -> Result<(), TransferError> {
        let Some(entry) = &incoming.manifest.database else {
            return Err(TransferError::damaged("it has no database"));
        };
        let _stop = StopOnDrop::of(owner).await?;
        let path = incoming.path(entry);
        // The schema of the file is somebody else's: its functions are not trusted with anything.
        run(
            owner,
            "distrust the export",
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON".to_owned(),
        )
        .await?;
        let attached = sqlx::query("ATTACH ? AS incoming")
            .bind(text_of(&path)?)
            .execute(&mut *owner)
            .await;
        attached.map_err(|error| TransferError::server("open the export", error))?;
        run(
            owner,
            "begin the import",
            "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON".to_owned(),
        )
        .await?;
        let pairs = pairs(owner, incoming).await?;
        let triggers = silence_triggers(owner).await?;
        for (_, table) in &pairs {
            let name = table.quoted(Part::Main)?;
            if manner.replaces {
                run(owner, "empty the home's tables", format!("DELETE FROM {name}")).await?;
            } else if count(owner, Part::Main, table).await? > 0 {
                return Err(TransferError::not_empty(&table.name));
            }
        }
        for (entry, table) in &pairs {
            take_table(owner, entry, table, progress).await?;
        }
        copy_counters(owner, &pairs).await?;
        for trigger in triggers {
            run(owner, "make triggers again", trigger).await?;
        }
        run(owner, "commit the import", "COMMIT".to_owned()).await
    }
}

/// The home, or the export beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Main,
    Incoming,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Incoming => "incoming",
        }
    }
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
}

impl Table {
    fn quoted(&self, part: Part) -> Result<String, TransferError> {
        Ok(format!("{}.{}", part.name(), quoted(&self.name)?))
    }
}

/// Tables that hold rows themselves.
async fn tables(connection: &mut SqliteConnection, part: Part) -> Result<Vec<Table>, TransferError> {
    let failed = |error| TransferError::server("list tables", error);
    let list = "SELECT name, type FROM pragma_table_list WHERE schema = ? AND type <> 'view' \
                AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let rows = sqlx::query(list)
        .bind(part.name())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let mut tables = Vec::new();
    for row in &rows {
        let (name, kind): (String, String) =
            (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if LEDGERS.contains(&&*name) {
            continue;
        }
        if kind != "table" {
            return Err(TransferError::unsupported(format!(
                "the table {name:?} is a virtual one or belongs to one, which is neither exported nor imported: copy the \
                 file itself while nobody uses it"
            )));
        }
        let columns = "SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden = 0 ORDER BY cid";
        let columns = sqlx::query(columns)
            .bind(&name)
            .bind(part.name())
            .fetch_all(&mut *connection)
            .await;
        let columns = columns.map_err(failed)?;
        let columns = columns
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        tables.push(Table { name, columns });
    }
    Ok(tables)
}

/// What the home has must be what the export says that it has, and what it has.
async fn pairs<'a>(
    owner: &mut SqliteConnection,
    incoming: &'a Incoming,
) -> Result<Vec<(&'a TableEntry, Table)>, TransferError> {
    let home = tables(owner, Part::Main).await?;
    let there = tables(owner, Part::Incoming).await?;
    let entries = &incoming.manifest.tables;
    let mut pairs = Vec::new();
    for table in home {
        let other = |what: &str| {
            TransferError::mismatch(format!("the home's table {:?} {what} in the export", table.name))
        };
        let entry = entries
            .iter()
            .find(|entry| entry.schema.is_none() && entry.name == table.name);
        let found = there.iter().find(|found| found.name == table.name);
        let (Some(entry), Some(found)) = (entry, found) else {
            return Err(other("is not"));
        };
        let sorted = |columns: &[String]| {
            let mut columns = columns.to_vec();
            columns.sort_unstable();
            columns
        };
        let columns = sorted(&table.columns);
        if columns != sorted(&found.columns) || columns != sorted(&entry.columns) {
            return Err(other("has other columns"));
        }
        pairs.push((entry, table));
    }
    if pairs.len() != entries.len() || pairs.len() != there.len() {
        return Err(TransferError::mismatch(
            "the export has tables that the home has not",
        ));
    }
    Ok(pairs)
}

async fn take_table(
    owner: &mut SqliteConnection,
    entry: &TableEntry,
    table: &Table,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let columns = table
        .columns
        .iter()
        .map(|name| quoted(name))
        .collect::<Result<Vec<_>, _>>()?
        .join(", ");
    let (into, from) = (table.quoted(Part::Main)?, table.quoted(Part::Incoming)?);
    let copy = format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {from}");
    run(owner, &format!("take in the table {:?}", table.name), copy).await?;
    let rows = count(owner, Part::Main, table).await?;
    if rows != entry.rows {
        return Err(TransferError::damaged(format!(
            "the table {:?} has {rows} rows and not {}",
            table.name, entry.rows
        )));
    }
    tell(progress, &table.name, rows);
    Ok(())
}

/// What `AUTOINCREMENT` counts from, which may be more than there is in the table.
async fn copy_counters(
    owner: &mut SqliteConnection,
    pairs: &[(&TableEntry, Table)],
) -> Result<(), TransferError> {
    let doing = "copy what tables count from";
    let failed = |error| TransferError::server(doing, error);
    for part in [Part::Main, Part::Incoming] {
        let look = format!(
            "SELECT 1 FROM {}.sqlite_schema WHERE name = 'sqlite_sequence'",
            part.name()
        );
        let found = sqlx::raw_sql(AssertSqlSafe(look))
            .fetch_optional(&mut *owner)
            .await;
        if found.map_err(failed)?.is_none() {
            return Ok(());
        }
    }
    for (_, table) in pairs {
        let forget = sqlx::query(
            "DELETE FROM main.sqlite_sequence WHERE name = ? AND name IN (SELECT name FROM incoming.sqlite_sequence)",
        );
        forget
            .bind(&table.name)
            .execute(&mut *owner)
            .await
            .map_err(failed)?;
        let copy = sqlx::query(
            "INSERT INTO main.sqlite_sequence (name, seq) SELECT name, max(seq) FROM incoming.sqlite_sequence
             WHERE name = ? AND typeof(seq) = 'integer' GROUP BY name",
        );
        copy.bind(&table.name)
            .execute(&mut *owner)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Rows have all that triggers did when they were written first. Returns what makes them again, in the home's own words.
async fn silence_triggers(owner: &mut SqliteConnection) -> Result<Vec<String>, TransferError> {
    let failed = |error| TransferError::server("read the home's triggers", error);
    let triggers = "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY rowid";
    let rows = sqlx::raw_sql(triggers)
        .fetch_all(&mut *owner)
        .await
        .map_err(failed)?;
    let mut again = Vec::new();
    for row in &rows {
        let (name, sql): (String, String) =
            (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        run(
            owner,
            "drop triggers for a while",
            format!("DROP TRIGGER main.{}", quoted(&name)?),
        )
        .await?;
        again.push(sql);
    }
    Ok(again)
}

async fn count(connection: &mut SqliteConnection, part: Part, table: &Table) -> Result<u64, TransferError> {
    let failed = |error| TransferError::server(format!("count the table {:?}", table.name), error);
    let count = format!("SELECT count(*) FROM {}", table.quoted(part)?);
    let row = sqlx::raw_sql(AssertSqlSafe(count))
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let count: i64 = row.try_get(0).map_err(failed)?;
    Ok(count.unsigned_abs())
}

fn tell(progress: &mut Progress<'_>, table: &str, rows: u64) {
    let mut told = progress.of(table);
    told.add(rows, 0);
    told.done();
}

/// Ends the statement that runs when the future that waits for it is dropped: the thread of the connection would go on.
struct StopOnDrop(Arc<AtomicBool>);

/// Between two looks whether the statement shall go on.
const STEPS: i32 = 4_096;

impl StopOnDrop {
    async fn of(connection: &mut SqliteConnection) -> Result<Self, TransferError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let goes_on = Arc::clone(&stopped);
        let handle = connection.lock_handle().await;
        handle
            .map_err(|error| TransferError::server("begin", error))?
            .set_progress_handler(STEPS, move || !goes_on.load(Ordering::Relaxed));
        Ok(Self(stopped))
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection that had exported did not close well");
    }
}

async fn run(connection: &mut SqliteConnection, doing: &str, text: String) -> Result<(), TransferError> {
    let ran = sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await;
    ran.map(drop).map_err(|error| TransferError::server(doing, error))
}

fn text_of(path: &std::path::Path) -> Result<&str, TransferError> {
    path.to_str()
        .ok_or_else(|| TransferError::directory("the path of an export must be UTF-8".to_owned()))
}

fn quoted(name: &str) -> Result<String, TransferError> {
    let name = Identifier::new(name).map_err(|error| TransferError::unsupported(error.to_string()))?;
    Ok(name.quoted(EngineKind::Sqlite))
}
