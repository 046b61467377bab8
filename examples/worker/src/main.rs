//! A worker process: `cargo run -p example-worker`. Start two: each invoice is sent once.

use std::{path::Path, sync::Arc};

use example_worker::{Invoices, Mailer, monthly_invoices};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tenancy::{Tenancy, resolve::Subdomain};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlLocks, SqlStore},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    tracing_subscriber::fmt().init();
    let directory = Path::new("worker-data");
    std::fs::create_dir_all(directory)?;

    let store = SqlStore::connect(directory.join("catalogue.sqlite")).await?;
    for slug in ["acme", "globex"] {
        // There already, after the first start.
        let _ = store.create(NewTenant::new(slug)).await;
    }
    let tenancy = Tenancy::new(Subdomain::of("localhost")?, store);
    tenancy.ready().await;

    let file = SqliteConnectOptions::new()
        .filename(directory.join("queue.sqlite"))
        .create_if_missing(true);
    let invoices = Invoices::on(&SqlitePool::connect_with(file).await?).await?;
    let locks = SqlLocks::connect(directory.join("locks.sqlite")).await?;
    monthly_invoices(&tenancy, &invoices, locks, 1).await;

    let worker = format!("worker-{}", std::process::id());
    invoices
        .work(&worker, tenancy, Arc::new(Mailer::default()))
        .await?;
    Ok(())
}
