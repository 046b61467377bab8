//! What waits for a tenant to change, over a real store.

use std::time::Duration;

use futures_util::future::join_all;
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::{TenantId, TenantStatus},
    resolve::Subdomain,
};

async fn acme() -> (MemoryStore, Tenancy, Tenant) {
    let store = MemoryStore::of(["acme", "globex"]).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store.clone());
    tenancy.ready().await;
    let acme = tenancy.enter(&TenantId::new("acme").unwrap()).await.unwrap();
    (store, tenancy, acme)
}

/// Fails a test that would hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it is awaited in vain")
}

#[tokio::test]
async fn a_suspended_tenant_ends_all_waits_for_it_and_no_other() {
    let (store, tenancy, acme) = acme().await;
    let globex = tenancy.enter(&TenantId::new("globex").unwrap()).await.unwrap();
    let other = tokio::spawn(globex.until_not_served());
    let waiting: Vec<_> = (0..500).map(|_| tokio::spawn(acme.until_not_served())).collect();
    store
        .set_status(acme.id(), TenantStatus::Suspended)
        .await
        .unwrap();
    for ended in soon(join_all(waiting)).await {
        assert_eq!(ended.unwrap(), TenantStatus::Suspended);
    }
    assert!(!other.is_finished());
    other.abort();
}

#[tokio::test]
async fn a_purge_ends_the_wait() {
    let (store, _tenancy, acme) = acme().await;
    let (changed, ended) = (acme.changed(), acme.until_not_served());
    store.remove(acme.id()).await.unwrap();
    soon(changed).await;
    assert_eq!(soon(ended).await, TenantStatus::Deleted);
}

#[tokio::test]
async fn each_change_is_seen_by_a_loop_that_looks_after_it_has_begun_to_wait() {
    let (store, _tenancy, acme) = acme().await;
    let watcher = tokio::spawn({
        let acme = acme.clone();
        async move {
            loop {
                let changed = acme.changed();
                if acme.record().plan.as_deref() == Some("plan 49") {
                    return;
                }
                changed.await;
            }
        }
    });
    for number in 0..50 {
        let plan = Some(format!("plan {number}").into());
        store
            .update(acme.id(), |record| record.plan = plan)
            .await
            .unwrap();
    }
    soon(watcher).await.unwrap();
}
