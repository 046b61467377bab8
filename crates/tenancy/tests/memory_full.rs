//! Tenants where the allocator's table of owners is full: in a program of its own, for the table is the whole process's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{alloc::System, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::ManualClock,
    memory::{MemorySettings, Metered, Owned, are_owners_kept},
    resolve::Subdomain,
};
use tenancy_memory::{OWNERS, Owner};
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: Metered<Owned<System>> = Metered::new(Owned::new(System));

#[tokio::test]
async fn a_tenant_that_found_no_place_is_counted_a_second_after_there_is_one() {
    assert!(are_owners_kept());
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::of(["acme"]).unwrap();
    let tenancy = Tenancy::builder(Subdomain::of("app.test").unwrap(), store)
        .clock(Arc::clone(&clock))
        .memory(MemorySettings::new().tenant_budget(1))
        .build()
        .unwrap();
    let app = tenancy.wrap(Router::new().route("/", get(async |_: Tenant| "hello")));
    let ask = async || {
        let request = Request::get("/").header("host", "acme.app.test");
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    let mut owners: Vec<Owner> = std::iter::from_fn(Owner::new).collect();
    assert_eq!(owners.len(), OWNERS);
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(acme.live_bytes(), None);
    assert_eq!(ask().await, StatusCode::OK, "nobody knows what it has");
    owners.pop();
    assert_eq!(
        acme.live_bytes(),
        None,
        "the table is not looked through for each request"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(acme.live_bytes(), Some(0));
    owners.pop();
    assert!(
        Owner::new().is_some(),
        "the tenant has taken one place, and no more"
    );
}
