//! `assert_growth`: what leaks fails, what is steady passes, what fills up once does not count.
//!
//! A program of its own: the allocator's book is the whole process's, so one test runs at a time.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Body, routing::get};
use http::Request;
use tenancy_test::{GrowthCheck, assert_growth};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

static TURN: AsyncMutex<()> = AsyncMutex::const_new(());

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Keeps `bytes` of each request, of the first `most` ones.
fn keeping(bytes: usize, most: usize) -> Router {
    let kept = Arc::new(Mutex::new(Vec::with_capacity(most.min(10_000))));
    let keep = move || {
        let kept = Arc::clone(&kept);
        async move {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < most {
                kept.push(vec![1_u8; bytes]);
            }
            "kept"
        }
    };
    Router::new().route("/{tenant}", get(keep))
}

fn of_five_tenants(number: u64) -> Request<Body> {
    let tenant = number % 5;
    let mut request = Request::new(Body::empty());
    let path = format!("/tenant{tenant}");
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

#[tokio::test]
async fn a_router_that_leaks_fails_and_it_is_said_how_much() {
    let _turn = turn().await;
    let measured = GrowthCheck::new(800)
        .warm_up(100)
        .measure(keeping(1_000, usize::MAX), of_five_tenants)
        .await;
    let failure = measured.within(100_000).unwrap_err().to_string();
    let slope = measured.growth().bytes_per_1000_requests.unwrap();
    assert!((950_000..1_200_000).contains(&slope), "{failure}");
    for part in [
        "for 1,000 requests",
        "97.7 KiB (100000 bytes)",
        "after       100 requests",
    ] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
}

#[tokio::test]
#[should_panic(expected = "memory grows by")]
async fn the_assertion_panics_for_a_router_that_leaks() {
    let _turn = turn().await;
    assert_growth(keeping(1_000, usize::MAX), 400, 100_000, of_five_tenants).await;
}

#[tokio::test]
async fn a_steady_router_passes() {
    let _turn = turn().await;
    assert_growth(keeping(1_000, 0), 1_000, 16_384, of_five_tenants).await;
}

#[tokio::test]
async fn what_fills_up_while_it_warms_up_does_not_count() {
    let _turn = turn().await;
    assert_growth(keeping(10_000, 500), 1_000, 16_384, of_five_tenants).await;
    // The same without a warm-up does.
    let cold = GrowthCheck::new(1_000)
        .warm_up(0)
        .measure(keeping(10_000, 800), of_five_tenants)
        .await;
    assert!(cold.within(16_384).is_err(), "{:?}", cold.growth());
}

#[tokio::test]
async fn too_few_requests_are_no_proof() {
    let _turn = turn().await;
    let measured = GrowthCheck::new(3).measure(keeping(1, 0), of_five_tenants).await;
    let failure = measured.within(u64::MAX).unwrap_err().to_string();
    assert!(failure.contains("too few"), "{failure}");
}
