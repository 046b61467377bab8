//! Files of tenants.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use sqlx::{Connection, Row, Sqlite, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_sqlx::pool::{Lease, PoolFigures, PoolSettings, Target, TenantPools};

use super::fixture::{patient, poll_at_most, steady};

struct Files {
    directory: TempDir,
    _tenancy: Tenancy,
    tenants: Vec<Tenant>,
    pools: TenantPools<Sqlite>,
}

impl Files {
    async fn new(tenants: usize, settings: PoolSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
        tenancy.ready().await;
        let mut handles = Vec::new();
        for id in &ids {
            handles.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
        }
        let path = directory.path().to_owned();
        let pools = TenantPools::builder(move |record| {
            Target::database(path.join(record.id.as_str()).to_str().unwrap())
        })
        .server(
            "files",
            SqliteConnectOptions::new().create_if_missing(true),
            settings,
        )
        .build();
        let files = Self {
            directory,
            _tenancy: tenancy,
            tenants: handles,
            pools,
        };
        for (tenant, id) in ids.iter().enumerate() {
            let mut lease = files.lease(tenant).await;
            run(&mut lease, "CREATE TABLE canary (tenant TEXT)").await;
            sqlx::query("INSERT INTO canary VALUES (?)")
                .bind(id)
                .execute(&mut *lease)
                .await
                .unwrap();
        }
        files
    }

    async fn lease(&self, tenant: usize) -> Lease<Sqlite> {
        self.pools.acquire(&self.tenants[tenant]).await.unwrap()
    }

    async fn until(&self, is_so: impl Fn(&PoolFigures) -> bool) -> PoolFigures {
        for _ in 0..6_000 {
            let figures = self.pools.figures("files").unwrap();
            if is_so(&figures) {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {:#?}", self.pools.figures("files"));
    }
}

async fn run(lease: &mut Lease<Sqlite>, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&mut **lease).await.unwrap();
}

async fn canaries(lease: &mut Lease<Sqlite>) -> Vec<String> {
    let rows = sqlx::query("SELECT tenant FROM canary")
        .fetch_all(&mut **lease)
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_share_few_handles() {
    let settings = patient(3).settle(Duration::ZERO);
    let files = Files::new(10, settings).await;
    for tenant in (0..10).rev() {
        assert_eq!(
            canaries(&mut files.lease(tenant).await).await,
            [format!("t{tenant}")]
        );
        assert!(files.pools.figures("files").unwrap().open <= 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_dropped_at_any_await_is_rolled_back() {
    let files = Files::new(1, patient(1)).await;
    for polls in 1..12 {
        for _ in 0..6 {
            let work = async {
                let mut lease = files.lease(0).await;
                let mut transaction = lease.begin().await.unwrap();
                sqlx::query("INSERT INTO canary VALUES ('x')")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
            };
            poll_at_most(polls, work).await;
            let mut next = files.lease(0).await;
            assert!(!next.is_in_transaction());
            assert_eq!(canaries(&mut next).await, ["t0"], "after {polls} polls");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_taken_away_closes_the_connection() {
    let files = Files::new(1, steady(1)).await;
    let before = files.until(|figures| figures.idle == 1).await.opens;
    let leave = [
        ("ATTACH ':memory:' AS other", true),
        ("CREATE TEMP TABLE secrets (s TEXT)", true),
        ("PRAGMA foreign_keys = OFF", true),
        ("PRAGMA query_only = ON", true),
        ("PRAGMA cache_size = 7", true),
        ("BEGIN; INSERT INTO canary VALUES ('x')", false),
        ("SELECT 1", false),
    ];
    let mut expected = before;
    for (sql, closes) in leave {
        let mut lease = files.lease(0).await;
        run(&mut lease, sql).await;
        drop(lease);
        expected += u64::from(closes);
        assert_eq!(canaries(&mut files.lease(0).await).await, ["t0"], "{sql}");
        assert_eq!(files.pools.figures("files").unwrap().opens, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_endless_query_is_interrupted() {
    let files = Files::new(1, patient(1)).await;
    let before = files.until(|figures| figures.idle == 1).await;
    let mut lease = files.lease(0).await;
    // One row says that it runs; there is never another.
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i = 1";
    let mut rows = sqlx::query(endless).fetch(&mut *lease);
    rows.next().await.unwrap().unwrap();
    drop(rows);
    drop(lease);
    assert_eq!(canaries(&mut files.lease(0).await).await, ["t0"]);
    let after = files.until(|figures| figures.idle == 1).await;
    assert_eq!(
        (after.cancels, after.opens),
        (before.cancels + 1, before.opens),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_had_and_given_back_without_allocating() {
    let files = Files::new(1, patient(2)).await;
    let target = Target::database(files.directory.path().join("t0").to_str().unwrap());
    let pools = TenantPools::<Sqlite>::builder(move |_| target.clone())
        .server("files", SqliteConnectOptions::new(), patient(2))
        .build();
    let once = || pools.acquire(&files.tenants[0]).now_or_never().unwrap().unwrap();
    drop(pools.acquire(&files.tenants[0]).await.unwrap());
    drop(once());
    let allocations = allocation_counter::measure(|| {
        for _ in 0..100 {
            drop(once());
        }
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn what_is_dropped_after_the_runtime_is_closed_and_nobody_hangs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let files = runtime.block_on(Files::new(2, patient(1)));
    let mut used = runtime.block_on(files.lease(0));
    runtime.block_on(run(&mut used, "BEGIN"));
    let waits = {
        let (pools, tenant) = (files.pools.clone(), files.tenants[1].clone());
        runtime.spawn(async move { drop(pools.acquire(&tenant).await) })
    };
    runtime.block_on(files.until(|figures| figures.waiting == 1));
    runtime.shutdown_background();
    drop(used);
    drop(waits);
    let held = || {
        let figures = files.pools.figures("files").unwrap();
        figures.leased + figures.dirty + figures.idle
    };
    // The runtime drops what it still has in threads of its own.
    for _ in 0..6_000 {
        if held() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never let go: {:?}", files.pools.figures("files"));
}
