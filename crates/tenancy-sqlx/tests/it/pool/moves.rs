//! A tenant that goes elsewhere while it is in use.

use std::time::Duration;

use sqlx::Connection;
use tenancy_core::{Placement, TenantStatus};

use super::{
    fixture::{Fixture, canary, patient},
    server::PgServer,
};

async fn move_to(fixture: &Fixture, tenant: usize, database: &str) {
    let handle = &fixture.tenants[tenant];
    let before = handle.epoch();
    let update = fixture.store.update(handle.id(), |record| {
        let mut placement = Placement::default();
        placement.database = database.into();
        record.placement = Some(Box::new(placement));
    });
    update.await.unwrap();
    while handle.epoch() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_from_before_a_move_stays_valid_and_is_not_used_again() {
    let fixture = Fixture::databases(&PgServer::shared().await, "moved", 2, patient(8)).await;
    let mut old = fixture.lease(0).await;
    assert_eq!(canary(&mut old).await.unwrap(), "t0");
    move_to(&fixture, 0, "moved_t1").await;
    let mut new = fixture.lease(0).await;
    assert_eq!(canary(&mut new).await.unwrap(), "t1", "where it is now");
    assert_eq!(canary(&mut old).await.unwrap(), "t0", "its holder goes on");
    drop(old);
    fixture.until(|figures| figures.open == 1).await;
    drop(new);
    assert_eq!(canary(&mut fixture.lease(0).await).await.unwrap(), "t1");
    let _ = &fixture.tenancy;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_has_no_connections_and_gets_none() {
    let fixture = Fixture::databases(&PgServer::shared().await, "deleted", 1, patient(8)).await;
    let mut lease = fixture.lease(0).await;
    let tenant = &fixture.tenants[0];
    fixture
        .store
        .set_status(tenant.id(), TenantStatus::Deleted)
        .await
        .unwrap();
    while tenant.status() != TenantStatus::Deleted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.pools.forget(tenant);
    assert!(fixture.pools.acquire(tenant).await.unwrap_err().is_deleted());
    assert_eq!(canary(&mut lease).await.unwrap(), "t0", "its holder goes on");
    drop(lease);
    fixture.until(|figures| figures.open == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_tenant_can_be_dropped_from_the_server() {
    let server = PgServer::shared().await;
    let fixture = Fixture::databases(&server, "dropped", 1, patient(8)).await;
    canary(&mut fixture.lease(0).await).await.unwrap();
    fixture.until_quiet().await;
    fixture.pools.forget(&fixture.tenants[0]);
    fixture.until(|figures| figures.open == 0).await;
    let mut admin = server.connect("postgres").await;
    super::server::run(&mut admin, "DROP DATABASE dropped_t0".into()).await;
    admin.close().await.unwrap();
    let error = fixture.pools.acquire(&fixture.tenants[0]).await.unwrap_err();
    assert!(error.is_missing_database(), "{error:?}");
}
