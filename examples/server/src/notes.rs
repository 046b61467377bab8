//! Notes of a tenant, in its own database, schema, rows or file.
//!
//! No statement here names a tenant: the connection is the tenant's own, and leads nowhere else.

use std::future::Future;

use serde::{Deserialize, Serialize};
use sqlx::{
    MySql, MySqlConnection, PgConnection, Postgres, SqlSafeStr as _, Sqlite, SqliteConnection,
    error::DatabaseError,
    migrate::{Migration, MigrationType, Migrator},
};
use tenancy_sqlx::{TenantEngine, migrate::Migrations};

/// One note.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub text: String,
}

/// What the notes are kept by: what differs between databases.
pub trait NotesDatabase: TenantEngine {
    /// What makes the table of a tenant, or that of all tenants.
    fn migrations(tables: Tables) -> Migrations;

    /// The newest 100 notes, newest first.
    fn list(connection: &mut Self::Connection)
    -> impl Future<Output = Result<Vec<Note>, sqlx::Error>> + Send;

    /// Adds a note, and returns its number.
    fn add(
        connection: &mut Self::Connection,
        text: &str,
    ) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;

    /// Whether the database answered that there is no such table.
    fn is_no_table(error: &dyn DatabaseError) -> bool;
}

/// Whose the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Each tenant has its own.
    OfEach,
    /// All tenants share them, behind policies.
    Shared,
}

fn migrations(notes: &'static str) -> Migrations {
    let kind = MigrationType::Simple;
    let notes = Migration::new(1, "notes".into(), kind, notes.into_sql_str(), false);
    Migrations::new(&Migrator::with_migrations(vec![notes]))
}

const NEWEST: &str = "SELECT id, text FROM notes ORDER BY id DESC LIMIT 100";

fn note((id, text): (i64, String)) -> Note {
    Note { id, text }
}

impl NotesDatabase for Postgres {
    fn migrations(tables: Tables) -> Migrations {
        migrations(match tables {
            Tables::OfEach => include_str!("../migrations/postgres/1_notes.sql"),
            Tables::Shared => include_str!("../migrations/rows/1_notes.sql"),
        })
    }

    async fn list(connection: &mut PgConnection) -> Result<Vec<Note>, sqlx::Error> {
        let rows = sqlx::query_as(NEWEST).fetch_all(connection).await?;
        Ok(rows.into_iter().map(note).collect())
    }

    fn is_no_table(error: &dyn DatabaseError) -> bool {
        error.code().as_deref() == Some("42P01")
    }

    async fn add(connection: &mut PgConnection, text: &str) -> Result<i64, sqlx::Error> {
        let insert = sqlx::query_scalar("INSERT INTO notes (text) VALUES ($1) RETURNING id");
        insert.bind(text).fetch_one(connection).await
    }
}

impl NotesDatabase for MySql {
    fn migrations(_: Tables) -> Migrations {
        migrations(include_str!("../migrations/mysql/1_notes.sql"))
    }

    async fn list(connection: &mut MySqlConnection) -> Result<Vec<Note>, sqlx::Error> {
        let rows = sqlx::query_as(NEWEST).fetch_all(connection).await?;
        Ok(rows.into_iter().map(note).collect())
    }

    fn is_no_table(error: &dyn DatabaseError) -> bool {
        error.code().as_deref() == Some("42S02")
    }

    async fn add(connection: &mut MySqlConnection, text: &str) -> Result<i64, sqlx::Error> {
        // MySQL, unlike MariaDB, has no `RETURNING`.
        let insert = sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(text);
        Ok(insert.execute(connection).await?.last_insert_id().cast_signed())
    }
}

impl NotesDatabase for Sqlite {
    fn migrations(_: Tables) -> Migrations {
        migrations(include_str!("../migrations/sqlite/1_notes.sql"))
    }

    async fn list(connection: &mut SqliteConnection) -> Result<Vec<Note>, sqlx::Error> {
        let rows = sqlx::query_as(NEWEST).fetch_all(connection).await?;
        Ok(rows.into_iter().map(note).collect())
    }

    fn is_no_table(error: &dyn DatabaseError) -> bool {
        // It has no code of its own.
        error.message().starts_with("no such table")
    }

    async fn add(connection: &mut SqliteConnection, text: &str) -> Result<i64, sqlx::Error> {
        let insert = sqlx::query_scalar("INSERT INTO notes (text) VALUES (?) RETURNING id");
        insert.bind(text).fetch_one(connection).await
    }
}
