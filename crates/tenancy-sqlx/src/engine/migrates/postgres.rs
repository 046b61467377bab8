use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row};

use super::{Fault, Grammar, Migrates, fault_of_connection};
use crate::isolation::{EngineKind, Identifier};

impl Migrates for Postgres {
    const GRAMMAR: Grammar = Grammar { is_mysql: false };
    const IS_ATOMIC: bool = true;
    const IS_ONE_FILE: bool = false;

    async fn point(connection: &mut PgConnection, search_path: &[Identifier]) -> Result<bool, sqlx::Error> {
        let mut settings = "SET client_min_messages TO warning; SET statement_timeout = 0".to_owned();
        if let Some(schema) = search_path.first() {
            // Of several schemas, what is created goes into the first one that is there.
            let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(schema.as_str());
            if there.fetch_optional(&mut *connection).await?.is_none() {
                return Ok(false);
            }
            let names: Vec<_> = search_path.iter().map(quoted).collect();
            settings += &format!("; SET search_path TO {}", names.join(", "));
        }
        Self::run_made(connection, settings).await?;
        notice_a_dead_client(connection).await;
        Ok(true)
    }

    async fn limit_lock_waits(
        connection: &mut PgConnection,
        limit: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        let wait_ms = limit.map_or(0, |limit| limit.as_millis().clamp(1, 2_147_483_647));
        Self::run_made(connection, format!("SET lock_timeout = {wait_ms}")).await
    }

    /// Never waits: a statement that waits for an advisory lock keeps every `CREATE INDEX CONCURRENTLY` of the database
    /// waiting.
    async fn try_lock(
        connection: &mut PgConnection,
        search_path: &[Identifier],
    ) -> Result<bool, sqlx::Error> {
        let schema = search_path.first().map_or("", Identifier::as_str);
        sqlx::query("SELECT pg_try_advisory_lock(hashtext('tenancy migrations'), hashtext($1))")
            .bind(schema)
            .fetch_one(connection)
            .await?
            .try_get(0)
    }

    async fn run_made(connection: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
        let text = sqlx::raw_sql(AssertSqlSafe(text));
        text.execute(connection).await.map(drop)
    }

    async fn ask_made(connection: &mut PgConnection, text: String) -> Result<Vec<String>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// `CREATE INDEX CONCURRENTLY` leaves an index that is not valid, which keeps the name and is never used.
    async fn clear_after(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
        if !statement.to_ascii_lowercase().contains("concurrently") {
            return Ok(());
        }
        let broken = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                      WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace";
        for index in Self::ask_made(connection, broken.into()).await? {
            if names(statement, &index) {
                let name = Identifier::new(&index).map_err(|error| sqlx::Error::Decode(error.into()))?;
                let name = quoted(&name);
                Self::run_made(connection, format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
            }
        }
        Ok(())
    }

    fn fault_of(error: &sqlx::Error) -> Fault {
        let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
            return fault_of_connection(error);
        };
        match &*code {
            // Serialisation, deadlock, lock not available; no room; shutting down or starting.
            "40001" | "40P01" | "55P03" | "53300" | "57P01" | "57P02" | "57P03" => Fault::Passing,
            // Duplicate table (and index), column, object, function, schema.
            "42P07" | "42701" | "42710" | "42723" | "42P06" => Fault::DoneBefore,
            "3D000" => Fault::Missing,
            _ => Fault::Other,
        }
    }
}

/// The statement of a process that was killed, and with it the tenant's lock, ends within a second. Servers before 14, and
/// on systems that can not tell, go on to the end of the statement.
async fn notice_a_dead_client(connection: &mut PgConnection) {
    let check = "SELECT set_config(name, '1000', false) FROM pg_settings
                 WHERE name = 'client_connection_check_interval'";
    if let Err(error) = sqlx::raw_sql(check).execute(connection).await {
        tracing::debug!(%error, "the server does not notice when a client is gone");
    }
}

fn quoted(name: &Identifier) -> String {
    name.quoted(EngineKind::Postgres)
}

/// Whether a name stands in a text as a word of its own.
fn names(statement: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    let (text, name) = (statement.to_lowercase(), name.to_lowercase());
    text.match_indices(&name)
        .any(|(at, found)| !text[..at].ends_with(is_part) && !text[at + found.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_word() {
        let statement = "CREATE INDEX CONCURRENTLY Notes_Text ON notes (text)";
        for (name, found) in [
            ("notes_text", true),
            ("notes", true),
            ("text", true),
            ("note", false),
        ] {
            assert_eq!(names(statement, name), found, "{name}");
        }
        assert!(names(
            "CREATE INDEX CONCURRENTLY \"odd name\" ON x (y)",
            "odd name"
        ));
    }
}
