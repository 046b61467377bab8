//! One question for all who wait, which outlives each of them.

use tenancy::{MemoryStore, resolve::ResolveSettings};
use tokio::time::Instant;

use super::{Hand, Service, seconds, settle, stores::Mood, stores::Moody, waits};
use crate::support::faulty::FaultyStore;

fn finding_only() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::of(["acme", "globex"]).unwrap()).finding_only()
}

fn service(store: &FaultyStore<MemoryStore>, clock: &Hand) -> Service {
    Service::new(store.clone(), ResolveSettings::default(), clock)
}

#[tokio::test(start_paused = true)]
async fn four_hundred_clients_that_hang_up_leave_one_answer_behind() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let clients: Vec<_> = (0..400).map(|_| service.asking("acme.example.com")).collect();
    store.until_held(1).await;
    settle().await;
    for client in &clients {
        client.abort();
    }
    for client in clients {
        assert!(client.await.unwrap_err().is_cancelled());
    }
    assert_eq!(
        (store.finds(), store.held()),
        (1, 1),
        "the question outlives them all"
    );
    store.release_finds();
    settle().await;
    assert_eq!(service.line("acme.example.com").await, "200 acme cache");
    assert_eq!(store.finds(), 1);

    service.tenancy.forget(&super::id("acme"));
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(store.finds(), 2, "the old flight is off the board: one more call");
}

#[tokio::test(start_paused = true)]
async fn some_hang_up_and_the_others_get_the_one_answer() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let clients: Vec<_> = (0..400).map(|_| service.asking("acme.example.com")).collect();
    store.until_held(1).await;
    settle().await;
    // The first is the one that asked.
    for client in clients.iter().step_by(2) {
        client.abort();
    }
    store.release_finds();
    let mut answers = 0;
    for client in clients {
        match client.await {
            Ok(seen) => {
                assert_eq!(seen.to_string(), "200 acme store");
                answers += 1;
            }
            Err(error) => assert!(error.is_cancelled()),
        }
    }
    assert_eq!((answers, store.finds()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_wait_for_each_other() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let acme = service.asking("acme.example.com");
    store.until_held(1).await;
    let globex = service.asking("globex.example.com");
    store.until_held(2).await;
    store.release_finds();
    assert_eq!(acme.await.unwrap().to_string(), "200 acme store");
    assert_eq!(globex.await.unwrap().to_string(), "200 globex store");
}

#[tokio::test]
async fn a_store_that_panics_is_a_503_and_the_next_request_works() {
    let store = Moody::new(finding_only(), Mood::PanicsInFind);
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    let waiting: Vec<_> = (0..10).map(|_| service.asking("acme.example.com")).collect();
    for request in waiting {
        assert_eq!(request.await.unwrap().to_string(), "503 retry 1");
    }
    store.set(Mood::Calm);
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(service.line("acme.example.com").await, "200 acme cache");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_a_503_in_time_and_is_asked_anew_after_the_load_timeout() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let started = Instant::now();
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    assert_eq!(started.elapsed(), seconds(2), "resolve_timeout");

    tokio::time::sleep(seconds(1)).await;
    let joins = service.asking("acme.example.com");
    settle().await;
    assert_eq!(
        (store.finds(), store.held()),
        (1, 1),
        "it waits for the first question"
    );
    assert_eq!(joins.await.unwrap().to_string(), "503 retry 1");
    assert_eq!(started.elapsed(), seconds(5), "load_timeout ends the flight");
    settle().await;
    assert_eq!(store.held(), 0, "the store's future is dropped");

    store.release_finds();
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(store.finds(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_after_forget_does_not_join_the_flight_from_before() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let before = service.asking("acme.example.com");
    store.until_held(1).await;
    store.inner().remove(&super::id("acme")).await.unwrap();
    service.tenancy.forget(&super::id("acme"));
    let after = service.asking("acme.example.com");
    store.until_held(2).await;
    store.release_finds();
    assert_eq!(after.await.unwrap().to_string(), "404");
    assert_eq!(
        before.await.unwrap().to_string(),
        "404",
        "its answer was overtaken"
    );
    assert_eq!(service.line("acme.example.com").await, "404");
}

#[tokio::test(start_paused = true)]
async fn more_keys_at_a_time_than_allowed_are_refused_and_none_is_stuck() {
    let store = finding_only();
    let mut settings = ResolveSettings::default();
    settings.max_flights = 3;
    let service = Service::new(store.clone(), settings, &Hand::default());
    store.hold_finds();
    let flying: Vec<_> = (0..3)
        .map(|n| service.asking(&format!("nobody-{n}.example.com")))
        .collect();
    store.until_held(3).await;
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    assert_eq!(store.finds(), 3);
    store.release_finds();
    for request in flying {
        assert_eq!(request.await.unwrap().to_string(), "404");
    }
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_kept_for_the_next() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    assert_eq!(service.line("acme.example.com").await, "503 retry 1");
    store.release_finds();
    settle().await;
    assert_eq!(service.line("acme.example.com").await, "200 acme cache");
    assert_eq!(store.finds(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_dies_under_a_flight_does_not_leave_it_on_the_board() {
    let store = finding_only();
    let service = service(&store, &Hand::default());
    store.hold_finds();
    let (of_other, other_store) = (service.clone(), store.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let asking = of_other.asking("acme.example.com");
            other_store.until_held(1).await;
            assert!(waits(asking).await);
        });
    })
    .join()
    .unwrap();
    store.release_finds();
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    assert_eq!(store.finds(), 2);
}
