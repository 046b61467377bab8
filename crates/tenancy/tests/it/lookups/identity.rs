//! One live control block for each tenant, whichever key led to it, through everything that happens to entries.

use tenancy::{
    MemoryStore, Tenant,
    core::TenantStatus,
    resolve::{DomainOrSubdomain, ResolveSettings},
};

use super::{
    Hand, Service, seconds, settle,
    stores::{Mood, Moody, SlowList, entry, resume, suspend, two_tenants},
    without_budget,
};
use crate::support::faulty::FaultyStore;

const KEYS: [&str; 3] = ["acme.example.com", "acme-shop.example.com", "shop.acme.test"];

fn service(store: impl tenancy::core::TenantStore, settings: ResolveSettings, clock: &Hand) -> Service {
    Service::with(
        DomainOrSubdomain::of("example.com").unwrap(),
        store,
        settings,
        clock,
    )
}

async fn through_all_keys(service: &Service) -> Vec<Tenant> {
    let mut tenants = vec![service.tenancy.enter(&super::id("acme")).await.unwrap()];
    for key in KEYS {
        tenants.push(service.ask(key).await.tenant());
    }
    tenants
}

fn one_block(tenants: &[Tenant]) -> Tenant {
    assert!(tenants.iter().all(|tenant| tenant == &tenants[0]));
    tenants[0].clone()
}

#[tokio::test(start_paused = true)]
async fn all_keys_lead_to_one_block_with_either_kind_of_store() {
    for only_finds in [true, false] {
        let mut store = FaultyStore::new(two_tenants());
        if only_finds {
            store = store.finding_only();
        }
        let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
        service.tenancy.ready().await;
        let acme = one_block(&through_all_keys(&service).await);
        assert_ne!(service.ask("globex.example.com").await.tenant(), acme);

        let another = service.clone();
        let tenancy = tenancy::Tenancy::new(DomainOrSubdomain::of("example.com").unwrap(), store);
        let foreign = tenancy.enter(&super::id("acme")).await.unwrap();
        assert_ne!(
            foreign,
            another.ask(KEYS[0]).await.tenant(),
            "another stack, another block"
        );
    }
}

#[tokio::test]
async fn entries_that_expire_and_come_back_come_back_to_the_block_that_is_held() {
    let (store, clock) = (FaultyStore::new(two_tenants()).finding_only(), Hand::default());
    let service = service(store.clone(), ResolveSettings::default(), &clock);
    let held = one_block(&through_all_keys(&service).await);
    for _ in 0..3 {
        clock.advance(seconds(301));
        let before = store.finds();
        assert_eq!(one_block(&through_all_keys(&service).await), held);
        assert_eq!(store.finds() - before, 4, "each key was asked for anew");
    }
}

#[tokio::test]
async fn a_held_handle_sees_what_any_key_finds_out() {
    let (store, clock) = (FaultyStore::new(two_tenants()).finding_only(), Hand::default());
    let service = service(store.clone(), ResolveSettings::default(), &clock);
    let held = service.ask(KEYS[0]).await.tenant();
    suspend(store.inner(), "acme").await;
    assert_eq!(held.status(), TenantStatus::Active, "nobody has asked yet");
    assert_eq!(service.line(KEYS[1]).await, "403");
    assert_eq!(held.status(), TenantStatus::Suspended);
    assert_eq!(
        service.line(KEYS[0]).await,
        "403",
        "its entry is fresh still, the block is not as it was"
    );
    resume(store.inner(), "acme").await;
    assert_eq!(service.line(KEYS[2]).await, "200 acme store");
    assert_eq!(held.status(), TenantStatus::Active);
    assert_eq!(service.ask(KEYS[0]).await.tenant(), held);
}

#[tokio::test]
async fn a_tenant_that_was_pushed_out_of_the_cache_comes_back_to_the_block_that_is_held() {
    let names: Vec<String> = (0..500).map(|n| format!("t{n}")).collect();
    let store = FaultyStore::new(MemoryStore::of(&names).unwrap()).finding_only();
    let mut settings = without_budget();
    settings.cache_capacity = 10;
    let service = service(store.clone(), settings, &Hand::default());
    let mut held = Vec::new();
    for name in &names {
        held.push(service.ask(&format!("{name}.example.com")).await.tenant());
    }
    let before = store.finds();
    for (name, held) in names.iter().zip(&held) {
        assert_eq!(&service.ask(&format!("{name}.example.com")).await.tenant(), held);
    }
    assert!(store.finds() - before >= 400, "most were pushed out");
}

#[tokio::test(start_paused = true)]
async fn two_keys_asked_for_at_the_same_time_make_one_block() {
    let store = FaultyStore::new(two_tenants()).finding_only();
    let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
    store.hold_finds();
    let asking: Vec<_> = KEYS.iter().map(|key| service.asking(key)).collect();
    store.until_held(KEYS.len()).await;
    store.release_finds();
    let mut tenants = Vec::new();
    for request in asking {
        tenants.push(request.await.unwrap().tenant());
    }
    one_block(&tenants);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_keys_asked_for_from_many_threads_make_one_block() {
    for _ in 0..20 {
        let store = FaultyStore::new(two_tenants()).finding_only();
        let service = service(store, ResolveSettings::default(), &Hand::default());
        let asking: Vec<_> = (0..12).map(|n| service.asking(KEYS[n % 3])).collect();
        let mut tenants = Vec::new();
        for request in asking {
            tenants.push(request.await.unwrap().tenant());
        }
        one_block(&tenants);
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_made_by_a_look_up_is_the_one_that_the_list_brings() {
    let store = Moody::new(two_tenants(), Mood::CannotFollow);
    let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
    settle().await;
    let seen = service.ask(KEYS[0]).await;
    assert_eq!(seen.to_string(), "200 acme store");
    store.set(Mood::Calm);
    service.tenancy.ready().await;
    let after = service.ask(KEYS[0]).await;
    assert_eq!(after.to_string(), "200 acme snapshot");
    assert_eq!(after.tenant(), seen.tenant());
    assert_eq!(one_block(&through_all_keys(&service).await), seen.tenant());
}

#[tokio::test(start_paused = true)]
async fn a_look_up_while_the_list_is_read_and_the_list_make_one_block() {
    let inner = two_tenants();
    // Enough for a second page.
    for n in 0..6_000 {
        inner.insert(entry(&format!("t{n}"), &[])).await.unwrap();
    }
    let store = SlowList::new(inner.clone());
    let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
    store.until_read(1).await;
    let held = service.ask(KEYS[0]).await.tenant();
    let suspending = tokio::spawn({
        let inner = inner.clone();
        async move { suspend(&inner, "acme").await }
    });
    settle().await;
    assert_eq!(service.line(KEYS[1]).await, "403");
    // The first page was read before, and says active.
    store.let_go(1);
    store.until_read(2).await;
    assert_eq!(
        held.status(),
        TenantStatus::Suspended,
        "at no moment what the page says"
    );
    store.let_go(2);
    service.tenancy.ready().await;
    suspending.await.unwrap();
    assert_eq!(service.line(KEYS[0]).await, "403");
    resume(&inner, "acme").await;
    assert_eq!(service.ask(KEYS[0]).await.tenant(), held);
}

#[tokio::test(start_paused = true)]
async fn a_purged_tenant_ends_for_those_who_hold_it() {
    let store = two_tenants();
    let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
    service.tenancy.ready().await;
    let held = service.ask(KEYS[2]).await.tenant();
    store.remove(held.id()).await.unwrap();
    assert_eq!(held.status(), TenantStatus::Deleted);
    for key in KEYS {
        assert_eq!(service.line(key).await, "404");
    }
    let error = service.tenancy.enter(held.id()).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_purged_before_the_list_was_read_ends_for_those_who_found_it_before() {
    let inner = two_tenants();
    let store = Moody::new(inner.clone(), Mood::CannotFollow);
    let service = service(store.clone(), ResolveSettings::default(), &Hand::default());
    settle().await;
    let held = service.ask(KEYS[0]).await.tenant();
    inner.remove(held.id()).await.unwrap();
    store.set(Mood::Calm);
    service.tenancy.ready().await;
    assert_eq!(service.line(KEYS[0]).await, "404");
    assert_eq!(held.status(), TenantStatus::Deleted);
}
