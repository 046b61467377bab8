//! A flood of unknown keys: it costs the store what the budget allows, and nobody else anything.

use tenancy::{MemoryStore, resolve::ResolveSettings};

use super::{Hand, SECOND, Service, seconds, settle};
use crate::support::faulty::FaultyStore;

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::of(["acme", "globex"]).unwrap()).finding_only()
}

/// Asks for that many hosts that nobody has asked for, and counts 404 and 503.
async fn flood(service: &Service, name: &str, requests: usize) -> (usize, usize) {
    let (mut unknown, mut refused) = (0, 0);
    for n in 0..requests {
        match service.line(&format!("{name}-{n}.example.com")).await.as_str() {
            "404" => unknown += 1,
            "503 retry 1" => refused += 1,
            other => panic!("{other}"),
        }
    }
    (unknown, refused)
}

#[tokio::test]
async fn over_the_budget_is_could_not_tell_and_the_budget_refills() {
    let (store, clock) = (store(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(flood(&service, "a", 1_000).await, (200, 800));
    assert_eq!(store.finds(), 200);
    assert_eq!(
        flood(&service, "a", 200).await,
        (200, 0),
        "what is remembered costs nothing"
    );
    assert_eq!(
        service.line("acme.example.com").await,
        "503 retry 1",
        "never 404: nobody has looked"
    );
    clock.advance(SECOND);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(flood(&service, "b", 1_000).await, (99, 901), "100 a second");
    clock.advance(seconds(3600));
    assert_eq!(
        flood(&service, "c", 1_000).await,
        (200, 800),
        "no more than the burst"
    );
}

#[tokio::test]
async fn the_client_is_told_how_long_to_wait() {
    let mut settings = ResolveSettings::default();
    settings.misses_per_second = 1;
    settings.miss_burst = 1;
    let (store, clock) = (store(), Hand::default());
    let service = Service::new(store.clone(), settings, &clock);
    assert_eq!(service.line("a.example.com").await, "404");
    let refused = service.ask("b.example.com").await;
    assert_eq!(refused.to_string(), "503 retry 1");
    clock.advance(seconds(refused.retry_after.unwrap()));
    assert_eq!(service.line("b.example.com").await, "404");
}

#[tokio::test]
async fn known_tenants_feel_nothing_of_a_flood_neither_when_they_expire() {
    let (store, clock) = (store(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    let _ = flood(&service, "a", 1_000).await;
    assert_eq!(service.line("acme.example.com").await, "200 acme cache");
    clock.advance(seconds(301));
    let _ = flood(&service, "b", 1_000).await;
    assert_eq!(
        service.line("acme.example.com").await,
        "200 acme store",
        "expired, and asked for whatever the budget says"
    );
    assert_eq!(
        service.line("globex.example.com").await,
        "503 retry 1",
        "never seen before"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_while_the_store_hangs_does_not_cost_known_tenants_their_answer() {
    let (store, clock) = (store(), Hand::default());
    let mut settings = ResolveSettings::default();
    settings.max_flights = 10;
    let service = Service::new(store.clone(), settings, &clock);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    clock.advance(seconds(301));
    store.hold_finds();
    let flood: Vec<_> = (0..50)
        .map(|n| service.asking(&format!("x{n}.example.com")))
        .collect();
    settle().await;
    assert_eq!(store.held(), 10);
    assert_eq!(service.line("acme.example.com").await, "200 acme stale");
    for request in flood {
        assert_eq!(request.await.unwrap().to_string(), "503 retry 1");
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_list_is_read_unknown_keys_have_the_same_budget() {
    let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap());
    store.fail(true);
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    settle().await;
    for n in 0..1_000 {
        let line = service.line(&format!("x{n}.example.com")).await;
        assert_eq!(line, "503 retry 1");
    }
    assert_eq!(store.finds(), 200);
}
