//! One budget over all tenants, whatever they do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    fixture::{Fixture, canary, patient},
    server::PgServer,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_never_counts_more_connections_than_the_budget() {
    const BUDGET: usize = 8;
    let server = PgServer::shared().await;
    let settings = patient(BUDGET).settle(Duration::from_millis(1));
    let fixture = Arc::new(Fixture::databases(&server, "sampled", 30, settings).await);
    let ended = Arc::new(AtomicBool::new(false));
    let samples = Arc::new(AtomicUsize::new(0));
    let sampler = {
        let (ended, samples) = (Arc::clone(&ended), Arc::clone(&samples));
        tokio::spawn(async move {
            let mut observer = server.connect("postgres").await;
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = server.count(&mut observer, "sampled").await.max(most);
                samples.fetch_add(1, Ordering::Relaxed);
            }
            most
        })
    };
    let tasks = (0..48_usize).map(|task| {
        let (fixture, samples) = (Arc::clone(&fixture), Arc::clone(&samples));
        tokio::spawn(async move {
            for request in 0_usize.. {
                if request >= 12 && samples.load(Ordering::Relaxed) > 20 {
                    return;
                }
                let tenant = (task * 7 + request * request * 3) % 30;
                let mut lease = fixture.lease(tenant).await;
                if request % 5 == 4 {
                    let read = canary(&mut lease);
                    let _ = tokio::time::timeout(Duration::from_micros(300), read).await;
                } else {
                    assert_eq!(canary(&mut lease).await.unwrap(), format!("t{tenant}"));
                }
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let most = sampler.await.unwrap();
    let figures = fixture.until_quiet().await;
    assert!(
        (BUDGET - 2..=BUDGET).contains(&most),
        "{most} at once, in {samples:?} samples; {figures:?}"
    );
    assert!(figures.evictions > 0, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_wake_a_cold_tenant_share_its_connections() {
    let settings = patient(20);
    let fixture = Arc::new(Fixture::databases(&PgServer::shared().await, "herd", 1, settings).await);
    let tasks = (0..1_000).map(|_| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move { canary(&mut fixture.lease(0).await).await })
    });
    for answer in futures_util::future::join_all(tasks).await {
        assert_eq!(answer.unwrap().unwrap(), "t0");
    }
    let figures = fixture.until_quiet().await;
    assert!(figures.opens <= 5, "a quarter of the budget: {figures:?}");
    assert!(figures.hand_overs > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_tenant_leaves_room_for_the_others() {
    let settings = patient(8).max_waiting(150);
    let fixture = Arc::new(Fixture::databases(&PgServer::shared().await, "flood", 12, settings).await);
    let ask = |tenant: usize| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let mut lease = fixture.pools.acquire(&fixture.tenants[tenant]).await?;
            assert_eq!(canary(&mut lease).await.unwrap(), format!("t{tenant}"));
            Ok::<(), tenancy_sqlx::pool::DatabaseError>(())
        })
    };
    let flood: Vec<_> = (0..400).map(|_| ask(0)).collect();
    let light: Vec<_> = (1..12).flat_map(|tenant| [ask(tenant), ask(tenant)]).collect();
    for answer in futures_util::future::join_all(light).await {
        answer.unwrap().unwrap();
    }
    let mut refused = 0;
    for answer in futures_util::future::join_all(flood).await {
        if let Err(error) = answer.unwrap() {
            assert!(error.is_busy() && error.retry_after().is_some(), "{error:?}");
            refused += 1;
        }
    }
    assert_eq!(
        u64::try_from(refused).unwrap(),
        fixture.until_quiet().await.refused_full
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_too_long_is_told_so() {
    let settings = patient(4)
        .max_per_tenant(1)
        .wait_timeout(Duration::from_millis(50));
    let fixture = Fixture::databases(&PgServer::shared().await, "wait", 1, settings).await;
    let held = fixture.lease(0).await;
    let error = fixture.pools.acquire(&fixture.tenants[0]).await.unwrap_err();
    assert!(error.is_wait_timeout() && error.is_busy(), "{error:?}");
    drop(held);
    fixture.lease(0).await;
    assert_eq!(fixture.until_quiet().await.opens, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_closed_leaves_nothing_open() {
    let server = PgServer::shared().await;
    let fixture = Fixture::databases(&server, "closed", 3, patient(8)).await;
    for tenant in 0..3 {
        canary(&mut fixture.lease(tenant).await).await.unwrap();
    }
    let held = fixture.lease(0).await;
    let (closed, ()) = tokio::join!(fixture.pools.close(), async {
        let error = fixture.pools.acquire(&fixture.tenants[1]).await.unwrap_err();
        assert!(error.is_shut_down(), "{error:?}");
        drop(held);
    });
    let () = closed;
    assert_eq!(fixture.figures().open, 0);
    let mut observer = server.connect("postgres").await;
    assert_eq!(server.count(&mut observer, "closed").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_budget_holds_at_once_and_a_larger_one_too() {
    let server = PgServer::shared().await;
    let settings = patient(12);
    let fixture = Fixture::databases(&server, "resized", 6, settings).await;
    for tenant in 0..6 {
        canary(&mut fixture.lease(tenant).await).await.unwrap();
    }
    fixture.until_quiet().await;
    assert!(fixture.pools.set_budget("main", 3));
    fixture.until(|figures| figures.open <= 3).await;
    for tenant in 0..6 {
        canary(&mut fixture.lease(tenant).await).await.unwrap();
        assert!(fixture.figures().open <= 3);
    }
    assert!(fixture.pools.set_budget("main", 12));
    let leases = futures_util::future::join_all((0..6).map(|tenant| fixture.lease(tenant))).await;
    assert_eq!(leases.len(), 6);
    assert!(!fixture.pools.set_budget("nowhere", 12));
}
