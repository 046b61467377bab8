//! `catalogue adopt` and `check`, and the commands that look, on an application's own file.

use std::fs;

use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::Workplace;

const TABLES: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, subdomain TEXT UNIQUE, state TEXT, name TEXT);
    CREATE TABLE hosts (host TEXT PRIMARY KEY, customer_id INTEGER REFERENCES customers (id));
    INSERT INTO customers VALUES (1, 'acme', 'live', 'Acme Ltd'), (2, 'globex', 'late', 'Globex');
    INSERT INTO hosts VALUES ('shop.acme.example', 1);
";

const ADOPT: [&str; 18] = [
    "catalogue",
    "adopt",
    "--table",
    "customers",
    "--slug",
    "subdomain",
    "--status",
    "state",
    "--status-map",
    "live=active,late=suspended",
    "--data",
    "*",
    "--domains-table",
    "hosts",
    "--domains-column",
    "host",
    "--domains-tenant",
    "customer_id",
];

const DATABASE: [&str; 2] = ["--database", "app.db"];

fn on_app<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &DATABASE].concat()
}

/// Runs SQL on the application's file, as its own code or `sqlite3 -bail` would.
fn run(place: &Workplace, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(place.path("app.db"))
            .create_if_missing(true)
            .foreign_keys(false);
        let mut app = SqliteConnection::connect_with(&options).await.unwrap();
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        sql.execute(&mut app).await.unwrap();
        app.close().await.unwrap();
    });
}

fn with_tables() -> Workplace {
    let place = Workplace::new();
    run(&place, TABLES);
    place
}

fn adopted() -> Workplace {
    let place = with_tables();
    let sql = place.done(&on_app(&ADOPT));
    run(&place, &sql);
    place
}

#[test]
fn adopt_prints_and_changes_nothing_until_it_is_run() {
    let place = with_tables();
    let before = fs::read(place.path("app.db")).unwrap();
    let sql = place.done(&on_app(&ADOPT));
    assert!(sql.contains("CREATE VIEW tenancy_tenants"), "{sql}");
    assert!(sql.contains("'name'"), "all columns are data: {sql}");
    assert_eq!(fs::read(place.path("app.db")).unwrap(), before);
    assert_eq!(
        place.json(&on_app(&ADOPT)),
        json!({ "sql": sql, "applied_to": null })
    );
    assert!(
        place.fails(&on_app(&["tenants", "list"]), 6)["message"]
            .as_str()
            .unwrap()
            .contains("catalogue adopt")
    );

    run(&place, &sql);
    run(&place, &sql);
    let list = place.json(&on_app(&["tenants", "list"]));
    assert_eq!(list["tenants"].as_array().unwrap().len(), 2);

    let removal = place.done(&["catalogue", "adopt", "--remove"]);
    run(&place, &removal);
    run(&place, &removal);
    place.fails(&on_app(&["tenants", "list"]), 6);
    assert!(!place.path("tenancy-data").exists());
}

#[test]
fn adopt_applies_and_takes_out_in_one_transaction() {
    let place = with_tables();
    let apply = on_app(&[&ADOPT[..], &["--apply"]].concat());
    assert!(place.done(&apply).starts_with("Adopted 2 tenants."));
    assert!(
        place.json(&apply)["applied_to"]
            .as_str()
            .unwrap()
            .ends_with("app.db")
    );
    assert_eq!(place.json(&on_app(&["status"]))["kind"], "adopted");
    let out = ["catalogue", "adopt", "--remove", "--apply"];
    place.done(&on_app(&out));
    place.fails(&on_app(&["status"]), 6);

    let before = fs::read(place.path("app.db")).unwrap();
    for (wrong, part) in [
        (["--plan", "no_such"], "no_such"),
        (["--table", "nothing"], "nothing"),
        (["--data", "name,no_such"], "no_such"),
    ] {
        let base = ["catalogue", "adopt", "--apply"];
        let table: &[&str] = if wrong[0] == "--table" {
            &[]
        } else {
            &["--table", "customers"]
        };
        let error = place.fails(&on_app(&[&base[..], table, &wrong].concat()), 5);
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    assert_eq!(
        fs::read(place.path("app.db")).unwrap(),
        before,
        "nothing is left half-way"
    );
}

#[test]
fn adopt_refuses_what_it_can_not_write() {
    let place = with_tables();
    for arguments in [
        &["--table", "tenancy_tenants"][..],
        &["--table", ""],
        &["--table", "customers", "--plan", "data->a'b"],
        &["--table", "customers", "--slug", "a\nb"],
    ] {
        place.fails(&[&["catalogue", "adopt"], arguments].concat(), 5);
    }
    for arguments in [
        &[][..],
        &["--table", "customers", "--layout", "stancl"],
        &[
            "--table",
            "customers",
            "--status",
            "state",
            "--status-map",
            "live=alive",
        ],
        &["--table", "customers", "--status-map", "live=active"],
        &["--table", "customers", "--domains-table", "hosts"],
        &["--table", "customers", "--dialect", "oracle"],
        &["--table", "customers", "--keep-numbers"],
        &["--table", "customers", "--apply"],
        &["--table", "customers", "--data", "*"],
    ] {
        let ended = place.run(&[&["catalogue", "adopt"], arguments].concat());
        assert_eq!((ended.code, ended.out.len()), (2, 0), "{arguments:?}");
    }
    let managed = Workplace::with_tenants();
    let file = managed.catalogue();
    let file = file.to_str().unwrap();
    for what in [&["--layout", "stancl"][..], &["--remove"]] {
        let base = ["catalogue", "adopt", "--apply", "--database", file];
        managed.fails(&[&base[..], what].concat(), 5);
    }
    managed.done(&["tenants", "suspend", "acme"]);
}

#[test]
fn commands_that_look_work_on_an_adopted_catalogue_and_commands_that_change_say_where() {
    let place = adopted();
    let shown = place.json(&on_app(&["tenants", "show", "shop.acme.example"]));
    assert_eq!((&shown["id"], &shown["slug"]), (&json!("1"), &json!("acme")));
    assert_eq!(
        place.json(&on_app(&["domains", "list", "1"]))["domains"][0]["domain"],
        "shop.acme.example"
    );
    let explained = place.json(&on_app(&["explain", "--host", "shop.acme.example"]));
    assert_eq!(explained["tenant"], "1");
    assert_eq!(
        place
            .run(&on_app(&["explain", "--host", "globex.localhost"]))
            .code,
        1
    );
    place.done(&on_app(&["order"]));
    let status = place.json(&on_app(&["status"]));
    assert_eq!(
        (&status["kind"], &status["left_out"]),
        (&json!("adopted"), &json!([]))
    );
    let mut by_environment = place.command(&["status", "--json"]);
    by_environment.env("TENANCY__CATALOGUE__DATABASE", "app.db");
    assert_eq!(crate::support::ended(by_environment).code, 0);

    let before = fs::read(place.path("app.db")).unwrap();
    for change in [
        &["tenants", "create", "initech"][..],
        &["tenants", "suspend", "1"],
        &["tenants", "update", "1", "--plan", "pro"],
        &["tenants", "purge", "1", "--yes"],
        &["domains", "add", "1", "a.example"],
    ] {
        let error = place.fails(&on_app(change), 6);
        assert!(
            error["message"].as_str().unwrap().contains("your own tables"),
            "{error}"
        );
        assert!(
            error["advice"].as_str().unwrap().contains("managed catalogue"),
            "{error}"
        );
    }
    assert_eq!(fs::read(place.path("app.db")).unwrap(), before);
}

#[test]
fn check_and_status_tell_what_is_left_out() {
    let place = adopted();
    let fine = place.json(&on_app(&["catalogue", "check"]));
    assert_eq!((&fine["tenants"], &fine["left_out"]), (&json!(2), &json!([])));
    run(
        &place,
        "UPDATE customers SET subdomain = 'not a slug' WHERE id = 2; INSERT INTO hosts VALUES ('a.example:443', 1)",
    );
    let checked = place.run(&on_app(&["catalogue", "check", "--json"]));
    assert_eq!((checked.code, checked.err.as_str()), (1, ""));
    let checked: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let left_out = &checked["left_out"];
    assert_eq!(left_out[0]["key"], "domain:a.example:443");
    assert_eq!(
        (&left_out[1]["tenant"], &left_out[1]["key"]),
        (&json!("2"), &json!(null))
    );
    assert_eq!(&place.json(&on_app(&["status"]))["left_out"], left_out);
    let text = place.done(&on_app(&["status"]));
    assert!(
        text.contains("domain:a.example:443 of tenant 1: it is no domain"),
        "{text}"
    );

    // A row that SQLite removes without running a trigger.
    run(&place, "CREATE UNIQUE INDEX names ON customers (name)");
    run(&place, "REPLACE INTO customers VALUES (3, 'c', 'live', 'Globex')");
    let text = place.run(&on_app(&["catalogue", "check"])).out;
    assert!(
        text.contains("tenant 2: it is gone, and the triggers did not see that"),
        "{text}"
    );

    run(
        &place,
        "DROP TRIGGER tenancy_on_domain_delete; DROP VIEW tenancy_tenants",
    );
    let error = place.fails(&on_app(&["catalogue", "check"]), 6);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("no view tenancy_tenants"),
        "{error}"
    );
    place.fails(&["catalogue", "check"], 6);
}

#[test]
fn the_tables_of_laravel_are_adopted_by_their_name() {
    let place = Workplace::new();
    run(
        &place,
        r#"CREATE TABLE tenants (id varchar primary key, created_at datetime, updated_at datetime, data text);
           CREATE TABLE domains (id integer primary key, domain varchar unique, tenant_id varchar);
           INSERT INTO tenants (id, data) VALUES ('acme', '{"tenancy_db_name":"tenantacme"}');
           INSERT INTO domains (domain, tenant_id) VALUES ('acme.example', 'acme')"#,
    );
    place.done(&on_app(&["catalogue", "adopt", "--layout", "stancl", "--apply"]));
    let shown = place.json(&on_app(&["tenants", "show", "acme.example"]));
    assert_eq!(shown["placement"]["database"], "tenantacme");
    let data = r#"INSERT INTO tenants (id, data) VALUES ('globex', '{"stripe":"sk_live_1"}')"#;
    run(&place, data);
    let show = ["tenants", "show", "globex"];
    let hidden = place.json(&on_app(&show));
    assert_eq!(hidden["data"], serde_json::json!({ "stripe": "[redacted]" }));
    assert!(!place.done(&on_app(&show)).contains("sk_live_1"));
    let reveal = [&show[..], &["--reveal"]].concat();
    assert_eq!(place.json(&on_app(&reveal))["data"]["stripe"], "sk_live_1");
    assert!(place.done(&on_app(&reveal)).contains("sk_live_1"));
}

/// Runs as nobody, who may read the files and write nothing. Only root can: for others, the rights themselves do.
#[cfg(unix)]
#[test]
fn looking_needs_no_right_to_write() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let place = Workplace::with_tenants();
    run(&place, TABLES);
    place.done(&on_app(&[&ADOPT[..], &["--apply"]].concat()));
    let (directory, data) = (place.path(""), place.path("tenancy-data"));
    let set =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for file in [place.catalogue(), place.path("app.db")] {
        set(&file, 0o444);
    }
    set(&data, 0o555);
    set(&directory, 0o555);
    let is_root = fs::write(place.path("tenancy-data/probe"), "").is_ok();
    if is_root {
        fs::remove_file(place.path("tenancy-data/probe")).unwrap();
    }
    for (arguments, code) in [
        (vec!["tenants", "list"], 0),
        (vec!["tenants", "show", "acme"], 0),
        (vec!["explain", "--host", "acme.localhost"], 0),
        (vec!["status"], 0),
        (vec!["order"], 0),
        (vec!["tenants", "suspend", "acme"], 6),
        (on_app(&["tenants", "list"]), 0),
        (on_app(&["explain", "--host", "shop.acme.example"]), 0),
        (on_app(&["catalogue", "check"]), 0),
    ] {
        let mut command = place.command(&arguments);
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        let ended = crate::support::ended(command);
        assert_eq!(ended.code, code, "{arguments:?}: {}{}", ended.out, ended.err);
    }
    for path in [&data, &directory] {
        set(path, 0o755);
    }
}
