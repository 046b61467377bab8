//! Directories that come from somebody else.

use std::{fs, path::Path};

use tenancy_core::TenantRecord;
use tenancy_sqlx::transfer::{Export, Import, TransferError};

use super::fixture::{Homes, Kind, edit_manifest, forge, names_in};

const TABLES: &str = "CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL); CREATE SEQUENCE counter;
                      CREATE TABLE marks (note int REFERENCES notes)";
const ROWS: &str = "INSERT INTO notes VALUES (1, 'one'), (2, 'two'); INSERT INTO marks VALUES (1); SELECT nextval('counter')";

type Is = fn(&TransferError) -> bool;
type Edit = fn(&Path);

const DAMAGED: Is = TransferError::is_damaged;
const MISMATCH: Is = TransferError::is_mismatch;
const SERVER: Is = TransferError::is_server;

fn append(directory: &Path, text: &str) {
    let path = directory.join("00002.rows");
    let old = fs::read_to_string(&path).unwrap();
    fs::write(path, old + text).unwrap();
}

fn rows(directory: &Path, text: &str) {
    forge(directory, "00002.rows", |bytes| *bytes = text.as_bytes().to_vec());
}

/// What is done to an export, by what it is called, and how it is refused. Tables are `marks` and `notes`, in this order.
const DONE: [(&str, Edit, Is); 23] = [
    (
        "cut short",
        |out| fs::write(out.join("00002.rows"), b"1\to").unwrap(),
        DAMAGED,
    ),
    ("longer", |out| append(out, "3\tthree\n"), DAMAGED),
    (
        "changed",
        |out| fs::write(out.join("00002.rows"), b"1\tone\n2\ttvo\n").unwrap(),
        DAMAGED,
    ),
    (
        "missing",
        |out| fs::remove_file(out.join("00002.rows")).unwrap(),
        DAMAGED,
    ),
    (
        "without a manifest",
        |out| fs::remove_file(out.join("tenant.json")).unwrap(),
        DAMAGED,
    ),
    (
        "with another file",
        |out| fs::write(out.join("more"), b"").unwrap(),
        DAMAGED,
    ),
    (
        "with a directory",
        |out| fs::create_dir(out.join("more")).unwrap(),
        DAMAGED,
    ),
    (
        "with a link",
        |out| {
            fs::rename(out.join("00002.rows"), out.with_extension("rows")).unwrap();
            std::os::unix::fs::symlink(out.with_extension("rows"), out.join("00002.rows")).unwrap();
        },
        DAMAGED,
    ),
    (
        "with a directory for a file",
        |out| {
            fs::remove_file(out.join("00002.rows")).unwrap();
            fs::create_dir(out.join("00002.rows")).unwrap();
        },
        DAMAGED,
    ),
    (
        "with a manifest of noise",
        |out| fs::write(out.join("tenant.json"), [0xff; 100]).unwrap(),
        DAMAGED,
    ),
    (
        "with a file elsewhere",
        |out| edit_manifest(out, |text| text.replace("00002.rows", "../00002.rows")),
        DAMAGED,
    ),
    (
        "with another count",
        |out| edit_manifest(out, |text| text.replace("\"rows\": 2", "\"rows\": 3")),
        DAMAGED,
    ),
    (
        "of another format",
        |out| edit_manifest(out, |text| text.replace("\"format\": 1", "\"format\": 2")),
        MISMATCH,
    ),
    (
        "of another table",
        |out| edit_manifest(out, |text| text.replace("\"notes\"", "\"pg_authid\"")),
        MISMATCH,
    ),
    (
        "of a table that is SQL",
        |out| {
            edit_manifest(out, |text| {
                text.replace("\"notes\"", "\"notes; DROP TABLE notes\"")
            });
        },
        MISMATCH,
    ),
    (
        "of another column",
        |out| edit_manifest(out, |text| text.replace("\"text\"", "\"texts\"")),
        MISMATCH,
    ),
    (
        "of a table twice",
        |out| edit_manifest(out, |text| text.replace("\"notes\"", "\"marks\"")),
        DAMAGED,
    ),
    (
        "of other migrations",
        |out| edit_manifest(out, |text| text.replace("\"0102\"", "\"0103\"")),
        MISMATCH,
    ),
    (
        "with another sequence",
        |out| edit_manifest(out, |text| text.replace("\"counter\"", "\"other\"")),
        MISMATCH,
    ),
    ("with rows of too few values", |out| rows(out, "1\n2\n"), SERVER),
    (
        "that ends before its end",
        |out| rows(out, "1\tone\n\\.\n"),
        |error| error.is_damaged() || error.is_server(),
    ),
    (
        "with rows that are not UTF-8",
        |out| forge(out, "00002.rows", |bytes| bytes[2] = 0xff),
        SERVER,
    ),
    (
        "with a row that refers to none",
        |out| rows(out, "3\tone\n2\ttwo\n"),
        SERVER,
    ),
];

async fn check_untouched(homes: &Homes, tenant: &TenantRecord, what: &str) {
    let seen = "SELECT concat((SELECT count(*) FROM notes), (SELECT count(*) FROM marks), (SELECT is_called FROM counter))";
    assert_eq!(homes.ask(tenant, seen).await, ["00f"], "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_export_is_refused_and_changes_nothing() {
    let homes = Homes::new(Kind::Schemas, "hostile").await;
    let acme = homes.make("acme", &format!("{TABLES}; {ROWS}")).await;
    let copy = homes.make("copy", TABLES).await;
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    Export::of(&homes.homes, &acme).to(&good).await.unwrap();
    for (number, (what, done, is)) in DONE.into_iter().enumerate() {
        let out = directory.path().join(number.to_string());
        fs::create_dir(&out).unwrap();
        for name in names_in(&good) {
            fs::copy(good.join(&name), out.join(&name)).unwrap();
        }
        done(&out);
        let error = Import::into(&homes.homes, &copy).from(&out).await.unwrap_err();
        assert!(is(&error), "{what}: {error:?}");
        check_untouched(&homes, &copy, what).await;
    }
    let out = directory.path().join("long");
    Export::of(&homes.homes, &acme).to(&out).await.unwrap();
    let error = Import::into(&homes.homes, &copy)
        .longest_row(5)
        .from(&out)
        .await
        .unwrap_err();
    assert!(
        error.is_damaged() && error.to_string().contains("longest_row"),
        "{error:?}"
    );
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    let error = Import::into(&homes.homes, &copy).from(&link).await.unwrap_err();
    assert!(error.is_damaged(), "{error:?}");
    check_untouched(&homes, &copy, "long").await;
    Import::into(&homes.homes, &copy)
        .longest_row(6)
        .from(&out)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_over_and_no_secret_is_written_unasked() {
    let homes = Homes::new(Kind::Schemas, "free").await;
    let mut acme = homes.make("acme", TABLES).await;
    acme.settings = Some(r#"{"key":"s3cr3t"}"#.into());
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    Export::of(&homes.homes, &acme).to(&out).await.unwrap();
    let text = fs::read_to_string(out.join("tenant.json")).unwrap();
    assert!(!text.contains("s3cr3t"));
    let error = Export::of(&homes.homes, &acme).to(&out).await.unwrap_err();
    assert!(error.is_files(), "{error:?}");
    assert_eq!(fs::read_to_string(out.join("tenant.json")).unwrap(), text);

    let other = directory.path().join("other");
    Export::of(&homes.homes, &acme)
        .with_settings()
        .to(&other)
        .await
        .unwrap();
    assert!(
        fs::read_to_string(other.join("tenant.json"))
            .unwrap()
            .contains("s3cr3t")
    );
    let file = directory.path().join("file");
    fs::write(&file, b"mine").unwrap();
    assert!(
        Export::of(&homes.homes, &acme)
            .to(&file)
            .await
            .unwrap_err()
            .is_files()
    );
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    let nowhere = directory.path().join("no/where");
    assert!(
        Export::of(&homes.homes, &acme)
            .to(&nowhere)
            .await
            .unwrap_err()
            .is_files()
    );
}
