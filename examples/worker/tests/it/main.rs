//! A real queue, a real catalogue and real locks in files, which outlive each "process" of these tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

use std::{sync::Arc, time::Duration};

use example_worker::{Invoices, Mailer, monthly_invoices};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant, core::TenantId, resolve::Subdomain};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlLocks, SqlStore},
};
use tokio::task::JoinHandle;

/// What a process has: connections, a stack and a mailer of its own.
struct Process {
    store: SqlStore,
    tenancy: Tenancy,
    pool: SqlitePool,
    invoices: Invoices,
    mailer: Arc<Mailer>,
}

impl Process {
    async fn start(files: &TempDir) -> Self {
        let store = SqlStore::connect(files.path().join("catalogue.sqlite"))
            .await
            .unwrap();
        let tenancy = Tenancy::new(Subdomain::of("localhost").unwrap(), store.clone());
        tenancy.ready().await;
        let file = SqliteConnectOptions::new()
            .filename(files.path().join("queue.sqlite"))
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(file).await.unwrap();
        let invoices = Invoices::on(&pool).await.unwrap();
        Self {
            store,
            tenancy,
            pool,
            invoices,
            mailer: Arc::default(),
        }
    }

    async fn create(&self, slug: &str) -> Tenant {
        let created = self.store.create(NewTenant::new(slug)).await.unwrap();
        self.tenancy.enter(&created.record.id).await.unwrap()
    }

    fn work(&self, name: &'static str) -> JoinHandle<()> {
        let (invoices, tenancy, mailer) = (self.invoices.clone(), self.tenancy.clone(), self.mailer.clone());
        tokio::spawn(async move { invoices.work(name, tenancy, mailer).await.unwrap() })
    }

    async fn jobs_that_are(&self, status: &'static str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = ?")
            .bind(status)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn wait_for(&self, count: i64, status: &'static str) {
        let reached = async {
            while self.jobs_that_are(status).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        if reached.is_err() {
            let jobs: Vec<(String, i64, Option<String>)> =
                sqlx::query_as("SELECT status, attempts, lock_by FROM Jobs")
                    .fetch_all(&self.pool)
                    .await
                    .unwrap();
            panic!("not {count} jobs become {status}: {jobs:?}");
        }
    }
}

#[tokio::test]
async fn a_job_that_is_tried_again_in_another_process_has_its_tenant_still() {
    let files = tempfile::tempdir().unwrap();
    let first = Process::start(&files).await;
    first.mailer.set_down(true);
    for (slug, number) in [("acme", 1), ("globex", 2)] {
        let tenant = first.create(slug).await;
        first.invoices.send_later(&tenant, number).await.unwrap();
    }
    let worker = first.work("first");
    first.wait_for(2, "Done").await;
    first.wait_for(2, "Pending").await;
    worker.abort();
    let _ = worker.await;
    assert!(first.mailer.sent().is_empty());

    let second = Process::start(&files).await;
    let worker = second.work("second");
    second.wait_for(4, "Done").await;
    worker.abort();
    assert_eq!(second.mailer.sent(), ["acme: 1", "globex: 2"]);
}

#[tokio::test]
async fn a_job_of_a_tenant_that_is_not_served_is_put_aside_unrun() {
    let files = tempfile::tempdir().unwrap();
    let process = Process::start(&files).await;
    let mut tenants = Vec::new();
    for slug in ["served", "suspended", "deleted", "purged"] {
        tenants.push(process.create(slug).await);
    }
    for tenant in &tenants {
        process.invoices.send_later(tenant, 7).await.unwrap();
    }
    process.store.suspend(tenants[1].id()).await.unwrap();
    process.store.delete(tenants[2].id()).await.unwrap();
    process.store.delete(tenants[3].id()).await.unwrap();
    process.store.purge(tenants[3].id()).await.unwrap();
    // Who has the name now is not whose job it is.
    process.create("purged").await;

    let worker = process.work("worker");
    process.wait_for(1, "Done").await;
    process.wait_for(3, "Killed").await;
    worker.abort();
    assert_eq!(process.mailer.sent(), ["served: 7"]);
}

/// The catalogue in a file never gives an id twice. One that does, or that was restored, must not matter either.
#[tokio::test]
async fn a_job_of_an_earlier_tenant_of_the_same_id_is_put_aside_unrun() {
    let files = tempfile::tempdir().unwrap();
    let process = Process::start(&files).await;
    let tenancy_with = async |others: &[&str]| {
        let mut ids = others.to_vec();
        ids.push("acme");
        let tenancy = Tenancy::new(Subdomain::of("localhost").unwrap(), MemoryStore::of(ids).unwrap());
        tenancy.ready().await;
        tenancy
    };
    let acme = TenantId::new("acme").unwrap();
    let before = tenancy_with(&[]).await.enter(&acme).await.unwrap();
    let recreated = tenancy_with(&["another"]).await;
    assert_ne!(
        before.incarnation(),
        recreated.enter(&acme).await.unwrap().incarnation()
    );

    process.invoices.send_later(&before, 7).await.unwrap();
    let (invoices, mailer) = (process.invoices.clone(), process.mailer.clone());
    let worker = tokio::spawn(async move { invoices.work("worker", recreated, mailer).await });
    process.wait_for(1, "Killed").await;
    worker.abort();
    assert!(process.mailer.sent().is_empty());
}

#[tokio::test]
async fn cron_in_three_processes_makes_one_job_for_each_tenant() {
    let files = tempfile::tempdir().unwrap();
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(Process::start(&files).await);
    }
    for slug in ["acme", "globex"] {
        processes[0].create(slug).await;
    }
    let due = async |process: &Process| {
        // Seen here by the poll, a moment after it was created there.
        let seen = async {
            while process.tenancy.tenants().len() < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
        let locks = SqlLocks::connect(files.path().join("locks.sqlite"))
            .await
            .unwrap();
        let outcomes = monthly_invoices(&process.tenancy, &process.invoices, locks, 1).await;
        outcomes.iter().filter(|outcome| outcome.result.is_ok()).count()
    };
    let (a, b, c) = tokio::join!(due(&processes[0]), due(&processes[1]), due(&processes[2]));
    let ran = a + b + c;
    assert_eq!(ran, 2);

    let worker = processes[1].work("worker");
    processes[1].wait_for(2, "Done").await;
    worker.abort();
    assert_eq!(processes[1].mailer.sent(), ["acme: 1", "globex: 1"]);
}
