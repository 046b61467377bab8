//! Servers that fail: only who is concerned is refused, and nothing is lost.

use std::{sync::Arc, time::Duration};

use tenancy_core::ManualClock;
use tenancy_sqlx::pool::{Target, TenantPools};

use super::{
    fixture::{Fixture, backend, canary, patient},
    server::{PgServer, run, signal},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_its_tenants_matter_and_found_again() {
    let server = PgServer::shared().await;
    let fixture = Fixture::databases(&server, "missing", 2, patient(8)).await;
    let mut admin = server.connect("postgres").await;
    run(
        &mut admin,
        "ALTER DATABASE missing_t0 RENAME TO missing_elsewhere".into(),
    )
    .await;
    let clock = Arc::new(ManualClock::new());
    let pools =
        TenantPools::<sqlx::Postgres>::builder(|record| Target::database(&format!("missing_{}", record.id)))
            .server("main", server.options("missing"), patient(8))
            .clock(Arc::clone(&clock) as Arc<dyn tenancy_core::Clock>)
            .build();
    let error = pools.acquire(&fixture.tenants[0]).await.unwrap_err();
    assert!(
        error.is_missing_database() && error.retry_after().is_some(),
        "{error:?}"
    );
    assert!(!error.to_string().contains("t0"), "{error}");
    let mut neighbour = pools.acquire(&fixture.tenants[1]).await.unwrap();
    assert_eq!(canary(&mut neighbour).await.unwrap(), "t1");
    for _ in 0..20 {
        let error = pools.acquire(&fixture.tenants[0]).await.unwrap_err();
        assert!(error.is_missing_database(), "{error:?}");
    }
    let failed = pools.figures("main").unwrap().failed_opens;
    assert_eq!(failed, 1, "the answer is remembered");
    run(
        &mut admin,
        "ALTER DATABASE missing_elsewhere RENAME TO missing_t0".into(),
    )
    .await;
    // Longer than an answer is remembered.
    clock.advance(Duration::from_secs(6));
    let mut lease = pools.acquire(&fixture.tenants[0]).await.unwrap();
    assert_eq!(canary(&mut lease).await.unwrap(), "t0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_tried_once_in_each_window() {
    let server = PgServer::shared().await;
    let mut admin = server.connect("postgres").await;
    run(&mut admin, "CREATE ROLE nobody_logs_in NOLOGIN".into()).await;
    let fixture = Fixture::databases(&server, "storm", 1, patient(8)).await;
    let clock = Arc::new(ManualClock::new());
    clock.advance(Duration::from_secs(10));
    let pools = TenantPools::<sqlx::Postgres>::builder(|_| Target::database("storm_t0"))
        .server(
            "main",
            server.options("storm").username("nobody_logs_in"),
            patient(8).max_connects(1),
        )
        .clock(Arc::clone(&clock) as Arc<dyn tenancy_core::Clock>)
        .build();
    for window in 1..=3 {
        let storm = (0..100).map(|_| pools.acquire(&fixture.tenants[0]));
        for answer in futures_util::future::join_all(storm).await {
            assert!(answer.unwrap_err().is_refused());
        }
        assert_eq!(pools.figures("main").unwrap().failed_opens, window);
        clock.advance(Duration::from_secs(6));
    }
    let password = server.password();
    run(
        &mut admin,
        format!("ALTER ROLE nobody_logs_in LOGIN PASSWORD '{password}'"),
    )
    .await;
    pools.acquire(&fixture.tenants[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_the_server_all_goes_on() {
    let server = PgServer::start().await;
    let settings = patient(8);
    let fixture = Fixture::databases(&server, "restart", 4, settings).await;
    let mut held = fixture.lease(0).await;
    for tenant in 0..4 {
        canary(&mut fixture.lease(tenant).await).await.unwrap();
    }
    fixture.until(|figures| figures.idle == figures.open - 1).await;
    server.kill().await;
    assert!(canary(&mut held).await.is_err());
    drop(held);
    fixture.until(|figures| figures.closed_hard > 0).await;
    // The others were idle: each is asked, found dead, and no connection of a dead server is handed out.
    for tenant in 0..4 {
        let error = fixture.pools.acquire(&fixture.tenants[tenant]).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
    }
    assert!(fixture.figures().breaker_open);
    server.restart().await;
    for tenant in 0..4 {
        let mut lease = until_served(&fixture, tenant).await;
        assert_eq!(canary(&mut lease).await.unwrap(), format!("t{tenant}"));
    }
    let figures = fixture.until_quiet().await;
    assert!(!figures.breaker_open && figures.open <= 4, "{figures:?}");
}

async fn until_served(fixture: &Fixture, tenant: usize) -> tenancy_sqlx::pool::Lease<sqlx::Postgres> {
    for _ in 0..3_000 {
        match fixture.pools.acquire(&fixture.tenants[tenant]).await {
            Ok(lease) => return lease,
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("t{tenant} is never served again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_backend_costs_its_own_connection_and_nothing_else() {
    let server = PgServer::shared().await;
    let settings = patient(8).give_up_timeout(Duration::from_secs(1));
    let fixture = Fixture::databases(&server, "frozen", 2, settings).await;
    let mut lease = fixture.lease(0).await;
    let frozen = backend(&mut lease).await;
    signal("STOP", frozen);
    let query = sqlx::query("SELECT 1").execute(&mut *lease);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), query)
            .await
            .is_err()
    );
    drop(lease);
    let figures = fixture.until(|figures| figures.open == 0).await;
    assert_eq!((figures.cancels, figures.closed_hard), (1, 1), "{figures:?}");
    for tenant in 0..2 {
        assert_eq!(
            canary(&mut fixture.lease(tenant).await).await.unwrap(),
            format!("t{tenant}")
        );
    }
    signal("CONT", frozen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_makes_them_wait_not_fail() {
    let server = PgServer::start().await;
    let fixture = Fixture::databases(&server, "crowded", 2, patient(8)).await;
    let mut lease = fixture.lease(0).await;
    // Superusers have places of their own: all are taken but the last one.
    let mut others = Vec::new();
    while let Ok(other) = sqlx::ConnectOptions::connect(&server.options("others")).await {
        others.push(other);
    }
    let waiting = fixture.pools.acquire(&fixture.tenants[1]);
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("it does not wait"),
        _ = fixture.until(|figures| figures.failed_opens > 0) => {}
    }
    assert_eq!(canary(&mut lease).await.unwrap(), "t0", "what is open works");
    drop(others);
    let mut lease = waiting.await.unwrap();
    assert_eq!(canary(&mut lease).await.unwrap(), "t1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_given_up_after_the_connect_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = PgServer::shared().await;
    let fixture = Fixture::databases(&server, "silent", 1, patient(8)).await;
    // Who waits is told of the connect, which may end so much later than its limit.
    let wait = Duration::from_secs(2);
    let settings = patient(8)
        .connect_timeout(wait + Duration::from_millis(200))
        .wait_timeout(wait);
    let pools = TenantPools::<sqlx::Postgres>::builder(|_| Target::database("silent_t0"))
        .server("main", server.options("silent").port(port), settings)
        .build();
    let error = pools.acquire(&fixture.tenants[0]).await.unwrap_err();
    assert!(error.is_connect_timeout() && error.is_unavailable(), "{error:?}");
    let error = pools.acquire(&fixture.tenants[0]).await.unwrap_err();
    assert!(
        error.is_unavailable() && error.retry_after().is_some(),
        "fails at once: {error:?}"
    );
}
