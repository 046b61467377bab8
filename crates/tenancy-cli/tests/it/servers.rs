//! Catalogues on servers: one command line for all.

use tenancy_test::servers::{MariaDb, Postgres};

use crate::support::Workplace;

/// A catalogue of its own, then the application's tables, in two databases that begin empty.
fn works_over(managed: &str, application: &str, password: &str, dialect: &str) {
    let place = Workplace::new();
    place.done(&[
        "tenants",
        "create",
        "acme",
        "--domain",
        "shop.acme.example",
        "--catalogue",
        managed,
    ]);
    assert!(!place.catalogue().exists());
    let list = place.json(&["tenants", "list", "--catalogue", managed]);
    assert_eq!(list["tenants"][0]["id"], "acme");
    let status = place.done(&["status", "--catalogue", managed]);
    assert!(
        status.contains("1 active") && !status.contains(password),
        "{status}"
    );
    let mut from_environment = place.command(&["tenants", "suspend", "acme"]);
    from_environment.env("TENANCY__CATALOGUE__URL", managed);
    let ended = crate::support::ended(from_environment);
    assert_eq!(ended.code, 0, "{}", ended.err);

    let adopt = [
        "catalogue",
        "adopt",
        "--table",
        "customers",
        "--catalogue",
        application,
    ];
    let sql = place.done(&adopt);
    assert!(sql.contains(dialect), "{sql}");
    let error = place.fails(&[&adopt[..], &["--apply", "--dialect", "sqlite"]].concat(), 2);
    assert!(error["message"].as_str().unwrap().contains("--dialect"));
    let adopted = place.done(&[&adopt[..], &["--apply", "--data", "*"]].concat());
    assert!(adopted.starts_with("Adopted 1 tenant."), "{adopted}");
    let check = place.done(&["catalogue", "check", "--catalogue", application]);
    assert!(
        check.contains("and 1 tenant") && !check.contains(password),
        "{check}"
    );
    let list = place.json(&["tenants", "list", "--catalogue", application]);
    assert_eq!(list["tenants"][0]["id"], "7");
    place.done(&[
        "catalogue",
        "adopt",
        "--remove",
        "--apply",
        "--catalogue",
        application,
    ]);
    let gone = place.run(&["tenants", "list", "--catalogue", application]);
    assert_ne!(gone.code, 0);
    assert!(!gone.err.contains(password), "{}", gone.err);
}

const CUSTOMERS: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(20));
    INSERT INTO customers VALUES (7, 'Seven')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_work_over_postgres() {
    use sqlx::{Connection as _, PgConnection};
    let server = Postgres::shared().await;
    let (managed, application) = (server.database("managed").await, server.database("own").await);
    let mut own = PgConnection::connect(&application.owner_url()).await.unwrap();
    sqlx::raw_sql(CUSTOMERS).execute(&mut own).await.unwrap();
    works_over(
        &managed.owner_url(),
        &application.owner_url(),
        server.password(),
        "LANGUAGE plpgsql",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_work_over_mariadb() {
    use sqlx::{Connection as _, MySqlConnection};
    let server = MariaDb::shared().await;
    let (managed, application) = (server.database("managed").await, server.database("own").await);
    let mut own = MySqlConnection::connect(&application.owner_url()).await.unwrap();
    sqlx::raw_sql(CUSTOMERS).execute(&mut own).await.unwrap();
    works_over(
        &managed.owner_url(),
        &application.owner_url(),
        server.password(),
        "DELIMITER //",
    );
}

#[test]
fn a_url_that_is_none_is_refused_without_being_shown() {
    let place = Workplace::new();
    for url in ["hunter2", "oracle://app:hunter2@db/app"] {
        let ended = place.run(&["tenants", "list", "--catalogue", url]);
        assert_ne!(ended.code, 0);
        assert!(ended.err.contains("catalogue.url"), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    }
}
