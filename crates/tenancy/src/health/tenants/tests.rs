use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use tenancy_core::ManualClock;
use tower::ServiceExt;

use super::*;
use crate::{
    MemoryStore, Tenancy, health::Health, resolve::Subdomain, resource::ResourceKey, routes::TenancyApp,
    stack::Stage,
};

struct World {
    tenancy: Tenancy,
    app: TenancyApp,
    clock: Arc<ManualClock>,
}

async fn fail() -> StatusCode {
    StatusCode::BAD_GATEWAY
}

/// Tenants `t0` to `t9`, whose `/` is well and whose `/fail` is not.
async fn world(tenants: &TenantHealth) -> World {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::of((0..10).map(|at| format!("t{at}"))).unwrap();
    let tenancy = Tenancy::builder(Subdomain::of("app.test").unwrap(), store)
        .clock(Arc::clone(&clock))
        .insert_after(Stage::Gate, tenants.layer())
        .build()
        .unwrap();
    tenancy.ready().await;
    let router = Router::new()
        .route("/", get(|| async {}))
        .route("/fail", get(fail));
    let app = tenancy.wrap(router);
    World { tenancy, app, clock }
}

impl World {
    async fn ask(&self, tenant: &str, path: &str, times: usize) {
        for _ in 0..times {
            let request = Request::get(path).header("host", format!("{tenant}.app.test"));
            let request = request.body(Body::empty()).unwrap();
            self.app.clone().oneshot(request).await.unwrap();
        }
    }

    async fn tenant(&self, id: &str) -> Tenant {
        self.tenancy.enter(&id.parse().unwrap()).await.unwrap()
    }
}

fn states(tenants: &TenantHealth) -> Vec<(String, TenantState)> {
    let active = tenants.active().into_iter();
    active
        .map(|report| (report.tenant.to_string(), report.state))
        .collect()
}

#[tokio::test]
async fn a_tenant_whose_requests_fail_is_down_and_others_are_not() {
    let tenants = TenantHealth::new();
    let world = world(&tenants).await;
    world.ask("t1", "/fail", 10).await;
    world.ask("t2", "/", 19).await;
    world.ask("t2", "/fail", 1).await;
    world.ask("t3", "/", 10).await;
    world.ask("t4", "/fail", 9).await;
    let expected = [
        ("t1", TenantState::Down),
        ("t2", TenantState::Degraded),
        ("t3", TenantState::Up),
        // Too few to say.
        ("t4", TenantState::Up),
    ];
    assert_eq!(
        states(&tenants),
        expected.map(|(id, state)| (id.to_owned(), state))
    );
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(states(&tenants), [], "nothing was seen lately");
}

#[tokio::test]
async fn hosts_of_nobody_are_on_no_list() {
    let tenants = TenantHealth::new();
    let world = world(&tenants).await;
    for at in 0..100 {
        world.ask(&format!("nobody{at}"), "/", 1).await;
    }
    assert_eq!(states(&tenants), []);
}

#[tokio::test]
async fn the_list_is_bounded() {
    let tenants = TenantHealth::of_at_most(3);
    let world = world(&tenants).await;
    for at in 0..10 {
        world.ask(&format!("t{at}"), "/", 1).await;
        tenants.recent.run_pending_tasks();
    }
    let active: Vec<String> = states(&tenants).into_iter().map(|(id, _)| id).collect();
    assert_eq!(active, ["t7", "t8", "t9"], "those that were active last");
}

#[tokio::test]
async fn objects_that_can_not_be_made_and_what_is_noted_count_as_failures() {
    const MAILER: ResourceKey<()> = ResourceKey::new("mailer");
    let tenants = TenantHealth::new();
    let world = world(&tenants).await;
    world.ask("t1", "/", 2).await;
    let tenant = world.tenant("t1").await;
    let failing = |_| async { Err::<(), _>(io::Error::other("no")) };
    for _ in 0..4 {
        assert!(tenant.resource(MAILER, failing).await.is_err());
        tenant.note_failure();
    }
    let report = tenants.of(&tenant);
    assert_eq!((report.requests, report.failed), (10, 8));
    assert_eq!(report.state, TenantState::Down);
}

#[tokio::test]
async fn a_slow_tenant_is_degraded() {
    let tenants = TenantHealth::new().slow_after(Duration::ZERO);
    let world = world(&tenants).await;
    world.ask("t1", "/", 10).await;
    assert_eq!(states(&tenants), [("t1".to_owned(), TenantState::Degraded)]);
}

#[tokio::test]
async fn the_roll_up_fails_when_too_many_of_those_that_are_active_are_down() {
    let tenants = TenantHealth::new().most_down(0.25);
    let world = world(&tenants).await;
    let check = tenants.check();
    assert!((check.run)().await.is_ok(), "nobody is active");
    for tenant in ["t1", "t2", "t3"] {
        world.ask(tenant, "/", 10).await;
    }
    world.ask("t4", "/fail", 10).await;
    assert!((check.run)().await.is_ok(), "a quarter");
    world.ask("t5", "/fail", 10).await;
    let error = (check.run)().await.unwrap_err().to_string();
    assert_eq!(error, "2 of 5 active tenants are down");
}

#[tokio::test(start_paused = true)]
async fn active_tenants_alone_are_probed_a_few_at_once_and_are_down_after_two_failures() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let probe = |tenant: Tenant| async move {
        assert_eq!(scope_tenant(), Some(tenant.clone()), "in its scope");
        let running = 1 + NOW.fetch_add(1, Ordering::SeqCst);
        MOST.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        match tenant.id().as_str() {
            "t1" => Err(io::Error::other("no")),
            "t2" => panic!("a probe"),
            _ => Ok(()),
        }
    };
    let tenants = TenantHealth::new()
        .probe(probe)
        .probe_every(Duration::from_secs(10), 2);
    let world = world(&tenants).await;
    let health = Health::builder().tenants(&tenants).build().unwrap();
    for at in 1..6 {
        world.ask(&format!("t{at}"), "/", 1).await;
    }
    tokio::time::sleep(Duration::from_secs(14)).await;
    let failed = |id: &str| {
        tenants
            .find(&id.parse().unwrap())
            .map(|report| (report.failed_probes, report.state))
    };
    assert_eq!(failed("t1"), Some((1, TenantState::Up)));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(failed("t1"), Some((2, TenantState::Down)));
    assert_eq!(failed("t2"), Some((2, TenantState::Down)));
    assert_eq!(failed("t3"), Some((0, TenantState::Up)));
    assert_eq!(failed("t9"), None);
    assert_eq!(MOST.load(Ordering::SeqCst), 2);
    drop(health);
}

fn scope_tenant() -> Option<Tenant> {
    crate::scope::current_tenant()
}

#[tokio::test]
async fn tenants_are_listed_for_operators_alone() {
    let tenants = TenantHealth::new();
    let world = world(&tenants).await;
    let health = Health::builder().tenants(&tenants).build().unwrap();
    world.ask("t1", "/fail", 10).await;
    world.ask("t2", "/", 10).await;
    let ask = async |router: Router, path: &str| {
        let response = router
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await;
        let (head, body) = response
            .unwrap_or_else(|never: Infallible| match never {})
            .into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, body) = ask(health.admin_routes(), "/health/tenants?state=down&limit=5").await;
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["active"], &body["matching"]), (&2.into(), &1.into()));
    assert_eq!(body["tenants"][0]["tenant"], "t1");
    assert_eq!(body["tenants"][0]["state"], "down");
    let (status, body) = ask(health.admin_routes(), "/health/tenants/t2").await;
    assert!(status == 200 && body.contains(r#""state":"up""#), "{body}");
    for path in [
        "/health/tenants/t9",
        "/health/tenants/%3Cscript%3E",
        "/health/tenants/%ff",
    ] {
        let (status, body) = ask(health.admin_routes(), path).await;
        assert!(
            matches!(status, 400 | 404) && !body.contains("script"),
            "{path}: {status} {body}"
        );
    }
    for path in ["/health/tenants", "/health/tenants/t1"] {
        assert_eq!(
            ask(health.routes(), path).await.0,
            404,
            "{path} is not for everybody"
        );
    }
    let (_, body) = ask(health.routes(), "/health?verbose").await;
    assert!(!body.contains("t1") && !body.contains("tenants"), "{body}");
}
