//! Starts with roles that are safe, and with others.

use std::path::Path;

use sqlx::{Connection, PgConnection};
use tempfile::tempdir;
use tenancy_test::servers::{MariaDb, Postgres, PostgresOptions};

use crate::support::{Launch, Server};

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
    // Rows are not shared beside schemas that requests may reach: they go before these.
    for isolation in ["database", "row", "schema"] {
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
