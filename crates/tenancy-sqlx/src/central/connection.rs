use std::time::Duration;

use sqlx::{AssertSqlSafe, Database, Encode, Type, pool::PoolConnection};

use super::{Dialect, Row, Statement, on_driver, sql};

/// A connection out of a pool.
///
/// Dropped, it goes back, unless a statement was left half-way or a transaction is open: then it is closed, and the
/// database rolls back. sqlx 0.9.0 would hand on what a cancelled `begin` left open.
pub(crate) struct Connection {
    dialect: Dialect,
    /// `None` once it is dropped.
    driver: Option<Driver>,
    is_clean: bool,
    in_transaction: bool,
}

pub(super) enum Driver {
    #[cfg(feature = "sqlite")]
    Sqlite(PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(PoolConnection<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(PoolConnection<sqlx::MySql>),
}

/// Statements that are sent as one, where a database takes that: it plans them together, and counts their values.
#[cfg(feature = "postgres")]
const SENT_TOGETHER: usize = 16;

/// Answers, and says whether the connection is fit for more.
macro_rules! ask {
    ($self:ident, $driver:ident => $answer:expr) => {{
        $self.is_clean = false;
        let answer = match &mut $self.driver {
            Some(driver) => on_driver!(Driver, driver, $driver => $answer),
            None => Err(sqlx::Error::WorkerCrashed),
        };
        $self.is_clean = match &answer {
            Ok(_) => true,
            Err(error) => is_answer(error),
        };
        answer
    }};
}

impl Connection {
    pub(super) fn new(dialect: Dialect, driver: Driver) -> Self {
        Self {
            dialect,
            driver: Some(driver),
            is_clean: true,
            in_transaction: false,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Runs a statement, and returns how many rows it changed; on MySQL and MariaDB, how many it found.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let text = statement.text_for(self.dialect());
        let is_kept = statement.is_kept_by(self.dialect());
        ask!(self, connection => {
            let query = sqlx::query_with(text, arguments_of(connection, statement)?).persistent(is_kept);
            query.execute(&mut **connection).await.map(|done| done.rows_affected())
        })
    }

    pub(crate) async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, sqlx::Error> {
        let text = statement.text_for(self.dialect());
        let is_kept = statement.is_kept_by(self.dialect());
        ask!(self, connection => {
            let query = sqlx::query_with(text, arguments_of(connection, statement)?).persistent(is_kept);
            query.map(Row::from).fetch_all(&mut **connection).await
        })
    }

    /// All rows are read: a statement that is left half-way goes on.
    pub(crate) async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, sqlx::Error> {
        self.fetch_all(statement)
            .await
            .map(|rows| rows.into_iter().next())
    }

    pub(crate) async fn fetch_one(&mut self, statement: Statement) -> Result<Row, sqlx::Error> {
        self.fetch_optional(statement)
            .await?
            .ok_or(sqlx::Error::RowNotFound)
    }

    /// Runs statements whose answers nobody needs, in one round trip where the database has a way to say that. None may touch a
    /// row that another one touches: then they are one statement, which sees nothing of what it does. Of queries, only the last
    /// one is run.
    pub(crate) async fn execute_together(&mut self, statements: Vec<Statement>) -> Result<(), sqlx::Error> {
        match self.dialect() {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let mut rest = statements.into_iter().peekable();
                while rest.peek().is_some() {
                    let joined = Statement::joined(rest.by_ref().take(SENT_TOGETHER));
                    self.execute(joined).await?;
                }
            }
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => {
                for statement in statements {
                    self.execute(statement).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs a text of statements that has no values.
    pub(crate) async fn run(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        ask!(self, connection => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop))
    }

    /// As [`run`](Self::run), for a text that was made; the caller has quoted and escaped what is in it.
    pub(crate) async fn run_made(&mut self, text: String) -> Result<(), sqlx::Error> {
        ask!(self, connection => {
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **connection).await.map(drop)
        })
    }

    /// Begins a transaction in which every read sees the same.
    pub(crate) async fn begin_read(&mut self) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        let begin = match self.dialect() {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => "BEGIN",
            #[cfg(feature = "postgres")]
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            #[cfg(feature = "mysql")]
            Dialect::MySql => {
                self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    .await?;
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
        };
        self.run(begin).await
    }

    /// Begins a transaction that writes, and waits for locks no longer than `wait`.
    #[cfg(any(
        feature = "sqlite",
        feature = "postgres",
        feature = "databases",
        feature = "handoff"
    ))]
    pub(crate) async fn begin_write(&mut self, wait: Duration) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        self.run_made(begin_write(self.dialect(), wait)).await
    }

    /// The same with a first query, of which it returns the only row: one round trip.
    pub(crate) async fn begin_write_with(
        &mut self,
        wait: Duration,
        first: &'static str,
    ) -> Result<Row, sqlx::Error> {
        self.in_transaction = true;
        let text = format!("{}; {first}", begin_write(self.dialect(), wait));
        let rows = ask!(self, connection => {
            let texts = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut **connection).await;
            texts.map(|rows| rows.into_iter().map(Row::from).collect::<Vec<_>>())
        });
        rows?.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        self.run("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// From here on it is closed when it is dropped, whatever it does.
    pub(crate) fn hold(&mut self) {
        self.in_transaction = true;
    }

    /// It may go back to its pool again.
    #[cfg(feature = "mysql")]
    pub(crate) fn let_go(&mut self) {
        self.in_transaction = false;
    }

    /// The number in the only column, called `answer`, of the only row.
    pub(crate) async fn ask_int(&mut self, text: &'static str) -> Result<i64, sqlx::Error> {
        self.fetch_one(sql(text)).await?.int("answer")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_clean && !self.in_transaction {
            return;
        }
        if let Some(driver) = self.driver.take() {
            // Its place in the pool is free at once; dropping what is left closes the socket or the file.
            on_driver!(Driver, driver, connection => drop(connection.detach()));
        }
    }
}

/// The connection says which database's.
fn arguments_of<DB: Database>(
    _connection: &PoolConnection<DB>,
    statement: Statement,
) -> Result<DB::Arguments, sqlx::Error>
where
    for<'t> i64: Encode<'t, DB> + Type<DB>,
    for<'t> String: Encode<'t, DB> + Type<DB>,
    for<'t> Vec<u8>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<String>: Encode<'t, DB> + Type<DB>,
{
    statement.arguments()
}

fn begin_write(dialect: Dialect, wait: Duration) -> String {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            // Its busy timeout is the connection's.
            let _ = wait;
            "BEGIN IMMEDIATE".to_owned()
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            let wait_ms = wait.as_millis().clamp(1, 2_147_483_647);
            format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {wait_ms}")
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            let wait_s = wait.as_secs().clamp(1, 1_000_000);
            format!(
                "SET SESSION innodb_lock_wait_timeout = {wait_s}; \
                 SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ WRITE"
            )
        }
    }
}

/// Whether the database has answered, so that nothing more will come for this statement, and takes the next one.
pub(super) fn is_answer(error: &sqlx::Error) -> bool {
    !is_farewell(error)
        && matches!(
            error,
            sqlx::Error::Database(_)
                | sqlx::Error::RowNotFound
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::Encode(_)
        )
}

/// Whether the server says that it closes the connection: to whoever speaks next, though it may have been long ago.
fn is_farewell(error: &sqlx::Error) -> bool {
    let Some(cause) = error.as_database_error() else {
        return false;
    };
    #[cfg(feature = "postgres")]
    if let Some(cause) = cause.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        use sqlx::postgres::PgSeverity;
        return matches!(cause.severity(), PgSeverity::Fatal | PgSeverity::Panic);
    }
    #[cfg(feature = "mysql")]
    if let Some(cause) = cause.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // ER_SERVER_SHUTDOWN, ER_NET_READ_INTERRUPTED, ER_NET_WRITE_INTERRUPTED, ER_CONNECTION_KILLED (MariaDB),
        // ER_SESSION_WAS_KILLED, ER_CLIENT_INTERACTION_TIMEOUT (MySQL)
        return matches!(cause.number(), 1053 | 1159 | 1161 | 1927 | 3169 | 4031);
    }
    let _ = cause;
    false
}
