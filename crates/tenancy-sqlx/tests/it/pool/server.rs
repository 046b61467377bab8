//! The test kit's PostgreSQL server, as the pool's tests use it.

use std::process::Command;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, postgres::PgConnectOptions};
use tenancy_test::servers::{Postgres, PostgresOptions, Role};

#[derive(Clone)]
pub(super) struct PgServer {
    server: Postgres,
}

impl PgServer {
    /// The one that all tests of this binary share.
    pub(super) async fn shared() -> Self {
        Self {
            server: Postgres::shared().await.clone(),
        }
    }

    /// One of its own, for a test that harms it.
    pub(super) async fn start() -> Self {
        let options = PostgresOptions::new().max_connections(200);
        Self {
            server: Postgres::start(options).await.unwrap(),
        }
    }

    /// Ends the server at once, with everything that runs in it.
    pub(super) async fn kill(&self) {
        self.server.kill().await;
    }

    pub(super) async fn restart(&self) {
        self.server.restart().await.unwrap();
    }

    /// The password of all roles that [`options`](Self::options) may be given.
    pub(super) fn password(&self) -> &str {
        self.server.password()
    }

    pub(super) fn options(&self, application: &str) -> PgConnectOptions {
        let url = self.server.url(Role::Admin, "postgres");
        url.parse::<PgConnectOptions>()
            .unwrap()
            .application_name(application)
    }

    pub(super) async fn connect(&self, database: &str) -> PgConnection {
        self.options("test").database(database).connect().await.unwrap()
    }

    /// How many connections the server counts that call themselves so.
    pub(super) async fn count(&self, observer: &mut PgConnection, application: &str) -> usize {
        let row = sqlx::query("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1")
            .bind(application)
            .fetch_one(observer)
            .await
            .unwrap();
        usize::try_from(row.get::<i64, _>(0)).unwrap()
    }
}

/// To one process of the server: the kit's `freeze` stops all of them.
pub(super) fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(status.unwrap().success(), "kill -{name} {process}");
}

pub(super) async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}
