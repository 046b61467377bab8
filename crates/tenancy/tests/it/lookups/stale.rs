//! While the store is away: what was known is served for a while, the rest is "could not tell".

use std::collections::BTreeSet;

use tenancy::{MemoryStore, resolve::ResolveSettings, stack::CatalogueState};

use super::{
    Hand, MILLISECOND, Service, seconds, settle,
    stores::{entry, suspend},
    without_budget,
};
use crate::support::faulty::FaultyStore;

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::of(["acme", "globex"]).unwrap())
}

#[tokio::test]
async fn a_store_that_was_away_is_not_remembered_as_no_such_tenant() {
    let store = store().finding_only();
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    store.fail(true);
    for host in ["acme.example.com", "nobody.example.com"] {
        assert_eq!(service.line(host).await, "503 retry 1", "{host}");
    }
    store.fail(false);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(service.line("nobody.example.com").await, "404");
}

#[tokio::test]
async fn known_tenants_are_served_until_they_are_too_stale() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    store.fail(true);
    assert_eq!(
        service.line("acme.example.com").await,
        "200 acme cache",
        "not asked for yet"
    );
    clock.advance(seconds(300));
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    assert_eq!(service.line("globex.example.com").await, "503 retry 1");
    clock.advance(seconds(3600 - 300) - MILLISECOND);
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    clock.advance(MILLISECOND);
    assert_eq!(
        service.line("acme.example.com").await,
        "503 retry 1",
        "not even for the rest of a retry pause"
    );
    store.fail(false);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
}

#[tokio::test]
async fn a_store_that_is_away_is_asked_again_only_now_and_then_and_recovers() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    clock.advance(seconds(300));
    store.fail(true);
    let before = store.finds();
    for _ in 0..60 {
        for _ in 0..20 {
            assert_eq!(service.line("acme.example.com").await, "200 acme stale");
        }
        clock.advance(seconds(1));
    }
    assert_eq!(store.finds() - before, 12, "each 5 s");

    suspend(store.inner(), "acme").await;
    store.fail(false);
    clock.advance(seconds(5));
    assert_eq!(service.line("acme.example.com").await, "403");
}

#[tokio::test]
async fn what_was_forgotten_is_not_served_stale_by_those_who_asked_before() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    clock.advance(seconds(301));
    store.fail(true);
    store.hold_finds();
    let asking = service.asking("acme.example.com");
    store.until_held(1).await;
    service.tenancy.forget(&super::id("acme"));
    store.release_finds();
    assert_eq!(asking.await.unwrap().to_string(), "503 retry 1");
}

#[tokio::test]
async fn entries_expire_in_the_last_tenth_of_their_time_and_not_all_at_once() {
    let tenants: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    let store = FaultyStore::new(MemoryStore::of(&tenants).unwrap()).finding_only();
    let clock = Hand::default();
    let service = Service::new(store.clone(), without_budget(), &clock);
    let mut fresh: BTreeSet<&String> = tenants.iter().collect();
    for tenant in &tenants {
        let _ = service.ask(&format!("{tenant}.example.com")).await;
    }
    clock.advance(seconds(270) - MILLISECOND);
    let mut moments = BTreeSet::new();
    for second in 270..=300 {
        for tenant in fresh.clone() {
            let line = service.line(&format!("{tenant}.example.com")).await;
            if line.ends_with("store") {
                assert!(second > 270, "too early");
                fresh.remove(tenant);
                moments.insert(second);
            }
        }
        clock.advance(seconds(1));
    }
    assert!(fresh.len() <= 10, "{} are older than 299.9 s", fresh.len());
    for tenant in fresh {
        let line = service.line(&format!("{tenant}.example.com")).await;
        assert_eq!(line, format!("200 {tenant} store"), "301 s old");
    }
    assert!(
        moments.len() > 15,
        "they expired in {} of 30 seconds",
        moments.len()
    );
}

#[tokio::test]
async fn a_time_of_stale_service_of_zero_leaves_the_cache_alone() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let mut settings = ResolveSettings::default();
    settings.max_stale = std::time::Duration::ZERO;
    let service = Service::new(store.clone(), settings, &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(service.line("acme.example.com").await, "200 acme cache");
    store.fail(true);
    clock.advance(seconds(300));
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
}

#[tokio::test(start_paused = true)]
async fn times_without_end_are_no_overflow() {
    const FOR_EVER: std::time::Duration = std::time::Duration::MAX;
    for only_finds in [true, false] {
        let mut settings = ResolveSettings::default();
        settings.cache_ttl = FOR_EVER;
        settings.negative_ttl = FOR_EVER;
        settings.max_stale = FOR_EVER;
        settings.stale_retry = FOR_EVER;
        settings.resolve_timeout = FOR_EVER;
        settings.load_timeout = FOR_EVER;
        settings.poll_interval = FOR_EVER;
        settings.poll_timeout = FOR_EVER;
        let store = if only_finds {
            store().finding_only()
        } else {
            store()
        };
        let clock = Hand::default();
        let service = Service::new(store.clone(), settings, &clock);
        service.tenancy.ready().await;
        clock.advance(seconds(1_000_000_000));
        let kept = if only_finds { "cache" } else { "snapshot" };
        let _ = service.ask("acme.example.com").await;
        assert_eq!(service.line("acme.example.com").await, format!("200 acme {kept}"));
        for _ in 0..2 {
            assert_eq!(service.line("nobody.example.com").await, "404");
        }
        assert_eq!(store.finds(), if only_finds { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_followed_store_that_goes_away_leaves_its_tenants_for_a_while() {
    let (store, clock) = (store(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    service.tenancy.ready().await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Followed);
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");

    store.fail(true);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Stale);
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    assert_eq!(service.line("nobody.example.com").await, "503 retry 1", "not 404");
    clock.advance(seconds(3600));
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    assert_eq!(service.tenancy.status().unverified_for, seconds(3600));
    clock.advance(MILLISECOND);
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");

    store.inner().insert(entry("new", &[])).await.unwrap();
    store.fail(false);
    assert_eq!(
        service.line("new.example.com").await,
        "200 new store",
        "served the moment it is back, before the list is followed again"
    );
    service.tenancy.ready().await;
    assert_eq!(service.line("new.example.com").await, "200 new snapshot");
    assert_eq!(service.tenancy.status().unverified_for, seconds(0));
    assert_eq!(store.lists(), 1, "what changed was enough");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_not_be_reached_at_the_start_is_a_503_until_it_is() {
    let store = store();
    store.fail(true);
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    settle().await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Loading);
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    store.fail(false);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(service.line("nobody.example.com").await, "404");
    service.tenancy.ready().await;
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
}
