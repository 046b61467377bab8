//! The meter switched off, on an allocator without owners: in a program of its own, for the switch is the whole process's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use axum::{Router, body::Body, http::Request, routing::get};
use tenancy::memory::{MemoryLayer, MemorySettings, MemoryUnavailable, Metered, RequestMemory, switch};
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: Metered<System> = Metered::new(System);

#[tokio::test]
async fn requests_that_begin_while_the_meter_is_off_have_no_account() {
    async fn handler(memory: RequestMemory) -> String {
        format!("{:?}", memory.usage().err())
    }
    let memory = MemoryLayer::new(MemorySettings::new());
    let app = Router::<()>::new().route("/", get(handler)).layer(memory.clone());
    let ask = async || {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(response.into_body(), 100).await.unwrap()
    };
    for (on, requests) in [(true, 1), (false, 1), (true, 2)] {
        switch(on);
        let expected = (!on).then_some(MemoryUnavailable::SwitchedOff);
        assert_eq!(ask().await, format!("{expected:?}"));
        assert_eq!(memory.totals().unwrap().requests, requests, "{on}");
    }
}
