//! Notes of tenants, in one SQLite file.
//!
//! Every function asks for the [`Tenant`] whose notes it touches: there is no way to name another one. The incarnation stands
//! beside the id, so that a tenant that is created anew under an old name sees nothing of the old one.

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;
use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tenancy::Tenant;

/// The notes of all tenants.
#[derive(Clone, Debug)]
pub struct Notes {
    pool: SqlitePool,
}

/// One note.
#[derive(Debug, Serialize)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub text: String,
}

/// The notes could not be read or written. The cause is for the log.
#[derive(Debug)]
pub struct NotesError(sqlx::Error);

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the notes could not be read or written")
    }
}

impl std::error::Error for NotesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<sqlx::Error> for NotesError {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl Notes {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// When it can not be opened or written.
    pub async fn open(path: &Path) -> Result<Self, NotesError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(3));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(3))
            .connect_with(options)
            .await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS notes (
                 id INTEGER PRIMARY KEY,
                 tenant_id TEXT NOT NULL,
                 incarnation INTEGER NOT NULL,
                 text TEXT NOT NULL
             )",
        )
        .execute(&pool)
        .await?;
        sqlx::query("CREATE INDEX IF NOT EXISTS notes_of_tenant ON notes (tenant_id, incarnation, id)")
            .execute(&pool)
            .await?;
        Ok(Self { pool })
    }

    /// The tenant's newest 100 notes, newest first.
    ///
    /// # Errors
    /// When they can not be read.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<Note>, NotesError> {
        let rows = sqlx::query(
            "SELECT id, text FROM notes WHERE tenant_id = ? AND incarnation = ? ORDER BY id DESC LIMIT 100",
        )
        .bind(tenant.id().as_str())
        .bind(incarnation_of(tenant))
        .fetch_all(&self.pool)
        .await?;
        let note = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Note {
                id: row.try_get("id")?,
                text: row.try_get("text")?,
            })
        };
        rows.iter().map(note).collect()
    }

    /// Adds a note to the tenant's.
    ///
    /// # Errors
    /// When it can not be written.
    pub async fn add(&self, tenant: &Tenant, text: &str) -> Result<Note, NotesError> {
        let row =
            sqlx::query("INSERT INTO notes (tenant_id, incarnation, text) VALUES (?, ?, ?) RETURNING id")
                .bind(tenant.id().as_str())
                .bind(incarnation_of(tenant))
                .bind(text)
                .fetch_one(&self.pool)
                .await?;
        Ok(Note {
            id: row.try_get("id")?,
            text: text.to_owned(),
        })
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn incarnation_of(tenant: &Tenant) -> i64 {
    i64::try_from(tenant.incarnation()).unwrap_or(i64::MAX)
}
