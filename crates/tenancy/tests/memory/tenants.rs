//! What tenants have in memory, exactly, and what they may have.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use tenancy::{
    Tenant,
    cache::{EntryOptions, Keys, TenantCache},
    event::Event,
    memory::{MemoryLayer, MemorySettings, RequestMemory, purposes},
    rejection::RejectionReason,
    stack::{ConfigMistake, Order, Stage},
};
use tower::ServiceExt;

use crate::support::{app, builder, get as request, metered, read, send};

const LARGE: usize = 3_000_000;

type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

fn keeping(kept: &Kept) -> Router {
    let (adds, drops) = (Arc::clone(kept), Arc::clone(kept));
    Router::new()
        .route(
            "/add",
            get(async move |_: Tenant| adds.lock().unwrap().push(vec![1; LARGE])),
        )
        .route(
            "/drop",
            get(async move |_: Tenant| drop(drops.lock().unwrap().pop())),
        )
        .route("/", get(async || "hello"))
}

#[tokio::test]
async fn live_bytes_of_a_tenant_are_exact_whoever_frees_them() {
    let kept = Kept::default();
    kept.lock().unwrap().reserve(10);
    let tenancy = metered();
    let app = app(&tenancy, keeping(&kept));
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let globex = tenancy.enter(&"globex".parse().unwrap()).await.unwrap();
    // What is made once.
    send(&app, "/").await;
    let before = acme.live_bytes().unwrap();
    send(&app, "/add").await;
    send(&app, "/add").await;
    assert_eq!(acme.live_bytes().unwrap(), before + 2 * LARGE as u64);
    app.clone().oneshot(request("globex", "/drop")).await.unwrap();
    assert_eq!(acme.live_bytes().unwrap(), before + LARGE as u64);
    assert!(globex.live_bytes().unwrap() < 10_000);
    assert!(
        globex.memory().unwrap().retained < -(LARGE as i64) / 2,
        "by level 1 it freed more than it had"
    );
    kept.lock().unwrap().clear();
    assert_eq!(acme.live_bytes().unwrap(), before);
}

#[tokio::test]
async fn a_tenant_above_its_budget_is_answered_with_503_until_enough_is_freed() {
    let kept = Kept::default();
    let told = Arc::new(AtomicU64::new(0));
    let events = Arc::clone(&told);
    let tenancy = builder()
        .listener(move |event: &Event| {
            if let Event::MemoryBudgetExceeded { tenant, live_bytes } = event {
                assert_eq!(tenant.id().as_str(), "acme");
                events.store(*live_bytes, Ordering::Relaxed);
            }
        })
        .memory(MemorySettings::new().tenant_budget(1_000_000))
        .build()
        .unwrap();
    let app = app(&tenancy, keeping(&kept));
    assert_eq!(send(&app, "/add").await.status(), StatusCode::OK);
    let refused = send(&app, "/").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let text = String::from_utf8(read(refused).await.to_vec()).unwrap();
    assert!(!text.contains("acme"), "{text}");
    assert!(told.load(Ordering::Relaxed) >= LARGE as u64);
    let other = app.clone().oneshot(request("globex", "/")).await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(acme.memory().unwrap().refused, 1);
    kept.lock().unwrap().clear();
    assert_eq!(send(&app, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_stage_alone_holds_tenants_to_their_budget_as_the_stack_does() {
    let kept = Kept::default();
    let memory = MemoryLayer::new(MemorySettings::new().tenant_budget(1_000_000));
    let app = app(&builder().build().unwrap(), keeping(&kept).layer(memory.clone()));
    assert_eq!(send(&app, "/add").await.status(), StatusCode::OK);
    assert_eq!(send(&app, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(memory.totals().unwrap().refused, 1);
    let other = app.clone().oneshot(request("globex", "/")).await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn stages_one_by_one_hold_tenants_to_their_budget() {
    let kept = Kept::default();
    let tenancy = builder()
        .memory(MemorySettings::new().tenant_budget(1_000_000))
        .build()
        .unwrap();
    for stages in [[Stage::Resolve, Stage::Memory], [Stage::Memory, Stage::Resolve]] {
        let app = keeping(&kept)
            .layer(tenancy.stage(stages[1]))
            .layer(tenancy.stage(stages[0]));
        let ask = async |path| app.clone().oneshot(request("acme", path)).await.unwrap().status();
        assert_eq!(ask("/add").await, StatusCode::OK);
        assert_eq!(ask("/").await, StatusCode::SERVICE_UNAVAILABLE, "{stages:?}");
        kept.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn a_budget_that_is_only_observed_refuses_nobody_and_counts_no_refusal() {
    let kept = Kept::default();
    let told = Arc::new(AtomicU64::new(0));
    let events = Arc::clone(&told);
    let tenancy = builder()
        .listener(move |event: &Event| {
            if let Event::MemoryBudgetExceeded { .. } = event {
                events.fetch_add(1, Ordering::Relaxed);
            }
        })
        .memory(MemorySettings::new().tenant_budget(1_000_000))
        .observe_stages([Stage::Memory])
        .build()
        .unwrap();
    let app = app(&tenancy, keeping(&kept));
    send(&app, "/add").await;
    assert_eq!(send(&app, "/").await.status(), StatusCode::OK);
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(acme.memory().unwrap().refused, 0);
    assert_eq!(tenancy.memory().unwrap().refused, 0);
    assert_eq!(told.load(Ordering::Relaxed), 0);
    let report = tenancy.rollout().report();
    assert_eq!(report.reasons, [(RejectionReason::MemoryBudget, 1)]);
    tenancy.rollout().enforce(Stage::Memory);
    assert_eq!(send(&app, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(acme.memory().unwrap().refused, 1);
}

#[test]
fn a_budget_that_no_stage_looks_at_is_refused_when_the_stack_is_built() {
    let budget = || builder().memory(MemorySettings::new().tenant_budget(1));
    for without in [budget().order(Order::default()), budget().disable(Stage::Memory)] {
        assert_eq!(
            without.build().unwrap_err().mistakes(),
            [ConfigMistake::MemoryBudgetWithoutStage]
        );
    }
    assert!(budget().build().is_ok());
}

/// All that was ever allocated for caches.
fn cached() -> u64 {
    let all = purposes();
    let cache = all.iter().find(|purpose| purpose.name == "cache");
    cache.map_or(0, |cache| cache.usage.allocated)
}

#[tokio::test]
async fn many_that_are_loaded_at_once_are_the_caches_and_the_tenants_too() {
    const VALUE: usize = 200_000;
    const LIST: Keys<u32, Vec<u8>> = Keys::new("list", 1);
    async fn handler(cache: TenantCache, Path(id): Path<u32>) {
        let keys = [LIST.key(id), LIST.key(id + 1)];
        let load = async |missing: Vec<usize>| {
            let values = missing.iter().map(|_| vec![7_u8; VALUE]).collect();
            Ok::<_, std::convert::Infallible>(values)
        };
        let options = EntryOptions::new();
        let lists = cache.remember_many(&keys, &options, load).await.unwrap();
        assert_eq!(lists.len(), 2);
    }
    let tenancy = metered();
    let app = app(&tenancy, Router::new().route("/{id}", get(handler)));
    // The first makes the cache itself.
    read(send(&app, "/1").await).await;
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let (before, live) = (cached(), acme.live_bytes().unwrap());
    read(send(&app, "/3").await).await;
    assert!(cached() - before >= 2 * VALUE as u64);
    assert!(acme.live_bytes().unwrap() >= live + 2 * VALUE as u64);
}

#[tokio::test]
async fn what_the_cache_keeps_is_the_caches_and_the_tenants_and_not_the_requests() {
    const VALUE: usize = 200_000;
    const LIST: Keys<u32, Vec<u8>> = Keys::new("list", 1);
    async fn handler(cache: TenantCache, memory: RequestMemory, Path(id): Path<u32>) -> String {
        let before = memory.usage().unwrap().allocated;
        let load = async || Ok::<_, std::convert::Infallible>(vec![7_u8; VALUE]);
        let list = cache
            .remember(&LIST.key(id), &EntryOptions::new(), load)
            .await
            .unwrap();
        assert_eq!(list.len(), VALUE);
        (memory.usage().unwrap().allocated - before).to_string()
    }
    let tenancy = metered();
    let app = app(&tenancy, Router::new().route("/{id}", get(handler)));
    // The first makes the cache itself.
    read(send(&app, "/1").await).await;
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    let (before, live) = (cached(), acme.live_bytes().unwrap());
    let of_request = read(send(&app, "/2").await).await;
    let of_request: usize = std::str::from_utf8(&of_request).unwrap().parse().unwrap();
    assert!(of_request < VALUE / 2, "{of_request}");
    assert!(cached() - before >= VALUE as u64);
    assert!(acme.live_bytes().unwrap() >= live + VALUE as u64);
}

#[tokio::test]
async fn what_the_cache_keeps_of_a_tenant_does_not_use_up_its_budget() {
    const LIST: Keys<u32, Vec<u8>> = Keys::new("list", 1);
    async fn handler(cache: TenantCache, Path(id): Path<u32>) {
        let load = async || Ok::<_, std::convert::Infallible>(vec![7_u8; 500_000]);
        cache
            .remember(&LIST.key(id), &EntryOptions::new(), load)
            .await
            .unwrap();
    }
    let kept = Kept::default();
    let tenancy = builder()
        .memory(MemorySettings::new().tenant_budget(1_000_000))
        .build()
        .unwrap();
    let app = app(&tenancy, keeping(&kept).route("/list/{id}", get(handler)));
    for id in 0..6 {
        let answer = send(&app, &format!("/list/{id}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{id}");
    }
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert!(acme.live_bytes().unwrap() >= 3_000_000);
    assert_eq!(send(&app, "/add").await.status(), StatusCode::OK);
    assert_eq!(send(&app, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
