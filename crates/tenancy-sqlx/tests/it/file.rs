use std::{fs, path::PathBuf, time::Duration};

use sqlx::Connection as _;
use tenancy_core::TenantStore;
use tenancy_sqlx::{NewTenant, store::SqlStore};

use crate::support::{Place, run};

#[tokio::test]
async fn a_newer_schema_is_refused_only_if_it_says_so() {
    let place = Place::new();
    let store = place.open().await;
    run(
        &mut place.raw().await,
        "ALTER TABLE tenants ADD COLUMN colour TEXT;
         INSERT INTO tenancy_schema VALUES (99, 1, 0)",
    )
    .await;
    store.create(NewTenant::new("acme")).await.unwrap();
    let again = place.open().await;
    assert_eq!(again.status().await.unwrap().schema_version, 99);
    assert_eq!(again.list(None, 10).await.unwrap().entries.len(), 1);

    run(
        &mut place.raw().await,
        "INSERT INTO tenancy_schema VALUES (100, 50, 0)",
    )
    .await;
    let error = SqlStore::open(place.options()).await.unwrap_err();
    assert!(error.is_too_new());
    assert!(error.operator_detail().unwrap().contains("version 50"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_start_at_once_make_one_catalogue() {
    for _ in 0..40 {
        let place = Place::new();
        let starting: Vec<_> = (0..8)
            .map(|_| tokio::spawn(SqlStore::open(place.options())))
            .collect();
        let mut heads = vec![];
        for start in starting {
            let store = start.await.unwrap().expect("it opens");
            heads.push(store.head().await.expect("it is read"));
        }
        heads.dedup();
        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].number, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_that_wait_for_a_migration_do_not_repeat_it() {
    let place = Place::new();
    let mut other = place.raw_new().await;
    run(&mut other, "PRAGMA journal_mode = WAL").await;
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let starting: Vec<_> = (0..4)
        .map(|_| tokio::spawn(SqlStore::open(place.options())))
        .collect();
    // Time for all to have seen that the schema is missing, and to wait for the lock.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(starting.iter().all(|start| !start.is_finished()));
    held.rollback().await.unwrap();
    for start in starting {
        let store = start.await.unwrap().unwrap();
        assert_eq!(store.changes_since(0, 10).await.unwrap().len(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let store = place.open().await;
    store.create(NewTenant::new("acme")).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", place.path().display());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = Place::new();
    let path = place.path().with_file_name("nowhere").join("catalogue.db");
    let error = SqlStore::connect(&path).await.unwrap_err();
    assert!(error.is_read_only());
    let detail = error.operator_detail().unwrap();
    assert!(
        detail.contains(&path.display().to_string()) && detail.contains("create it"),
        "{detail}"
    );
    assert!(!error.to_string().contains('/'), "a client learns no path");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unwritable_directory_is_named_with_what_to_do() {
    let place = Place::new();
    let directory = unwritable_directory(&place);
    let error = SqlStore::connect(directory.join("catalogue.db"))
        .await
        .unwrap_err();
    assert!(error.is_read_only(), "{error:?}");
    let detail = error.operator_detail().unwrap();
    assert!(detail.contains(&directory.display().to_string()), "{detail}");
    assert!(detail.contains("give it the right to write there"), "{detail}");
}

/// Root may write anywhere but where the kernel itself refuses.
#[cfg(target_os = "linux")]
fn unwritable_directory(place: &Place) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = place.path().with_file_name("locked");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    match fs::File::create(directory.join("probe")) {
        Ok(_) => PathBuf::from("/sys/kernel"),
        Err(_) => directory,
    }
}

#[tokio::test]
async fn what_is_no_catalogue_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let text = "this is not a database, ".repeat(100);
    fs::write(place.path(), &text).unwrap();
    let error = SqlStore::open(place.options()).await.unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);

    let directory = place.path().with_file_name("directory");
    fs::create_dir(&directory).unwrap();
    assert!(SqlStore::connect(&directory).await.unwrap_err().is_read_only());
}
