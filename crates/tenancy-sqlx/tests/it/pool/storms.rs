//! Many who ask at once for what fails, or for what is cold: what reaches the server is counted on the wire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use futures_util::future::join_all;
use sqlx::Postgres;
use tenancy::{
    Tenancy, Tenant,
    resolve::{ResolveSettings, Subdomain},
};
use tenancy_core::{Clock, ManualClock, StoreError, TenantKey, TenantRecord, TenantStore};
use tenancy_sqlx::pool::{Target, TenantPools};
use tenancy_test::servers::{self, Fault, FaultProxy};
use tower::ServiceExt;

use super::{
    fixture::{Fixture, canary, patient, steady},
    server::{PgServer, run},
};

/// Longer than any backoff.
const WINDOW: Duration = Duration::from_secs(31);

async fn proxy() -> FaultProxy {
    let server = servers::Postgres::shared().await;
    FaultProxy::start(server.address()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_refused_login_the_server_hears_once_in_each_window() {
    let server = PgServer::shared().await;
    let mut admin = server.connect("postgres").await;
    run(&mut admin, "CREATE ROLE stormy NOLOGIN".into()).await;
    let fixture = Fixture::databases(&server, "stormy", 2, patient(8)).await;
    let proxy = proxy().await;
    let clock = Arc::new(ManualClock::new());
    clock.advance(WINDOW);
    let options = server.options("stormy").port(proxy.address().port());
    let pools = TenantPools::<Postgres>::builder(|record| Target::database(&format!("stormy_{}", record.id)))
        .server("main", options.username("stormy"), patient(8))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build();
    for window in 0..4 {
        let before = proxy.traffic().connections;
        let storm = (0..200).map(|_| pools.acquire(&fixture.tenants[0]));
        for answer in join_all(storm).await {
            let error = answer.unwrap_err();
            assert!(error.is_refused() && error.retry_after().is_some(), "{error:?}");
        }
        let logins = proxy.traffic().connections - before;
        // At first nobody knows yet: as many as the tenant may have, which is a quarter of the budget.
        let most = if window == 0 { 2 } else { 1 };
        assert!(logins <= most && logins > 0, "{logins} logins in window {window}");
        clock.advance(WINDOW);
    }
    // What is refused to one login says nothing of the server.
    assert!(!pools.figures("main").unwrap().breaker_open);
    let password = server.password();
    run(
        &mut admin,
        format!("ALTER ROLE stormy LOGIN PASSWORD '{password}'"),
    )
    .await;
    run(&mut admin, "ALTER ROLE stormy SUPERUSER".into()).await;
    let mut lease = pools.acquire(&fixture.tenants[0]).await.unwrap();
    assert_eq!(canary(&mut lease).await.unwrap(), "t0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_server_that_is_away_one_probe_asks_in_each_window_for_all_tenants() {
    let server = PgServer::shared().await;
    let fixture = Fixture::databases(&server, "probed", 6, patient(8)).await;
    let proxy = proxy().await;
    let clock = Arc::new(ManualClock::new());
    clock.advance(WINDOW);
    let pools = TenantPools::<Postgres>::builder(|record| Target::database(&format!("probed_{}", record.id)))
        .server(
            "main",
            server.options("probed").port(proxy.address().port()),
            patient(8),
        )
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build();
    proxy.set(Fault::Close);
    for window in 0..4 {
        let before = proxy.traffic().connections;
        let storm = (0..120).map(|request| pools.acquire(&fixture.tenants[request % 6]));
        for answer in join_all(storm).await {
            let error = answer.unwrap_err();
            assert!(
                error.is_unavailable() && error.retry_after().is_some(),
                "{error:?}"
            );
        }
        let probes = proxy.traffic().connections - before;
        let most = if window == 0 { 4 } else { 1 };
        assert!(probes <= most && probes > 0, "{probes} probes in window {window}");
        assert!(pools.figures("main").unwrap().breaker_open);
        clock.advance(WINDOW);
    }
    proxy.set(Fault::Pass);
    // The probe decides for everybody.
    let mut lease = pools.acquire(&fixture.tenants[5]).await.unwrap();
    assert_eq!(canary(&mut lease).await.unwrap(), "t5");
    for tenant in 0..6 {
        let mut lease = pools.acquire(&fixture.tenants[tenant]).await.unwrap();
        assert_eq!(canary(&mut lease).await.unwrap(), format!("t{tenant}"));
    }
}

/// A catalogue that can only be asked, and counts how often it was.
struct Asked(Arc<AtomicUsize>);

impl TenantStore for Asked {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let id = key.value().parse().ok();
        Ok(id.map(TenantRecord::new))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_that_wake_a_cold_tenant_cost_one_question_and_its_share_of_connections() {
    let server = PgServer::shared().await;
    // For its database.
    let fixture = Fixture::databases(&server, "woken", 1, patient(1)).await;
    let proxy = proxy().await;
    let pools = TenantPools::<Postgres>::builder(|_| Target::database("woken_t0"))
        .server(
            "main",
            server.options("woken").port(proxy.address().port()),
            steady(20),
        )
        .build();
    let asked = Arc::new(AtomicUsize::new(0));
    let mut patience = ResolveSettings::default();
    patience.resolve_timeout = Duration::from_secs(60);
    patience.load_timeout = Duration::from_secs(60);
    let tenancy = Tenancy::builder(Subdomain::of("example.com").unwrap(), Asked(Arc::clone(&asked)))
        .resolve_settings(patience)
        .build()
        .unwrap();
    let handler = {
        let pools = pools.clone();
        move |tenant: Tenant| async move {
            let mut lease = pools.acquire(&tenant).await.unwrap();
            canary(&mut lease).await.unwrap()
        }
    };
    let app = tenancy.wrap(Router::new().route("/", get(handler)));
    let requests = (0..1_000).map(|_| {
        let app = app.clone();
        tokio::spawn(async move {
            let request = Request::get("/").header("host", "t0.example.com");
            let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let body = axum::body::to_bytes(Body::new(response.into_body()), 100).await;
            String::from_utf8(body.unwrap().to_vec()).unwrap()
        })
    });
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap(), "t0");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "questions to the catalogue");
    let connections = proxy.traffic().connections;
    assert!(connections <= 5, "a quarter of the budget, and not {connections}");
    let figures = pools.figures("main").unwrap();
    assert_eq!(
        (figures.opens, figures.failed_opens),
        (connections, 0),
        "{figures:?}"
    );
    drop(fixture);
}
