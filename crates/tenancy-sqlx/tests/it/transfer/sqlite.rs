//! A file for each tenant.

use std::process::{Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, Row, Sqlite, SqliteConnection};
use tempfile::TempDir;
use tenancy_core::TenantRecord;
use tenancy_sqlx::{
    database::{Server, TenantHomes},
    transfer::{Export, Import},
};

use super::fixture::{edit_manifest, forge, names_in, record, text_of, went_through};
use crate::pool::fixture::poll_at_most;

pub(super) struct Files {
    pub(super) directory: TempDir,
    pub(super) homes: TenantHomes<Sqlite>,
}

const TABLES: &str = r#"
    CREATE TABLE kinds (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, b BLOB, r REAL, n NUMERIC, anything,
        upper TEXT GENERATED ALWAYS AS (upper(t)) STORED, "odd ""name" TEXT);
    CREATE TABLE a_books (id INTEGER PRIMARY KEY, author INT NOT NULL REFERENCES authors);
    CREATE TABLE authors (id INTEGER PRIMARY KEY, parent INT REFERENCES authors, name TEXT) STRICT;
    CREATE TABLE log (what TEXT);
    CREATE TABLE pairs (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TRIGGER noted AFTER INSERT ON authors BEGIN INSERT INTO log VALUES ('x; y'); END;
    CREATE VIEW seen AS SELECT * FROM authors"#;

const ROWS: &str = r#"
    INSERT INTO kinds (t, b, r, n, anything) VALUES (NULL, NULL, NULL, NULL, NULL), ('', x'', 0.1, 9007199254740993, 'text'),
        ('ünïcödé 🦀', x'00ff5c0a0d0927', 1e308, '1e400', x'00'), ('\.', NULL, -0.0, 'x', 7);
    INSERT INTO kinds (id, "odd ""name") VALUES (90, 'o');
    DELETE FROM kinds WHERE id = 90;
    INSERT INTO authors VALUES (1, NULL, 'one'), (3, 1, 'three');
    UPDATE authors SET parent = 3 WHERE id = 1;
    INSERT INTO a_books VALUES (1, 3);
    INSERT INTO pairs VALUES ('a', 'b')"#;

impl Files {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", directory.path().display());
        let homes = TenantHomes::builder()
            .server("files", Server::at(url))
            .build()
            .unwrap();
        Self { directory, homes }
    }

    pub(super) async fn connect(&self, tenant: &TenantRecord) -> SqliteConnection {
        let file = self.directory.path().join(format!("tenant_{}.db", tenant.id));
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", file.display()))
            .await
            .unwrap()
    }

    /// Waits until no file is open: what was dropped half way may still run in a thread of SQLite's.
    async fn until_let_go(&self) {
        let is_open = || {
            let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
                .any(|path| path.starts_with(self.directory.path()))
        };
        while is_open() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn make(&self, name: &str, sql: &str) -> TenantRecord {
        let tenant = record(name);
        self.run(&tenant, sql).await;
        tenant
    }

    pub(super) async fn run(&self, tenant: &TenantRecord, sql: &str) {
        let mut connection = self.connect(tenant).await;
        let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        if let Err(error) = ran {
            panic!("{error}: {sql}");
        }
        connection.close().await.unwrap();
    }

    pub(super) async fn ask(&self, tenant: &TenantRecord, sql: &str) -> Vec<String> {
        let mut connection = self.connect(tenant).await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.try_get(0).unwrap()).collect()
    }

    async fn dump(&self, tenant: &TenantRecord, table: &str) -> Vec<String> {
        let columns = self
            .ask(
                tenant,
                &format!("SELECT name FROM pragma_table_xinfo('{table}') ORDER BY cid"),
            )
            .await;
        let values: Vec<_> = columns
            .iter()
            .map(|name| name.replace('"', "\"\""))
            .map(|name| format!("typeof(\"{name}\") || quote(\"{name}\")"))
            .collect();
        self.ask(
            tenant,
            &format!("SELECT {} FROM {table} ORDER BY 1", values.join(" || ','  || ")),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_copied() {
    let files = Files::new();
    let acme = files
        .make(
            "acme",
            &format!("{TABLES}; {ROWS}; INSERT INTO log VALUES ('canary-acme')"),
        )
        .await;
    files
        .make(
            "bolt",
            &format!("{TABLES}; {ROWS}; INSERT INTO log VALUES ('canary-bolt')"),
        )
        .await;
    let out = files.directory.path().join("out");
    let exported = Export::of(&files.homes, &acme).to(&out).await.unwrap();
    assert_eq!((exported.tables, exported.rows), (5, 4 + 2 + 1 + 3 + 1));
    let text = text_of(&out);
    assert!(text.contains("canary-acme") && !text.contains("canary-bolt"));

    let copy = files.make("copy", TABLES).await;
    Import::into(&files.homes, &copy).from(&out).await.unwrap();
    for table in ["kinds", "authors", "a_books", "log", "pairs"] {
        let rows = files.dump(&copy, table).await;
        assert!(!rows.is_empty());
        assert_eq!(rows, files.dump(&acme, table).await, "{table}");
    }
    files
        .run(
            &copy,
            "INSERT INTO kinds (t) VALUES ('next'); INSERT INTO authors VALUES (9, NULL, 'nine')",
        )
        .await;
    assert_eq!(
        files.ask(&copy, "SELECT CAST(max(id) AS TEXT) FROM kinds").await,
        ["91"]
    );
    assert_eq!(
        files.ask(&copy, "SELECT CAST(count(*) AS TEXT) FROM log").await,
        ["4"],
        "triggers run again"
    );

    let again = Import::into(&files.homes, &copy).from(&out).await.unwrap_err();
    assert!(again.is_not_empty(), "{again:?}");
    assert_eq!(
        files
            .ask(&copy, "SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .await,
        ["noted"]
    );
    Import::into(&files.homes, &copy)
        .replace()
        .from(&out)
        .await
        .unwrap();
    assert_eq!(
        files.ask(&copy, "SELECT CAST(count(*) AS TEXT) FROM log").await,
        ["3"]
    );
    assert_eq!(names_in(&out), ["database.sqlite", "tenant.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_a_file_gets_none() {
    let files = Files::new();
    let out = files.directory.path().join("out");
    let error = Export::of(&files.homes, &record("nobody"))
        .to(&out)
        .await
        .unwrap_err();
    assert!(error.is_server(), "{error:?}");
    assert!(names_in(files.directory.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_forged_changes_nothing() {
    let files = Files::new();
    let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, parent INT REFERENCES notes)";
    let acme = files
        .make(
            "acme",
            &format!("{table}; INSERT INTO notes VALUES (1, 'x', NULL)"),
        )
        .await;
    let copy = files.make("copy", table).await;
    for (number, forged) in [
        "DROP TABLE notes; CREATE VIEW notes AS SELECT 1 AS id, 'x' AS text, NULL AS parent",
        "DROP TABLE notes; CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)",
        "CREATE TABLE more (x)",
        "INSERT INTO notes VALUES (2, 'y', NULL)",
        "UPDATE notes SET parent = 7",
        "DROP TABLE notes; CREATE TABLE notes (id, text, parent); INSERT INTO notes VALUES ('one', 'x', NULL)",
    ]
    .into_iter()
    .enumerate()
    {
        let out = files.directory.path().join(number.to_string());
        Export::of(&files.homes, &acme).to(&out).await.unwrap();
        let file = out.join("database.sqlite");
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}?foreign_keys=off", file.display()))
            .await
            .or(SqliteConnection::connect(&format!("sqlite://{}", file.display())).await)
            .unwrap();
        let before = std::fs::read(&file).unwrap();
        sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(forged)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let after = std::fs::read(&file).unwrap();
        std::fs::write(&file, before).unwrap();
        forge(&out, "database.sqlite", |bytes| *bytes = after);
        let error = Import::into(&files.homes, &copy).from(&out).await.unwrap_err();
        assert!(error.is_damaged() || error.is_mismatch() || error.is_server(), "{forged}: {error:?}");
        assert_eq!(files.ask(&copy, "SELECT CAST(count(*) AS TEXT) FROM notes").await, ["0"], "{forged}");
    }
    let out = files.directory.path().join("noise");
    Export::of(&files.homes, &acme).to(&out).await.unwrap();
    forge(&out, "database.sqlite", |bytes| bytes[20..600].fill(0xa5));
    let error = Import::into(&files.homes, &copy).from(&out).await.unwrap_err();
    assert!(error.is_server(), "{error:?}");
    let out = files.directory.path().join("journal");
    Export::of(&files.homes, &acme).to(&out).await.unwrap();
    std::fs::write(out.join("database.sqlite-journal"), b"x").unwrap();
    let error = Import::into(&files.homes, &copy).from(&out).await.unwrap_err();
    assert!(error.is_damaged(), "{error:?}");
    let out = files.directory.path().join("none");
    Export::of(&files.homes, &acme).to(&out).await.unwrap();
    edit_manifest(&out, |text| {
        text.replace("\"engine\": \"sqlite\"", "\"engine\": \"postgres\"")
    });
    assert!(
        Import::into(&files.homes, &copy)
            .from(&out)
            .await
            .unwrap_err()
            .is_mismatch()
    );
}

#[tokio::test]
async fn dropped_anywhere_nothing_is_left() {
    let files = Files::new();
    let tables = "CREATE TABLE a (t TEXT); CREATE TABLE b (t TEXT)";
    let acme = files
        .make(
            "acme",
            &format!("{tables}; INSERT INTO a VALUES ('x'); INSERT INTO b VALUES ('y')"),
        )
        .await;
    let copy = files.make("copy", tables).await;
    let exports = tempfile::tempdir().unwrap();
    let out = exports.path().join("out");
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Export::of(&files.homes, &acme).to(&out)).await,
        false,
    ) {
        if names_in(exports.path()) == ["out"] {
            std::fs::remove_dir_all(&out).unwrap();
        }
        assert!(names_in(exports.path()).is_empty(), "{polls}");
        files.until_let_go().await;
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");
    let count = "SELECT CAST((SELECT count(*) FROM a) + (SELECT count(*) FROM b) AS TEXT)";
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Import::into(&files.homes, &copy).replace().from(&out)).await,
        true,
    ) {
        let count = files.ask(&copy, count).await;
        assert!(count == ["0"] || count == ["2"], "{polls}: {count:?}");
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");
    assert_eq!(files.ask(&copy, count).await, ["2"]);
}

const HOME: &str = "TENANCY_TEST_TRANSFER";

/// Not a test: what the other one starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that another test starts"]
async fn an_export_that_crashes() {
    let home = std::env::var(HOME).expect("the test that starts it says so");
    let url = format!("sqlite://{home}");
    let homes = TenantHomes::<Sqlite>::builder()
        .server("files", Server::at(url))
        .build()
        .unwrap();
    let acme = record("acme");
    let export = Export::of(&homes, &acme).observe(|_| std::process::abort());
    export.to(std::path::Path::new(&home).join("out")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_what_nobody_takes_for_a_whole_export() {
    let files = Files::new();
    let acme = files.make("acme", "CREATE TABLE notes (text TEXT)").await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transfer::sqlite::an_export_that_crashes",
            "--ignored",
            "--test-threads=1",
        ])
        .env(HOME, files.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!child.success());
    let names = names_in(files.directory.path());
    let [left, _] = &*names else {
        panic!("{names:?}");
    };
    assert!(
        left.starts_with("out.") && left.ends_with(".partial"),
        "{names:?}"
    );
    let error = Import::into(&files.homes, &acme)
        .replace()
        .from(files.directory.path().join(left))
        .await
        .unwrap_err();
    assert!(error.is_damaged(), "{error:?}");
    let out = files.directory.path().join("out");
    Export::of(&files.homes, &acme).to(&out).await.unwrap();
    assert_eq!(
        names_in(files.directory.path()),
        ["out", "tenant_acme.db"],
        "the next one removes what is left"
    );
}
