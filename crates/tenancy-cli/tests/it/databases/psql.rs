use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{databases_on_mariadb, files, rows, schemas};
use crate::support::{Ended, Workplace, ended};

/// With the programs of this machine.
fn psql(place: &Workplace, arguments: &[&str]) -> Ended {
    let mut command = place.command(&[&["psql"], arguments].concat());
    command.env("PATH", std::env::var("PATH").unwrap());
    ended(command)
}

/// With a program of this name that tells what it was told.
fn pretend(place: &mut Workplace, name: &str) {
    place.write(
        &format!("bin/{name}"),
        "#!/bin/sh\nprintf '%s\\n' \"arguments: $*\"\nenv | grep -E '^(PG|MYSQL)'\nexit 7\n",
    );
    let file = place.path(&format!("bin/{name}"));
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
    place.set("PATH", path);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_opens_in_the_tenants_schema_and_only_reads() {
    let (place, _database) = schemas(&["acme"]).await;
    place.done(&["migrate"]);
    let told = psql(
        &place,
        &[
            "acme",
            "--",
            "-Atc",
            "SELECT current_user, current_schema(), count(*) FROM notes",
        ],
    );
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "app|tenant_acme|0\n"),
        "{}",
        told.err
    );
    assert!(
        told.err
            .contains("tenant acme, as the application; the session only reads"),
        "{}",
        told.err
    );

    let insert = ["--", "-Atc", "INSERT INTO notes VALUES (1, 'x')"];
    let refused = psql(&place, &[&["acme"], &insert[..]].concat());
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("read-only transaction"), "{}", refused.err);
    let written = psql(&place, &[&["acme", "--write"], &insert[..]].concat());
    assert_eq!(written.code, 0, "{}", written.err);
    let owner = psql(
        &place,
        &["acme", "--as-owner", "--", "-Atc", "SELECT current_user"],
    );
    assert_eq!(owner.out, "owner\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_hold_in_psql() {
    let (place, _database) = rows(&["acme", "bolt"]).await;
    let told = psql(&place, &["bolt", "--", "-Atc", "SELECT text FROM notes"]);
    assert_eq!(told.out, "a note of bolt\n", "{}", told.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_stand_in_the_environment_and_the_code_is_the_programs() {
    let (mut place, database) = schemas(&["acme"]).await;
    let password = database.server().password().to_owned();
    pretend(&mut place, "psql");
    place.set("PGSERVICE", "elsewhere");
    let told = place.run(&["psql", "acme", "--", "-x"]);
    assert_eq!(told.code, 7, "{}", told.err);
    assert!(told.out.starts_with("arguments: -x\n"), "{}", told.out);
    for line in [
        &format!("PGPASSWORD={password}\n"),
        "PGUSER=app\n",
        "PGHOST=127.0.0.1\n",
        &format!("PGDATABASE={}\n", database.name()),
        "PGOPTIONS=-c search_path=\"tenant_acme\" -c default_transaction_read_only=on\n",
    ] {
        assert!(told.out.contains(line), "{line}: {}", told.out);
    }
    assert!(!told.out.contains("PGSERVICE"), "{}", told.out);
    assert!(!told.err.contains(&password), "{}", told.err);

    let (mut place, database) = databases_on_mariadb(&["mypsql"]).await;
    let password = database.server().password().to_owned();
    pretend(&mut place, "mariadb");
    let told = place.run(&["psql", "mypsql"]);
    let arguments = told.out.lines().next().unwrap();
    assert!(
        arguments.contains("--user=app") && arguments.contains("--database=tenant_mypsql"),
        "{arguments}"
    );
    assert!(
        arguments.contains("--init-command=SET SESSION TRANSACTION READ ONLY"),
        "{arguments}"
    );
    assert!(!arguments.contains(&password), "{arguments}");
    assert!(
        told.out.contains(&format!("MYSQL_PWD={password}\n")),
        "{}",
        told.out
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_and_sqlite_only_read_too() {
    let (place, _database) = databases_on_mariadb(&["myshell"]).await;
    place.done(&["migrate"]);
    let insert = "INSERT INTO notes VALUES (1, 'x')";
    let refused = psql(&place, &["myshell", "--", "-e", insert]);
    assert!(
        refused.code != 0 && refused.err.contains("READ ONLY"),
        "{}",
        refused.err
    );
    assert_eq!(psql(&place, &["myshell", "--write", "--", "-e", insert]).code, 0);

    let place = files(&["acme"]).await;
    place.done(&["migrate"]);
    let refused = psql(&place, &["acme", "--", insert]);
    assert!(
        refused.code != 0 && refused.err.contains("readonly"),
        "{}",
        refused.err
    );
    assert_eq!(psql(&place, &["acme", "--write", "--", insert]).code, 0);
    place.done(&["tenants", "create", "corp"]);
    place.fails(&["psql", "corp", "--write"], 3);
    assert!(!place.path("tenancy-data/tenants/tenant_corp.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_said_with_how_to_install_it() {
    let (mut place, _database) = schemas(&["acme"]).await;
    place.set("PATH", place.path("nothing-here").to_str().unwrap());
    let ended = place.run(&["psql", "acme"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("error: psql can not be started"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("postgresql-client"), "{}", ended.err);
    place.fails(&["psql", "nobody"], 3);
}
