//! Several requests on one connection: each is for whom it says itself.

use super::{
    ACME, Answer, BAD_HOST, BETA, Expect, Site, UNKNOWN, shown, tenants,
    wire::{Wire, get, with_target},
};

fn assert_answers(answers: &[Answer], expected: &[Expect], log: &str) {
    assert_eq!(answers.len(), expected.len(), "{answers:?}");
    for (at, (answer, expect)) in answers.iter().zip(expected).enumerate() {
        let fault = expect.fault_of(answer, log);
        assert!(fault.is_none(), "answer {at}: {fault:?}\n{}", shown(&answer.raw));
    }
}

const HOSTS: [(&str, Expect); 8] = [
    ("acme.app.test", ACME),
    ("beta.app.test", BETA),
    ("nobody.app.test", UNKNOWN),
    ("acme.app.test, beta.app.test", BAD_HOST),
    ("beta.app.test", BETA),
    ("", BAD_HOST),
    ("ACME.app.test:80", ACME),
    ("beta.app.test.", BETA),
];

#[tokio::test]
async fn one_after_the_other() {
    let site = Site::of(&tenants(2)).await;
    let mut wire = Wire::to(&site).await;
    for (host, expect) in HOSTS {
        let answer = wire.ask(get(host)).await.unwrap();
        assert_answers(&[answer], &[expect], &site.take_log());
    }
}

#[tokio::test]
async fn all_at_once() {
    let site = Site::of(&tenants(2)).await;
    let sent: Vec<u8> = HOSTS.iter().flat_map(|(host, _)| get(host)).collect();
    let answers = Wire::to(&site).await.ask_many(sent, HOSTS.len()).await;
    assert_answers(&answers, &HOSTS.map(|(_, expect)| expect), &site.take_log());
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_never_taken_for_the_next_one() {
    let site = Site::of(&tenants(2)).await;
    let hidden = String::from_utf8(get("beta.app.test")).unwrap();
    let post = |host: &str| {
        let length = hidden.len();
        format!("POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{hidden}")
    };
    for (host, expect) in [
        ("nobody.app.test", UNKNOWN),
        ("a b", BAD_HOST),
        ("acme.app.test", ACME),
    ] {
        let mut wire = Wire::to(&site).await;
        let answers = wire
            .ask_many([post(host).into_bytes(), get("acme.app.test")].concat(), 2)
            .await;
        let log = site.take_log();
        assert_answers(&answers[..1], &[expect], &log);
        // The connection may end here, but not go on with what was hidden.
        if answers.len() == 2 {
            assert_answers(&answers[1..], &[ACME], &log);
        }
    }
}

#[tokio::test]
async fn a_request_with_two_lengths_is_the_last_of_its_connection() {
    let site = Site::of(&tenants(2)).await;
    for (first, second) in [
        ("Content-Length: 6", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 6"),
    ] {
        let smuggled = format!(
            "POST /x HTTP/1.1\r\nHost: acme.app.test\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: beta.app.test\r\n\r\n"
        );
        let mut wire = Wire::to(&site).await;
        let answer = wire.ask(smuggled).await.unwrap();
        if answer.status != 400 {
            assert_answers(&[answer], &[ACME], &site.take_log());
        }
        assert!(wire.is_closed().await, "{first}, {second}");
    }
}

#[tokio::test]
async fn what_follows_a_refused_tunnel_is_not_read_as_a_request() {
    let site = Site::of(&tenants(2)).await;
    let mut wire = Wire::to(&site).await;
    let sent = [
        with_target("CONNECT acme.app.test:443 HTTP/1.1", "acme.app.test"),
        get("beta.app.test"),
    ]
    .concat();
    assert_eq!(wire.ask(sent).await.unwrap().status, 501);
    assert!(wire.is_closed().await);
}
