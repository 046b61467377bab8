use sqlx::{AssertSqlSafe, Connection as _, PgConnection, sqlite::SqliteConnectOptions};
use tenancy_test::servers::{MariaDb, MariaDbDatabase, Postgres, Role, TestDatabase};

use crate::support::Workplace;

pub(super) const NOTES: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, text VARCHAR(200) NOT NULL);";

/// A catalogue in a file with these tenants, and the folder of their migrations.
pub(super) fn workplace(ids: &[&str]) -> Workplace {
    let mut place = Workplace::new();
    for id in ids {
        place.done(&["tenants", "create", id]);
    }
    place.write("migrations/1_notes.up.sql", NOTES);
    place.write("migrations/1_notes.down.sql", "DROP TABLE notes;");
    place.set("TENANCY__DATABASES__MIGRATIONS", "migrations");
    place
}

/// With an empty file of SQLite for each.
pub(super) async fn files(ids: &[&str]) -> Workplace {
    let place = workplace(ids);
    for id in ids {
        file(&place, id).await;
    }
    place
}

pub(super) async fn file(place: &Workplace, id: &str) {
    std::fs::create_dir_all(place.path("tenancy-data/tenants")).unwrap();
    let path = place.path(&format!("tenancy-data/tenants/tenant_{id}.db"));
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// With a schema of PostgreSQL for each, in a database of its own.
pub(super) async fn schemas(ids: &[&str]) -> (Workplace, TestDatabase) {
    let mut place = workplace(ids);
    let database = Postgres::shared().await.database("schemas").await;
    for id in ids {
        schema(&database, id).await;
    }
    place.set("TENANCY__DATABASES__ISOLATION", "schema");
    lead_to(&mut place, database.app_url(), database.owner_url());
    (place, database)
}

pub(super) async fn schema(database: &TestDatabase, id: &str) {
    let sql = format!(
        r#"CREATE SCHEMA "tenant_{id}"; GRANT USAGE ON SCHEMA "tenant_{id}" TO app;
           ALTER DEFAULT PRIVILEGES IN SCHEMA "tenant_{id}" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app"#
    );
    postgres(&database.owner_url(), &sql).await;
}

/// With rows of shared tables on PostgreSQL, one note for each.
pub(super) async fn rows(ids: &[&str]) -> (Workplace, TestDatabase) {
    let mut place = workplace(ids);
    let database = Postgres::shared().await.database("rows").await;
    postgres(&database.owner_url(), SHARED_NOTES).await;
    for id in ids {
        let note = format!("INSERT INTO notes VALUES ('{id}', 'a note of {id}')");
        postgres(&database.admin_url(), &note).await;
    }
    place.set("TENANCY__DATABASES__ISOLATION", "rows");
    lead_to(&mut place, database.app_url(), database.owner_url());
    (place, database)
}

const SHARED_NOTES: &str = "
    CREATE TABLE notes (
        tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
        text text NOT NULL
    );
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_tenant ON notes
        USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
        WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));
    GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO app";

/// With a database of MariaDB for each. Other tests have the same server: ids must be their own.
pub(super) async fn databases_on_mariadb(ids: &[&str]) -> (Workplace, MariaDbDatabase) {
    let mut place = workplace(ids);
    let server = MariaDb::shared().await;
    let database = server.database("home").await;
    for id in ids {
        server.sql(format!("CREATE DATABASE `tenant_{id}`")).await;
        server.sql(format!("GRANT ALL ON `tenant_{id}`.* TO owner")).await;
        server
            .sql(format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON `tenant_{id}`.* TO app"
            ))
            .await;
    }
    lead_to(&mut place, database.app_url(), database.owner_url());
    (place, database)
}

/// With a database of PostgreSQL for each. Other tests have the same server: ids must be their own.
pub(super) async fn databases_on_postgres(ids: &[&str]) -> (Workplace, TestDatabase) {
    let mut place = workplace(ids);
    let server = Postgres::shared().await;
    let database = server.database("home").await;
    for id in ids {
        server
            .sql(format!(r#"CREATE DATABASE "tenant_{id}" OWNER owner"#))
            .await;
        let grant = "ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app";
        postgres(&server.url(Role::Owner, &format!("tenant_{id}")), grant).await;
    }
    lead_to(&mut place, database.app_url(), database.owner_url());
    (place, database)
}

fn lead_to(place: &mut Workplace, app: String, owner: String) {
    place.set("TENANCY__DATABASES__URL", app);
    place.set("TENANCY__DATABASES__OWNER_URL", owner);
}

pub(super) async fn postgres(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
    run.unwrap_or_else(|error| panic!("{error}: {sql}"));
    connection.close().await.unwrap();
}
