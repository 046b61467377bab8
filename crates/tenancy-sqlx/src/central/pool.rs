use std::{pin::Pin, time::Duration};

use super::{
    Connection, Dialect, Row, Statement,
    connection::{Driver, is_answer},
    on_driver,
};
use crate::CatalogueError;

/// Connections to the central database.
#[derive(Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

type Answer<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// How many connections a pool of a server has, and how long one may take to open.
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) connect: Duration,
}

impl Pool {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Dialect::MySql,
        }
    }

    /// Takes a connection. On a server this goes on if its future is dropped: sqlx has one deadline for waiting and for
    /// connecting, and a caller who does not wait as long leaves the connection to the next one.
    pub(crate) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let driver = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Driver::Sqlite(pool.acquire().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Driver::Postgres(detached(pool.acquire()).await?),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Driver::MySql(detached(pool.acquire()).await?),
        };
        Ok(Connection::new(self.dialect(), driver))
    }

    /// Asks what changes nothing, and returns the rows with the connection.
    pub(crate) async fn ask(&self, question: Statement) -> Result<(Connection, Vec<Row>), sqlx::Error> {
        self.first(|connection| Box::pin(connection.fetch_all(question.clone())))
            .await
    }

    /// Begins as [`Connection::begin_write_with`].
    pub(crate) async fn begin_write_with(
        &self,
        wait: Duration,
        first: &'static str,
    ) -> Result<(Connection, Row), sqlx::Error> {
        self.first(|connection| Box::pin(connection.begin_write_with(wait, first)))
            .await
    }

    /// Asks on a connection that is at hand, without finding out before whether it still leads anywhere: a round trip less.
    /// Where it does not, asks again on one of which that is known, so that nobody hears of servers that were away meanwhile.
    /// What is asked must do nothing that is not undone with its connection.
    async fn first<T>(
        &self,
        ask: impl for<'c> Fn(&'c mut Connection) -> Answer<'c, T> + Send + Sync,
    ) -> Result<(Connection, T), sqlx::Error> {
        if let Some(mut connection) = self.at_hand() {
            match ask(&mut connection).await {
                Err(error) if !is_answer(&error) => tracing::debug!(%error, "a connection had ended"),
                answer => return answer.map(|answer| (connection, answer)),
            }
        }
        // Rare, and a large future.
        let mut connection = Box::pin(self.acquire()).await?;
        let answer = ask(&mut connection).await?;
        Ok((connection, answer))
    }

    fn at_hand(&self) -> Option<Connection> {
        let driver = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Driver::Sqlite(pool.try_acquire()?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Driver::Postgres(pool.try_acquire()?),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Driver::MySql(pool.try_acquire()?),
        };
        Some(Connection::new(self.dialect(), driver))
    }

    /// Runs one statement; taking a connection and the answer have this long together.
    pub(crate) async fn execute_within(
        &self,
        limit: Duration,
        statement: Statement,
    ) -> Result<u64, CatalogueError> {
        let running = async { self.acquire().await?.execute(statement).await };
        match tokio::time::timeout(limit, running).await {
            Ok(done) => done.map_err(CatalogueError::from_sqlx),
            Err(elapsed) => Err(CatalogueError::unavailable("a statement took too long", elapsed)),
        }
    }

    pub(crate) async fn close(&self) {
        on_driver!(Self, self, pool => pool.close().await);
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn detached<T: Send + 'static>(
    acquiring: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    match tokio::spawn(acquiring).await {
        Ok(acquired) => acquired,
        // The runtime is shutting down.
        Err(_) => Err(sqlx::Error::PoolClosed),
    }
}

#[cfg(feature = "sqlite")]
impl Pool {
    /// One connection to a file that is there. Nothing is opened yet.
    pub(crate) fn file(path: &std::path::Path) -> Self {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let pool = sqlx::sqlite::SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(10));
        Self::Sqlite(pool.connect_lazy_with(options))
    }
}

#[cfg(feature = "postgres")]
impl Pool {
    /// Nothing connects yet.
    pub(crate) fn postgres(options: sqlx::postgres::PgConnectOptions, limits: PoolLimits) -> Self {
        // Notices of a rollback where there was nothing to roll back would fill the log.
        const QUIET: &str = "SET client_min_messages TO error";
        const RESET: &str = "ROLLBACK; RESET ALL; SET client_min_messages TO error";
        let pool = sqlx::postgres::PgPoolOptions::new()
            .min_connections(limits.min)
            .max_connections(limits.max)
            .acquire_timeout(limits.connect)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(QUIET).execute(connection).await.map(drop) })
            })
            .after_release(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(RESET).execute(connection).await.map(|_| true) })
            });
        Self::Postgres(pool.connect_lazy_with(options))
    }
}

#[cfg(feature = "mysql")]
impl Pool {
    /// Nothing connects yet.
    pub(crate) fn mysql(options: sqlx::mysql::MySqlConnectOptions, limits: PoolLimits) -> Self {
        // `"…"` is a name in all three databases then. A query by itself sees one state, and nothing that is not committed.
        const SETTINGS: &str = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES,STRICT_TRANS_TABLES'); \
             SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        let pool = sqlx::mysql::MySqlPoolOptions::new()
            .min_connections(limits.min)
            .max_connections(limits.max)
            .acquire_timeout(limits.connect)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SETTINGS).execute(connection).await.map(drop) })
            })
            .after_release(|connection, _| {
                Box::pin(async move { sqlx::raw_sql("ROLLBACK").execute(connection).await.map(|_| true) })
            });
        Self::MySql(pool.connect_lazy_with(options))
    }
}
