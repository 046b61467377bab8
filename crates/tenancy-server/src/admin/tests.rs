#![cfg(feature = "memory")]

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
    routing::get,
};
use serde_json::Value;
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
use tenancy_memory::process::{Allocator, MemorySampler, PurgeRefused, Purger};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use tower::ServiceExt as _;

use super::*;

async fn ask(router: &Router, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:2113");
    let request = request.body(Body::empty()).unwrap();
    let response = guarded(router.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn sampler() -> MemorySampler {
    MemorySampler::builder().start().unwrap()
}

#[tokio::test]
async fn memory_is_told_with_its_tables_and_what_nobody_meters_is_left_out() {
    let sampler = sampler();
    let bare = MemoryAdmin::new(&sampler).routes();
    let (status, text) = ask(&bare, Method::GET, "/memory").await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        report["process"]["resident"],
        sampler.latest().resident.bytes().unwrap()
    );
    assert_eq!((report.get("tenants"), &report["purger"]), (None, &Value::Null));
    let read: MemoryReport = serde_json::from_str(&text).unwrap();
    assert!(read.tables.is_none());

    // A stack that nobody meters: this program's allocator is not the meter.
    let tenancy = Tenancy::new(
        Subdomain::of("localhost").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    );
    let unmetered = MemoryAdmin::new(&sampler).tenancy(&tenancy).routes();
    let (_, text) = ask(&unmetered, Method::GET, "/memory").await;
    let read: MemoryReport = serde_json::from_str(&text).unwrap();
    assert!(read.tables.is_none(), "{text}");
}

#[tokio::test]
async fn a_purge_says_what_it_gave_back_and_a_second_one_has_to_wait() {
    let sampler = sampler();
    let purger = Purger::builder().start(&sampler).unwrap();
    let routes = MemoryAdmin::new(&sampler).purger(&purger).routes();
    let (status, _) = ask(&routes, Method::GET, "/memory/purge").await;
    assert_eq!(
        (status, purger.state().purges),
        (StatusCode::METHOD_NOT_ALLOWED, 0)
    );
    let (status, text) = ask(&routes, Method::POST, "/memory/purge").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let purge: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(purge["reason"], "command");
    assert!(purge["given_back"].is_u64(), "{purge}");
    assert_eq!(
        ask(&routes, Method::POST, "/memory/purge").await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(purger.state().purges, 1);
}

#[test]
fn who_asks_too_often_or_while_a_purge_is_under_way_is_told_to_wait_a_second() {
    for refused in [PurgeRefused::TooSoon, PurgeRefused::UnderWay] {
        let response = memory::refused_purge(refused);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "1");
    }
}

#[tokio::test]
async fn who_can_not_purge_says_so() {
    let unknown = MemorySampler::builder()
        .allocator(Allocator::Unknown)
        .start()
        .unwrap();
    let purger = Purger::builder().start(&unknown).unwrap();
    let routes = MemoryAdmin::new(&unknown).purger(&purger).routes();
    assert_eq!(
        ask(&routes, Method::POST, "/memory/purge").await.0,
        StatusCode::NOT_IMPLEMENTED
    );
    let without = MemoryAdmin::new(&unknown).routes();
    assert_eq!(
        ask(&without, Method::POST, "/memory/purge").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_heap_profile_that_is_not_active_is_refused_with_what_to_do() {
    let routes = MemoryAdmin::new(&sampler()).routes();
    let (status, text) = ask(&routes, Method::GET, "/debug/pprof/heap").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("jemalloc the global allocator"), "{text}");
}

#[test]
fn of_this_machine_is_what_nobody_else_reaches() {
    for (address, expected) in [
        ("127.0.0.1:2113", true),
        ("127.9.9.9:0", true),
        ("[::1]:2113", true),
        ("[::ffff:127.0.0.1]:2113", true),
        ("0.0.0.0:2113", false),
        ("[::]:2113", false),
        ("[::ffff:0.0.0.0]:2113", false),
        ("10.0.0.7:2113", false),
        ("[fe80::1]:2113", false),
    ] {
        assert_eq!(
            is_of_this_machine(address.parse().unwrap()),
            expected,
            "{address}"
        );
    }
}

#[tokio::test]
async fn it_does_not_start_on_an_address_that_others_reach() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let error = AdminServer::start(listener, Router::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ssh -L"), "{error}");
}

async fn say(connection: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
}

/// Up to where the text ends with this.
async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn when_it_is_dropped_running_requests_end_and_idle_connections_are_closed() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = || async move {
        has_begun.notify_one();
        may_go_on.notified().await;
        "at last"
    };
    let router = Router::new()
        .route("/slow", get(slow))
        .route("/quick", get(|| async { "at once" }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = AdminServer::start(listener, router).unwrap();
    let mut idle = TcpStream::connect(server.address()).await.unwrap();
    say(&mut idle, "/quick").await;
    read_until(&mut idle, "at once").await;
    let mut busy = TcpStream::connect(server.address()).await.unwrap();
    say(&mut busy, "/slow").await;
    begun.notified().await;

    drop(server);
    let patience = Duration::from_secs(30);
    let rest = timeout(patience, idle.read_to_end(&mut Vec::new())).await;
    assert!(rest.is_ok(), "the idle connection stays");
    go_on.notify_one();
    let answer = timeout(patience, read_until(&mut busy, "at last")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let rest = timeout(patience, busy.read_to_end(&mut Vec::new())).await;
    assert!(rest.is_ok(), "the other connection stays, too");
}

#[tokio::test]
async fn a_web_page_reaches_nothing() {
    let routes = MemoryAdmin::new(&sampler()).routes();
    let request = Request::get("/memory").header("host", "evil.example");
    let request = request.body(Body::empty()).unwrap();
    let response = guarded(routes).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn no_answer_is_kept_by_anybody_on_its_way() {
    let router = guarded(Router::new().route("/", get(|| async { [("cache-control", "max-age=60")] })));
    for (method, path, host, expected) in [
        (Method::GET, "/", "localhost", StatusCode::OK),
        (Method::POST, "/", "localhost", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/none", "localhost", StatusCode::NOT_FOUND),
        (Method::GET, "/", "evil.example", StatusCode::FORBIDDEN),
    ] {
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers()["cache-control"], "no-store", "{expected}");
    }
}
