//! Files of tenants: what they cost the system, where links lead, and what a full disk does.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Row, Sqlite, sqlite::SqliteConnectOptions};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_sqlx::pool::{PoolSettings, Target, TenantPools};

use super::fixture::patient;

async fn enter_all(tenants: usize) -> (Tenancy, Vec<Tenant>) {
    let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
    let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
    tenancy.ready().await;
    let mut handles = Vec::new();
    for id in &ids {
        handles.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
    }
    (tenancy, handles)
}

fn pools(directory: &Path, options: SqliteConnectOptions, settings: PoolSettings) -> TenantPools<Sqlite> {
    let directory = directory.to_owned();
    TenantPools::builder(move |record| Target::database(directory.join(record.id.as_str()).to_str().unwrap()))
        .server("files", options.create_if_missing(true), settings)
        .build()
}

/// Open files below a directory, and threads whose name begins so: of this process, and of nobody else's tests.
fn held(directory: &Path, thread: &str) -> (usize, usize) {
    let of_process = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().flatten();
    let files = of_process("fd")
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(directory))
        .count();
    let threads = of_process("task")
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .filter(|name| name.starts_with(thread))
        .count();
    (files, threads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_files_so_many_are_open_as_the_budget_says_and_so_many_threads_run() {
    const FILES: usize = 10_000;
    const VISITED: usize = 600;
    const BUDGET: usize = 6;
    let directory = tempfile::tempdir().unwrap();
    let (_tenancy, tenants) = enter_all(FILES).await;
    let options = SqliteConnectOptions::new()
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .thread_name(|number| format!("keptfew-{number}"));
    let settings = patient(BUDGET).settle(Duration::ZERO);
    let pools = pools(directory.path(), options, settings);
    let ended = Arc::new(AtomicBool::new(false));
    let sampler = std::thread::spawn({
        let (ended, directory) = (Arc::clone(&ended), directory.path().to_owned());
        move || {
            let mut most = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let (files, threads) = held(&directory, "keptfew-");
                most = (files.max(most.0), threads.max(most.1));
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        }
    });
    let visits = (0..16).map(|worker| {
        let (pools, tenants) = (&pools, &tenants);
        async move {
            for visit in (worker..VISITED).step_by(16) {
                let mut lease = pools.acquire(&tenants[visit * 7_919 % FILES]).await.unwrap();
                sqlx::raw_sql("CREATE TABLE IF NOT EXISTS notes (text TEXT); INSERT INTO notes VALUES ('x')")
                    .execute(&mut *lease)
                    .await
                    .unwrap();
            }
        }
    });
    futures_util::future::join_all(visits).await;
    ended.store(true, Ordering::Relaxed);
    let (most_files, most_threads) = sampler.join().unwrap();
    // The file, its log, and the index of the log; a journal and the directory while it is made.
    assert!((3..=5 * BUDGET).contains(&most_files), "{most_files} open files");
    // One that was told to end may be about to.
    assert!((1..=2 * BUDGET).contains(&most_threads), "{most_threads} threads");
    pools.close().await;
    for _ in 0..6_000 {
        if held(directory.path(), "keptfew-") == (0, 0) {
            let written = std::fs::read_dir(directory.path()).unwrap().count();
            return assert_eq!(written, VISITED, "each log was taken in when its file was closed");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} are held for ever", held(directory.path(), "keptfew-"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_fails_clearly_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_tenancy, tenants) = enter_all(2).await;
    let options = SqliteConnectOptions::new().pragma("max_page_count", "40");
    let pools = pools(directory.path(), options, patient(2));
    for tenant in &tenants {
        let mut lease = pools.acquire(tenant).await.unwrap();
        sqlx::raw_sql("CREATE TABLE notes (text TEXT)")
            .execute(&mut *lease)
            .await
            .unwrap();
    }
    let fill = async || {
        let mut lease = pools.acquire(&tenants[0]).await.unwrap();
        let mut transaction = sqlx::Connection::begin(&mut *lease).await?;
        sqlx::query("INSERT INTO notes VALUES (hex(randomblob(4000)))")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO notes VALUES (hex(randomblob(4000)))")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    };
    let count = async |tenant: usize| {
        let mut lease = pools.acquire(&tenants[tenant]).await.unwrap();
        let row = sqlx::query("SELECT count(*) FROM notes")
            .fetch_one(&mut *lease)
            .await;
        row.unwrap().get::<i64, _>(0)
    };
    let mut committed = 0;
    let error = loop {
        match fill().await {
            Ok(()) => committed += 2,
            Err(error) => break error,
        }
        assert!(committed < 1_000, "it is never full");
    };
    assert!(error.to_string().contains("full"), "{error}");
    assert!(committed > 2);
    assert_eq!(
        count(0).await,
        committed,
        "all of what was committed, and nothing by half"
    );
    assert!(fill().await.is_err());
    // Its neighbour has room.
    let mut lease = pools.acquire(&tenants[1]).await.unwrap();
    sqlx::query("INSERT INTO notes VALUES ('x')")
        .execute(&mut *lease)
        .await
        .unwrap();
    drop(lease);
    assert_eq!(count(1).await, 1);
    // And who makes room goes on.
    let mut lease = pools.acquire(&tenants[0]).await.unwrap();
    sqlx::query("DELETE FROM notes")
        .execute(&mut *lease)
        .await
        .unwrap();
    drop(lease);
    fill().await.unwrap();
    assert_eq!(count(0).await, 2);
}
