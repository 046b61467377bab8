use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection};

use super::{
    super::{Engine, Migrates, Plot, code_of},
    FENCE, FenceError, Fences, Patience, REFUSAL, WRITES, name_of,
};
use crate::isolation::{EngineKind, Identifier};

/// Of one try: whoever asks for long gets no more.
const WAIT: Duration = Duration::from_secs(1);

const TABLES: &str = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                      AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";

impl Fences for Sqlite {
    async fn hindrance(plot: &Plot<'_, Self>) -> Result<Option<&'static str>, sqlx::Error> {
        let virtual_tables =
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual' LIMIT 1";
        let mut inside = inside(plot).await?;
        let found = Self::ask_made(&mut inside, virtual_tables.to_owned()).await?;
        inside.close().await?;
        Ok((!found.is_empty()).then_some("it has virtual tables, which are not copied"))
    }

    /// Other processes that have the file open see the change of the schema with their next statement, and a file that is
    /// removed under them keeps its fence.
    async fn fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        between_others(&mut inside, "BEGIN IMMEDIATE", patience).await?;
        // Of an earlier fence, for what were other tables perhaps.
        let mut text = drops(&mut inside).await?;
        for (number, table) in Self::ask_made(&mut inside, TABLES.to_owned())
            .await?
            .iter()
            .enumerate()
        {
            for write in WRITES {
                text += &format!(
                    "CREATE TRIGGER {} BEFORE {write} ON {} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END; ",
                    name_of(number, write),
                    quoted(table)?
                );
            }
        }
        commit(inside, text, patience).await
    }

    async fn lift_fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        between_others(&mut inside, "BEGIN IMMEDIATE", patience).await?;
        let text = drops(&mut inside).await?;
        commit(inside, text, patience).await
    }
}

async fn inside(plot: &Plot<'_, Sqlite>) -> Result<SqliteConnection, sqlx::Error> {
    Sqlite::at(plot.owner, plot.target.database_name())
        .create_if_missing(false)
        .busy_timeout(WAIT)
        .connect()
        .await
}

/// Waits for the one who writes, and where there is no log beside the file, at the end for those who read.
async fn between_others(
    inside: &mut SqliteConnection,
    text: &str,
    patience: Patience,
) -> Result<(), FenceError> {
    loop {
        match Sqlite::run(inside, text.to_owned()).await {
            Err(error) if is_busy(&error) => {
                if !patience.again().await {
                    return Err(FenceError::InUse(error));
                }
            }
            done => return Ok(done?),
        }
    }
}

async fn commit(mut inside: SqliteConnection, text: String, patience: Patience) -> Result<(), FenceError> {
    Sqlite::run(&mut inside, text).await?;
    between_others(&mut inside, "COMMIT", patience).await?;
    Ok(inside.close().await?)
}

/// What takes the fence away that is there.
async fn drops(inside: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    let there = format!(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '{}\\_%' ESCAPE '\\'",
        FENCE.replace('_', "\\_")
    );
    let mut text = String::new();
    for name in Sqlite::ask_made(inside, there).await? {
        text += &format!("DROP TRIGGER {}; ", quoted(&name)?);
    }
    Ok(text)
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = code_of(error).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

fn quoted(name: &str) -> Result<String, sqlx::Error> {
    let name = Identifier::new(name).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    Ok(name.quoted(EngineKind::Sqlite))
}
