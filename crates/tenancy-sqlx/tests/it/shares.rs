//! One budget of a server for several processes. Each is a pool, with connections of its own to the catalogue.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Postgres as Pg, Row, Sqlite, postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_core::{Clock, ManualClock, SystemClock};
use tenancy_sqlx::{
    TenantEngine,
    pool::{BudgetShares, PoolFigures, PoolSettings, Target, TenantPools},
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{Postgres, Role};

use crate::{
    pool::fixture::patient,
    support::{Place, on_every_database},
};

on_every_database!(
    processes_under_load_are_never_over_the_budget_and_the_last_one_has_it_alone,
    a_process_that_is_killed_keeps_its_share_until_the_lease_is_over,
    a_process_that_can_not_renew_stops_before_its_share_is_anothers,
    a_newcomer_gets_its_part_of_what_one_has_alone,
);

const SERVER: &str = "main";

async fn tenants(count: usize) -> (Tenancy, Vec<Tenant>) {
    let ids: Vec<String> = (0..count).map(|tenant| format!("t{tenant}")).collect();
    let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
    tenancy.ready().await;
    let mut handles = Vec::new();
    for id in &ids {
        handles.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
    }
    (tenancy, handles)
}

fn settings(budget: usize) -> PoolSettings {
    patient(budget).settle(Duration::from_millis(1))
}

/// Files of tenants, and processes that share a budget of handles.
struct Files {
    directory: TempDir,
    _tenancy: Tenancy,
    tenants: Vec<Tenant>,
}

impl Files {
    async fn new(count: usize) -> Self {
        let (tenancy, tenants) = tenants(count).await;
        Self {
            directory: tempfile::tempdir().unwrap(),
            _tenancy: tenancy,
            tenants,
        }
    }

    fn pools(&self, budget: usize, shares: &BudgetShares, clock: Option<Arc<ManualClock>>) -> Process {
        let path: PathBuf = self.directory.path().to_owned();
        let place = move |record: &tenancy_core::TenantRecord| {
            Target::database(path.join(record.id.as_str()).to_str().unwrap())
        };
        let options = SqliteConnectOptions::new().create_if_missing(true);
        let builder = TenantPools::<Sqlite>::builder(place).server(SERVER, options, settings(budget));
        let builder = match clock {
            Some(clock) => builder.clock(clock),
            None => builder,
        };
        Process {
            pools: builder.share_budgets(shares).build(),
            tenants: self.tenants.clone(),
            served: Arc::default(),
        }
    }
}

struct Process<DB: TenantEngine = Sqlite> {
    pools: TenantPools<DB>,
    tenants: Vec<Tenant>,
    served: Arc<AtomicUsize>,
}

impl<DB: TenantEngine> Clone for Process<DB> {
    fn clone(&self) -> Self {
        Self {
            pools: self.pools.clone(),
            tenants: self.tenants.clone(),
            served: Arc::clone(&self.served),
        }
    }
}

impl<DB: TenantEngine> Process<DB> {
    fn figures(&self) -> PoolFigures {
        self.pools.figures(SERVER).unwrap()
    }

    async fn until(&self, is_so: impl Fn(&PoolFigures) -> bool) {
        for _ in 0..6_000 {
            if is_so(&self.figures()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {:#?}", self.figures());
    }

    /// Asks without end, for one tenant after the other.
    fn load(&self, tasks: usize, is_over: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
        let start = |task| {
            let (process, is_over) = (self.clone(), Arc::clone(is_over));
            tokio::spawn(async move {
                let mut request = task;
                while !is_over.load(Ordering::Relaxed) {
                    request += 7;
                    let tenant = &process.tenants[request % process.tenants.len()];
                    let lease = process.pools.acquire(tenant).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    drop(lease);
                    process.served.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        (0..tasks).map(start).collect()
    }
}

async fn shares_of(place: &Place) -> BudgetShares {
    BudgetShares::through(&place.open().await).await.unwrap()
}

async fn processes_under_load_are_never_over_the_budget_and_the_last_one_has_it_alone(place: Place) {
    const BUDGET: usize = 20;
    let files = Files::new(30).await;
    let store = place.open().await;
    let mut processes = Vec::new();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    let over = "SELECT count(*) FROM tenancy_budgets WHERE (SELECT sum(share) FROM tenancy_shares) > 20";
    for _ in 0..10 {
        let shares = BudgetShares::through(&store).await.unwrap();
        let process = files.pools(BUDGET, &shares.lease(Duration::from_secs(12)), None);
        tasks.extend(process.load(4, &is_over));
        // The next one comes when this one is at work.
        while process.served.load(Ordering::Relaxed) < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        processes.push(process);
        assert_eq!(place.ask(over).await, 0);
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    for process in &processes {
        assert!(process.figures().budget < BUDGET, "{:?}", process.figures());
    }
    let last = processes.pop().unwrap();
    for process in processes {
        process.pools.close().await;
    }
    assert_eq!(place.ask("SELECT count(*) FROM tenancy_shares").await, 1);
    last.until(|figures| figures.budget == BUDGET).await;
    assert_eq!(last.figures().shared_budget, Some(BUDGET));
    last.pools.close().await;
    assert_eq!(place.ask("SELECT count(*) FROM tenancy_shares").await, 0);
}

async fn a_newcomer_gets_its_part_of_what_one_has_alone(place: Place) {
    let files = Files::new(20).await;
    let first = files.pools(8, &shares_of(&place).await, None);
    let mut leases = Vec::new();
    for tenant in &files.tenants[..8] {
        leases.push(first.pools.acquire(tenant).await.unwrap());
    }
    let second = files.pools(8, &shares_of(&place).await, None);
    let waiting = {
        let (second, tenant) = (second.clone(), files.tenants[9].clone());
        tokio::spawn(async move { second.pools.acquire(&tenant).await.unwrap() })
    };
    // All are in use: nobody takes them away.
    second.until(|figures| figures.waiting == 1).await;
    first.until(|figures| figures.budget < 8).await;
    assert_eq!((first.figures().open, second.figures().open), (8, 0));
    leases.pop();
    drop(waiting.await.unwrap());
    assert!(first.figures().open <= 7);
    drop(leases);
    first.pools.close().await;
    second.pools.close().await;
}

async fn a_process_that_is_killed_keeps_its_share_until_the_lease_is_over(place: Place) {
    let clock = Arc::new(ManualClock::new());
    // On a server time is the server's.
    let lease = match place {
        Place::File(_) => Duration::from_secs(60),
        Place::Postgres(_) | Place::MariaDb(_) => Duration::from_secs(3),
    };
    let open = async || {
        let store = SqlStore::open(place.options().clock(clock.clone()))
            .await
            .unwrap();
        BudgetShares::through(&store).await.unwrap().lease(lease)
    };
    let files = Files::new(2).await;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let shares = runtime.spawn({
        let options = place.options().clock(clock.clone());
        async move {
            let store = SqlStore::open(options).await.unwrap();
            BudgetShares::through(&store).await.unwrap().lease(lease)
        }
    });
    let shares = shares.await.unwrap();
    let killed = {
        let _inside = runtime.enter();
        files.pools(10, &shares, None)
    };
    killed.until(|figures| figures.budget == 10).await;
    runtime.shutdown_background();
    let survivor = files.pools(10, &open().await, None);
    survivor.until(|figures| figures.shared_budget == Some(10)).await;
    if let Place::File(_) = place {
        // Its row says that it needs nothing: but it has it.
        let written = "SELECT count(*) FROM tenancy_shares WHERE wants >= 0";
        while place.ask(written).await < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(survivor.figures().budget, 0);
        clock.advance(lease);
    }
    survivor.until(|figures| figures.budget == 10).await;
    survivor.pools.close().await;
}

async fn a_process_that_can_not_renew_stops_before_its_share_is_anothers(place: Place) {
    let clock = Arc::new(ManualClock::new());
    let shares = shares_of(&place).await.lease(Duration::from_secs(8));
    let files = Files::new(4).await;
    let process = files.pools(10, &shares, Some(clock.clone()));
    let held = process.pools.acquire(&files.tenants[0]).await.unwrap();
    drop(process.pools.acquire(&files.tenants[1]).await.unwrap());
    process
        .until(|figures| figures.budget == 10 && figures.idle == 1)
        .await;
    place.run("ALTER TABLE tenancy_shares RENAME TO hidden").await;
    clock.advance(Duration::from_millis(4_100));
    process
        .until(|figures| figures.budget == 0 && figures.open == 1)
        .await;
    assert_eq!(process.figures().shares_lost, 1);
    let hidden = "SELECT count(*) FROM hidden WHERE share = 10";
    assert_eq!(place.ask(hidden).await, 1, "nobody else has it");
    // The catalogue is back.
    place.run("ALTER TABLE hidden RENAME TO tenancy_shares").await;
    process.until(|figures| figures.budget == 10).await;
    drop(held);
    drop(process.pools.acquire(&files.tenants[2]).await.unwrap());
    process.pools.close().await;
}

/// Tenants' databases on a real server, and how many connections it counts.
struct Server {
    options: PgConnectOptions,
    _tenancy: Tenancy,
    tenants: Vec<Tenant>,
}

impl Server {
    async fn new(application: &str) -> Self {
        let server = Postgres::shared().await;
        let (tenancy, tenants) = tenants(6).await;
        for tenant in 0..6 {
            server
                .sql(format!(
                    "CREATE DATABASE {application}_t{tenant} STRATEGY file_copy"
                ))
                .await;
        }
        let url = server.url(Role::Admin, "postgres");
        Self {
            options: url
                .parse::<PgConnectOptions>()
                .unwrap()
                .application_name(application),
            _tenancy: tenancy,
            tenants,
        }
    }

    fn process(
        &self,
        application: &'static str,
        shares: &BudgetShares,
        clock: Arc<dyn Clock>,
    ) -> Process<Pg> {
        let place = move |record: &tenancy_core::TenantRecord| {
            Target::database(&format!("{application}_{}", record.id))
        };
        let pools = TenantPools::<Pg>::builder(place)
            .server(SERVER, self.options.clone(), settings(6))
            .clock(clock)
            .share_budgets(shares)
            .build();
        Process {
            pools,
            tenants: self.tenants.clone(),
            served: Arc::default(),
        }
    }

    async fn count(&self, application: &str) -> i64 {
        let observer = self.options.clone().application_name("observer");
        let mut observer: PgConnection = observer.connect().await.unwrap();
        let row = sqlx::query("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1")
            .bind(application)
            .fetch_one(&mut observer)
            .await
            .unwrap();
        observer.close().await.unwrap();
        row.get(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_when_the_lease_ends_is_ended_by_the_server() {
    const NAME: &str = "fenced";
    let place = Place::new();
    let (server, clock) = (Server::new(NAME).await, Arc::new(ManualClock::new()));
    let shares = shares_of(&place).await.lease(Duration::from_secs(8));
    let process = server.process(NAME, &shares, clock.clone());
    let mut held = process.pools.acquire(&server.tenants[0]).await.unwrap();
    sqlx::query("SELECT 1").execute(&mut *held).await.unwrap();
    process.until(|figures| figures.budget == 5).await;
    place.run("ALTER TABLE tenancy_shares RENAME TO hidden").await;
    clock.advance(Duration::from_millis(4_100));
    process.until(|figures| figures.budget == 0).await;
    sqlx::query("SELECT 1").execute(&mut *held).await.unwrap();
    clock.advance(Duration::from_secs(2));
    while server.count(NAME).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sqlx::query("SELECT 1").execute(&mut *held).await.unwrap_err();
    drop(held);
    process.until(|figures| figures.open == 0).await;
    place.run("ALTER TABLE hidden RENAME TO tenancy_shares").await;
    drop(process.pools.acquire(&server.tenants[0]).await.unwrap());
    process.pools.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_never_counts_more_than_the_budget_of_all_processes() {
    const NAME: &str = "shared_budget";
    let place = Place::new();
    let server = Arc::new(Server::new(NAME).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let sampler = {
        let (server, is_over) = (Arc::clone(&server), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = server.count(NAME).await.max(most);
            }
            most
        })
    };
    let (mut processes, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let shares = shares_of(&place).await.lease(Duration::from_secs(4));
        let process = server.process(NAME, &shares, Arc::new(SystemClock::new()));
        tasks.extend(process.load(4, &is_over));
        let newest = process.clone();
        processes.push(process);
        for _ in 0..12_000 {
            if newest.served.load(Ordering::Relaxed) > 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(
            newest.served.load(Ordering::Relaxed) > 10,
            "{:?}",
            newest.figures()
        );
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let most = sampler.await.unwrap();
    assert!((3..=6).contains(&most), "{most} at once");
    for process in processes {
        process.pools.close().await;
    }
}

#[tokio::test]
async fn a_catalogue_that_is_only_read_has_no_shares() {
    let place = Place::new();
    drop(place.open().await);
    let store = SqlStore::open(SqlStoreOptions::new(place.path()).read_only())
        .await
        .unwrap();
    assert!(BudgetShares::through(&store).await.unwrap_err().is_read_only());
}
