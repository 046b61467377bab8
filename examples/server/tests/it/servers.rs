//! Tenants on PostgreSQL and MariaDB: in databases, schemas and rows of their own.

use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::{TempDir, tempdir};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{MariaDb, MariaDbDatabase, Postgres, PostgresOptions, Role, TestDatabase};

use crate::support::{Launch, Server, until};

/// A database of one test, and how tenants are kept apart in it.
struct Place {
    database: Database,
    isolation: &'static str,
    directory: TempDir,
}

enum Database {
    Postgres(TestDatabase),
    MariaDb(MariaDbDatabase),
}

const ON_POSTGRES: [&str; 3] = ["database", "schema", "row"];

impl Place {
    async fn on_postgres(test: &str, isolation: &'static str) -> Self {
        let server = Postgres::shared().await;
        Self::of(Database::Postgres(server.database(test).await), isolation)
    }

    async fn on_mariadb(test: &str) -> Self {
        let server = MariaDb::shared().await;
        Self::of(Database::MariaDb(server.database(test).await), "database")
    }

    fn of(database: Database, isolation: &'static str) -> Self {
        Self {
            database,
            isolation,
            directory: tempdir().unwrap(),
        }
    }

    /// All ways in which a server keeps tenants apart.
    async fn all(test: &str) -> Vec<Self> {
        let mut places = vec![Self::on_mariadb(test).await];
        for isolation in ON_POSTGRES {
            places.push(Self::on_postgres(test, isolation).await);
        }
        places
    }

    fn urls(&self) -> [String; 2] {
        match &self.database {
            Database::Postgres(database) => [database.app_url(), database.owner_url()],
            Database::MariaDb(database) => [database.app_url(), database.owner_url()],
        }
    }

    fn password(&self) -> &str {
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
    fn tenant(&self, name: &str) -> String {
        format!("{}-{name}", self.name().split('_').next().unwrap())
    }

    fn host(&self, name: &str) -> String {
        format!("{}.localhost", self.tenant(name))
    }

    fn launch(&self, tenants: &[&str]) -> Launch {
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

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Drops what is the tenant's, as an operator might by mistake.
    async fn drop_home(&self, name: &str) {
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

async fn becomes(server: &Server, host: &str, path: &str, status: u16) {
    let what = format!("{status} for {host}{path}");
    until(&what, async || server.get(host, path).await.status == status).await;
}

#[tokio::test]
async fn each_tenant_sees_its_own_notes_and_a_restart_keeps_them() {
    for place in Place::all("each_tenant_sees_its_own_notes").await {
        let at = place.isolation;
        let (acme, globex) = (place.host("acme"), place.host("globex"));
        let first = place.launch(&["acme", "globex"]).start().await;
        assert!(first.said().contains("(2 new tenants)"), "{}", first.said());
        let kind = match at {
            "row" => "tenants: rows of shared tables, behind policies, ".to_owned(),
            other => format!("tenants: a {other} for each, "),
        };
        assert!(first.said().contains(&kind), "{}", first.said());
        for host in [&acme, &globex] {
            assert!(first.notes(host).await.is_empty(), "{at}");
        }
        first
            .add_note(&acme, "of acme \u{1f98a} '; DROP TABLE notes;--")
            .await;
        first.add_note(&globex, "of globex").await;
        first.add_note(&acme, "the second").await;
        let expected = ["the second", "of acme \u{1f98a} '; DROP TABLE notes;--"];
        assert_eq!(first.notes(&acme).await, expected, "{at}");
        assert_eq!(first.notes(&globex).await, ["of globex"], "{at}");
        let ended = first.end().await;

        let second = place.launch(&["acme", "globex"]).start().await;
        assert!(second.said().contains("(0 new tenants)"), "{}", second.said());
        assert_eq!(second.notes(&acme).await, expected, "{at}");
        assert_eq!(second.notes(&globex).await, ["of globex"], "{at}");
        second.add_note(&globex, "after the restart").await;
        assert_eq!(second.notes(&globex).await.len(), 2, "{at}");

        assert!(!place.data().exists(), "nothing is kept in files: {at}");
        let said = [&ended.stdout, &ended.stderr, &second.said(), &second.log()].map(String::clone);
        let password = place.password();
        assert!(!said.concat().contains(password), "{at}: {said:?}");
    }
}

/// Which tenants are where they are not known to each other is seen in the database itself.
#[tokio::test]
async fn notes_are_where_the_isolation_says() {
    for isolation in ON_POSTGRES {
        let place = Place::on_postgres("where_notes_are", isolation).await;
        let server = place.launch(&["acme"]).start().await;
        server.add_note(&place.host("acme"), "here").await;
        let Database::Postgres(database) = &place.database else {
            unreachable!("it is on PostgreSQL")
        };
        let home = format!("tenant_{}", place.tenant("acme"));
        let (url, table) = match isolation {
            "database" => (database.server().url(Role::Admin, &home), "notes".to_owned()),
            "schema" => (database.admin_url(), format!("\"{home}\".notes")),
            _ => (database.admin_url(), "notes".to_owned()),
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(count));
        assert_eq!(count.fetch_one(&mut connection).await.unwrap(), 1, "{isolation}");
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_whose_home_was_dropped_is_refused_alone() {
    for place in Place::all("home_was_dropped").await {
        if place.isolation == "row" {
            continue;
        }
        let at = place.isolation;
        let (acme, globex) = (place.host("acme"), place.host("globex"));
        let server = place.launch(&["acme", "globex"]).start().await;
        for host in [&acme, &globex] {
            server.add_note(host, "kept").await;
        }
        place.drop_home("acme").await;
        becomes(&server, &acme, "/notes", 503).await;
        let refused = server.get(&acme, "/notes").await;
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert!(
            !refused.body.contains("tenant_") && !refused.body.contains("notes"),
            "{refused:?}"
        );
        assert_eq!(server.notes(&globex).await, ["kept"], "{at}");
        assert_eq!(
            server.get(&acme, "/whoami").await.status,
            200,
            "needs no database: {at}"
        );
        server.end().await;

        let again = place.launch(&["acme", "globex"]).start().await;
        assert_eq!(
            again.get(&acme, "/notes").await.status,
            503,
            "nothing is made over what was lost: {at}"
        );
        assert_eq!(again.notes(&globex).await, ["kept"], "{at}");
    }
}

#[tokio::test]
async fn while_the_server_of_databases_is_down_tenants_are_told_so_and_then_all_is_well_again() {
    for isolation in ON_POSTGRES {
        let server = Postgres::start(PostgresOptions::new()).await.unwrap();
        let database = server.database("down_and_up").await;
        let place = Place::of(Database::Postgres(database), isolation);
        let hosts = [place.host("acme"), place.host("globex")];
        let example = place.launch(&["acme", "globex"]).start().await;
        for host in &hosts {
            example.add_note(host, "kept").await;
        }
        server.stop().await;
        for host in &hosts {
            let refused = example.get(host, "/notes").await;
            assert_eq!(refused.status, 503, "{isolation}: {refused:?}");
            assert!(refused.header("retry-after").is_some(), "{refused:?}");
            assert_eq!(example.get(host, "/whoami").await.status, 200, "{isolation}");
        }
        server.restart().await.unwrap();
        for host in &hosts {
            becomes(&example, host, "/notes", 200).await;
            assert_eq!(example.notes(host).await, ["kept"], "{isolation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_many_tenants_see_no_note_of_another() {
    const TENANTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const CLIENTS: usize = 32;
    const NOTES: usize = 6;
    for place in Place::all("many_clients").await {
        // Fewer connections than tenants: they go from one to another all the time.
        let launch = place.launch(&TENANTS).env("TENANCY__DATABASES__BUDGET", "5");
        let server = launch
            .env("TENANCY__DATABASES__WAIT_TIMEOUT_MS", "60000")
            .start()
            .await;
        let server = std::sync::Arc::new(server);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let server = std::sync::Arc::clone(&server);
            let name = TENANTS[client % TENANTS.len()];
            let host = place.host(name);
            clients.spawn(async move {
                for note in 0..NOTES {
                    server.add_note(&host, &format!("{name} {client} {note}")).await;
                    for text in server.notes(&host).await {
                        assert!(text.starts_with(&format!("{name} ")), "{text} for {name}");
                    }
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        for name in TENANTS {
            let notes = server.notes(&place.host(name)).await;
            assert_eq!(
                notes.len(),
                NOTES * CLIENTS / TENANTS.len(),
                "{}: {notes:?}",
                place.isolation
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_that_another_process_creates_gets_its_home_while_the_server_runs() {
    for place in Place::all("created_meanwhile").await {
        let at = place.isolation;
        let server = place.launch(&["acme"]).start().await;
        let [_, owner] = place.urls();
        let other = SqlStore::open(SqlStoreOptions::url(&owner).unwrap())
            .await
            .unwrap();
        other.create(NewTenant::new(place.tenant("hooli"))).await.unwrap();
        let hooli = place.host("hooli");
        becomes(&server, &hooli, "/notes", 200).await;
        server.add_note(&hooli, "mine").await;
        assert_eq!(server.notes(&hooli).await, ["mine"], "{at}");
        assert!(server.notes(&place.host("acme")).await.is_empty(), "{at}");
        server.end().await;

        other.create(NewTenant::new(place.tenant("pied"))).await.unwrap();
        other.close().await;
        let again = place.launch(&["acme"]).start().await;
        again
            .add_note(&place.host("pied"), "created while none ran")
            .await;
        assert_eq!(again.notes(&hooli).await, ["mine"], "{at}");
    }
}

/// What a refused start says to run, and how to start then.
fn advice(error: &str) -> (Vec<String>, Vec<String>) {
    let sql = error.lines().map(str::trim).filter(|line| line.ends_with(';'));
    let options = error
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--"))
        .flat_map(|line| line.split_whitespace().filter(|word| *word != "\\"))
        .enumerate()
        .map(|(at, word)| match at % 2 {
            0 => format!("--{word}"),
            _ => word.to_owned(),
        });
    (sql.map(str::to_owned).collect(), options.collect())
}

async fn start_with(options: &[String], data: &Path) -> Server {
    let launch = Launch::with_data_in(data);
    options.iter().fold(launch, Launch::arg).start().await
}

#[tokio::test]
async fn a_superusers_url_is_refused_before_anything_is_made_and_what_it_says_to_run_helps() {
    let directory = tempdir().unwrap();
    let server = Postgres::start(PostgresOptions::new()).await.unwrap();
    let database = server.database("superuser").await;
    let data = directory.path();
    let url = || Launch::with_data_in(data).arg("--database-url");

    let alone = url().arg(database.admin_url()).refused().await;
    assert!(alone.contains("--owner-url is missing"), "{alone}");
    let same = url()
        .arg(database.owner_url())
        .arg("--owner-url")
        .arg(database.owner_url());
    let same = same.refused().await;
    assert!(same.contains("the same role"), "{same}");
    let both = url()
        .arg(database.admin_url())
        .arg("--owner-url")
        .arg(database.owner_url());
    let both = both.refused().await;
    assert!(both.contains("\"admin\": the login may do everything"), "{both}");
    for error in [&alone, &same, &both] {
        assert!(!error.contains(server.password()), "{error}");
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenan%' OR relname = 'notes'";
    let mut connection = PgConnection::connect(&database.admin_url()).await.unwrap();
    let made: i64 = sqlx::query_scalar(tables)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(made, 0, "nothing is made for a start that fails");
    connection.close().await.unwrap();

    let (sql, options) = advice(&alone);
    assert_eq!((sql.len(), options.len()), (3, 4), "{alone}");
    for statement in sql {
        server.sql(statement).await;
    }
    for isolation in ON_POSTGRES {
        // Of their own: a tenant stays where it is when the isolation of others changes.
        let tenants = data.join(isolation);
        let slugs = ["one", "two"].map(|name| format!("[[tenant]]\nslug = \"{name}-{isolation}\"\n"));
        std::fs::write(&tenants, slugs.concat()).unwrap();
        let mut options = options.clone();
        options.extend(["--isolation", isolation, "--tenants"].map(str::to_owned));
        options.push(tenants.display().to_string());
        let example = start_with(&options, data).await;
        let [one, two] = ["one", "two"].map(|name| format!("{name}-{isolation}.localhost"));
        example.add_note(&one, isolation).await;
        assert_eq!(example.notes(&one).await, [isolation]);
        assert!(example.notes(&two).await.is_empty());
        example.end().await;
    }
}

#[tokio::test]
async fn what_a_start_says_to_run_on_mariadb_helps() {
    let directory = tempdir().unwrap();
    let server = MariaDb::shared().await;
    let database = server.database("superuser").await;
    let launch = Launch::with_data_in(directory.path())
        .arg("--database-url")
        .arg(database.admin_url());
    let error = launch.refused().await;
    assert!(error.contains("--owner-url is missing"), "{error}");
    let (sql, options) = advice(&error);
    assert_eq!((sql.len(), options.len()), (5, 4), "{error}");
    for statement in sql {
        server.sql(statement).await;
    }
    let example = start_with(&options, directory.path()).await;
    example.add_note("acme.localhost", "here").await;
    assert_eq!(example.notes("acme.localhost").await, ["here"]);
    assert!(example.notes("globex.localhost").await.is_empty());
}

#[tokio::test]
async fn what_can_not_be_is_refused_by_name() {
    let directory = tempdir().unwrap();
    let away = "postgres://app:hunter2@127.0.0.1:1/app";
    let owner = "postgres://owner:hunter2@127.0.0.1:1/app";
    for (arguments, expected) in [
        (
            &["--isolation", "schema"][..],
            "--isolation: databases.isolation: it does not work on SQLite",
        ),
        (
            &[
                "--database-url",
                "mysql://app:hunter2@127.0.0.1:1/app",
                "--isolation",
                "row",
            ],
            "--isolation: databases.isolation: ",
        ),
        (&["--owner-url", owner], "--owner-url: databases.owner_url: "),
        (
            &[
                "--database-url",
                away,
                "--owner-url",
                "mysql://owner:hunter2@127.0.0.1:1/app",
            ],
            "--owner-url: databases.owner_url: ",
        ),
        (
            &["--database-url", "hunter2"],
            "--database-url: databases.url: it must begin with",
        ),
        (
            &["--database-url", away, "--owner-url", owner],
            "could not be looked at",
        ),
    ] {
        let launch = arguments
            .iter()
            .fold(Launch::with_data_in(directory.path()), Launch::arg);
        let error = launch.refused().await;
        assert!(error.contains(expected), "{expected} is not in {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let unknown = Launch::with_data_in(directory.path())
        .arg("--isolation")
        .arg("none");
    let unknown = unknown.run().await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        unknown.stderr.contains("database, schema, row, sqlite"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test]
async fn by_default_each_tenant_has_a_file_of_its_own() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    server.add_note("acme.localhost", "in a file").await;
    let whoami: Value = server.get("acme.localhost", "/whoami").await.json();
    assert_eq!(whoami["tenant"], "acme");
    server.end().await;
    let mut names: Vec<_> = std::fs::read_dir(directory.path().join("tenants"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["tenant_acme.db", "tenant_globex.db", "tenant_initech.db"]);

    std::fs::remove_file(directory.path().join("tenants/tenant_acme.db")).unwrap();
    let again = Launch::with_data_in(directory.path()).start().await;
    assert_eq!(again.get("acme.localhost", "/notes").await.status, 503);
    assert!(again.notes("globex.localhost").await.is_empty());
}
