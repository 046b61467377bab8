//! A stack that only observes: nobody is refused, everything is counted, extractors stay closed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, OriginalUri},
    http::{HeaderMap, Request, StatusCode, Uri},
    routing::{any, get, post},
};
use tenancy::{
    Central, MemoryStore, Tenancy, Tenant,
    core::{Maintenance, TenantId, TenantStatus},
    credential::CredentialClaim,
    event::Event,
    rejection::{Rejection, RejectionReason},
    resolve::{PathSegment, Resolution, Subdomain, TrustedProxies},
    rollout::RolloutReport,
    routes::TenancyApp,
    scope,
    stack::{Stage, TenancyBuilder},
};

use crate::{
    gates::logs,
    lookups::Hand,
    support::{self, faulty::FaultyStore, send, text},
};

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

async fn suspend(store: &MemoryStore) {
    let suspended = store
        .update(&id("acme"), |record| record.status = TenantStatus::Suspended)
        .await;
    suspended.unwrap();
}

fn store() -> MemoryStore {
    MemoryStore::of(["acme", "globex"]).unwrap()
}

fn builder(store: MemoryStore) -> TenancyBuilder {
    Tenancy::builder(Subdomain::of("example.com").unwrap(), store).central_hosts(["example.com"])
}

/// The application as it was before tenancy, with one route that is new.
fn application() -> Router {
    Router::new()
        .route("/", any(|| async { "as ever" }))
        .route(
            "/who",
            get(|tenant: Tenant| async move { tenant.id().to_string() }),
        )
        .route(
            "/maybe",
            get(|tenant: Option<Tenant>| async move { format!("{tenant:?}") }),
        )
        .route("/central", get(|_: Central| async { "central" }))
        .route("/how", get(|_: Resolution| async { "how" }))
        .route(
            "/scope",
            get(|| async { format!("{:?}", scope::current().is_some()) }),
        )
}

async fn observed(store: MemoryStore) -> (Tenancy, TenancyApp) {
    let tenancy = builder(store).observe().build().unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(application());
    (tenancy, app)
}

async fn status(app: &TenancyApp, host: &str, path: &str) -> StatusCode {
    send(app, support::get(host, path)).await.status()
}

fn counted(report: &RolloutReport, reason: RejectionReason) -> u64 {
    let found = report.reasons.iter().find(|(known, _)| *known == reason);
    found.map_or(0, |(_, count)| *count)
}

#[tokio::test]
async fn whatever_would_be_refused_reaches_the_application_and_is_counted() {
    let (tenancy, app) = observed(store()).await;
    for (host, reason) in [
        ("nobody.example.com", RejectionReason::UnknownTenant),
        ("elsewhere.test", RejectionReason::UnknownTenant),
        ("a b", RejectionReason::BadHost),
        ("acme.example.com,b", RejectionReason::BadHost),
    ] {
        let before = counted(&tenancy.rollout().report(), reason);
        let response = send(&app, support::get(host, "/")).await;
        assert_eq!(response.status(), 200, "{host}");
        assert!(response.extensions().get::<Rejection>().is_none(), "{host}");
        assert_eq!(text(response).await, "as ever", "{host}");
        assert_eq!(counted(&tenancy.rollout().report(), reason), before + 1, "{host}");
    }
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(tenancy.rollout().report().would_refuse(), 4);
}

#[tokio::test]
async fn extractors_stay_closed_with_the_answer_that_the_client_would_have_got() {
    let store = store();
    let (_, app) = observed(store.clone()).await;
    for path in ["/who", "/maybe", "/central", "/how"] {
        assert_eq!(status(&app, "nobody.example.com", path).await, 404, "{path}");
        assert_eq!(status(&app, "a b", path).await, 400, "{path}");
    }
    assert_eq!(
        text(send(&app, support::get("acme.example.com", "/who")).await).await,
        "acme"
    );
    suspend(&store).await;
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(status(&app, "acme.example.com", "/who").await, 403);
}

#[tokio::test]
async fn a_route_that_demands_a_credential_stays_closed_to_nobody() {
    let tenancy = builder(store()).observe().build().unwrap();
    tenancy.ready().await;
    let of_acme = || tenancy.bind_credential(|_| CredentialClaim::BoundToId(id("acme")));
    let routes = Router::new()
        .route("/checks", get(|| async { "in" }).route_layer(of_acme()))
        .route("/demands", get(|| async { "in" }).route_layer(of_acme().demand()));
    let app = tenancy.wrap(routes);
    for (host, checks, demands) in [
        ("acme.example.com", 200, 200),
        ("globex.example.com", 403, 403),
        ("nobody.example.com", 200, 404),
        ("a b", 200, 400),
    ] {
        assert_eq!(status(&app, host, "/checks").await, checks, "{host}");
        assert_eq!(status(&app, host, "/demands").await, demands, "{host}");
    }
}

#[tokio::test]
async fn nobody_has_no_scope() {
    let (_, app) = observed(store()).await;
    let scope_of = async |host| text(send(&app, support::get(host, "/scope")).await).await;
    assert_eq!(scope_of("acme.example.com").await, "true");
    assert_eq!(scope_of("nobody.example.com").await, "false");
}

#[tokio::test]
async fn suspended_tenants_and_maintenance_are_counted_and_served() {
    let store = store();
    let (tenancy, app) = observed(store.clone()).await;
    suspend(&store).await;
    store
        .update(&id("globex"), |record| record.maintenance = Some(Box::default()))
        .await
        .unwrap();
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(status(&app, "globex.example.com", "/").await, 200);
    tenancy.maintenance().enable(&Maintenance::default()).unwrap();
    assert_eq!(status(&app, "globex.example.com", "/").await, 200);
    let report = tenancy.rollout().report();
    assert_eq!(counted(&report, RejectionReason::SuspendedTenant), 1);
    assert_eq!(report.held_by_maintenance, 3);

    tenancy.rollout().enforce(Stage::Maintenance);
    assert_eq!(status(&app, "globex.example.com", "/").await, 503);
}

#[tokio::test]
async fn stages_are_switched_on_and_off_one_by_one_while_requests_run() {
    let store = store();
    let (tenancy, app) = observed(store.clone()).await;
    suspend(&store).await;
    let both = async || {
        (
            status(&app, "nobody.example.com", "/").await.as_u16(),
            status(&app, "acme.example.com", "/").await.as_u16(),
        )
    };
    assert_eq!(both().await, (200, 200));
    tenancy.rollout().enforce(Stage::Gate);
    assert_eq!(both().await, (200, 403));
    tenancy.rollout().enforce(Stage::Resolve);
    assert_eq!(both().await, (404, 403));
    tenancy.rollout().observe(Stage::Gate);
    assert_eq!(both().await, (404, 200));
    tenancy.rollout().enforce_all();
    assert_eq!(both().await, (404, 403));
    tenancy.rollout().observe_all();
    assert_eq!(both().await, (200, 200));
    let every: Vec<Stage> = Stage::every().collect();
    assert_eq!(tenancy.rollout().report().observing, every);
}

#[tokio::test]
async fn some_stages_may_refuse_from_the_start() {
    let tenancy = builder(store()).observe_stages([Stage::Gate]).build().unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(application());
    assert_eq!(status(&app, "nobody.example.com", "/").await, 404);
    assert_eq!(tenancy.rollout().report().would_refuse(), 0);
}

#[tokio::test]
async fn central_hosts_reach_the_one_router_until_resolving_is_enforced() {
    let (tenancy, app) = observed(store()).await;
    assert_eq!(status(&app, "example.com", "/").await, 200);
    assert_eq!(status(&app, "example.com", "/who").await, 404);
    assert_eq!(status(&app, "example.com", "/central").await, 200);
    tenancy.rollout().enforce(Stage::Resolve);
    assert_eq!(status(&app, "example.com", "/").await, 404);
}

#[tokio::test]
async fn the_request_arrives_as_it_came() {
    let seen = Router::new().fallback(any(
        |uri: Uri, OriginalUri(original): OriginalUri, headers: HeaderMap| async move {
            assert_eq!(uri, original);
            format!("{uri} {:?}", headers.get("x-forwarded-host"))
        },
    ));
    let tenancy = Tenancy::builder(PathSegment::at(0).strip(true), store())
        .observe()
        .build()
        .unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(seen);
    let mut request = support::get("example.com", "/acme/orders?page=2");
    request
        .headers_mut()
        .insert("x-forwarded-host", "spoofed.test".parse().unwrap());
    assert_eq!(
        text(send(&app, request).await).await,
        r#"/acme/orders?page=2 Some("spoofed.test")"#
    );
}

#[tokio::test]
async fn large_bodies_are_counted_and_read_whole() {
    let tenancy = builder(store()).body_limit(4).observe().build().unwrap();
    tenancy.ready().await;
    let app =
        tenancy.wrap(Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() })));
    let announced = Request::post("/")
        .header("host", "acme.example.com")
        .header("content-length", "10");
    let response = send(&app, announced.body(Body::from("0123456789")).unwrap()).await;
    assert_eq!(text(response).await, "10");
    let pieces = futures_util::stream::iter(["01234", "56789"].map(Ok::<_, std::io::Error>));
    let streamed = Request::post("/").header("host", "acme.example.com");
    let response = send(&app, streamed.body(Body::from_stream(pieces)).unwrap()).await;
    assert_eq!(text(response).await, "10");
    assert_eq!(
        counted(&tenancy.rollout().report(), RejectionReason::BodyTooLarge),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn long_answers_are_counted_once_and_waited_for() {
    let slow = Router::new().fallback(any(|| async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        "at last"
    }));
    let tenancy = builder(store())
        .deadline(Duration::from_secs(1))
        .observe()
        .build()
        .unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(slow);
    assert_eq!(
        text(send(&app, support::get("acme.example.com", "/")).await).await,
        "at last"
    );
    assert_eq!(
        counted(&tenancy.rollout().report(), RejectionReason::DeadlinePassed),
        1
    );
}

#[tokio::test]
async fn panics_pass_as_before() {
    let tenancy = builder(store()).observe().build().unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(Router::new().fallback(any(|| async { panic!("as ever") as &str })));
    let sent = tokio::spawn(async move { send(&app, support::get("acme.example.com", "/")).await.status() });
    assert!(sent.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_a_quarter_of_a_second() {
    let store = FaultyStore::new(store()).finding_only();
    store.hold_finds();
    let tenancy = Tenancy::builder(Subdomain::of("example.com").unwrap(), store.clone())
        .observe()
        .build()
        .unwrap();
    let app = tenancy.wrap(application());
    let before = tokio::time::Instant::now();
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(before.elapsed(), Duration::from_millis(250));
    assert_eq!(
        counted(&tenancy.rollout().report(), RejectionReason::StoreUnavailable),
        1
    );
    store.release_finds();
    assert_eq!(
        text(send(&app, support::get("acme.example.com", "/who")).await).await,
        "acme"
    );
}

#[tokio::test]
async fn a_proxy_list_without_peer_addresses_stops_nobody() {
    let tenancy = builder(store())
        .trust_proxies(TrustedProxies::new(["10.0.0.0/8"]).unwrap())
        .observe()
        .build()
        .unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(application());
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(
        counted(&tenancy.rollout().report(), RejectionReason::PeerUnknown),
        1
    );
    let mut request = support::get("acme.example.com", "/who");
    request
        .extensions_mut()
        .insert(ConnectInfo(std::net::SocketAddr::from(([192, 0, 2, 1], 80))));
    assert_eq!(text(send(&app, request).await).await, "acme");
}

#[tokio::test]
async fn layers_between_the_stages_change_nothing_of_this() {
    let store = store();
    let tenancy = builder(store.clone())
        .insert_after(Stage::Resolve, tower::layer::util::Identity::new())
        .insert_before(Stage::CacheScope, tower::layer::util::Identity::new())
        .observe()
        .build()
        .unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(application());
    assert_eq!(status(&app, "nobody.example.com", "/").await, 200);
    assert_eq!(status(&app, "nobody.example.com", "/maybe").await, 404);
    assert_eq!(
        text(send(&app, support::get("nobody.example.com", "/scope")).await).await,
        "false"
    );
    suspend(&store).await;
    assert_eq!(status(&app, "acme.example.com", "/").await, 200);
    assert_eq!(status(&app, "acme.example.com", "/who").await, 403);
}

#[tokio::test]
async fn disagreement_with_the_application_is_counted_and_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |event: &Event| match event {
            Event::LegacyDisagrees { tenant } => {
                told.lock()
                    .unwrap()
                    .push(tenant.as_ref().map(|tenant| tenant.id().to_string()));
            }
            Event::WouldRefuse { reason } => told.lock().unwrap().push(Some(reason.to_string())),
            _ => {}
        }
    };
    let tenancy = builder(store()).observe().listener(listener).build().unwrap();
    tenancy.ready().await;
    let acme = tenancy.enter(&id("acme")).await.unwrap();
    assert!(acme.compare("acme"));
    assert!(!acme.compare("globex"));
    assert!(!tenancy.rollout().compare(None, Some("acme")));
    assert!(tenancy.rollout().compare(None, None));
    let app = tenancy.wrap(application());
    assert_eq!(status(&app, "nobody.example.com", "/").await, 200);
    let report = tenancy.rollout().report();
    assert_eq!((report.agreed, report.disagreed), (2, 2));
    let expected = [Some("acme".to_owned()), None, Some("unknown_tenant".to_owned())];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn disagreement_is_logged_once_a_second_escaped_and_cut() {
    let clock = Hand::default();
    let tenancy = builder(store()).observe().clock(clock.clone()).build().unwrap();
    tenancy.ready().await;
    let rollout = tenancy.rollout();
    let captured = logs::capture();
    let lines = || {
        captured
            .text()
            .matches("the application finds another tenant")
            .count()
    };

    let hostile = format!("\u{1b}[2J\n{}THE END", "a".repeat(100));
    for _ in 0..3 {
        assert!(!rollout.compare(None, Some(&hostile)));
    }
    assert_eq!(lines(), 1);
    clock.advance(Duration::from_millis(999));
    rollout.compare(None, Some("b"));
    assert_eq!(lines(), 1);
    clock.advance(Duration::from_millis(1));
    rollout.compare(None, Some("b"));
    assert_eq!(lines(), 2);
    assert_eq!(rollout.report().disagreed, 5, "all are counted");

    let logged = captured.text();
    assert!(logged.contains("aaa") && !logged.contains("THE END"), "{logged}");
    assert!(!logged.contains('\u{1b}'), "{logged}");
    assert_eq!(logged.lines().count(), 2, "{logged}");
}

#[tokio::test]
async fn the_report_is_read_by_people_and_programs() {
    let (tenancy, app) = observed(store()).await;
    assert_eq!(status(&app, "nobody.example.com", "/").await, 200);
    tenancy.rollout().enforce(Stage::PanicCatch);
    let report = tenancy.rollout().report();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["would_refuse"]["unknown_tenant"], 1);
    assert_eq!(json["observing"][0], "maintenance");
    assert_eq!(json["disagreed"], 0);
    let shown = report.to_string();
    assert!(shown.contains("would refuse, unknown_tenant: 1"), "{shown}");
}

#[tokio::test]
async fn a_stack_that_enforces_counts_nothing_as_observed() {
    let tenancy = builder(store()).build().unwrap();
    tenancy.ready().await;
    let app = tenancy.wrap(application());
    assert_eq!(status(&app, "nobody.example.com", "/").await, 404);
    let report = tenancy.rollout().report();
    assert_eq!((report.would_refuse(), report.observing.len()), (0, 0));
}

/// A request in the middle of its answer is not touched by the switch.
#[tokio::test]
async fn what_was_let_through_stays_let_through() {
    let (tenancy, _) = observed(store()).await;
    let switched = Arc::new(AtomicBool::new(false));
    let handler = {
        let (tenancy, switched) = (tenancy.clone(), Arc::clone(&switched));
        move || {
            tenancy.rollout().enforce_all();
            switched.store(true, Ordering::SeqCst);
            async { "as ever" }
        }
    };
    let app = tenancy.wrap(Router::new().fallback(any(handler)));
    assert_eq!(status(&app, "nobody.example.com", "/").await, 200);
    assert!(switched.load(Ordering::SeqCst));
    assert_eq!(status(&app, "nobody.example.com", "/").await, 404);
}
