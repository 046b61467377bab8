//! A database or a schema for each tenant.

use tenancy_sqlx::transfer::{Export, Import};

use super::fixture::{Homes, Kind, names_in, text_of, went_through};
use crate::pool::fixture::poll_at_most;

const TABLES: &str = r#"
    CREATE TYPE mood AS ENUM ('glad', 'so la ''la''');
    CREATE DOMAIN short AS text CHECK (length(value) < 20);
    CREATE TABLE kinds (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a_bool boolean, i2 smallint, i8 bigint, n numeric(40,10),
        f4 real, f8 double precision, t text, vc varchar(10), c char(5), bytes bytea, d date, ts timestamp, tz timestamptz,
        iv interval, u uuid, js json, jb jsonb, ta text[], ia int[], m mood, s short, ip inet, span int4range, bits bit(5),
        cash money, upper text GENERATED ALWAYS AS (upper(t)) STORED, "odd ""name" text
    );
    CREATE TABLE empty_one (id serial PRIMARY KEY);
    -- By name before those that they refer to.
    CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE a_books (id int PRIMARY KEY, author int NOT NULL REFERENCES authors);
    CREATE TABLE trees (id int PRIMARY KEY, parent int REFERENCES trees);
    CREATE TABLE log (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('x'); RETURN NEW; END $$;
    CREATE TRIGGER noted AFTER INSERT ON authors FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TABLE ring_a (id int PRIMARY KEY, b int);
    CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a DEFERRABLE);
    ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b DEFERRABLE;
    CREATE TABLE parts (id int, text text) PARTITION BY LIST (id);
    CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (2)"#;

const ROWS: &str = r#"
    INSERT INTO kinds (t) VALUES (NULL), (''), ('\.'), ('\N'), (E'tab\there\nnew\r\nlines\\'), ('ünïcödé 🦀 '), ('"''`$$;--');
    INSERT INTO kinds (a_bool, i2, i8, n, f4, f8, t, vc, c, bytes, d, ts, tz, iv, u, js, jb, ta, ia, m, s, ip, span, bits, cash,
        "odd ""name") VALUES
        (true, -32768, 9223372036854775807, 'NaN', 'Infinity', 'NaN', 'x', 'ten bytes!', 'ab', '', '-infinity', 'infinity',
         '2026-02-28 23:59:59.999999+05:30', '-1 year 2 mons -3 days 04:05:06.789', '00000000-0000-0000-0000-00000000000a',
         ' {"b" : 1, "a" : "\u00e4\n"}', '{"b": [1, null]}', ARRAY['a,b', NULL, '', '"', '\'], ARRAY[]::int[], 'so la ''la''',
         'short', '::1/64', '[1,10)', B'10101', 1.5, 'o'),
        (false, 0, 0, 123456789012345678901234567890.0123456789, 0.1, 0.1, E'\x01', '', '', '\x005c0a0d09', '0044-03-15 BC',
         '1999-01-01 00:00:00', '1900-01-01 00:00:00+00', '1 day', NULL, 'null', 'null', '{}', '{{1,2},{3,NULL}}', 'glad', NULL,
         '10.0.0.1', 'empty', B'00000', -1, '');
    INSERT INTO kinds (bytes) SELECT string_agg(decode(lpad(to_hex(n), 2, '0'), 'hex'), '') FROM generate_series(0, 255) n;
    INSERT INTO authors VALUES (1, 'one'), (2, 'two');
    INSERT INTO a_books VALUES (1, 2), (2, 1);
    INSERT INTO trees VALUES (2, NULL), (1, 2), (3, 3);
    BEGIN;
    SET CONSTRAINTS ALL DEFERRED;
    INSERT INTO ring_a VALUES (1, 1);
    INSERT INTO ring_b VALUES (1, 1);
    COMMIT;
    INSERT INTO parts VALUES (1, 'one'), (2, 'two'), (2, 'zwei');
    SELECT setval('empty_one_id_seq', 41)"#;

const NAMES: [&str; 9] = [
    "kinds",
    "empty_one",
    "authors",
    "a_books",
    "trees",
    "log",
    "ring_a",
    "ring_b",
    "parts",
];

async fn a_tenant_comes_out_as_it_went_in(from: Kind, to: Kind) {
    let homes = Homes::new(from, "transfer").await;
    let acme = homes
        .make(
            "acme",
            &format!("{TABLES}; {ROWS}; INSERT INTO authors VALUES (3, 'canary-acme')"),
        )
        .await;
    homes
        .make(
            "bolt",
            &format!("{TABLES}; {ROWS}; INSERT INTO authors VALUES (3, 'canary-bolt')"),
        )
        .await;
    let mut wanted = Vec::new();
    for name in NAMES {
        wanted.push(homes.dump(&acme, name).await);
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut done = Vec::new();
    let exported = Export::of(&homes.homes, &acme)
        .observe(|progress| {
            if progress.is_done {
                done.push((progress.table.to_owned(), progress.rows));
            }
        })
        .to(&out)
        .await
        .unwrap();
    let rows: usize = wanted.iter().map(Vec::len).sum();
    assert_eq!((exported.tables, exported.rows), (NAMES.len(), rows as u64));
    assert_eq!(done.len(), NAMES.len());
    assert_eq!(done.iter().map(|(_, rows)| rows).sum::<u64>(), exported.rows);
    assert_eq!(names_in(directory.path()), ["out"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&out).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let file = std::fs::metadata(out.join("tenant.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
    let text = text_of(&out);
    assert!(text.contains("canary-acme") && !text.contains("canary-bolt"));

    let homes = homes.other(to);
    let copy = homes.make("copy", TABLES).await;
    let imported = Import::into(&homes.homes, &copy).from(&out).await.unwrap();
    assert_eq!((imported.tables, imported.rows), (exported.tables, exported.rows));
    assert_eq!(imported.exported.id, acme.id);
    for (name, wanted) in NAMES.iter().zip(&wanted) {
        assert_eq!(homes.dump(&copy, name).await, *wanted, "{name}");
    }
    assert_eq!(
        homes.ask(&copy, "SELECT nextval('empty_one_id_seq')::text").await,
        ["42"]
    );
    // The next key is free, and triggers run again.
    homes
        .run(
            &copy,
            "INSERT INTO kinds (t) VALUES ('next'); INSERT INTO authors VALUES (9, 'nine')",
        )
        .await;
    let (logged, was) = (homes.dump(&copy, "log").await.len(), wanted[5].len());
    assert_eq!(logged, was + 1);

    let again = Import::into(&homes.homes, &copy).from(&out).await.unwrap_err();
    assert!(again.is_not_empty(), "{again:?}");
    assert_eq!(homes.dump(&copy, "log").await.len(), logged);
    Import::into(&homes.homes, &copy)
        .replace()
        .from(&out)
        .await
        .unwrap();
    for (name, wanted) in NAMES.iter().zip(&wanted) {
        assert_eq!(homes.dump(&copy, name).await, *wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_copied() {
    a_tenant_comes_out_as_it_went_in(Kind::Databases, Kind::Databases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_copied() {
    a_tenant_comes_out_as_it_went_in(Kind::Schemas, Kind::Schemas).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_becomes_a_database() {
    a_tenant_comes_out_as_it_went_in(Kind::Schemas, Kind::Databases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_an_export_is_of_one_moment() {
    let homes = Homes::new(Kind::Schemas, "moment").await;
    let tables = "CREATE TABLE a (n int); CREATE TABLE b (n int)";
    let acme = homes
        .make(
            "acme",
            &format!("{tables}; INSERT INTO a SELECT generate_series(1, 300000)"),
        )
        .await;
    let mut writer = homes.enter(&acme).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let export = Export::of(&homes.homes, &acme)
        .observe(|_| sender.send(()).unwrap())
        .to(&out);
    let write = async {
        // The first table is being read: the second one was not begun.
        receiver.recv().await.unwrap();
        sqlx::raw_sql("INSERT INTO b VALUES (1); DELETE FROM a")
            .execute(&mut writer)
            .await
            .unwrap();
    };
    let (exported, ()) = tokio::join!(export, write);
    assert_eq!(exported.unwrap().rows, 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_hide_rows_of_a_tenants_own_tables_stop_its_export() {
    let homes = Homes::new(Kind::Databases, "hidden").await;
    let tables = "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('x'); ALTER TABLE notes ENABLE ROW LEVEL SECURITY";
    let acme = homes.make("acme", tables).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let error = Export::of(&homes.homes, &acme).to(&out).await.unwrap_err();
    assert!(error.is_server(), "{error:?}");
    assert!(names_in(directory.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_in_a_circle_are_named() {
    let homes = Homes::new(Kind::Schemas, "circle").await;
    let tables = "CREATE TABLE one (id int PRIMARY KEY, other int); CREATE TABLE two (id int PRIMARY KEY, other int REFERENCES one);
                  ALTER TABLE one ADD FOREIGN KEY (other) REFERENCES two";
    let acme = homes.make("acme", tables).await;
    let copy = homes.make("copy", tables).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    Export::of(&homes.homes, &acme).to(&out).await.unwrap();
    let error = Import::into(&homes.homes, &copy).from(&out).await.unwrap_err();
    assert!(
        error.is_unsupported() && error.to_string().contains("one, two"),
        "{error:?}"
    );
}

/// Dropped at every point where it waits, nothing is left; and what was finished is whole.
#[tokio::test]
async fn dropped_anywhere_nothing_is_left() {
    let homes = Homes::new(Kind::Schemas, "dropped").await;
    let tables = "CREATE TABLE a (t text); CREATE TABLE b (t text); CREATE SEQUENCE s";
    let acme = homes
        .make(
            "acme",
            &format!("{tables}; INSERT INTO a VALUES ('x'); INSERT INTO b VALUES ('y')"),
        )
        .await;
    let copy = homes.make("copy", tables).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Export::of(&homes.homes, &acme).to(&out)).await,
        false,
    ) {
        let left = names_in(directory.path());
        // The last things it does are to rename and to sync.
        assert!(left.is_empty() || left == ["out"], "{polls}: {left:?}");
        if left == ["out"] {
            assert_eq!(names_in(&out), ["00001.rows", "00002.rows", "tenant.json"]);
            std::fs::remove_dir_all(&out).unwrap();
        }
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");

    let count = "SELECT ((SELECT count(*) FROM a) + (SELECT count(*) FROM b))::text";
    let mut polls = 1;
    while !went_through(
        poll_at_most(polls, Import::into(&homes.homes, &copy).replace().from(&out)).await,
        true,
    ) {
        let count = homes.ask(&copy, count).await;
        assert!(count == ["0"] || count == ["2"], "{polls}: {count:?}");
        polls += 1 + polls / 6;
    }
    assert!(polls > 10, "it waits at many points: {polls}");
    assert_eq!(homes.ask(&copy, count).await, ["2"]);
}
