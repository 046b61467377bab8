use std::{future::Future, pin::Pin, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Postgres, Row};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_core::TenantRecord;
use tenancy_sqlx::pool::{Lease, PoolFigures, PoolSettings, Sharing, Target, TenantPools};

use super::server::{PgServer, run};

/// Tenants with a database, or a schema, each, in which one row says whose it is.
pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) pools: TenantPools<Postgres>,
    pub(super) tenants: Vec<Tenant>,
    pub(super) store: MemoryStore,
    /// Keeps the tenants' handles fresh.
    pub(super) tenancy: Tenancy,
}

impl Fixture {
    /// A database for each tenant.
    pub(super) async fn databases(
        server: &PgServer,
        name: &'static str,
        tenants: usize,
        settings: PoolSettings,
    ) -> Self {
        let mut admin = server.connect("postgres").await;
        for tenant in 0..tenants {
            let database = format!("{name}_t{tenant}");
            run(
                &mut admin,
                format!("CREATE DATABASE {database} STRATEGY file_copy"),
            )
            .await;
            let mut connection = server.connect(&database).await;
            run(
                &mut connection,
                format!("CREATE TABLE canary AS SELECT 't{tenant}' AS tenant"),
            )
            .await;
            connection.close().await.unwrap();
        }
        Self::new(server, name, tenants, settings, move |record| {
            let named = record.placement.as_ref().map(|placement| &*placement.database);
            match named.filter(|named| !named.is_empty()) {
                Some(database) => Target::database(database),
                None => Target::database(&format!("{name}_{}", record.id)),
            }
        })
        .await
    }

    /// A schema of one database for each tenant.
    pub(super) async fn schemas(
        server: &PgServer,
        name: &'static str,
        tenants: usize,
        settings: PoolSettings,
    ) -> Self {
        let mut admin = server.connect("postgres").await;
        run(&mut admin, format!("CREATE DATABASE {name} STRATEGY file_copy")).await;
        let mut connection = server.connect(name).await;
        for tenant in 0..tenants {
            run(
                &mut connection,
                format!(
                    "CREATE SCHEMA t{tenant}; CREATE TABLE t{tenant}.canary AS SELECT 't{tenant}' AS tenant"
                ),
            )
            .await;
        }
        Self::new(server, name, tenants, settings, move |record| {
            Target::part(name, record.id.as_str(), Sharing::Schemas)
        })
        .await
    }

    async fn new(
        server: &PgServer,
        name: &'static str,
        tenants: usize,
        settings: PoolSettings,
        place: impl Fn(&TenantRecord) -> Target + Send + Sync + 'static,
    ) -> Self {
        let ids: Vec<String> = (0..tenants).map(|tenant| format!("t{tenant}")).collect();
        let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store.clone());
        tenancy.ready().await;
        let mut handles = Vec::new();
        for id in &ids {
            handles.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
        }
        let pools = TenantPools::builder(place)
            .server("main", server.options(name), settings)
            .build();
        Self {
            name,
            pools,
            tenants: handles,
            store,
            tenancy,
        }
    }

    pub(super) async fn lease(&self, tenant: usize) -> Lease<Postgres> {
        self.pools.acquire(&self.tenants[tenant]).await.unwrap()
    }

    pub(super) fn figures(&self) -> PoolFigures {
        self.pools.figures("main").unwrap()
    }

    /// Waits until the figures are so. Fails after a minute.
    pub(super) async fn until(&self, is_so: impl Fn(&PoolFigures) -> bool) -> PoolFigures {
        for _ in 0..6_000 {
            let figures = self.figures();
            if is_so(&figures) {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {:#?}", self.figures());
    }

    /// Nothing is in use, nothing on its way.
    pub(super) async fn until_quiet(&self) -> PoolFigures {
        self.until(|figures| figures.open == figures.idle && figures.waiting == 0)
            .await
    }
}

/// Whose row a connection sees that leads to a database of the tenant's own.
pub(super) async fn canary(lease: &mut Lease<Postgres>) -> Result<String, sqlx::Error> {
    let row = sqlx::query("SELECT tenant FROM canary")
        .fetch_one(&mut **lease)
        .await?;
    row.try_get(0)
}

/// Whose row a transaction sees that is put into the tenant's schema by the message that begins it.
pub(super) async fn canary_in_schema(
    lease: &mut Lease<Postgres>,
    schema: &str,
) -> Result<String, sqlx::Error> {
    let begin = format!("BEGIN; SET LOCAL search_path TO {schema}");
    let mut transaction = lease.begin_with(AssertSqlSafe(begin)).await?;
    let row = sqlx::query("SELECT tenant FROM canary")
        .fetch_one(&mut *transaction)
        .await?;
    let tenant = row.try_get(0)?;
    transaction.commit().await?;
    Ok(tenant)
}

pub(super) async fn backend(lease: &mut Lease<Postgres>) -> u32 {
    let row = sqlx::query("SELECT pg_backend_pid()")
        .fetch_one(&mut **lease)
        .await
        .unwrap();
    u32::try_from(row.get::<i32, _>(0)).unwrap()
}

/// Limits that no machine reaches, however busy it is: what a test says nothing of does not fail for the time it takes.
///
/// A connection that can not be reset is given up after some seconds all the same: where futures are dropped half way, some
/// are not good for anything any more.
pub(crate) fn patient(budget: usize) -> PoolSettings {
    let limit = Duration::from_secs(60);
    PoolSettings::new(budget)
        .connect_timeout(limit)
        .wait_timeout(limit)
        .give_up_timeout(Duration::from_secs(4))
}

/// The same for tests that count connections and drop nothing half way: each reset is waited for.
pub(crate) fn steady(budget: usize) -> PoolSettings {
    patient(budget).reset_timeout(Duration::from_secs(60))
}

/// Polls a statement until something is so, and drops it there.
pub(crate) async fn drop_when(is_so: impl Future<Output = ()>, statement: impl Future) {
    tokio::select! {
        () = is_so => {}
        _ = statement => panic!("it ended before"),
    }
}

/// Polls a future so many times and no more; `Err` with how often if it was not enough.
pub(crate) async fn poll_at_most<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            // Out of polls: dropped where it stands, without waiting for what it waits for.
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}
