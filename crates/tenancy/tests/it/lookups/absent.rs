//! Keys that lead nowhere: remembered for a moment, never for longer than they lead nowhere.

use tenancy::{MemoryStore, resolve::ResolveSettings};

use super::{
    Hand, MILLISECOND, SECOND, Service,
    stores::{Silent, entry},
    without_budget,
};
use crate::support::{faulty::FaultyStore, get};

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::of(["acme"]).unwrap())
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_within_its_time() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    for _ in 0..3 {
        assert_eq!(service.line("nobody.example.com").await, "404");
    }
    assert_eq!(store.finds(), 1);
    clock.advance(SECOND);
    assert_eq!(service.line("nobody.example.com").await, "404");
    assert_eq!(store.finds(), 2);
}

#[tokio::test]
async fn a_created_key_is_seen_when_its_absence_expires() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("new.example.com").await, "404");
    store.inner().insert(entry("new", &[])).await.unwrap();
    clock.advance(SECOND - 101 * MILLISECOND);
    assert_eq!(
        service.line("new.example.com").await,
        "404",
        "a tenth is taken off at most"
    );
    clock.advance(101 * MILLISECOND);
    assert_eq!(service.line("new.example.com").await, "200 new store");
    assert_eq!(service.line("new.example.com").await, "200 new cache");
}

#[tokio::test]
async fn a_created_key_is_seen_at_once_after_forget() {
    let (store, clock) = (store().finding_only(), Hand::default());
    let service = Service::new(store.clone(), ResolveSettings::default(), &clock);
    assert_eq!(service.line("new.example.com").await, "404");
    store.inner().insert(entry("new", &[])).await.unwrap();
    service.tenancy.forget(&super::id("new"));
    assert_eq!(service.line("new.example.com").await, "200 new store");
}

#[tokio::test(start_paused = true)]
async fn a_key_created_in_this_process_is_seen_by_the_next_request() {
    let store = store();
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    service.tenancy.ready().await;
    for n in 0..20 {
        let host = format!("new-{n}.example.com");
        assert_eq!(service.line(&host).await, "404");
        let new = entry(&format!("new-{n}"), &[]);
        store.inner().insert(new).await.unwrap();
        assert_eq!(service.line(&host).await, format!("200 new-{n} snapshot"));
    }
    assert_eq!(store.finds(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_created_in_another_process_is_seen_after_one_poll() {
    let inner = MemoryStore::of(["acme"]).unwrap();
    let store = FaultyStore::new(Silent::new(inner.clone()));
    let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
    service.tenancy.ready().await;
    assert_eq!(service.line("new.example.com").await, "404");
    inner.insert(entry("new", &[])).await.unwrap();
    tokio::time::sleep(500 * MILLISECOND + MILLISECOND).await;
    assert_eq!(service.line("new.example.com").await, "200 new snapshot");
    assert_eq!(store.finds(), 0);
}

#[tokio::test]
async fn unknown_keys_push_no_tenant_out_and_are_capped() {
    const HOSTS: u64 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    const CAP: u64 = HOSTS / 20;
    let tenants: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let store = FaultyStore::new(MemoryStore::of(&tenants).unwrap()).finding_only();
    let mut settings = without_budget();
    settings.negative_capacity = CAP;
    settings.cache_capacity = 200;
    let service = Service::new(store.clone(), settings, &Hand::default());
    for tenant in &tenants {
        let _ = service.ask(&format!("{tenant}.example.com")).await;
    }
    for n in 0..HOSTS {
        assert_eq!(service.line(&format!("x{n}.example.com")).await, "404");
    }
    let before = store.finds();
    for tenant in &tenants {
        let line = service.line(&format!("{tenant}.example.com")).await;
        assert_eq!(line, format!("200 {tenant} cache"));
    }
    assert_eq!(store.finds(), before);

    for n in 0..HOSTS {
        let _ = service.ask(&format!("x{n}.example.com")).await;
    }
    let remembered = HOSTS - (store.finds() - before);
    assert!(remembered <= 2 * CAP, "{remembered} of {HOSTS} were remembered");
}

#[test]
fn a_million_unknown_hosts_cost_a_complete_snapshot_no_call_and_no_byte() {
    const HOSTS: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let store = store();
    let service = runtime.block_on(async {
        let service = Service::new(store.clone(), ResolveSettings::default(), &Hand::default());
        service.tenancy.ready().await;
        service
    });
    let calls = store.calls();
    let ask = |hosts: std::ops::Range<u32>| {
        for n in hosts {
            let request = get(&format!("x{n}.example.com"), "/");
            let seen = runtime.block_on(service.send(request));
            assert_eq!(seen.status.as_u16(), 404);
        }
    };
    ask(0..1_000);
    let used = allocation_counter::measure(|| ask(1_000..HOSTS));
    assert_eq!(store.finds(), 0);
    assert_eq!(store.calls(), calls, "time stands still, so nobody polls either");
    assert!(used.count_total > 0, "something is measured");
    assert_eq!(used.bytes_current, 0, "bytes kept");
}
