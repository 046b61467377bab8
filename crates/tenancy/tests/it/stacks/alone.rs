//! Single stages as layers, in an order made by hand.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, http::Response, routing::get};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    cache::CacheScope,
    core::{Maintenance, TenantStatus},
    gate::{GatePolicy, GlobalMaintenance},
    scope::on_exit,
    stack::{Stage, StageLayer},
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::{
    gates::logs,
    scopes::{Notes, Recorder, here, id, subdomains},
    support::{self, faulty::FaultyStore},
};

fn handlers(notes: &Notes) -> Router {
    let notes = notes.clone();
    let root = async move |tenant: Tenant, cache: CacheScope| {
        let at_end = notes.clone();
        on_exit(move || at_end.note("cleaned up")).unwrap();
        notes.note("handler");
        assert_eq!(cache.tenant(), &tenant);
        tenant.to_string()
    };
    Router::new()
        .route("/", get(root))
        .route("/plain", get(async || here()))
        .route("/panic", get(async || -> () { panic!("as told") }))
        .route("/slow", get(async || std::future::pending::<()>().await))
}

#[tokio::test(start_paused = true)]
async fn stages_by_hand_in_the_right_order_are_the_stack() {
    let recorder = Recorder::default();
    let store = MemoryStore::of(["acme", "closed"]).unwrap();
    store
        .set_status(&id("closed"), TenantStatus::Suspended)
        .await
        .unwrap();
    let tenancy = Tenancy::builder(subdomains(), store)
        .deadline(Duration::from_secs(1))
        .body_limit(10)
        .listener(recorder.clone())
        .build()
        .unwrap();
    tenancy.ready().await;
    recorder.take();
    let notes = Notes::default();
    let service = ServiceBuilder::new()
        .layer(tenancy.stage(Stage::PanicCatch))
        .layer(tenancy.stage(Stage::Maintenance))
        .layer(tenancy.stage(Stage::Resolve))
        .layer(tenancy.stage(Stage::Gate))
        .layer(tenancy.stage(Stage::BodyLimit))
        .layer(tenancy.stage(Stage::Deadline))
        .layer(tenancy.stage(Stage::CacheScope))
        .service(handlers(&notes));
    let whole = tenancy.layer(handlers(&notes));
    for (host, path, sent, status) in [
        ("acme.app.test", "/", "", 200),
        ("acme.app.test", "/panic", "", 500),
        ("acme.app.test", "/slow", "", 504),
        ("acme.app.test", "/", "eleven byte", 413),
        ("closed.app.test", "/", "", 403),
        ("other.app.test", "/", "", 404),
        ("a b", "/", "", 400),
    ] {
        let request = || {
            let mut request = support::get(host, path);
            *request.body_mut() = Body::from(sent);
            request
        };
        let told = |answer: Response<Body>| {
            assert_eq!(answer.status(), status, "{host}{path} {sent:?}");
            drop(answer);
            (notes.take(), recorder.take_short())
        };
        let by_hand = told(service.clone().oneshot(request()).await.unwrap());
        let by_stack = told(whole.clone().oneshot(request()).await.unwrap());
        assert_eq!(by_hand, by_stack, "{host}{path} {sent:?}");
        if status == 200 {
            assert_eq!(by_hand.0, ["handler for acme", "cleaned up for acme"]);
            assert_eq!(by_hand.1, ["resolved acme", "entered acme", "left acme"]);
        }
    }
    tenancy.maintenance().enable(&Maintenance::default()).unwrap();
    let closed = service.oneshot(support::get("acme.app.test", "/")).await.unwrap();
    assert_eq!(closed.status(), 503);
}

#[tokio::test]
async fn stages_in_a_wrong_order_answer_500_and_the_log_names_the_missing_one() {
    let tenancy = Tenancy::new(subdomains(), MemoryStore::of(["acme"]).unwrap());
    let log = logs::capture();
    for (stages, named) in [
        (
            vec![Stage::Gate, Stage::Resolve],
            "the gate stage needs the resolve stage outside of it",
        ),
        (
            vec![Stage::Gate],
            "the gate stage needs the resolve stage outside of it",
        ),
        (
            vec![Stage::CacheScope, Stage::Resolve],
            "the cache_scope stage needs the resolve stage outside of it",
        ),
        (vec![Stage::Resolve], "the cache_scope stage has not run"),
        (
            vec![Stage::PanicCatch],
            "the resolve stage of tenancy has not seen",
        ),
    ] {
        let before = log.text().len();
        let innermost = tower::util::BoxCloneSyncService::new(handlers(&Notes::default()));
        let service = stages.iter().rev().fold(innermost, |inner, stage| {
            tower::util::BoxCloneSyncService::new(tenancy.stage(*stage).layer(inner))
        });
        let response = service.oneshot(support::get("acme.app.test", "/")).await.unwrap();
        assert_eq!(response.status(), 500, "{stages:?}");
        let body = support::text(response).await;
        assert!(!body.contains("stage"), "{body}");
        let logged = log.text()[before..].to_owned();
        for part in [named, "ERROR", "misbuilt_stack"] {
            assert!(logged.contains(part), "{part} in {logged}");
        }
    }
}

#[tokio::test]
async fn a_resolve_stage_alone_waits_for_the_store_and_opens_the_scope() {
    let store = FaultyStore::new(MemoryStore::of(["acme"]).unwrap()).finding_only();
    let tenancy = Tenancy::new(subdomains(), store.clone());
    let service = tenancy.stage(Stage::Resolve).layer(handlers(&Notes::default()));
    for finds in [1, 1] {
        let response = service
            .clone()
            .oneshot(support::get("acme.app.test", "/plain"))
            .await
            .unwrap();
        assert_eq!(support::text(response).await, "acme");
        assert_eq!(store.finds(), finds);
    }
}

#[tokio::test]
async fn stages_stand_around_any_service_also_one_that_is_no_router() {
    let echo = tower::service_fn(async |request: Request| {
        let whole = axum::body::to_bytes(request.into_body(), 100).await;
        Ok::<_, std::convert::Infallible>(match whole {
            Ok(bytes) => Response::new(Body::from(bytes)),
            Err(_) => Response::builder().status(413).body(Body::empty()).unwrap(),
        })
    });
    let switch = GlobalMaintenance::new();
    let service = ServiceBuilder::new()
        .layer(StageLayer::maintenance(switch.clone()))
        .layer(StageLayer::panic_catch())
        .layer(StageLayer::body_limit(5))
        .layer(StageLayer::deadline(Duration::from_secs(1)))
        .service(echo);
    for (body, status) in [("five!", 200), ("sixsix", 413)] {
        let request = Request::post("/").body(Body::from(body)).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{body}");
    }
    switch.enable(&Maintenance::default()).unwrap();
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn a_layer_that_says_whose_every_request_is_stands_in_for_the_resolve_stage() {
    let recorder = Recorder::default();
    let tenancy = Tenancy::builder(subdomains(), MemoryStore::of(["acme", "globex"]).unwrap())
        .listener(recorder.clone())
        .build()
        .unwrap();
    let acme = tenancy.enter(&id("acme")).await.unwrap();
    let globex = tenancy.enter(&id("globex")).await.unwrap();
    recorder.take();
    let notes = Notes::default();
    let service = |whose: StageLayer| {
        ServiceBuilder::new()
            .layer(whose)
            .layer(StageLayer::gate(GatePolicy::default()))
            .layer(StageLayer::cache_scope())
            .service(handlers(&notes))
    };
    let request = |path| support::get("globex.app.test", path);

    let for_acme = service(StageLayer::for_tenant(&acme));
    let answer = for_acme.clone().oneshot(request("/")).await.unwrap();
    assert_eq!(support::text(answer).await, "acme");
    assert_eq!(notes.take(), ["handler for acme", "cleaned up for acme"]);
    assert_eq!(
        recorder.take_short(),
        ["resolved acme", "entered acme", "left acme"]
    );

    let for_nobody = service(StageLayer::for_central());
    assert_eq!(for_nobody.oneshot(request("/")).await.unwrap().status(), 404);
    assert!(recorder.take_short().is_empty());

    // Neither may say that what was found to be another's is its own.
    let same = StageLayer::for_tenant(&acme).layer(for_acme.clone());
    assert_eq!(same.oneshot(request("/plain")).await.unwrap().status(), 200);
    for further_out in [StageLayer::for_tenant(&globex), StageLayer::for_central()] {
        let answer = further_out
            .layer(for_acme.clone())
            .oneshot(request("/plain"))
            .await;
        assert_eq!(answer.unwrap().status(), 500);
    }
}
