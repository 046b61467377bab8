//! How it ends.

use tempfile::tempdir;

use crate::support::{
    Launch, Server,
    http::{Connection, head_of_post},
};

const NOTE: &str = r#"{"text":"late"}"#;

/// A request of which the head has arrived at the handler, and the body has not.
async fn half_a_request(server: &Server) -> Connection {
    let mut connection = server.connect().await;
    let head = head_of_post("acme.localhost", "/notes", "application/json", NOTE.len());
    // The server asks for the body once the handler reads it.
    let head = head.replace(
        "Connection: close\r\n",
        "Connection: close\r\nExpect: 100-continue\r\n",
    );
    connection.write(head).await;
    connection.expect_continue().await;
    connection
}

#[tokio::test]
async fn sigterm_and_ctrl_c_end_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let directory = tempdir().unwrap();
        let server = Launch::with_data_in(directory.path()).start().await;
        server.signal(signal).await;
        let ended = server.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        assert!(
            last.contains("ended; all running requests were answered"),
            "{last}"
        );
    }
}

#[tokio::test]
async fn probes_name_no_tenant_and_it_is_unready_before_it_stops_to_accept() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let address = server.address.to_string();
    for path in ["/livez", "/startupz", "/readyz"] {
        assert_eq!(server.get(&address, path).await.status, 200, "{path}");
    }
    crate::support::until("all checks well", async || {
        server.get(&address, "/health").await.json()["status"] == "healthy"
    })
    .await;
    let log = server.end().await.stderr;
    let unready = log.find("not ready any more").expect("it says so");
    assert!(
        unready < log.find("no more connections are taken").unwrap(),
        "{log}"
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered_whole_and_then_it_ends() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let mut late = half_a_request(&server).await;
    server.signal("TERM").await;
    server.logs("no more connections are taken").await;
    late.write(NOTE).await;
    let answer = late.answer().await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["text"]), (201, &"late".into()));
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.stderr.contains("all running requests were answered"),
        "{}",
        ended.stderr
    );

    let next = Launch::with_data_in(directory.path()).start().await;
    assert_eq!(next.notes("acme.localhost").await, ["late"]);
}

#[tokio::test]
async fn connections_that_wait_for_nothing_hold_nothing_up() {
    let directory = tempdir().unwrap();
    let launch = Launch::with_data_in(directory.path()).env("TENANCY__SERVER__GRACE_MS", "86400000");
    let server = launch.start().await;
    let _silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write("GET /about HTTP/1.1\r\nHost: acme.localhost\r\n\r\n")
        .await;
    assert_eq!(idle.next_answer().await.status, 200);
    let ended = server.end().await;
    assert!(
        ended.stderr.contains("all running requests were answered"),
        "{}",
        ended.stderr
    );
    assert!(idle.answer().await.is_none(), "closed");
}

#[tokio::test]
async fn no_connection_is_taken_while_it_ends() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let late = half_a_request(&server).await;
    server.signal("TERM").await;
    server.logs("no more connections are taken").await;
    crate::support::until("a closed port", async || {
        tokio::net::TcpStream::connect(server.address).await.is_err()
    })
    .await;
    drop(late);
    assert_eq!(server.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let directory = tempdir().unwrap();
        let launch = Launch::with_data_in(directory.path()).env("TENANCY__SERVER__GRACE_MS", "86400000");
        let server = launch.start().await;
        let late = half_a_request(&server).await;
        server.signal("TERM").await;
        server.logs("no more connections are taken").await;
        server.signal(second).await;
        let ended = server.ended().await;
        assert_eq!(ended.status.code(), Some(0));
        assert!(
            ended.stderr.contains("before all running requests were answered"),
            "{}",
            ended.stderr
        );
        assert!(late.answer().await.is_none(), "cut off");
    }
}

#[tokio::test]
async fn what_is_not_done_when_the_grace_is_over_is_cut_off() {
    let directory = tempdir().unwrap();
    let launch = Launch::with_data_in(directory.path()).env("TENANCY__SERVER__GRACE_MS", "50");
    let server = launch.start().await;
    let late = half_a_request(&server).await;
    server.signal("TERM").await;
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.stderr.contains("before all running requests were answered"),
        "{}",
        ended.stderr
    );
    assert!(late.answer().await.is_none(), "cut off");

    let next = Launch::with_data_in(directory.path()).start().await;
    assert!(
        next.notes("acme.localhost").await.is_empty(),
        "half a note is none"
    );
}
