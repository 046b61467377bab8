use sqlx::{ConnectOptions, Connection, MySql, MySqlConnection};

use super::{
    super::{Engine, Migrates, Plot, mysql::number_of},
    FENCE, FenceError, Fences, Patience, REFUSAL, WRITES, name_of,
};
use crate::isolation::{EngineKind, Identifier};

/// Seconds. Longer, and those who come after it wait for too long behind it.
const WAIT: &str = "SET SESSION lock_wait_timeout = 1";

const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                      AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1";

impl Fences for MySql {
    async fn hindrance(plot: &Plot<'_, Self>) -> Result<Option<&'static str>, sqlx::Error> {
        let sequences = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                         AND TABLE_TYPE = 'SEQUENCE' LIMIT 1";
        let triggers =
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() LIMIT 1";
        let mut inside = inside(plot).await?;
        let mut found = None;
        for (question, what) in [
            (
                sequences,
                "it has sequences beside its tables, which are not copied",
            ),
            (
                triggers,
                "it has triggers, which would run again where its rows are copied to",
            ),
        ] {
            if !Self::ask_made(&mut inside, question.to_owned()).await?.is_empty() {
                found = Some(what);
            }
        }
        inside.close().await?;
        Ok(found)
    }

    /// One table after the other: a transaction that meets the fence can not commit what it wrote to others.
    async fn fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        // Of an earlier fence, for what were other tables perhaps.
        drop_all(&mut inside, patience).await?;
        let tables = Self::ask_made(&mut inside, TABLES.to_owned()).await?;
        for (number, table) in tables.iter().enumerate() {
            for write in WRITES {
                let create = format!(
                    "CREATE TRIGGER {} BEFORE {write} ON {} FOR EACH ROW \
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{REFUSAL}'",
                    name_of(number, write),
                    quoted(table)?
                );
                between_others(&mut inside, create, patience).await?;
            }
        }
        Ok(inside.close().await?)
    }

    async fn lift_fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        drop_all(&mut inside, patience).await?;
        Ok(inside.close().await?)
    }
}

async fn inside(plot: &Plot<'_, MySql>) -> Result<MySqlConnection, sqlx::Error> {
    let mut inside = MySql::at(plot.owner, plot.target.database_name())
        .connect()
        .await?;
    MySql::run(&mut inside, WAIT.to_owned()).await?;
    Ok(inside)
}

async fn drop_all(inside: &mut MySqlConnection, patience: Patience) -> Result<(), FenceError> {
    let there = format!(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() \
         AND TRIGGER_NAME LIKE '{}\\_%' ORDER BY 1",
        FENCE.replace('_', "\\_")
    );
    for name in MySql::ask_made(inside, there).await? {
        let drop = format!("DROP TRIGGER IF EXISTS {}", quoted(&name)?);
        between_others(inside, drop, patience).await?;
    }
    Ok(())
}

/// Waits for transactions that use the table, of those who read, too.
async fn between_others(
    inside: &mut MySqlConnection,
    text: String,
    patience: Patience,
) -> Result<(), FenceError> {
    loop {
        match MySql::run(inside, text.clone()).await {
            // Lock wait timeout, deadlock.
            Err(error) if matches!(number_of(&error), Some(1205 | 1213)) => {
                if !patience.again().await {
                    return Err(FenceError::InUse(error));
                }
            }
            done => return Ok(done?),
        }
    }
}

fn quoted(name: &str) -> Result<String, sqlx::Error> {
    let name = Identifier::new(name).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    Ok(name.quoted(EngineKind::MySql))
}
