//! Names that clients and catalogues give, and the file system: nothing but the tenants' own files is ever touched.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use sqlx::{ConnectOptions, Connection, Row, Sqlite, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant};
use tenancy_core::{Placement, TenantId};
use tenancy_sqlx::{
    database::{DatabaseError, Server, TenantDatabases, TenantDb},
    pool::PoolSettings,
};
use tower::ServiceExt;

use super::fixture::enter_all;
use crate::pool::fixture::patient;

struct Files {
    store: MemoryStore,
    tenancy: Tenancy,
    tenants: Vec<Tenant>,
    databases: TenantDatabases<Sqlite>,
}

impl Files {
    /// Files are made on the way: whatever leads somewhere leaves something there.
    async fn new(directory: &Path, tenants: usize, settings: PoolSettings) -> Self {
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let (tenancy, tenants) = enter_all(&store, &ids).await;
        let url = format!("sqlite://{}?mode=rwc", directory.display());
        let databases = TenantDatabases::builder(&tenancy)
            .server("files", Server::at(url).settings(settings))
            .reserve(["catalogue.db"])
            .build()
            .await
            .unwrap();
        Self {
            store,
            tenancy,
            tenants,
            databases,
        }
    }

    fn db(&self, tenant: usize) -> TenantDb<Sqlite> {
        self.databases.of(&self.tenants[tenant])
    }

    async fn place(&self, tenant: usize, file: &str) {
        let tenant = &self.tenants[tenant];
        let before = tenant.epoch();
        let edit = self.store.update(tenant.id(), |record| {
            let mut placement = Placement::default();
            placement.database = file.into();
            record.placement = Some(Box::new(placement));
        });
        edit.await.unwrap();
        while tenant.epoch() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn write(db: &TenantDb<Sqlite>, text: &str) -> Result<(), DatabaseError> {
    let mut transaction = db.begin().await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO notes VALUES (?)")
        .bind(text)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn read(db: &TenantDb<Sqlite>) -> Result<Vec<String>, DatabaseError> {
    let mut transaction = db.begin().await?;
    let rows = sqlx::query("SELECT text FROM notes ORDER BY rowid")
        .fetch_all(&mut *transaction)
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Everything below a directory, other than what SQLite keeps beside files.
fn below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        } else if !["-wal", "-shm", "-journal"]
            .iter()
            .any(|end| path.to_string_lossy().ends_with(end))
        {
            found.insert(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_never_reaches_the_file_system() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("tenants");
    fs::create_dir(&directory).unwrap();
    let files = Files::new(&directory, 1, patient(4)).await;
    write(&files.db(0), "own").await.unwrap();
    let before = below(root.path());
    let long = "x".repeat(300);
    let hostile = [
        "../t0",
        "..",
        ".",
        "a/b",
        "a\\b",
        "t0\0",
        "\0",
        "%2e%2e",
        "..%2ft0",
        "t0%00",
        "t0.db",
        "T0 ",
        "t0;",
        "catalogue.db",
        "~",
        "con:",
        &long,
    ];
    for id in hostile {
        assert!(TenantId::new(id).is_err(), "{id:?}");
    }
    let handler = |db: TenantDb<Sqlite>| async move { write(&db, "through a request").await };
    let app = Router::new()
        .route("/", get(handler))
        .with_state(files.databases.clone());
    let app = files.tenancy.wrap(app);
    for host in hostile {
        let request = Request::get("/").header("host", format!("{host}.example.com").as_bytes());
        // What is no header value is refused before it is a request.
        let Ok(request) = request.body(Body::empty()) else {
            continue;
        };
        let status = app.clone().oneshot(request).await.unwrap().status();
        assert!(status.is_client_error(), "{host:?}: {status}");
    }
    assert_eq!(below(root.path()), before);
    assert_eq!(read(&files.db(0)).await.unwrap(), ["own"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_in_the_directory_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("tenants");
    let outside = root.path().join("outside");
    for path in [&directory, &outside, &directory.join("inside")] {
        fs::create_dir(path).unwrap();
    }
    let victim = outside.join("victim.db");
    let mut connection = SqliteConnectOptions::new()
        .filename(&victim)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('secret')")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let files = Files::new(&directory, 3, patient(4)).await;
    write(&files.db(1), "of another").await.unwrap();
    symlink(&victim, directory.join("tenant_t0.db")).unwrap();
    symlink(&victim, directory.join("inside").join("linked.db")).unwrap();
    symlink(&outside, directory.join("elsewhere")).unwrap();
    symlink("tenant_t1.db", directory.join("twin.db")).unwrap();
    symlink(outside.join("new.db"), directory.join("dangling.db")).unwrap();
    symlink("loop.db", directory.join("loop.db")).unwrap();
    let before = below(root.path());
    let is_refused = async |name: &str| {
        let error = read(&files.db(0)).await.unwrap_err();
        assert!(error.is_misplaced(), "{name}: {error:?}");
        assert!(write(&files.db(0), "planted").await.is_err(), "{name}");
        assert_eq!(error.to_string(), "the database is not available");
    };
    is_refused("the file of its own").await;
    for name in [
        "inside/linked.db",
        "elsewhere/victim.db",
        "elsewhere/new.db",
        "twin.db",
        "dangling.db",
        "loop.db",
        "catalogue.db",
        "CATALOGUE.DB",
        "tenant_t1.db",
    ] {
        files.place(0, name).await;
        is_refused(name).await;
    }
    assert_eq!(below(root.path()), before, "nothing was made on the way");
    // Nobody else is concerned, and a file that is one is had again.
    assert_eq!(read(&files.db(1)).await.unwrap(), ["of another"]);
    files.place(0, "inside/own.db").await;
    write(&files.db(0), "own").await.unwrap();
    assert_eq!(read(&files.db(0)).await.unwrap(), ["own"]);
    // The log of a file is opened by SQLite itself.
    symlink(outside.join("log"), directory.join("tenant_t2.db-wal")).unwrap();
    symlink(outside.join("journal"), directory.join("tenant_t2.db-journal")).unwrap();
    let _ = write(&files.db(2), "own").await;
    assert!(!outside.join("log").exists() && !outside.join("journal").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_itself_may_be_a_link() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("disk")).unwrap();
    symlink(root.path().join("disk"), root.path().join("tenants")).unwrap();
    let files = Files::new(&root.path().join("tenants"), 1, patient(4)).await;
    write(&files.db(0), "own").await.unwrap();
    assert_eq!(read(&files.db(0)).await.unwrap(), ["own"]);
    assert!(root.path().join("disk/tenant_t0.db").exists());
}

const FOLDER: &str = "TENANCY_TEST_FOLDER";
const WRITERS: usize = 12;

fn folder() -> PathBuf {
    env::var_os(FOLDER).unwrap().into()
}

fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", name, "--ignored", "--test-threads=1", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Not a test: writes one note after another, in one file after another, each of which is closed for the next, and
/// says on a line of `told` what was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that another test kills"]
async fn a_process_that_closes_files() {
    let folder = folder();
    let settings = patient(2).settle(Duration::ZERO);
    let files = Files::new(&folder.join("tenants"), WRITERS, settings).await;
    let mut told = fs::OpenOptions::new()
        .append(true)
        .open(folder.join("told"))
        .unwrap();
    let begun = fs::read_to_string(folder.join("told")).unwrap().lines().count();
    for number in begun.. {
        let tenant = number % WRITERS;
        write(&files.db(tenant), &number.to_string()).await.unwrap();
        writeln!(told, "{tenant} {number}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_while_it_closes_files_loses_nothing() {
    const ROUNDS: usize = 5;
    let root = tempfile::tempdir().unwrap();
    let tenants = root.path().join("tenants");
    fs::create_dir(&tenants).unwrap();
    make_logged(&tenants).await;
    fs::write(root.path().join("told"), "").unwrap();
    let told = || fs::read_to_string(root.path().join("told")).unwrap();
    let mut logs_left = 0;
    for round in 0..ROUNDS {
        let before = told().lines().count();
        let mut writer = child("database::paths::a_process_that_closes_files", root.path())
            .spawn()
            .unwrap();
        // At another place each time.
        while told().lines().count() < before + 20 + round * 3 {
            assert!(writer.try_wait().unwrap().is_none(), "it ended by itself");
            tokio::time::sleep(Duration::from_micros(700)).await;
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let names = fs::read_dir(&tenants).unwrap().flatten();
        logs_left += names
            .filter(|name| name.path().to_string_lossy().ends_with("-wal"))
            .count();
        let files = Files::new(&tenants, WRITERS, patient(4)).await;
        let told = told();
        for tenant in 0..WRITERS {
            let notes = read(&files.db(tenant)).await.unwrap();
            let mine = format!("{tenant} ");
            for number in told.lines().filter_map(|line| line.strip_prefix(&mine)) {
                assert!(
                    notes.iter().any(|note| note == number),
                    "{number} is gone from {tenant}"
                );
            }
            let mut connection = files.db(tenant).acquire().await.unwrap();
            let row = sqlx::raw_sql("PRAGMA integrity_check")
                .fetch_one(&mut *connection)
                .await;
            assert_eq!(row.unwrap().get::<String, _>(0), "ok");
        }
        files.databases.close().await;
    }
    assert!(logs_left > 0, "it was never killed before a log was taken in");
}

async fn make_logged(directory: &Path) {
    for tenant in 0..WRITERS {
        let path = directory.join(format!("tenant_t{tenant}.db"));
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql("CREATE TABLE notes (text TEXT)")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}

/// Not a test: fills a disk of one megabyte, and makes room on it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that another test gives a small disk"]
async fn a_process_on_a_small_disk() {
    let folder = folder();
    let tenants = folder.join("tenants");
    let files = Files::new(&tenants, 2, patient(4)).await;
    fs::write(folder.join("ballast"), vec![b'x'; 300_000]).unwrap();
    write(&files.db(1), "of a neighbour").await.unwrap();
    let mut committed = Vec::new();
    let error = loop {
        let text = format!("{} {}", committed.len(), "x".repeat(9_000));
        match write(&files.db(0), &text).await {
            Ok(()) => committed.push(text),
            Err(error) => break error,
        }
    };
    assert!(error.is_failed() && error.as_sqlx().is_some(), "{error:?}");
    assert!(error.as_sqlx().unwrap().to_string().contains("full"), "{error:?}");
    assert!(committed.len() > 5);
    assert_eq!(read(&files.db(0)).await.unwrap(), committed);
    assert_eq!(read(&files.db(1)).await.unwrap(), ["of a neighbour"]);
    fs::remove_file(folder.join("ballast")).unwrap();
    write(&files.db(0), "after").await.unwrap();
    committed.push("after".into());
    assert_eq!(read(&files.db(0)).await.unwrap(), committed);
    fs::write(folder.join("held"), "").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_clearly_loses_nothing_and_is_no_end() {
    let root: TempDir = tempfile::tempdir().unwrap();
    let process = child("database::paths::a_process_on_a_small_disk", root.path());
    let mut unshare = Command::new("unshare");
    let mount =
        "mount -t tmpfs -o size=1m none \"$TENANCY_TEST_FOLDER\" && mkdir \"$TENANCY_TEST_FOLDER/tenants\"";
    unshare
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!("{mount} || exit 77; exec \"$0\" \"$@\""))
        .arg(process.get_program())
        .args(process.get_args())
        .env(FOLDER, root.path());
    let output = tokio::task::spawn_blocking(move || unshare.output())
        .await
        .unwrap();
    match output {
        Ok(output) if output.status.code() == Some(77) => println!("not run: nothing can be mounted here"),
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") => {
            println!("not run: no namespace can be had here");
        }
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        ),
        Err(error) => println!("not run: {error}"),
    }
}
