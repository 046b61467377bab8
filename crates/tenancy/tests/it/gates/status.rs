//! Tenants that are suspended, deleted, pending, or gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, http::Request, routing::any};
use tenancy::{
    MemoryStore, Tenancy,
    core::TenantStatus,
    gate::GatePolicy,
    rejection::{REFERENCE_HEADER, Rejection, RejectionReason},
    stack::TenancyBuilder,
};

use super::{Answer, app, ask, id, request};
use crate::{
    scopes::subdomains,
    support::{self, send},
};

/// A stack with one tenant of each status, named after it, and one that was purged.
async fn builder() -> (TenancyBuilder, MemoryStore) {
    let store = MemoryStore::of(["active", "suspended", "deleted", "pending", "purged"]).unwrap();
    for (name, status) in [
        ("suspended", TenantStatus::Suspended),
        ("deleted", TenantStatus::Deleted),
        ("pending", TenantStatus::Pending),
    ] {
        store.set_status(&id(name), status).await.unwrap();
    }
    store.remove(&id("purged")).await.unwrap();
    (Tenancy::builder(subdomains(), store.clone()), store)
}

fn of(name: &str) -> Request<Body> {
    support::get(&format!("{name}.app.test"), "/")
}

#[tokio::test]
async fn each_status_has_its_answer_for_every_method_and_the_handler_is_not_called() {
    let (builder, _) = builder().await;
    let tenancy = builder.build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let of_handler = Arc::clone(&calls);
    let handler = async move || {
        of_handler.fetch_add(1, Ordering::Relaxed);
    };
    let app = tenancy.wrap(Router::new().fallback(any(handler)));
    for (name, status, retry_after) in [
        ("active", 200, None),
        ("suspended", 403, None),
        ("deleted", 404, None),
        ("purged", 404, None),
        ("unknown", 404, None),
        ("pending", 503, Some("10")),
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "BREW"] {
            calls.store(0, Ordering::Relaxed);
            let answer = ask(&app, request(method, &format!("{name}.app.test"), "/a/b?c", &[])).await;
            assert_eq!(answer.status, status, "{method} {name}");
            assert_eq!(answer.header("retry-after"), retry_after, "{method} {name}");
            assert_eq!(calls.load(Ordering::Relaxed), usize::from(status == 200));
            if status != 200 {
                assert_eq!(
                    answer.header("cache-control"),
                    Some("no-store"),
                    "{method} {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn deleted_purged_and_hidden_tenants_look_exactly_like_unknown_ones() {
    let (builder, _) = builder().await;
    let tenancy = builder
        .gate(GatePolicy::default().hide_suspended())
        .build()
        .unwrap();
    let app = app(&tenancy);
    let unknown = ask(&app, of("unknown")).await;
    assert_eq!(unknown.status, 404);
    for name in ["deleted", "purged", "suspended"] {
        let answer = ask(&app, of(name)).await;
        assert_eq!(answer.masked(), unknown.masked(), "{name}");
        assert_ne!(answer, unknown, "the reference differs");
    }
}

#[tokio::test]
async fn the_reason_is_for_layers_further_out_and_the_reference_for_both() {
    let (builder, _) = builder().await;
    let tenancy = builder
        .gate(GatePolicy::default().hide_suspended())
        .build()
        .unwrap();
    let response = send(&app(&tenancy), of("suspended")).await;
    let rejection = response.extensions().get::<Rejection>().unwrap().clone();
    assert_eq!(rejection.reason(), RejectionReason::SuspendedTenant);
    assert_eq!(rejection.status(), 404);
    assert_eq!(response.headers()[REFERENCE_HEADER], *rejection.reference());
    assert!(support::text(response).await.contains(rejection.reference()));
}

#[tokio::test]
async fn no_answer_names_a_tenant_or_what_was_asked_for() {
    let (builder, _) = builder().await;
    let app = app(&builder.build().unwrap());
    for name in ["suspended", "deleted", "purged", "pending", "canary-7"] {
        let canary = request("GET", &format!("{name}.app.test"), "/canary-8?canary-9", &[]);
        let answer: Answer = ask(&app, canary).await;
        for part in ["canary", "app.test", &format!("\"{name}\"")] {
            assert!(!answer.masked().contains(part), "{part} in {}", answer.masked());
        }
    }
}

#[tokio::test]
async fn a_change_of_status_counts_from_the_next_request_on() {
    let (builder, store) = builder().await;
    let app = app(&builder.build().unwrap());
    for (status, expected) in [
        (TenantStatus::Suspended, 403),
        (TenantStatus::Active, 200),
        (TenantStatus::Pending, 503),
        (TenantStatus::Active, 200),
        (TenantStatus::Deleted, 404),
        (TenantStatus::Active, 200),
    ] {
        store.set_status(&id("active"), status).await.unwrap();
        assert_eq!(ask(&app, of("active")).await.status, expected, "{status}");
    }
    store.remove(&id("active")).await.unwrap();
    assert_eq!(ask(&app, of("active")).await.status, 404);
}

#[tokio::test]
async fn a_request_that_has_begun_is_not_ended_by_its_tenants_suspension() {
    let (builder, store) = builder().await;
    let tenancy = builder.build().unwrap();
    let handler = async move |tenant: tenancy::Tenant| {
        store
            .set_status(tenant.id(), TenantStatus::Suspended)
            .await
            .unwrap();
        tenant.status().to_string()
    };
    let app = tenancy.wrap(Router::new().fallback(any(handler)));
    let first = ask(&app, of("active")).await;
    assert_eq!((first.status.as_u16(), first.text()), (200, "suspended"));
    assert_eq!(ask(&app, of("active")).await.status, 403);
}
