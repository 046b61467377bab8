use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::{TempDir, tempdir};
use tenancy_test::servers::{MariaDb, MariaDbDatabase, Postgres, TestDatabase};

use crate::support::Launch;

/// A database of one test, and how tenants are kept apart in it.
pub(super) struct Place {
    pub(super) database: Database,
    pub(super) isolation: &'static str,
    directory: TempDir,
}

pub(super) enum Database {
    Postgres(TestDatabase),
    MariaDb(MariaDbDatabase),
}

pub(super) const ON_POSTGRES: [&str; 3] = ["database", "schema", "row"];

impl Place {
    pub(super) async fn on_postgres(test: &str, isolation: &'static str) -> Self {
        let server = Postgres::shared().await;
        Self::of(Database::Postgres(server.database(test).await), isolation)
    }

    async fn on_mariadb(test: &str) -> Self {
        let server = MariaDb::shared().await;
        Self::of(Database::MariaDb(server.database(test).await), "database")
    }

    pub(super) fn of(database: Database, isolation: &'static str) -> Self {
        Self {
            database,
            isolation,
            directory: tempdir().unwrap(),
        }
    }

    /// All ways in which a server keeps tenants apart.
    pub(super) async fn all(test: &str) -> Vec<Self> {
        let mut places = vec![Self::on_mariadb(test).await];
        for isolation in ON_POSTGRES {
            places.push(Self::on_postgres(test, isolation).await);
        }
        places
    }

    pub(super) fn urls(&self) -> [String; 2] {
        match &self.database {
            Database::Postgres(database) => [database.app_url(), database.owner_url()],
            Database::MariaDb(database) => [database.app_url(), database.owner_url()],
        }
    }

    pub(super) fn password(&self) -> &str {
        match &self.database {
            Database::Postgres(database) => database.server().password(),
            Database::MariaDb(database) => database.server().password(),
        }
    }

    fn name(&self) -> &str {
        match &self.database {
            Database::Postgres(database) => database.name(),
            Database::MariaDb(database) => database.name(),
        }
    }

    /// Databases of tenants are beside those of other tests: names must be the test's own.
    pub(super) fn tenant(&self, name: &str) -> String {
        format!("{}-{name}", self.name().split('_').next().unwrap())
    }

    pub(super) fn host(&self, name: &str) -> String {
        format!("{}.localhost", self.tenant(name))
    }

    pub(super) fn launch(&self, tenants: &[&str]) -> Launch {
        let file = self.directory.path().join("tenants.toml");
        let tenants = tenants.iter().map(|name| self.tenant(name));
        let text: String = tenants
            .map(|slug| format!("[[tenant]]\nslug = \"{slug}\"\n"))
            .collect();
        std::fs::write(&file, text).unwrap();
        let [app, owner] = self.urls();
        Launch::with_data_in(&self.data())
            .arg("--tenants")
            .arg(&file)
            .arg("--database-url")
            .arg(app)
            .arg("--isolation")
            .arg(self.isolation)
            .env("TENANCY__DATABASES__OWNER_URL", owner)
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Drops what is the tenant's, as an operator might by mistake.
    pub(super) async fn drop_home(&self, name: &str) {
        let home = format!("tenant_{}", self.tenant(name));
        match (&self.database, self.isolation) {
            (Database::MariaDb(database), _) => {
                database.server().sql(format!("DROP DATABASE `{home}`")).await;
            }
            (Database::Postgres(database), "schema") => {
                run(&database.admin_url(), &format!("DROP SCHEMA \"{home}\" CASCADE")).await;
            }
            (Database::Postgres(database), _) => {
                let drop = format!("DROP DATABASE \"{home}\" WITH (FORCE)");
                database.server().sql(drop).await;
            }
        }
    }
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    sql.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
