use std::{path::PathBuf, process::Command};

use tenancy_test::servers::{MariaDb, MariaDbOptions, Role};

use super::{eventually, is_gone, is_running};

/// What MariaDB's own client prints.
fn client(server: &MariaDb, role: Role, database: &str, statement: &str) -> Result<String, String> {
    let output = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--connect-timeout=1",
            "--host=127.0.0.1",
        ])
        .arg(format!("--port={}", server.address().port()))
        .args(["--user", role.name(), "--execute", statement, database])
        .env("MYSQL_PWD", server.password())
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn twenty_databases_made_at_once_are_apart_and_go() {
    let server = MariaDb::shared().await;
    let all = futures_util::future::join_all((0..20).map(|_| server.database("twenty"))).await;
    let names: std::collections::BTreeSet<_> =
        all.iter().map(|database| database.name().to_owned()).collect();
    assert_eq!(names.len(), 20);
    let create = |n: usize| client(server, Role::Owner, all[n].name(), "CREATE TABLE note (id int)");
    create(0).unwrap();
    create(1).unwrap();
    create(0).unwrap_err();
    drop(all);
    let left = server.sql("SHOW DATABASES LIKE 't%twenty'").await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn each_role_may_what_it_is_for_and_needs_its_password() {
    let server = MariaDb::shared().await;
    let (mine, other) = (server.database("roles").await, server.database("roles").await);
    let run = |role, database, statement| client(server, role, database, statement);
    run(Role::Owner, mine.name(), "CREATE TABLE note (id int)").unwrap();
    run(Role::App, mine.name(), "INSERT INTO note VALUES (7)").unwrap();
    assert_eq!(run(Role::App, mine.name(), "SELECT id FROM note").unwrap(), "7");
    assert!(
        run(Role::App, mine.name(), "DROP TABLE note")
            .unwrap_err()
            .contains("denied")
    );
    assert!(
        run(Role::Owner, other.name(), "SHUTDOWN")
            .unwrap_err()
            .contains("denied")
    );
    assert!(
        run(Role::Admin, other.name(), "SHOW GRANTS")
            .unwrap()
            .contains("ALL PRIVILEGES")
    );

    let anyone = "SELECT count(*) FROM mysql.user WHERE Host <> 'localhost' AND authentication_string = ''";
    assert_eq!(server.sql(anyone).await, ["0"]);
    assert_eq!(server.sql("SELECT repeat('x', 1000)").await[0].len(), 1000);
    assert_eq!(server.sql("SELECT NULL").await, [""]);
}

#[tokio::test]
async fn it_freezes_thaws_is_killed_keeps_what_was_committed_and_goes_with_its_folder() {
    let server = MariaDb::start(MariaDbOptions::new().max_connections(17))
        .await
        .unwrap();
    assert_eq!(server.sql("SELECT @@max_connections").await, ["17"]);
    let database = server.database("survives").await;
    let run = |statement| client(&server, Role::Owner, database.name(), statement);
    run("CREATE TABLE note (id int); INSERT INTO note VALUES (7)").unwrap();

    server.freeze().await;
    run("SELECT 1").unwrap_err();
    server.thaw().await;
    eventually("it answers", || run("SELECT 1").is_ok()).await;

    let address = server.address();
    server.kill().await;
    assert!(!is_running(server.pid()));
    run("SELECT 1").unwrap_err();
    server.restart().await.unwrap();
    assert_eq!(
        (server.address(), run("SELECT id FROM note").unwrap().as_str()),
        (address, "7")
    );

    let folder = PathBuf::from(&server.sql("SELECT @@datadir").await[0]);
    let pid = server.pid();
    drop((database, server));
    assert!(!is_running(pid) && is_gone(folder.parent().unwrap()));
}

#[tokio::test]
async fn a_wrong_setting_is_told() {
    let options = MariaDbOptions::new().setting("no_such_setting", "1");
    let error = MariaDb::start(options).await.unwrap_err();
    assert!(
        error.is_not_serving() && error.to_string().contains("no_such_setting"),
        "{error}"
    );
}
