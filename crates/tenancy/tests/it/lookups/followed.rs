//! What another process changes is seen within one poll.

use tenancy::{
    MemoryStore,
    core::{TenantStatus, TenantStore},
    resolve::{DomainOrSubdomain, ResolveSettings},
    stack::CatalogueState,
};

use super::{
    Hand, MILLISECOND, Service, domain, id, settle, slug,
    stores::{Silent, SlowList, entry, suspend, two_tenants},
};
use crate::support::faulty::FaultyStore;

async fn following(store: impl TenantStore) -> Service {
    let who = DomainOrSubdomain::of("example.com").unwrap();
    let service = Service::with(who, store, ResolveSettings::default(), &Hand::default());
    service.tenancy.ready().await;
    service
}

/// As long as the poll interval, and the moment that the answer takes.
async fn one_poll() {
    tokio::time::sleep(500 * MILLISECOND + MILLISECOND).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_another_process_does_is_seen_after_one_poll() {
    let tenants = two_tenants();
    let store = FaultyStore::new(Silent::new(tenants.clone()));
    let service = following(store.clone()).await;
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");

    suspend(&tenants, "acme").await;
    one_poll().await;
    assert_eq!(service.line("acme.example.com").await, "403");

    tenants
        .set_status(&id("acme"), TenantStatus::Active)
        .await
        .unwrap();
    tenants
        .add_key(&id("globex"), domain("globex.test"))
        .await
        .unwrap();
    tenants
        .update(&id("globex"), |record| record.slug = Some("globex-2".into()))
        .await
        .unwrap();
    one_poll().await;
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
    assert_eq!(service.line("globex.test").await, "200 globex snapshot");
    assert_eq!(service.line("globex-2.example.com").await, "200 globex snapshot");
    assert_eq!(service.line("globex.example.com").await, "404");

    let held = service.ask("globex.test").await.tenant();
    tenants.remove(&id("globex")).await.unwrap();
    one_poll().await;
    for host in ["globex.test", "globex-2.example.com", "globex.example.com"] {
        assert_eq!(service.line(host).await, "404", "{host}");
    }
    assert_eq!(held.status(), TenantStatus::Deleted);

    // The slug of the purged one goes to another tenant.
    tenants
        .insert(entry("initech", &[slug("globex-2")]))
        .await
        .unwrap();
    one_poll().await;
    assert_eq!(service.line("globex-2.example.com").await, "200 initech snapshot");
    assert_eq!((store.finds(), store.lists()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moves_leads_to_its_new_tenant_in_whatever_order_the_two_are_told() {
    for (from, to) in [("acme", "globex"), ("globex", "acme")] {
        let tenants = MemoryStore::of(["acme", "globex"]).unwrap();
        tenants.add_key(&id(from), domain("shop.test")).await.unwrap();
        let service = following(Silent::new(tenants.clone())).await;
        assert_eq!(service.line("shop.test").await, format!("200 {from} snapshot"));
        // So that the one who gains comes first in the batch.
        suspend(&tenants, to).await;
        tenants.remove_key(&id(from), &domain("shop.test")).await.unwrap();
        tenants.add_key(&id(to), domain("shop.test")).await.unwrap();
        tenants.set_status(&id(to), TenantStatus::Active).await.unwrap();
        one_poll().await;
        assert_eq!(service.line("shop.test").await, format!("200 {to} snapshot"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_catalogue_is_taken_whole_though_its_numbers_are_lower() {
    let tenants = two_tenants();
    let store = Silent::new(tenants.clone());
    let service = following(store.clone()).await;
    for _ in 0..5 {
        suspend(&tenants, "acme").await;
        tenants
            .set_status(&id("acme"), TenantStatus::Active)
            .await
            .unwrap();
    }
    suspend(&tenants, "acme").await;
    tenants.insert(entry("late", &[])).await.unwrap();
    one_poll().await;
    let held = service.ask("globex.example.com").await.tenant();
    let late = service.ask("late.example.com").await.tenant();
    assert_eq!(service.line("acme.example.com").await, "403");
    let newest = service.tenancy.status().change_number;

    let backup = two_tenants();
    backup.remove_key(&id("acme"), &slug("acme-shop")).await.unwrap();
    store.restore(backup.clone());
    one_poll().await;
    let status = service.tenancy.status();
    assert!(status.change_number < newest);
    assert_eq!(status.catalogue, CatalogueState::Followed);
    assert_eq!(
        service.line("acme.example.com").await,
        "200 acme snapshot",
        "as it was then"
    );
    assert_eq!(service.line("acme-shop.example.com").await, "404");
    assert_eq!(service.line("late.example.com").await, "404", "not created then");
    assert_eq!(late.status(), TenantStatus::Deleted);
    assert_eq!(
        service.ask("globex.example.com").await.tenant(),
        held,
        "the same tenant"
    );

    // Grown again to the same number, with another history.
    for number in 0..20 {
        suspend(&backup, "globex").await;
        if number % 2 == 0 {
            backup
                .set_status(&id("globex"), TenantStatus::Active)
                .await
                .unwrap();
        }
        one_poll().await;
    }
    assert_eq!(service.line("globex.example.com").await, "403");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_larger_than_a_batch_is_seen_after_one_poll() {
    const TENANTS: usize = 3_500;
    let tenants = MemoryStore::with_log_limit(100_000);
    for n in 0..TENANTS {
        tenants.insert(entry(&format!("t{n}"), &[])).await.unwrap();
    }
    let store = FaultyStore::new(Silent::new(tenants.clone()));
    let service = following(store.clone()).await;
    for n in 0..TENANTS {
        suspend(&tenants, &format!("t{n}")).await;
        if n % 3 == 0 {
            tenants.remove(&id(&format!("t{n}"))).await.unwrap();
        }
    }
    one_poll().await;
    for n in 0..TENANTS {
        let expected = if n % 3 == 0 { "404" } else { "403" };
        assert_eq!(service.line(&format!("t{n}.example.com")).await, expected, "{n}");
    }
    assert_eq!((store.finds(), store.lists()), (0, 1), "by changes alone");
}

#[tokio::test(start_paused = true)]
async fn a_burst_larger_than_the_log_is_seen_by_reading_the_list() {
    let tenants = MemoryStore::with_log_limit(10);
    for n in 0..100 {
        tenants.insert(entry(&format!("t{n}"), &[])).await.unwrap();
    }
    let store = FaultyStore::new(Silent::new(tenants.clone()));
    let service = following(store.clone()).await;
    let held = service.ask("t50.example.com").await.tenant();
    for n in 0..50 {
        tenants.remove(&id(&format!("t{n}"))).await.unwrap();
    }
    suspend(&tenants, "t50").await;
    one_poll().await;
    assert_eq!(store.lists(), 2);
    assert_eq!(service.line("t49.example.com").await, "404");
    assert_eq!(service.line("t51.example.com").await, "200 t51 snapshot");
    assert_eq!(held.status(), TenantStatus::Suspended);
    assert_eq!(service.tenancy.status().tenants, 50);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_the_list_is_paged_is_not_lost() {
    // Three pages of 5,000, 5,000 and 2,000.
    let names: Vec<String> = (0..12_000).map(|n| format!("t{n:05}")).collect();
    let tenants = MemoryStore::of(&names).unwrap();
    let slow = SlowList::new(Silent::new(tenants.clone()));
    let who = DomainOrSubdomain::of("example.com").unwrap();
    let service = Service::with(who, slow.clone(), ResolveSettings::default(), &Hand::default());

    slow.until_read(1).await;
    slow.let_go(1);
    slow.until_read(2).await;
    // The first two pages are read, the third is not.
    suspend(&tenants, "t00001").await;
    suspend(&tenants, "t11001").await;
    tenants.remove(&id("t00002")).await.unwrap();
    tenants.remove(&id("t11002")).await.unwrap();
    tenants.insert(entry("t00000-new", &[])).await.unwrap();
    tenants.insert(entry("t99999", &[])).await.unwrap();
    tenants.remove(&id("t00003")).await.unwrap();
    tenants.add_key(&id("t11003"), slug("t00003")).await.unwrap();
    slow.let_go(3);
    service.tenancy.ready().await;
    for (name, expected) in [
        ("t00001", "403"),
        ("t11001", "403"),
        ("t00002", "404"),
        ("t11002", "404"),
        ("t00000-new", "200 t00000-new snapshot"),
        ("t99999", "200 t99999 snapshot"),
        ("t00003", "200 t11003 snapshot"),
        ("t00000", "200 t00000 snapshot"),
        ("t11999", "200 t11999 snapshot"),
    ] {
        assert_eq!(
            service.line(&format!("{name}.example.com")).await,
            expected,
            "{name}"
        );
    }
    assert_eq!(service.tenancy.status().tenants, 12_000 - 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn while_a_followed_list_is_read_anew_the_old_one_is_served() {
    let tenants = two_tenants();
    let silent = Silent::new(tenants);
    let slow = SlowList::new(silent.clone());
    slow.let_go(1);
    let service = following(slow.clone()).await;
    let backup = two_tenants();
    suspend(&backup, "globex").await;
    silent.restore(backup);
    slow.until_read(2).await;
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
    assert_eq!(service.line("nobody.example.com").await, "404");
    slow.let_go(2);
    one_poll().await;
    assert_eq!(service.line("globex.example.com").await, "403");
}
