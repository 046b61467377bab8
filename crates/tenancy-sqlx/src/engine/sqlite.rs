use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, Row, Sqlite, SqliteConnection,
    error::BoxDynError,
    query::Query,
    sqlite::{SqliteArguments, SqliteQueryResult, SqliteRow, SqliteTransactionManager},
};
use sqlx_core::transaction::TransactionManager;

use super::{Access, Cleaned, Engine, Options};
use crate::{
    audit::{self, Seen},
    isolation::{Audited, EngineKind},
    pool::{breaker::FaultKind, target::Session},
};

/// Between two looks whether the statement shall go on. Some tens of microseconds.
const STEPS: i32 = 4_096;

/// What a connection was when nobody had used it, and the switch that ends its statement.
#[derive(Debug)]
pub struct Handle {
    state: String,
    interrupted: Arc<AtomicBool>,
}

/// Files, temporary objects and settings of a connection, as one text.
const STATE: &str = "\
    (SELECT group_concat(name || '=' || file, ';') FROM pragma_database_list) \
    || '|' || (SELECT count(*) FROM sqlite_temp_master) \
    || '|' || (SELECT foreign_keys FROM pragma_foreign_keys) \
    || '|' || (SELECT query_only FROM pragma_query_only) \
    || '|' || (SELECT ignore_check_constraints FROM pragma_ignore_check_constraints) \
    || '|' || (SELECT recursive_triggers FROM pragma_recursive_triggers) \
    || '|' || (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys) \
    || '|' || (SELECT read_uncommitted FROM pragma_read_uncommitted) \
    || '|' || (SELECT reverse_unordered_selects FROM pragma_reverse_unordered_selects) \
    || '|' || (SELECT synchronous FROM pragma_synchronous) \
    || '|' || (SELECT journal_mode FROM pragma_journal_mode) \
    || '|' || (SELECT locking_mode FROM pragma_locking_mode) \
    || '|' || (SELECT temp_store FROM pragma_temp_store) \
    || '|' || (SELECT cache_size FROM pragma_cache_size) \
    || '|' || (SELECT timeout FROM pragma_busy_timeout) \
    || '|' || (SELECT trusted_schema FROM pragma_trusted_schema) \
    || '|' || (SELECT legacy_alter_table FROM pragma_legacy_alter_table) \
    || '|' || (SELECT writable_schema FROM pragma_writable_schema) \
    || '|' || (SELECT automatic_index FROM pragma_automatic_index) \
    || '|' || (SELECT secure_delete FROM pragma_secure_delete) \
    || '|' || (SELECT max_page_count FROM pragma_max_page_count) \
    || '|' || (SELECT full_column_names FROM pragma_full_column_names) \
    || '|' || (SELECT short_column_names FROM pragma_short_column_names) \
    || '|' || (SELECT empty_result_callbacks FROM pragma_empty_result_callbacks) \
    || '|' || (SELECT count_changes FROM pragma_count_changes) \
    || '|' || (SELECT journal_size_limit FROM pragma_journal_size_limit) \
    || '|' || (SELECT cell_size_check FROM pragma_cell_size_check) \
    || '|' || ('a' LIKE 'A')";

impl Engine for Sqlite {
    type Session = Handle;

    const KIND: EngineKind = EngineKind::Sqlite;
    const CANCELS_BY_CONTROL: bool = false;

    fn at(options: &Options<Self>, database: &str) -> Options<Self> {
        options.clone().filename(Path::new(database))
    }

    fn home(options: &Options<Self>) -> String {
        options.get_filename().to_string_lossy().into_owned()
    }

    fn pooled(options: Options<Self>) -> Options<Self> {
        options
    }

    fn begin(_: &Session, _: Access) -> Option<String> {
        None
    }

    fn enter(_: &Session) -> Option<String> {
        None
    }

    fn is_stale(_: &sqlx::Error) -> bool {
        // SQLite prepares anew by itself.
        false
    }

    async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    fn bind_text(arguments: &mut SqliteArguments, text: &str) -> Result<(), BoxDynError> {
        arguments.add(text.to_owned())
    }

    fn rows_affected(done: &SqliteQueryResult) -> u64 {
        done.rows_affected()
    }

    fn text_of(row: &SqliteRow, column: usize) -> Result<String, sqlx::Error> {
        row.try_get(column)
    }

    async fn execute(
        connection: &mut SqliteConnection,
        query: Query<'_, Self, SqliteArguments>,
    ) -> Result<SqliteQueryResult, sqlx::Error> {
        query.execute(connection).await
    }

    async fn fetch_all(
        connection: &mut SqliteConnection,
        query: Query<'_, Self, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        query.fetch_all(connection).await
    }

    async fn forget_statements(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        connection.clear_cached_statements().await
    }

    async fn open(
        options: &Options<Self>,
        _is_pooled: bool,
    ) -> Result<(SqliteConnection, Handle), sqlx::Error> {
        let mut connection = options.connect().await?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let goes_on = Arc::clone(&interrupted);
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || !goes_on.load(Ordering::Relaxed));
        let state = state(&mut connection, 0).await?.1;
        Ok((connection, Handle { state, interrupted }))
    }

    async fn clean(
        connection: &mut SqliteConnection,
        session: &Handle,
        nonce: u64,
    ) -> Result<Cleaned, sqlx::Error> {
        while SqliteTransactionManager::get_transaction_depth(connection) > 0 {
            SqliteTransactionManager::rollback(connection).await?;
        }
        // One that was begun by SQL. There is none as a rule, which is an error.
        let begun_by_sql = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
        session.interrupted.store(false, Ordering::Relaxed);
        if let Err(error) = begun_by_sql
            && error.as_database_error().is_none()
        {
            return Err(error);
        }
        let (answered, state) = state(connection, nonce).await?;
        Ok(if answered != nonce.to_string() {
            Cleaned::Desynchronised
        } else if state != session.state {
            Cleaned::Stained("a file was attached, or a temporary object or a pragma was left")
        } else {
            Cleaned::Clean
        })
    }

    async fn cancel(_: Option<&mut SqliteConnection>, session: &Handle) -> Result<(), sqlx::Error> {
        session.interrupted.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn are_there(_: &mut SqliteConnection, sessions: &[Arc<Handle>]) -> Result<Vec<bool>, sqlx::Error> {
        Ok(vec![false; sessions.len()])
    }

    async fn end(_: &mut SqliteConnection, sessions: &[Arc<Handle>]) -> Result<(), sqlx::Error> {
        for session in sessions {
            session.interrupted.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn audit<'a>(
        options: &'a Options<Self>,
        _: &'a [Audited<'a>],
        _: bool,
    ) -> Result<Seen, sqlx::Error> {
        Ok(audit::sqlite::audit(options.get_filename()))
    }

    /// A file is its tenant's: nothing about it says anything about other files.
    fn classify(error: &sqlx::Error) -> FaultKind {
        const CANNOT_OPEN: u32 = 14;
        let code = super::code_of(error).and_then(|code| code.parse::<u32>().ok());
        match code {
            Some(code) if code & 0xff == CANNOT_OPEN => FaultKind::Missing,
            _ => FaultKind::Refused,
        }
    }
}

async fn state(connection: &mut SqliteConnection, nonce: u64) -> Result<(String, String), sqlx::Error> {
    let question = AssertSqlSafe(format!("SELECT '{nonce}', {STATE}"));
    let row = sqlx::raw_sql(question).fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
