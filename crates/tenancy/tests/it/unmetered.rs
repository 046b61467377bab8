//! The memory stage where the meter is not the program's allocator.

use axum::{Router, http::StatusCode, routing::get};
use tenancy::{
    MemoryStore, Tenancy,
    memory::{MemorySettings, MemoryUnavailable, RequestMemory, is_installed},
    resolve::Subdomain,
    stack::{ConfigMistake, Order, Stage},
};
use tower::ServiceExt;

use crate::support::get as request;

#[tokio::test]
async fn without_the_meter_requests_are_served_and_no_figure_is_given() {
    assert!(!is_installed());
    let tenancy = Tenancy::builder(
        Subdomain::of("app.test").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    )
    .memory(MemorySettings::new())
    .build()
    .unwrap();
    async fn handler(memory: RequestMemory) -> StatusCode {
        assert_eq!(memory.usage(), Err(MemoryUnavailable::NotInstalled));
        assert!(!memory.is_closed());
        StatusCode::OK
    }
    let app = tenancy.wrap(Router::new().route("/", get(handler)));
    for _ in 0..3 {
        let response = app.clone().oneshot(request("acme.app.test", "/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(tenancy.memory(), Err(MemoryUnavailable::NotInstalled));
    assert_eq!(tenancy.memory_by_route(), Err(MemoryUnavailable::NotInstalled));
    let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(acme.memory(), Err(MemoryUnavailable::NotInstalled));
    assert_eq!(acme.live_bytes(), None);
}

#[test]
fn a_budget_without_owners_is_refused_when_the_stack_is_built() {
    let built = Tenancy::builder(Subdomain::of("app.test").unwrap(), MemoryStore::new())
        .memory(MemorySettings::new().tenant_budget(1))
        .build();
    assert_eq!(
        built.unwrap_err().mistakes(),
        [ConfigMistake::MemoryBudgetWithoutOwners]
    );
}

#[test]
fn the_stage_is_outermost_unless_the_order_has_it() {
    assert!(!Order::default().contains(Stage::Memory));
    assert!(Stage::every().any(|stage| stage == Stage::Memory));
    let built = |order: &[&str]| {
        Tenancy::builder(Subdomain::of("app.test").unwrap(), MemoryStore::new())
            .order(Order::from_names(order.iter().copied()).unwrap())
            .memory(MemorySettings::new())
            .build()
            .unwrap()
            .order()
            .to_string()
    };
    assert_eq!(
        built(&["resolve", "gate"]),
        "memory · resolve · gate · your router"
    );
    assert_eq!(
        built(&["resolve", "memory", "gate"]),
        "resolve · memory · gate · your router"
    );
    assert!(Order::from_names(["memory", "memory"]).is_err());
}
