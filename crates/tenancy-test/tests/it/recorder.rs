//! The recording service, by itself and inside of stacks.

use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use tenancy::{Tenancy, resolve::PathSegment, scope};
use tenancy_test::{Recorder, TenantDraft, as_central, as_tenant, memory_store};
use tower::{Layer, ServiceExt};

use crate::{get, text};

#[tokio::test]
async fn it_shows_what_a_stack_makes_of_a_request() {
    let recorder = Recorder::new();
    let tenancy = Tenancy::new(
        PathSegment::first().strip(true),
        memory_store([TenantDraft::new("acme")]),
    );
    let request = Request::post("/acme/orders?n=1")
        .header("host", "app.test")
        .header("x-forwarded-host", "globex.test")
        .body(Body::from("hello"))
        .unwrap();
    tenancy.layer(recorder.clone()).oneshot(request).await.unwrap();
    let recorded = recorder.take();
    assert_eq!(recorded.len(), 1);
    let seen = &recorded[0];
    assert_eq!(
        (seen.method.as_str(), seen.uri.to_string().as_str()),
        ("POST", "/orders?n=1")
    );
    assert!(seen.headers.contains_key("host") && !seen.headers.contains_key("x-forwarded-host"));
    assert!(seen.was_for("acme") && !seen.was_for("globex"));
    assert!(recorder.recorded().is_empty(), "taken");
}

#[tokio::test]
async fn what_is_not_for_a_tenant_is_not_said_to_be() {
    let recorder = Recorder::new();
    recorder.clone().oneshot(get("/")).await.unwrap();
    as_central(recorder.clone()).oneshot(get("/")).await.unwrap();
    // In scope, but found by no extractor.
    let acme = tenancy_test::fake("acme");
    scope::run(&acme, recorder.clone().oneshot(get("/")))
        .await
        .unwrap();
    // Called in scope, and polled outside of it.
    let mut called = None;
    scope::run(&acme, async {
        called = Some(tower::Service::call(&mut recorder.clone(), get("/")));
    })
    .await;
    called.unwrap().await.unwrap();
    let recorded = recorder.recorded();
    assert_eq!(recorded.len(), 4);
    assert!(recorded.iter().all(|seen| !seen.was_for("acme")));
    assert!(recorded[1].resolution.as_ref().unwrap().is_central());
    assert_eq!(recorded[3].scope_at_call.as_ref().unwrap().tenant(), Some(&acme));
    assert_eq!(recorded[3].scope_at_polls, [None, None]);
}

#[tokio::test]
async fn it_answers_as_told_and_shows_the_whole_request() {
    let recorder = Recorder::answering(|seen| {
        let mut response = Response::new(Body::from(format!(
            "{} {}",
            seen.method,
            seen.scope_at_polls.len()
        )));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let answer = as_tenant(recorder, "acme").oneshot(get("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(answer).await, "GET 2");
}

#[tokio::test]
async fn what_is_taken_meanwhile_is_not_mixed_up() {
    let recorder = Recorder::new();
    let first = tower::Service::call(&mut recorder.clone(), get("/first"));
    recorder.take();
    let second = tower::Service::call(&mut recorder.clone(), get("/second"));
    first.await.unwrap();
    assert!(recorder.recorded()[0].scope_at_polls.is_empty());
    second.await.unwrap();
    assert_eq!(recorder.recorded()[0].scope_at_polls.len(), 2);
}
