//! A file for each tenant.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, Row, Sqlite, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant};
use tenancy_core::Placement;
use tenancy_sqlx::{
    audit::FindingKind,
    database::{DatabaseError, Server, TenantDatabases, TenantDb},
    pool::PoolSettings,
};

use super::fixture::{canary_of, enter_all};
use crate::pool::fixture::{patient, poll_at_most};

struct Files {
    directory: TempDir,
    _tenancy: Tenancy,
    store: MemoryStore,
    tenants: Vec<Tenant>,
    databases: TenantDatabases<Sqlite>,
}

impl Files {
    async fn new(tenants: usize, settings: PoolSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let (tenancy, tenants) = enter_all(&store, &ids).await;
        let url = format!("sqlite://{}", directory.path().display());
        let databases = TenantDatabases::builder(&tenancy)
            .server("files", Server::at(url).settings(settings))
            .build()
            .await
            .unwrap();
        Self {
            directory,
            _tenancy: tenancy,
            store,
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
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

async fn make(path: &Path, canary: &str) {
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
    sqlx::query("INSERT INTO notes VALUES (?)")
        .bind(canary)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn notes(db: &TenantDb<Sqlite>) -> Result<Vec<String>, DatabaseError> {
    let mut transaction = db.begin().await?;
    let rows = sqlx::query("SELECT text FROM notes")
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_its_file_and_no_path_leads_elsewhere() {
    let files = Files::new(2, patient(4)).await;
    let directory = files.directory.path();
    for tenant in [0, 1] {
        make(
            &directory.join(format!("tenant_t{tenant}.db")),
            &canary_of(&tenant.to_string()),
        )
        .await;
    }
    let outside = tempfile::NamedTempFile::new_in(directory.parent().unwrap()).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(notes(&files.db(0)).await.unwrap(), [canary_of("0")]);
    let absolute = outside.path().to_str().unwrap();
    for place in [
        &format!("../{name}"),
        absolute,
        "../../etc/passwd",
        "a\0b",
        ".",
        "tenant_t1.db-wal",
        "tenant_t1.db",
        "./tenant_t1.db",
    ] {
        files.place(0, place).await;
        let error = notes(&files.db(0)).await.unwrap_err();
        assert!(error.is_misplaced(), "{place:?}: {error:?}");
        assert_eq!(notes(&files.db(1)).await.unwrap(), [canary_of("1")], "{place:?}");
    }
    files.place(0, "missing.db").await;
    assert!(notes(&files.db(0)).await.unwrap_err().is_missing_database());
    assert!(
        !directory.join("missing.db").exists(),
        "nothing is made on the way"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_dropped_at_any_await_leaves_nothing_in_the_file() {
    let files = Files::new(1, patient(1)).await;
    make(&files.directory.path().join("tenant_t0.db"), "own").await;
    for polls in 1..14 {
        for _ in 0..5 {
            let work = async {
                let mut transaction = files.db(0).begin().await.unwrap();
                sqlx::query("INSERT INTO notes VALUES ('uncommitted')")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                transaction.rollback().await.unwrap();
            };
            poll_at_most(polls, work).await;
            assert_eq!(notes(&files.db(0)).await.unwrap(), ["own"], "after {polls} polls");
        }
    }
}

fn threads_and_files() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_share_few_handles_and_threads() {
    const FILES: usize = 10_000;
    const BUDGET: usize = 8;
    let files = Files::new(FILES, patient(BUDGET).settle(std::time::Duration::ZERO)).await;
    let first = files.directory.path().join("tenant_t0.db");
    make(&first, "a copy").await;
    for tenant in 1..FILES {
        std::fs::copy(
            &first,
            files.directory.path().join(format!("tenant_t{tenant}.db")),
        )
        .unwrap();
    }
    let (threads, handles) = threads_and_files();
    let (mut most_threads, mut most_handles) = (0, 0);
    for group in (0..FILES).collect::<Vec<_>>().chunks(64).step_by(8) {
        let reads = group.iter().map(|&tenant| {
            let files = &files;
            async move { assert_eq!(notes(&files.db(tenant)).await.unwrap(), ["a copy"]) }
        });
        futures_util::future::join_all(reads).await;
        let (now_threads, now_handles) = threads_and_files();
        most_threads = most_threads.max(now_threads);
        most_handles = most_handles.max(now_handles);
        assert!(files.databases.figures("files").unwrap().open <= BUDGET);
    }
    // Other tests run beside this one, and have some of their own.
    assert!(
        most_threads < threads + 200,
        "{most_threads} threads of {threads}"
    );
    assert!(
        most_handles < handles + 400,
        "{most_handles} handles of {handles}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_there_is_refused_at_start() {
    let (tenancy, _) = enter_all(&MemoryStore::of(["acme"]).unwrap(), &[]).await;
    let built = TenantDatabases::<Sqlite>::builder(&tenancy)
        .server("files", Server::at("sqlite:///not/there"))
        .build()
        .await;
    let error = built.unwrap_err();
    assert_eq!(
        error.audit().unwrap().findings()[0].kind(),
        FindingKind::MissingDirectory
    );
}
