//! What a listener is told, what it may do, and entering tenants outside of requests.

use std::sync::{Arc, OnceLock};

use axum::{Router, routing::get};
use futures_util::FutureExt;
use tenancy::{
    MemoryStore, Tenancy,
    core::{Maintenance, TenantStatus},
    event::Event,
    scope::{carry, central, on_exit, run},
};

use super::{Recorder, builder, caught, enter, here, id, subdomains, yields};
use crate::{
    gates::logs,
    support::{self, faulty::FaultyStore, send},
};

fn router() -> Router {
    Router::new()
        .route("/", get(async || yields(1).await))
        .route("/panics", get(async || assert_eq!(here(), "nobody", "as told")))
}

#[tokio::test]
async fn each_request_tells_what_happened_to_it_once_and_in_order() {
    let store = MemoryStore::of(["acme", "late"]).unwrap();
    let recorder = Recorder::default();
    let tenancy = Tenancy::builder(subdomains(), store.clone())
        .central_hosts(["app.test"])
        .listener(recorder.clone())
        .build()
        .unwrap();
    tenancy.ready().await;
    assert_eq!(recorder.take_short(), ["followed true"]);
    let app = tenancy.routes().universal(router()).build();
    let served = ["resolved acme", "entered acme", "left acme"];
    for (host, path, expected) in [
        ("acme.app.test", "/", &served[..]),
        ("acme.app.test", "/panics", &served),
        ("acme.app.test", "/nothing-here", &served),
        ("app.test", "/", &[]),
        ("other.app.test", "/", &["failed unknown_tenant"]),
        ("a b", "/", &["failed bad_host"]),
    ] {
        send(&app, support::get(host, path)).await;
        assert_eq!(recorder.take_short(), expected, "{host} {path}");
    }
    store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    assert_eq!(recorder.take_short(), ["changed acme"]);
    assert_eq!(send(&app, support::get("acme.app.test", "/")).await.status(), 403);
    assert_eq!(
        recorder.take_short(),
        served,
        "the gate stands inside of the scope"
    );
    store.remove(&id("acme")).await.unwrap();
    assert_eq!(recorder.take_short(), ["retired acme"]);
}

#[tokio::test]
async fn runs_and_carried_futures_are_told_too_and_central_code_is_not() {
    let recorder = Recorder::default();
    let tenancy = builder().listener(recorder.clone()).build().unwrap();
    let acme = enter(&tenancy, "acme").await;
    recorder.take();
    run(&acme, async {
        central(async {}).await;
        carry(async {}).await;
    })
    .await;
    drop(run(&acme, async {}));
    let expected = [
        "entered acme",
        "entered acme",
        "left acme",
        "left acme",
        "entered acme",
        "left acme",
    ];
    assert_eq!(recorder.take_short(), expected);
}

/// Calls back into the stack from everything that it is told.
fn curious(of: &Arc<OnceLock<Tenancy>>) -> impl Fn(&Event) + Send + Sync + 'static {
    let of = Arc::clone(of);
    move |_| {
        let Some(tenancy) = of.get() else { return };
        tenancy.forget(&id("acme"));
        let _ = tenancy.status();
        let _ = tenancy.enter(&id("acme")).now_or_never();
        let _ = here();
    }
}

#[tokio::test]
async fn a_listener_may_call_back_into_the_stack() {
    for watched in [true, false] {
        let store = MemoryStore::of(["acme"]).unwrap();
        let faulty = FaultyStore::new(store.clone());
        let faulty = if watched { faulty } else { faulty.finding_only() };
        let this = Arc::new(OnceLock::new());
        let tenancy = Tenancy::builder(subdomains(), faulty)
            .listener(curious(&this))
            .build()
            .unwrap();
        this.set(tenancy.clone()).unwrap();
        tenancy.ready().await;
        let app = tenancy.wrap(router());
        for host in ["acme.app.test", "other.app.test", "acme.app.test"] {
            let expected = if host.starts_with("acme") { 200 } else { 404 };
            let answer = send(&app, support::get(host, "/")).await;
            assert_eq!(answer.status(), expected, "{host} {watched}");
        }
        store
            .set_status(&id("acme"), TenantStatus::Suspended)
            .await
            .unwrap();
        tenancy.forget(&id("acme"));
        assert_eq!(send(&app, support::get("acme.app.test", "/")).await.status(), 403);
        store.remove(&id("acme")).await.unwrap();
        tenancy.forget(&id("acme"));
        assert_eq!(send(&app, support::get("acme.app.test", "/")).await.status(), 404);
    }
}

#[tokio::test]
async fn a_listener_that_panics_harms_no_request_and_is_in_the_log() {
    let log = logs::capture();
    for watched in [true, false] {
        let store = MemoryStore::of(["acme"]).unwrap();
        let faulty = FaultyStore::new(store.clone());
        let faulty = if watched { faulty } else { faulty.finding_only() };
        let tenancy = Tenancy::builder(subdomains(), faulty)
            .listener(|_: &Event| panic!("the listener"))
            .build()
            .unwrap();
        tenancy.ready().await;
        let app = tenancy.wrap(router());
        for (path, expected) in [("/", 200), ("/panics", 500), ("/", 200)] {
            let answer = send(&app, support::get("acme.app.test", path)).await;
            assert_eq!(answer.status(), expected, "{path} {watched}");
        }
        // While another panic passes by, too: a panic that left the scope's drop would end the process.
        let acme = enter(&tenancy, "acme").await;
        let work = run(&acme, async {
            on_exit(|| panic!("a callback")).unwrap();
            panic!("as told")
        });
        assert_eq!(caught::<_>(work).await, Err::<(), _>("as told".to_owned()));
        assert_eq!(here(), "nobody");
        store
            .set_status(&id("acme"), TenantStatus::Suspended)
            .await
            .unwrap();
        tenancy.forget(&id("acme"));
        assert_eq!(send(&app, support::get("acme.app.test", "/")).await.status(), 403);
    }
    assert!(log.text().contains("the listener panicked"));
}

#[tokio::test]
async fn only_tenants_that_are_served_can_be_entered() {
    let store = MemoryStore::of([
        "active",
        "maintained",
        "suspended",
        "pending",
        "deleted",
        "purged",
    ])
    .unwrap();
    for (name, status) in [
        ("suspended", TenantStatus::Suspended),
        ("pending", TenantStatus::Pending),
        ("deleted", TenantStatus::Deleted),
    ] {
        store.set_status(&id(name), status).await.unwrap();
    }
    let maintained = |record: &mut tenancy::core::TenantRecord| {
        record.maintenance = Some(Box::new(Maintenance::default()));
    };
    store.update(&id("maintained"), maintained).await.unwrap();
    store.remove(&id("purged")).await.unwrap();
    for watched in [true, false] {
        let faulty = FaultyStore::new(store.clone());
        let faulty = if watched { faulty } else { faulty.finding_only() };
        let tenancy = Tenancy::new(subdomains(), faulty.clone());
        tenancy.ready().await;
        for name in ["active", "maintained"] {
            assert_eq!(*tenancy.enter(&id(name)).await.unwrap().id(), name);
        }
        for (name, text) in [
            ("suspended", "tenant suspended is suspended"),
            ("pending", "tenant pending is pending"),
            ("deleted", "tenant deleted is deleted"),
        ] {
            let error = tenancy.enter(&id(name)).await.unwrap_err();
            assert!(error.is_not_served() && !error.is_unknown() && !error.is_unavailable());
            assert_eq!(error.to_string(), text);
        }
        for name in ["purged", "other"] {
            let error = tenancy.enter(&id(name)).await.unwrap_err();
            assert!(error.is_unknown() && !error.is_not_served() && !error.is_unavailable());
            assert_eq!(error.to_string(), format!("there is no tenant {name}"));
        }
        faulty.fail(true);
        let fresh = Tenancy::new(subdomains(), faulty);
        let error = fresh.enter(&id("active")).await.unwrap_err();
        assert!(error.is_unavailable() && !error.is_unknown() && !error.is_not_served());
        assert!(error.to_string().contains("switched the store off"), "{error}");
    }
}

#[tokio::test]
async fn a_handle_that_was_entered_sees_the_tenant_end() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let tenancy = Tenancy::new(subdomains(), store.clone());
    let acme = enter(&tenancy, "acme").await;
    assert_eq!(acme.status(), TenantStatus::Active);
    store.remove(&id("acme")).await.unwrap();
    assert_eq!(acme.status(), TenantStatus::Deleted);
    assert!(tenancy.enter(&id("acme")).await.unwrap_err().is_unknown());
}
