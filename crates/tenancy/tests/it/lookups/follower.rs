//! The task that follows the store: it ends with its stack, starts again, and trusts nothing that it did not see.

use std::{pin::pin, sync::Arc};

use tenancy::{
    MemoryStore,
    core::{
        ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantId, TenantKey, TenantPage, TenantRecord,
        TenantStore,
    },
    resolve::ResolveSettings,
    stack::CatalogueState,
};

use super::{
    Hand, MILLISECOND, Service, seconds, settle,
    stores::{Mood, Moody, Silent, SlowList, suspend},
    waits,
};
use crate::support::faulty::FaultyStore;

fn tenants() -> MemoryStore {
    MemoryStore::of(["acme", "globex"]).unwrap()
}

fn service(store: impl TenantStore) -> Service {
    Service::new(store, ResolveSettings::default(), &Hand::default())
}

/// A store that can be seen to go away.
struct Watched(MemoryStore, #[expect(dead_code, reason = "counts")] Arc<()>);

impl TenantStore for Watched {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.0.find(key).await
    }

    fn signal(&self) -> Option<ChangeSignal> {
        self.0.signal()
    }

    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        self.0.list(after, limit).await
    }

    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        self.0.changes(since, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_last_handle_is_dropped() {
    let alive = Arc::new(());
    let tenants = tenants();
    let service = service(Watched(tenants.clone(), Arc::clone(&alive)));
    service.tenancy.ready().await;
    let (tenancy, app) = (service.tenancy.clone(), service.app.clone());
    drop(service);
    drop(tenancy);
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(Arc::strong_count(&alive), 2, "an application is a handle");
    drop(app);
    assert_eq!(Arc::strong_count(&alive), 1, "the store goes with it");
    // A change has nobody to wait for.
    let before = tokio::time::Instant::now();
    tenants.remove(&super::id("acme")).await.unwrap();
    assert!(before.elapsed() < seconds(1));
}

#[test]
fn a_runtime_that_dies_takes_it_along_and_nothing_is_trusted_until_another_one_has_caught_up() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let store = FaultyStore::new(tenants());
    let first = runtime();
    let service = first.block_on(async {
        let service = service(store.clone());
        service.tenancy.ready().await;
        assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
        service
    });
    drop(first);
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Loading);

    let second = runtime();
    second.block_on(async {
        suspend(store.inner(), "acme").await;
        assert_eq!(service.line("acme.example.com").await, "403");
        assert_eq!(store.finds(), 1, "asked for, not remembered");
        service.tenancy.ready().await;
        assert_eq!(service.line("globex.example.com").await, "200 globex snapshot");
        suspend(store.inner(), "globex").await;
        assert_eq!(service.line("globex.example.com").await, "403");
        assert_eq!(store.lists(), 1, "it went on from where the other one was");
    });
}

#[test]
fn it_starts_on_the_first_request_where_there_was_no_runtime_before() {
    let service = service(tenants());
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Loading);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        // The first request waits for the list rather than ask for its one tenant.
        assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
    });
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_when_asked_for_changes_is_asked_anew_by_the_next_request() {
    let tenants = tenants();
    let store = Moody::new(Silent::new(tenants.clone()), Mood::Calm);
    let service = service(store.clone());
    service.tenancy.ready().await;
    store.set(Mood::PanicsInChanges);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(
        service.tenancy.status().catalogue,
        CatalogueState::Loading,
        "nobody follows"
    );
    suspend(&tenants, "acme").await;
    let asked = store.changes_asked();
    assert_eq!(
        service.line("acme.example.com").await,
        "403",
        "the store's own word"
    );
    settle().await;
    assert_eq!(
        store.changes_asked(),
        asked + 1,
        "started again, and panicked again"
    );
    store.set(Mood::Calm);
    assert_eq!(service.line("globex.example.com").await, "200 globex store");
    settle().await;
    assert_eq!(service.line("globex.example.com").await, "200 globex snapshot");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_list_starts_it_again_after_a_panic_and_not_without_pause() {
    let store = Moody::new(tenants(), Mood::PanicsInChanges);
    let service = service(store.clone());
    let waiting = tokio::spawn({
        let tenancy = service.tenancy.clone();
        async move { tenancy.ready().await }
    });
    tokio::time::sleep(seconds(10)).await;
    assert!(!waiting.is_finished());
    let asked = store.changes_asked();
    assert!((10..=30).contains(&asked), "{asked} times in 10 s");
    store.set(Mood::Calm);
    waiting.await.unwrap();
    assert_eq!(service.line("acme.example.com").await, "200 acme snapshot");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_goes_in_circles_is_an_error_and_no_endless_loop() {
    let store = Moody::new(tenants(), Mood::ListsInALoop);
    let service = service(store.clone());
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Loading);
    assert!(store.lists() < 60, "{} pages in 10 s", store.lists());
    assert_eq!(service.line("acme.example.com").await, "200 acme store");
    store.set(Mood::Calm);
    service.tenancy.ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_in_circles_is_an_error_and_no_endless_loop() {
    for mood in [Mood::ChangesInALoop, Mood::ReloadsInALoop] {
        let store = Moody::new(tenants(), Mood::Calm);
        let service = service(store.clone());
        service.tenancy.ready().await;
        store.set(mood);
        tokio::time::sleep(seconds(10)).await;
        assert_eq!(
            service.tenancy.status().catalogue,
            CatalogueState::Stale,
            "{mood:?}"
        );
        assert!(
            store.changes_asked() < 100,
            "{mood:?}: {} in 10 s",
            store.changes_asked()
        );
        assert_eq!(
            service.line("acme.example.com").await,
            "200 acme stale",
            "{mood:?}"
        );
        store.set(Mood::Calm);
        service.tenancy.ready().await;
        assert_eq!(
            service.line("acme.example.com").await,
            "200 acme snapshot",
            "{mood:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_announces_a_change_waits_for_the_list_that_a_restored_catalogue_makes_necessary() {
    let catalogue = Silent::new(tenants());
    let store = SlowList::new(catalogue.clone());
    store.let_go(1);
    let service = service(store.clone());
    service.tenancy.ready().await;
    // Its numbers begin anew, below what was seen of the other one.
    catalogue.restore(MemoryStore::of(["initech"]).unwrap());
    let signal = catalogue.signal().unwrap();
    signal.wake(1);
    store.until_read(2).await;
    let mut announced = pin!(signal.announce(1, seconds(5)));
    assert!(waits(announced.as_mut()).await, "the list is not there yet");
    store.let_go(2);
    assert!(announced.await, "it is seen well within the limit");
    assert_eq!(service.line("initech.example.com").await, "200 initech snapshot");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_for_long_is_asked_less_often_and_found_again_within_seconds() {
    let store = Moody::new(tenants(), Mood::Calm);
    let service = service(store.clone());
    service.tenancy.ready().await;
    store.set(Mood::CannotFollow);
    tokio::time::sleep(seconds(60)).await;
    let before = store.changes_asked();
    tokio::time::sleep(seconds(60)).await;
    let asked = store.changes_asked() - before;
    assert!((20..=45).contains(&asked), "{asked} times a minute");
    store.set(Mood::Calm);
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(service.tenancy.status().catalogue, CatalogueState::Followed);
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_the_list_and_only_for_that() {
    let store = Moody::new(tenants(), Mood::CannotFollow);
    let following = service(store.clone());
    settle().await;
    assert!(waits(following.tenancy.ready()).await);
    store.set(Mood::Calm);
    following.tenancy.ready().await;
    let finding = service(FaultyStore::new(tenants()).finding_only());
    assert!(!waits(finding.tenancy.ready()).await, "nothing to wait for");
    assert_eq!(finding.tenancy.status().catalogue, CatalogueState::AskedOnDemand);
}

#[tokio::test(start_paused = true)]
async fn two_stacks_over_one_store_both_see_a_change_before_it_returns() {
    let tenants = tenants();
    let (one, two) = (service(tenants.clone()), service(tenants.clone()));
    one.tenancy.ready().await;
    two.tenancy.ready().await;
    suspend(&tenants, "acme").await;
    assert_eq!(one.line("acme.example.com").await, "403");
    assert_eq!(two.line("acme.example.com").await, "403");
    drop(two);
    let before = tokio::time::Instant::now();
    suspend(&tenants, "globex").await;
    assert!(
        before.elapsed() < 10 * MILLISECOND,
        "who is gone is not waited for"
    );
    assert_eq!(one.line("globex.example.com").await, "403");
}
