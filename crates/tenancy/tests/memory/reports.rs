//! What is said of requests that take much, and of what outlives them.

use std::{
    hint::black_box,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use tenancy::{
    Tenant,
    core::ManualClock,
    event::Event,
    memory::{Measure, MemorySettings, RequestScoped},
};

use crate::support::{Log, app, builder, get as request, send};
use tower::ServiceExt;

const NAMED: &str = "high memory use";

async fn allocate(_: Tenant, Path(bytes): Path<usize>) {
    drop(black_box(vec![1_u8; bytes]));
}

fn router() -> Router {
    Router::new()
        .route("/a/{bytes}", get(allocate))
        .route("/b/{bytes}", get(allocate))
}

#[tokio::test]
async fn a_request_above_the_threshold_is_named_once_for_a_while() {
    let (log, _collecting) = Log::collect();
    let clock = Arc::new(ManualClock::new());
    let tenancy = builder()
        .clock(Arc::clone(&clock))
        .memory(MemorySettings::new().log_cleanup(true))
        .build()
        .unwrap();
    let app = app(&tenancy, router());
    send(&app, "/a/1000000").await;
    assert_eq!(log.lines_with(NAMED).len(), 0);
    for _ in 0..5 {
        send(&app, "/a/2621440").await;
    }
    let lines = log.lines_with(NAMED);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    for part in [
        "WARN",
        "/a/{bytes}",
        "tenant=acme",
        "2.5 MiB",
        "unsaid=0",
        "complete=true",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // Another route, and another tenant.
    send(&app, "/b/2000000").await;
    app.clone()
        .oneshot(request("globex", "/a/2000000"))
        .await
        .unwrap();
    let lines = log.lines_with(NAMED);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].contains("unsaid=4"), "{lines:?}");
    clock.advance(Duration::from_secs(61));
    send(&app, "/a/2000000").await;
    assert_eq!(log.lines_with(NAMED).len(), 4);
    assert_eq!(tenancy.memory().unwrap().large, 8);
    assert_eq!(log.lines_with("was cleaned up").len(), 9);
}

#[tokio::test]
async fn what_is_measured_and_whether_it_is_logged_can_be_chosen() {
    let (log, _collecting) = Log::collect();
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&told);
    let settings = MemorySettings::new()
        .warn_over(100_000)
        .measure(Measure::Allocated)
        .log_memory(false);
    let tenancy = builder()
        .listener(move |event: &Event| {
            if let Event::LargeRequest { route, tenant, usage } = event {
                events
                    .lock()
                    .unwrap()
                    .push((route.clone(), tenant.clone(), *usage));
            }
        })
        .memory(settings)
        .build()
        .unwrap();
    let often = async |_: Tenant| (0..20).for_each(|_| drop(black_box(vec![1_u8; 10_000])));
    let app = app(&tenancy, Router::new().route("/often", get(often)));
    send(&app, "/often").await;
    assert!(log.lines_with(NAMED).is_empty());
    let told = told.lock().unwrap();
    let (route, tenant, usage) = &told[0];
    assert_eq!(
        (route.as_deref(), tenant.as_ref().unwrap().as_str()),
        (Some("/often"), "acme")
    );
    assert!(usage.peak < 100_000 && usage.allocated >= 200_000);
}

#[tokio::test]
async fn a_value_that_outlives_its_request_is_named() {
    struct Basket;
    let (log, _collecting) = Log::collect();
    let kept: Arc<Mutex<Vec<RequestScoped<Basket>>>> = Arc::default();
    let settings = MemorySettings::new()
        .track_survivors(true)
        .survivor_grace(Duration::ZERO);
    let tenancy = builder().memory(settings).build().unwrap();
    let keeping = Arc::clone(&kept);
    let router = Router::new()
        .route(
            "/keeps",
            get(async move |_: Tenant| keeping.lock().unwrap().push(RequestScoped::new(Basket))),
        )
        .route(
            "/drops",
            get(async |_: Tenant| drop(RequestScoped::new(Basket).clone())),
        );
    let app = app(&tenancy, router);
    send(&app, "/drops").await;
    assert_eq!(log.lines_with("outlived its request").len(), 0);
    send(&app, "/keeps").await;
    let lines = log.lines_with("outlived its request");
    assert_eq!(lines.len(), 1);
    for part in ["Basket", "/keeps", "tenant=acme"] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_goes_within_the_grace_is_not_named() {
    struct Late;
    let (log, _collecting) = Log::collect();
    let tenancy = builder()
        .memory(MemorySettings::new().track_survivors(true))
        .build()
        .unwrap();
    let lives = async |Path(millis): Path<u64>| {
        let late = RequestScoped::new(Late);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            drop(late);
        });
    };
    let app = app(&tenancy, Router::new().route("/{millis}", get(lives)));
    send(&app, "/500").await;
    send(&app, "/1500").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(log.lines_with("outlived its request").len(), 1);
}
