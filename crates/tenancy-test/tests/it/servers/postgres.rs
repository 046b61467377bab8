use std::{path::PathBuf, process::Command};

use tenancy_test::servers::{Postgres, PostgresOptions, Role};

use super::{children_of, eventually, is_gone, is_running, says_something};

/// A request for TLS: one byte comes back, whoever asks. <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const HELLO: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

async fn start() -> Postgres {
    Postgres::start(PostgresOptions::new()).await.unwrap()
}

/// What PostgreSQL's own client prints.
pub(super) fn psql(url: &str, statement: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn twenty_databases_made_at_once_are_apart_and_empty() {
    let server = Postgres::shared().await;
    let all = futures_util::future::join_all((0..20).map(|_| server.database("Twenty: at-once!"))).await;
    let names: std::collections::BTreeSet<_> =
        all.iter().map(|database| database.name().to_owned()).collect();
    assert_eq!(names.len(), 20);
    assert!(
        names.iter().all(|name| name.ends_with("_twenty__at_once_")),
        "{names:?}"
    );
    psql(&all[0].url(), "CREATE TABLE note (id int)").unwrap();
    psql(&all[1].url(), "CREATE TABLE note (id int)").unwrap();
    assert_eq!(psql(&all[2].url(), "SELECT to_regclass('note')").unwrap(), "");

    drop(all);
    let left = || async {
        let list = server.sql("SELECT datname FROM pg_database").await;
        list.into_iter().filter(|name| names.contains(name)).count()
    };
    // Dropping is queued on the connection that this asks through.
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn each_role_may_what_it_is_for_and_needs_its_password() {
    let database = Postgres::shared().await.database("roles").await;
    let who =
        "SELECT current_user, rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = current_user";
    assert_eq!(psql(&database.app_url(), who).unwrap(), "app|f|f|f");
    assert_eq!(psql(&database.owner_url(), who).unwrap(), "owner|f|f|t");
    assert_eq!(psql(&database.admin_url(), who).unwrap(), "admin|t|t|t");

    psql(
        &database.owner_url(),
        "CREATE TABLE note (id int); INSERT INTO note VALUES (7)",
    )
    .unwrap();
    assert!(
        psql(&database.app_url(), "SELECT id FROM note")
            .unwrap_err()
            .contains("permission denied")
    );
    psql(&database.owner_url(), "GRANT SELECT ON note TO app").unwrap();
    assert_eq!(psql(&database.app_url(), "SELECT id FROM note").unwrap(), "7");

    let wrong = database
        .owner_url()
        .replace(database.server().password(), "wrong");
    assert!(
        psql(&wrong, "SELECT 1")
            .unwrap_err()
            .contains("password authentication failed")
    );
    let socket = database.server().socket_url(Role::App, database.name());
    assert_eq!(psql(&socket, "SELECT id FROM note").unwrap(), "7");
}

#[tokio::test]
async fn two_servers_started_at_once_are_apart_and_go_with_their_folders() {
    let (a, b) = tokio::join!(start(), start());
    assert_ne!(a.address(), b.address());
    a.sql("CREATE DATABASE only_here").await;
    let has_it = "SELECT count(*) FROM pg_database WHERE datname = 'only_here'";
    assert_eq!(
        (a.sql(has_it).await, b.sql(has_it).await),
        (vec!["1".to_owned()], vec!["0".to_owned()])
    );

    let folder = PathBuf::from(&b.sql("SHOW data_directory").await[0]);
    let processes: Vec<u32> = children_of(b.pid()).into_iter().chain([b.pid()]).collect();
    assert!(folder.is_dir() && processes.len() > 3);
    drop(b);
    assert!(is_gone(folder.parent().unwrap()));
    for pid in processes {
        eventually("its processes end", || !is_running(pid)).await;
    }
    eventually("it answers", || says_something(a.address(), HELLO)).await;
}

#[tokio::test]
async fn a_frozen_server_accepts_and_says_nothing_until_it_is_thawed() {
    let server = start().await;
    eventually("it answers", || says_something(server.address(), HELLO)).await;
    server.freeze().await;
    assert!(!says_something(server.address(), HELLO));
    server.thaw().await;
    eventually("it answers", || says_something(server.address(), HELLO)).await;
    server.freeze().await;
    server.stop().await; // thaws it
    assert!(!is_running(server.pid()));
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_a_restart_on_the_same_port() {
    let server = start().await;
    let database = server.database("survives").await;
    psql(&database.url(), "CREATE TABLE note AS SELECT 7 AS id").unwrap();
    let (address, processes) = (server.address(), children_of(server.pid()));

    server.kill().await;
    assert!(processes.into_iter().all(|pid| !is_running(pid)) && !is_running(server.pid()));
    assert!(psql(&database.url(), "SELECT 1").is_err());

    server.restart().await.unwrap();
    assert_eq!(server.address(), address);
    assert!(
        server.log().contains("not properly shut down"),
        "{}",
        server.log()
    );
    assert_eq!(psql(&database.url(), "SELECT id FROM note").unwrap(), "7");

    server.restart().await.unwrap();
    assert!(
        !server.log().contains("not properly shut down"),
        "{}",
        server.log()
    );
    assert_eq!(server.sql("SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn settings_reach_the_server_and_a_wrong_one_is_told() {
    let options = PostgresOptions::new()
        .max_connections(17)
        .setting("work_mem", "3MB");
    let server = Postgres::start(options).await.unwrap();
    assert_eq!(
        server.sql("SHOW max_connections; SHOW work_mem").await,
        ["17", "3MB"]
    );

    let error = Postgres::start(PostgresOptions::new().setting("no_such_setting", "1"))
        .await
        .unwrap_err();
    assert!(
        error.is_not_serving() && error.to_string().contains("no_such_setting"),
        "{error}"
    );
}
