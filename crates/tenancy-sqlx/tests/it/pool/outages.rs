//! Servers that stop, start again, are full, or let nobody in any more: PostgreSQL and MariaDB behave alike to the pool.

use std::{error::Error, time::Duration};

use sqlx::{ConnectOptions, MySql, Postgres, Row, mysql::MySqlConnectOptions, postgres::PgConnectOptions};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_sqlx::{
    TenantEngine,
    pool::{DatabaseError, Lease, PoolFigures, PoolSettings, Target, TenantPools},
};
use tenancy_test::servers::{self, MariaDb, MariaDbOptions, PostgresOptions, Role};

use super::fixture::{patient, steady};

const TENANTS: usize = 3;
/// Including those that the server keeps for its superuser.
const PLACES: u16 = 24;

/// A server that may be hurt.
trait Harmed: TenantEngine + Sized {
    type Server;

    async fn start() -> Self::Server;
    async fn freeze(server: &Self::Server);
    async fn thaw(server: &Self::Server);
    async fn kill(server: &Self::Server);
    async fn restart(server: &Self::Server);
    async fn admin(server: &Self::Server, sql: &str) -> Vec<String>;
    fn options(server: &Self::Server, role: Role) -> Options<Self>;
    async fn read(lease: &mut Lease<Self>) -> Result<String, sqlx::Error>;
    /// Makes the database, lets the application's role in, and puts one row in.
    async fn make(server: &Self::Server, database: &str);
    /// Sessions of the application's role.
    const COUNT: &'static str;
    const SHUT_OUT: &'static str;
    const LET_IN: &'static str;
    /// What it says to who is shut out.
    const SAID: &'static str;
}

type Options<DB> = <<DB as sqlx::Database>::Connection as sqlx::Connection>::Options;

impl Harmed for Postgres {
    type Server = servers::Postgres;

    async fn start() -> Self::Server {
        let options = PostgresOptions::new().max_connections(PLACES);
        servers::Postgres::start(options).await.unwrap()
    }

    async fn freeze(server: &Self::Server) {
        server.freeze().await;
    }

    async fn thaw(server: &Self::Server) {
        server.thaw().await;
    }

    async fn kill(server: &Self::Server) {
        server.kill().await;
    }

    async fn restart(server: &Self::Server) {
        server.restart().await.unwrap();
    }

    async fn admin(server: &Self::Server, sql: &str) -> Vec<String> {
        server.sql(sql).await
    }

    fn options(server: &Self::Server, role: Role) -> PgConnectOptions {
        server.url(role, "postgres").parse().unwrap()
    }

    async fn read(lease: &mut Lease<Self>) -> Result<String, sqlx::Error> {
        let row = sqlx::query("SELECT current_database()::text").fetch_one(&mut **lease);
        row.await?.try_get(0)
    }

    async fn make(server: &Self::Server, database: &str) {
        server
            .sql(format!("CREATE DATABASE {database} STRATEGY file_copy"))
            .await;
    }

    const COUNT: &'static str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    const SHUT_OUT: &'static str = "ALTER ROLE app NOLOGIN";
    const LET_IN: &'static str = "ALTER ROLE app LOGIN";
    const SAID: &'static str = "is not permitted to log in";
}

impl Harmed for MySql {
    type Server = MariaDb;

    async fn start() -> Self::Server {
        let options = MariaDbOptions::new().max_connections(PLACES);
        MariaDb::start(options).await.unwrap()
    }

    async fn freeze(server: &Self::Server) {
        server.freeze().await;
    }

    async fn thaw(server: &Self::Server) {
        server.thaw().await;
    }

    async fn kill(server: &Self::Server) {
        server.kill().await;
    }

    async fn restart(server: &Self::Server) {
        server.restart().await.unwrap();
    }

    async fn admin(server: &Self::Server, sql: &str) -> Vec<String> {
        server.sql(sql).await
    }

    fn options(server: &Self::Server, role: Role) -> MySqlConnectOptions {
        server.url(role, "information_schema").parse().unwrap()
    }

    async fn read(lease: &mut Lease<Self>) -> Result<String, sqlx::Error> {
        let row = sqlx::query("SELECT CAST(DATABASE() AS CHAR)").fetch_one(&mut **lease);
        row.await?.try_get(0)
    }

    async fn make(server: &Self::Server, database: &str) {
        server.sql(format!("CREATE DATABASE {database}")).await;
        server.sql(format!("GRANT SELECT ON {database}.* TO app")).await;
    }

    const COUNT: &'static str =
        "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.PROCESSLIST WHERE USER = 'app'";
    const SHUT_OUT: &'static str = "ALTER USER app ACCOUNT LOCK";
    const LET_IN: &'static str = "ALTER USER app ACCOUNT UNLOCK";
    const SAID: &'static str = "this account is locked";
}

struct Outage<DB: Harmed> {
    server: DB::Server,
    pools: TenantPools<DB>,
    tenants: Vec<Tenant>,
    _tenancy: Tenancy,
}

impl<DB: Harmed> Outage<DB> {
    async fn new(settings: PoolSettings) -> Self {
        let server = DB::start().await;
        let ids: Vec<String> = (0..TENANTS).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
        tenancy.ready().await;
        let mut tenants = Vec::new();
        for id in &ids {
            DB::make(&server, id).await;
            tenants.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
        }
        let pools = TenantPools::builder(|record| Target::database(record.id.as_str()))
            .server("main", DB::options(&server, Role::App), settings)
            .build();
        Self {
            server,
            pools,
            tenants,
            _tenancy: tenancy,
        }
    }

    async fn visit(&self, tenant: usize) -> Result<(), DatabaseError> {
        let mut lease = self.pools.acquire(&self.tenants[tenant]).await?;
        assert_eq!(DB::read(&mut lease).await?, format!("t{tenant}"));
        Ok(())
    }

    fn figures(&self) -> PoolFigures {
        self.pools.figures("main").unwrap()
    }

    /// Each is served, and nothing is in use.
    async fn serve_all(&self) {
        for _ in 0..3_000 {
            for tenant in 0..TENANTS {
                self.until_served(tenant, is_away).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            // One that is not reset in time is closed.
            if self.figures().idle == TENANTS {
                return;
            }
        }
        panic!("never quiet: {:#?}", self.figures());
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

    /// Asks until it is served; what it hears until then must be expected.
    async fn until_served(&self, tenant: usize, is_expected: impl Fn(&DatabaseError) -> bool) {
        for _ in 0..3_000 {
            match self.visit(tenant).await {
                Ok(()) => return,
                Err(error) => assert!(is_expected(&error), "t{tenant}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("t{tenant} is never served again: {:#?}", self.figures());
    }

    /// Everything is given back, and the server counts what the pool counts.
    async fn check_nothing_is_lost(&self) {
        let figures = self
            .until(|figures| figures.open == figures.idle && figures.waiting == 0)
            .await;
        assert!(
            !figures.breaker_open && figures.open <= figures.budget,
            "{figures:?}"
        );
        // One more may be there to look after others.
        for _ in 0..6_000 {
            let open = self.figures().open;
            let counted: usize = DB::admin(&self.server, DB::COUNT).await[0].parse().unwrap();
            if (open..=open + 1).contains(&counted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server counts others than {:?}", self.figures());
    }
}

/// Whatever has to do with a server that is away. A connection that was open says so with an error of its own.
fn is_away(error: &DatabaseError) -> bool {
    error.is_unavailable() || error.is_busy()
}

/// For what never answers.
fn hasty() -> PoolSettings {
    PoolSettings::new(8)
        .connect_timeout(Duration::from_millis(400))
        .wait_timeout(Duration::from_millis(200))
        .reset_timeout(Duration::from_millis(100))
        .give_up_timeout(Duration::from_millis(400))
}

async fn a_server_that_freezes_costs_what_was_in_use_and_comes_back<DB: Harmed>() {
    let outage = Outage::<DB>::new(hasty()).await;
    outage.serve_all().await;
    let mut held = outage.pools.acquire(&outage.tenants[0]).await.unwrap();
    DB::freeze(&outage.server).await;
    // One in the middle of a query, one that was idle, and more than there is room for.
    let limit = Duration::from_millis(50);
    assert!(tokio::time::timeout(limit, DB::read(&mut held)).await.is_err());
    let asks = (0..24)
        .map(|request| tokio::time::timeout(Duration::from_millis(700), outage.visit(request % TENANTS)));
    for answer in futures_util::future::join_all(asks).await {
        if let Ok(Ok(())) = answer {
            panic!("nobody answers");
        }
    }
    drop(held);
    // Every permit comes back though the server hears nothing.
    let figures = outage
        .until(|figures| figures.open == 0 && figures.waiting == 0)
        .await;
    assert!(figures.closed_hard > 0, "{figures:?}");
    let error = outage.visit(0).await.unwrap_err();
    assert!(is_away(&error) && error.retry_after().is_some(), "{error:?}");
    DB::thaw(&outage.server).await;
    for tenant in 0..TENANTS {
        outage.until_served(tenant, is_away).await;
    }
    outage.check_nothing_is_lost().await;
}

async fn a_server_that_is_killed_and_started_again_serves_everybody<DB: Harmed>() {
    let outage = Outage::<DB>::new(patient(8)).await;
    for tenant in 0..TENANTS {
        outage.until_served(tenant, is_away).await;
    }
    for _ in 0..2 {
        let mut held = outage.pools.acquire(&outage.tenants[0]).await.unwrap();
        DB::kill(&outage.server).await;
        assert!(DB::read(&mut held).await.is_err());
        drop(held);
        for tenant in 0..TENANTS {
            let error = outage.visit(tenant).await.unwrap_err();
            assert!(is_away(&error), "{error:?}");
        }
        DB::restart(&outage.server).await;
        for tenant in 0..TENANTS {
            outage.until_served(tenant, is_away).await;
        }
        outage.check_nothing_is_lost().await;
    }
}

async fn a_login_that_is_refused_meanwhile_stops_new_connections_only<DB: Harmed>() {
    let outage = Outage::<DB>::new(steady(8)).await;
    let mut held = outage.pools.acquire(&outage.tenants[0]).await.unwrap();
    outage.visit(1).await.unwrap();
    outage.until(|figures| figures.idle == 1).await;
    DB::admin(&outage.server, DB::SHUT_OUT).await;
    assert_eq!(DB::read(&mut held).await.unwrap(), "t0", "what is open works");
    outage.visit(1).await.unwrap();
    let error = outage.visit(2).await.unwrap_err();
    assert!(error.is_refused() && error.retry_after().is_some(), "{error:?}");
    // To a client it says nothing; to the operator what the server said.
    assert_eq!(error.to_string(), "the database is not available");
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(source.contains(DB::SAID), "{source}");
    assert!(!outage.figures().breaker_open, "the server is there");
    drop(held);
    outage.until(|figures| figures.idle == 2).await;
    outage.visit(0).await.unwrap();
    DB::admin(&outage.server, DB::LET_IN).await;
    outage.until_served(2, DatabaseError::is_refused).await;
    outage.check_nothing_is_lost().await;
}

async fn a_server_that_is_full_makes_them_wait_and_those_inside_go_on<DB: Harmed>() {
    let outage = Outage::<DB>::new(patient(8)).await;
    let mut held = outage.pools.acquire(&outage.tenants[0]).await.unwrap();
    let mut others = Vec::new();
    while let Ok(other) = DB::options(&outage.server, Role::Owner).connect().await {
        others.push(other);
    }
    assert!(!others.is_empty());
    {
        let waiting = outage.visit(1);
        let mut waiting = std::pin::pin!(waiting);
        tokio::select! {
            _ = &mut waiting => panic!("it does not wait"),
            _ = outage.until(|figures| figures.failed_opens > 0) => {}
        }
        assert_eq!(DB::read(&mut held).await.unwrap(), "t0", "what is open works");
        drop(others);
        waiting.await.unwrap();
    }
    drop(held);
    outage.until_served(2, |error| error.is_busy()).await;
    outage.check_nothing_is_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_freezes_and_comes_back() {
    a_server_that_freezes_costs_what_was_in_use_and_comes_back::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_freezes_and_comes_back() {
    a_server_that_freezes_costs_what_was_in_use_and_comes_back::<MySql>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_and_started_again() {
    a_server_that_is_killed_and_started_again_serves_everybody::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_killed_and_started_again() {
    a_server_that_is_killed_and_started_again_serves_everybody::<MySql>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_lets_nobody_in_any_more() {
    a_login_that_is_refused_meanwhile_stops_new_connections_only::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_lets_nobody_in_any_more() {
    a_login_that_is_refused_meanwhile_stops_new_connections_only::<MySql>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_full() {
    a_server_that_is_full_makes_them_wait_and_those_inside_go_on::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_full() {
    a_server_that_is_full_makes_them_wait_and_those_inside_go_on::<MySql>().await;
}
