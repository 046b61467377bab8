//! A database for each tenant on MariaDB.

use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, Row};
use tenancy_core::TenantRecord;
use tenancy_sqlx::{
    database::{Server, TenantHomes},
    transfer::{Export, Import},
};
use tenancy_test::servers::{MariaDb, MariaDbDatabase, Role};

use super::fixture::{forge, names_in, record, text_of, went_through};
use crate::pool::fixture::poll_at_most;

struct World {
    database: MariaDbDatabase,
    homes: TenantHomes<MySql>,
    number: String,
}

const TABLES: &str = r#"
    CREATE TABLE kinds (
        id bigint unsigned PRIMARY KEY AUTO_INCREMENT, tiny tinyint(1), big bigint, n decimal(40,10), f float, d double,
        t longtext, vc varchar(10), c char(5), latin varchar(10) CHARACTER SET latin1, blobby longblob, vb varbinary(300), fixed binary(4),
        day date, moment datetime(6), stamp timestamp(6) NULL, clock time(6), y year, js json, e enum('a','b c'), s set('x','y'),
        bits bit(40), place point, upper varchar(20) AS (upper(vc)) STORED, `odd ``name` text
    );
    CREATE TABLE a_books (id int PRIMARY KEY, author int NOT NULL);
    CREATE TABLE authors (id int PRIMARY KEY AUTO_INCREMENT, parent int, name text, FOREIGN KEY (parent) REFERENCES authors (id));
    ALTER TABLE a_books ADD FOREIGN KEY (author) REFERENCES authors (id);
    CREATE VIEW seen AS SELECT * FROM authors"#;

const ROWS: &str = r#"
    INSERT INTO kinds (t) VALUES (NULL), (''), ('\\.'), ('\\N'), ('tab\there\nnew\r\nlines\\ \0'), ('ünïcödé 🦀 ');
    INSERT INTO kinds (tiny, big, n, f, d, vc, c, latin, blobby, vb, fixed, day, moment, stamp, clock, y, js, e, s, bits, place,
        `odd ``name`) VALUES
        (1, -9223372036854775808, 123456789012345678901234567890.0123456789, 0.1, 1.7976931348623157e308, 'ten bytes!', 'ab', 'é',
         0x00ff5c0a0d0927, '', 0x01000000, '9999-12-31', '2026-02-28 23:59:59.999999', '2026-02-28 23:59:59.000001', '-838:59:59', 2026,
         '{"a": "ä\\n", "b": null}', 'b c', 'x,y', b'1000000000000000000000000000000000000001', ST_GeomFromText('POINT(1 2)'), ''),
        (0, 0, 0, 16777216, 5e-324, '', '', '', '', 0xff, NULL, '1000-01-01', '1999-01-01 00:00:00', NULL, '00:00:00.000001', NULL,
         'null', 'a', '', b'0', NULL, 'o');
    INSERT INTO kinds (blobby) SELECT UNHEX(GROUP_CONCAT(LPAD(HEX(seq), 2, '0') ORDER BY seq SEPARATOR '')) FROM seq_0_to_255;
    INSERT INTO authors VALUES (1, NULL, 'one'), (3, 1, 'three');
    UPDATE authors SET parent = 3 WHERE id = 1;
    INSERT INTO a_books VALUES (1, 3), (2, 1);
    ALTER TABLE authors AUTO_INCREMENT = 50"#;

impl World {
    async fn new(name: &str) -> Self {
        let database = MariaDb::shared().await.database(name).await;
        let number = database.name().split('_').next().unwrap().to_owned();
        let homes = TenantHomes::builder()
            .server("main", Server::at(database.app_url()).owner(database.owner_url()))
            .build()
            .unwrap();
        Self {
            database,
            homes,
            number,
        }
    }

    fn url(&self, tenant: &TenantRecord) -> String {
        self.database
            .server()
            .url(Role::Owner, &format!("tenant_{}", tenant.id))
    }

    async fn make(&self, name: &str, sql: &str) -> TenantRecord {
        let tenant = record(&format!("{}-{name}", self.number));
        let database = format!("tenant_{}", tenant.id);
        let pattern = database.replace('_', "\\_");
        let server = self.database.server();
        server.sql(format!("CREATE DATABASE `{database}`")).await;
        server
            .sql(format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON `{pattern}`.* TO app"
            ))
            .await;
        self.run(&tenant, sql).await;
        tenant
    }

    async fn run(&self, tenant: &TenantRecord, sql: &str) {
        let mut connection = MySqlConnection::connect(&self.url(tenant)).await.unwrap();
        let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        if let Err(error) = ran {
            panic!("{error}: {sql}");
        }
        connection.close().await.unwrap();
    }

    async fn ask(&self, tenant: &TenantRecord, sql: &str) -> Vec<String> {
        let mut connection = MySqlConnection::connect(&self.url(tenant)).await.unwrap();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
    }

    /// Every value, to the bit.
    async fn dump(&self, tenant: &TenantRecord, table: &str) -> Vec<String> {
        // A float is cut to six digits as text, and a point has none.
        let values = format!(
            "SELECT replace(
                 CASE DATA_TYPE WHEN 'float' THEN 'HEX(CAST({{}} + 0e0 AS BINARY))' WHEN 'point' THEN 'HEX({{}})'
                     ELSE 'HEX(CAST({{}} AS BINARY))' END,
                 '{{}}', concat('`', replace(COLUMN_NAME, '`', '``'), '`'))
             FROM information_schema.COLUMNS
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
        );
        let values: Vec<_> = self.ask(tenant, &values).await;
        let values: Vec<_> = values
            .iter()
            .map(|value| format!("coalesce({value}, 'none')"))
            .collect();
        self.ask(
            tenant,
            &format!(
                "SELECT concat_ws(',', {}) FROM {table} ORDER BY 1",
                values.join(", ")
            ),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_copied() {
    let world = World::new("transfer").await;
    let acme = world
        .make(
            "acme",
            &format!("{TABLES}; {ROWS}; INSERT INTO authors (name) VALUES ('canary-acme')"),
        )
        .await;
    world
        .make(
            "bolt",
            &format!("{TABLES}; {ROWS}; INSERT INTO authors (name) VALUES ('canary-bolt')"),
        )
        .await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let exported = Export::of(&world.homes, &acme).to(&out).await.unwrap();
    assert_eq!((exported.tables, exported.rows), (3, 14));
    assert_eq!(names_in(directory.path()), ["out"]);
    let text = text_of(&out);
    assert!(text.contains("canary-acme") && !text.contains("canary-bolt"));

    let copy = world.make("copy", TABLES).await;
    Import::into(&world.homes, &copy).from(&out).await.unwrap();
    for table in ["kinds", "authors", "a_books"] {
        let rows = world.dump(&copy, table).await;
        assert!(!rows.is_empty());
        assert_eq!(rows, world.dump(&acme, table).await, "{table}");
    }
    // It goes on counting where the other one stood.
    world
        .run(
            &acme,
            "DELETE FROM authors WHERE id = 50; INSERT INTO authors (name) VALUES ('next')",
        )
        .await;
    world
        .run(
            &copy,
            "DELETE FROM authors WHERE id = 50; INSERT INTO authors (name) VALUES ('next')",
        )
        .await;
    assert_eq!(
        world
            .ask(&copy, "SELECT CAST(max(id) AS CHAR) FROM authors")
            .await,
        ["51"]
    );

    let again = Import::into(&world.homes, &copy).from(&out).await.unwrap_err();
    assert!(again.is_not_empty(), "{again:?}");
    Import::into(&world.homes, &copy)
        .replace()
        .from(&out)
        .await
        .unwrap();
    assert_eq!(
        world
            .ask(&copy, "SELECT CAST(max(id) AS CHAR) FROM authors")
            .await,
        ["50"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_forged_change_nothing_and_are_no_sql() {
    let world = World::new("forged").await;
    let tables =
        "CREATE TABLE a (id int PRIMARY KEY, b blob, parent int, FOREIGN KEY (parent) REFERENCES a (id))";
    let acme = world
        .make("acme", &format!("{tables}; INSERT INTO a VALUES (1, 'x', NULL)"))
        .await;
    let copy = world.make("copy", tables).await;
    let directory = tempfile::tempdir().unwrap();
    for (number, line) in [
        "1\t78",
        "1\t78\t\\N\t1",
        "1\t7\t\\N",
        "1\tzz\t\\N",
        "1\t78\t\\x",
        "1\t78\t7",
        "one\t78\t\\N",
        "1, 0x78, NULL); DROP TABLE a; -- \t78\t\\N",
    ]
    .iter()
    .enumerate()
    {
        let out = directory.path().join(number.to_string());
        Export::of(&world.homes, &acme).to(&out).await.unwrap();
        forge(&out, "00001.rows", |bytes| {
            *bytes = format!("{line}\n").into_bytes();
        });
        let error = Import::into(&world.homes, &copy).from(&out).await.unwrap_err();
        assert!(error.is_damaged() || error.is_server(), "{line}: {error:?}");
        assert_eq!(
            world.ask(&copy, "SELECT CAST(count(*) AS CHAR) FROM a").await,
            ["0"],
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_transactions_is_refused() {
    let world = World::new("myisam").await;
    let tables = "CREATE TABLE a (id int) ENGINE = MyISAM";
    let acme = world.make("acme", tables).await;
    let copy = world.make("copy", tables).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    Export::of(&world.homes, &acme).to(&out).await.unwrap();
    let error = Import::into(&world.homes, &copy).from(&out).await.unwrap_err();
    assert!(error.is_unsupported(), "{error:?}");
}

#[tokio::test]
async fn dropped_anywhere_nothing_is_left() {
    let world = World::new("dropped").await;
    let tables = "CREATE TABLE a (t text); CREATE TABLE b (t text)";
    let acme = world
        .make(
            "acme",
            &format!("{tables}; INSERT INTO a VALUES ('x'); INSERT INTO b VALUES ('y')"),
        )
        .await;
    let copy = world.make("copy", tables).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Export::of(&world.homes, &acme).to(&out)).await,
        false,
    ) {
        if names_in(directory.path()) == ["out"] {
            std::fs::remove_dir_all(&out).unwrap();
        }
        assert!(names_in(directory.path()).is_empty(), "{polls}");
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");
    let count = "SELECT CAST((SELECT count(*) FROM a) + (SELECT count(*) FROM b) AS CHAR)";
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Import::into(&world.homes, &copy).replace().from(&out)).await,
        true,
    ) {
        let count = world.ask(&copy, count).await;
        assert!(count == ["0"] || count == ["2"], "{polls}: {count:?}");
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");
    assert_eq!(world.ask(&copy, count).await, ["2"]);
}
