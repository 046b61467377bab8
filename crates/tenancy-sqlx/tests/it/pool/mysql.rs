//! Databases on MariaDB: a connection belongs to one tenant for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, MySql, MySqlConnection, Row, mysql::MySqlConnectOptions,
};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_sqlx::pool::{Lease, PoolFigures, PoolSettings, Target, TenantPools};
use tenancy_test::servers::{MariaDb, Role};

use super::fixture::{drop_when, patient, poll_at_most};

struct Server(&'static MariaDb);

impl Server {
    async fn shared() -> Self {
        Self(MariaDb::shared().await)
    }

    fn options(&self, database: &str) -> MySqlConnectOptions {
        let options: MySqlConnectOptions = self.0.url(Role::Admin, "mysql").parse().unwrap();
        options.database(if database.is_empty() { "mysql" } else { database })
    }

    async fn connect(&self) -> MySqlConnection {
        self.options("").connect().await.unwrap()
    }
}

async fn run(connection: &mut MySqlConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

struct Databases {
    _tenancy: Tenancy,
    tenants: Vec<Tenant>,
    pools: TenantPools<MySql>,
}

impl Databases {
    async fn new(server: &Server, name: &'static str, tenants: usize, settings: PoolSettings) -> Self {
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
        tenancy.ready().await;
        let mut admin = server.connect().await;
        run(
            &mut admin,
            format!(
                "CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{}';
                 GRANT ALL ON `{name}\\_%`.* TO {name}@'127.0.0.1'",
                server.0.password()
            ),
        )
        .await;
        let mut handles = Vec::new();
        for id in &ids {
            let database = format!("{name}_{id}");
            run(
                &mut admin,
                format!(
                    "CREATE DATABASE {database}; CREATE TABLE {database}.canary AS SELECT '{id}' AS tenant"
                ),
            )
            .await;
            handles.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
        }
        let pools = TenantPools::builder(move |record| Target::database(&format!("{name}_{}", record.id)))
            .server("main", server.options("").username(name), settings)
            .build();
        Self {
            _tenancy: tenancy,
            tenants: handles,
            pools,
        }
    }

    async fn lease(&self, tenant: usize) -> Lease<MySql> {
        self.pools.acquire(&self.tenants[tenant]).await.unwrap()
    }

    fn figures(&self) -> PoolFigures {
        self.pools.figures("main").unwrap()
    }

    async fn until(&self, is_so: impl Fn(&PoolFigures) -> bool) -> PoolFigures {
        for _ in 0..6_000 {
            let figures = self.figures();
            if is_so(&figures) {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {:#?}", self.figures());
    }
}

async fn canaries(lease: &mut Lease<MySql>) -> Vec<String> {
    let rows = sqlx::query("SELECT tenant FROM canary")
        .fetch_all(&mut **lease)
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn session(lease: &mut Lease<MySql>) -> String {
    let id = sqlx::raw_sql("SELECT CAST(CONNECTION_ID() AS CHAR)")
        .fetch_one(&mut **lease)
        .await;
    id.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_work_dropped_at_any_await_is_rolled_back() {
    let settings = patient(4).max_per_tenant(1);
    let databases = Databases::new(&Server::shared().await, "mycancel", 1, settings).await;
    let mut dropped = 0;
    for polls in 1..=16 {
        for _ in 0..6 {
            let work = async {
                let mut lease = databases.lease(0).await;
                let mut transaction = lease.begin().await.unwrap();
                sqlx::query("INSERT INTO canary VALUES (?)")
                    .bind("x")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
            };
            dropped += usize::from(poll_at_most(polls, work).await.is_none());
            let mut next = databases.lease(0).await;
            assert_eq!(canaries(&mut next).await, ["t0"], "after {polls} polls");
            let row = sqlx::raw_sql("SELECT CAST(@@in_transaction AS CHAR)")
                .fetch_one(&mut *next)
                .await;
            assert_eq!(row.unwrap().get::<String, _>(0), "0", "after {polls} polls");
        }
    }
    assert!(dropped >= 5, "{dropped}");
}

/// What leaves something, and whether the connection can go on.
const STATES: &[(&str, bool)] = &[
    ("SELECT 1", true),
    ("BEGIN; INSERT INTO canary VALUES ('x')", true),
    ("DO GET_LOCK('left', 0)", true),
    ("SET SESSION sql_mode = ''", false),
    ("SET @tenant = 'x'", false),
    ("SELECT @tenant := 'x'", false),
    ("CREATE TEMPORARY TABLE secrets (s TEXT)", false),
    ("PREPARE stolen FROM 'SELECT 1'", false),
    ("USE information_schema", false),
    ("LOCK TABLES canary WRITE", false),
    ("HANDLER canary OPEN", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_session_keeps_reaches_the_next_borrower() {
    let settings = patient(4).max_per_tenant(1);
    let databases = Databases::new(&Server::shared().await, "mydirt", 1, settings).await;
    for &(leave, goes_on) in STATES {
        let mut lease = databases.lease(0).await;
        let before = session(&mut lease).await;
        sqlx::raw_sql(leave).execute(&mut *lease).await.unwrap();
        drop(lease);
        let mut next = databases.lease(0).await;
        assert_eq!(canaries(&mut next).await, ["t0"], "{leave}");
        assert_eq!(session(&mut next).await == before, goes_on, "{leave}");
    }
    let mut lease = databases.lease(0).await;
    let free = sqlx::raw_sql("SELECT CAST(IS_FREE_LOCK('left') AS CHAR)")
        .fetch_one(&mut *lease)
        .await;
    assert_eq!(free.unwrap().get::<String, _>(0), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_slow_query_is_cancelled_on_the_server() {
    let server = Server::shared().await;
    let settings = patient(4).max_per_tenant(1);
    let databases = Databases::new(&server, "myslow", 1, settings).await;
    let mut lease = databases.lease(0).await;
    let slow = sqlx::query("SELECT SLEEP(600)").execute(&mut *lease);
    let mut admin = server.connect().await;
    let mut sleeping = async || {
        let running = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'myslow' AND INFO LIKE '%SLEEP%'";
        let row = sqlx::raw_sql(running).fetch_one(&mut admin).await.unwrap();
        row.get::<i64, _>(0)
    };
    let until_it_sleeps = async {
        while sleeping().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    drop_when(until_it_sleeps, slow).await;
    drop(lease);
    assert_eq!(canaries(&mut databases.lease(0).await).await, ["t0"]);
    assert_eq!(sleeping().await, 0, "it still runs");
    assert_eq!(databases.figures().cancels, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_never_counts_more_connections_than_the_budget() {
    const BUDGET: usize = 8;
    let server = Server::shared().await;
    let settings = patient(BUDGET).settle(Duration::from_millis(1));
    let databases = Arc::new(Databases::new(&server, "mysampled", 20, settings).await);
    let ended = Arc::new(AtomicBool::new(false));
    let sampler = {
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            let mut admin = server.connect().await;
            let count = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'mysampled'";
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                let row = sqlx::raw_sql(count).fetch_one(&mut admin).await.unwrap();
                most = row.get::<i64, _>(0).max(most);
            }
            usize::try_from(most).unwrap()
        })
    };
    let tasks = (0..32_usize).map(|task| {
        let databases = Arc::clone(&databases);
        tokio::spawn(async move {
            for request in 0..12_usize {
                let tenant = (task * 7 + request * request * 3) % 20;
                assert_eq!(
                    canaries(&mut databases.lease(tenant).await).await,
                    [format!("t{tenant}")]
                );
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let most = sampler.await.unwrap();
    let figures = databases.until(|figures| figures.open == figures.idle).await;
    assert!(
        (BUDGET - 3..=BUDGET).contains(&most),
        "{most} at once; {figures:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_its_tenants_matter() {
    let server = Server::shared().await;
    let databases = Databases::new(&server, "mymissing", 2, patient(8)).await;
    let mut admin = server.connect().await;
    run(&mut admin, "DROP DATABASE mymissing_t0".into()).await;
    let error = databases.pools.acquire(&databases.tenants[0]).await.unwrap_err();
    assert!(error.is_missing_database(), "{error:?}");
    assert_eq!(canaries(&mut databases.lease(1).await).await, ["t1"]);
    assert!(!databases.figures().breaker_open);
    run(&mut admin, "DROP USER mymissing@'127.0.0.1'".into()).await;
    databases.pools.forget(&databases.tenants[1]);
    databases.until(|figures| figures.open == 0).await;
    let error = databases.pools.acquire(&databases.tenants[1]).await.unwrap_err();
    assert!(error.is_refused(), "{error:?}");
}
