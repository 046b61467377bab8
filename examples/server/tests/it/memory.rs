//! What operators see of the server's memory, and what anybody else does.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Launch, Server, in_time, until};

/// A server with an address for operators.
async fn with_admin(launch: Launch) -> (Server, SocketAddr) {
    let server = launch
        .arg("--admin-listen")
        .arg("127.0.0.1:0")
        .env("TENANCY__MEMORY__SAMPLE_EVERY_MS", "20")
        .start()
        .await;
    let said = server.said();
    let (_, rest) = said.split_once("for operators: http://").unwrap();
    let admin = rest.split('/').next().unwrap().parse().unwrap();
    (server, admin)
}

/// Status and body.
async fn ask(admin: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(admin).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time("an answer", connection.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn memory(admin: SocketAddr) -> Value {
    let (status, body) = ask(admin, "GET", "/memory").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn operators_see_memory_on_an_address_of_their_own_and_can_give_it_back() {
    let directory = tempdir().unwrap();
    let (server, admin) = with_admin(Launch::with_data_in(directory.path())).await;
    let seen = memory(admin).await;
    let process = &seen["process"];
    assert_eq!(process["allocator"], "jemalloc");
    let bytes = |value: &Value| value.as_u64().unwrap();
    let live = bytes(&process["heap"]["allocated"]);
    assert!(live > 100_000 && live < bytes(&process["resident"]), "{seen}");

    let (status, purge) = ask(admin, "POST", "/memory/purge").await;
    assert_eq!(status, 200, "{purge}");
    until("the purge is counted", async || {
        bytes(&memory(admin).await["purger"]["purges"]) >= 1
    })
    .await;
    let (status, advice) = ask(admin, "GET", "/debug/pprof/heap").await;
    assert_eq!(status, 403);
    assert!(advice.contains("_RJEM_MALLOC_CONF=prof:true"), "{advice}");
    until("the catalogue was looked at", async || {
        let (_, health) = ask(admin, "GET", "/health").await;
        let health: Value = serde_json::from_str(&health).unwrap();
        health["checks"]["catalogue"]["status"] == "healthy"
    })
    .await;
    // Which everybody else is not told.
    assert!(
        !server
            .get("localhost", "/health")
            .await
            .body
            .contains("catalogue")
    );

    // Tenants and everybody else find none of it.
    for host in ["acme.localhost", "localhost"] {
        assert_eq!(server.get(host, "/memory").await.status, 404, "{host}");
        assert_eq!(
            server.get(host, "/debug/alloc?bytes=1").await.status,
            404,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_heap_profile_is_given_where_profiling_is_active() {
    let directory = tempdir().unwrap();
    let launch =
        Launch::with_data_in(directory.path()).env("_RJEM_MALLOC_CONF", "prof:true,lg_prof_sample:12");
    let (_server, admin) = with_admin(launch).await;
    let mut connection = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET /debug/pprof/heap HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time("a profile", connection.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.0 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let contains = |part: &[u8]| answer.windows(part.len()).any(|window| window == part);
    assert!(contains(b"inuse_space") && contains(b"example-server"));
}

#[tokio::test]
#[cfg(unix)]
async fn a_signal_gives_free_memory_back_and_ends_nothing() {
    let directory = tempdir().unwrap();
    let (server, admin) = with_admin(Launch::with_data_in(directory.path())).await;
    server.signal("USR1").await;
    until("a purge by signal", async || {
        memory(admin).await["purger"]["last"]["reason"] == "signal"
    })
    .await;
    assert_eq!(server.get("acme.localhost", "/").await.status, 200);
}

#[tokio::test]
async fn with_debug_routes_a_tenant_allocates_what_it_asks_for_up_to_a_bound() {
    let directory = tempdir().unwrap();
    let launch = Launch::with_data_in(directory.path()).arg("--debug-routes");
    let (server, admin) = with_admin(launch).await;
    let answer = server.get("acme.localhost", "/debug/alloc?bytes=2000000").await;
    assert_eq!(
        (answer.status, &answer.json()["allocated"]),
        (200, &2_000_000.into())
    );
    // Who and where is named in the log.
    server.logs("/debug/alloc").await;
    let has = |table: &Value, name: &str| {
        let mut rows = table.as_array().unwrap().iter();
        rows.any(|row| row["name"] == name && row["requests"] == 1 && row["peak"].as_u64() >= Some(2_000_000))
    };
    until("tenant and route have a row", async || {
        let memory = memory(admin).await;
        has(&memory["tenants"], "acme") && has(&memory["routes"], "/debug/alloc")
    })
    .await;
    for refused in [
        "",
        "?bytes=",
        "?bytes=-1",
        "?bytes=67108865",
        "?bytes=1&x=1",
        "?bytes=18446744073709551616",
    ] {
        let answer = server
            .get("acme.localhost", &format!("/debug/alloc{refused}"))
            .await;
        assert_eq!(answer.status, 422, "{refused}");
    }
}
