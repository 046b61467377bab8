//! A page that is kept as a whole, by one server and by two that have a Redis in common.

use tempfile::tempdir;
use tenancy_test::servers::Redis;

use crate::support::{Launch, Server, http::Answer, until};

const ACME: &str = "acme.localhost";
const GLOBEX: &str = "globex.localhost";

impl Server {
    async fn report(&self, host: &str) -> (String, String) {
        let answer = self.get(host, "/report").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (told(&answer).to_owned(), answer.body)
    }
}

fn told(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or_default()
}

const MADE: &str = "tenancy; fwd=miss; stored";
const KEPT: &str = "tenancy; hit";

#[tokio::test]
async fn a_report_is_made_once_and_anew_after_a_note_for_its_own_tenant_alone() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let expected = |told: &str, page: &str| (told.to_owned(), format!("{page}\n"));
    assert_eq!(
        server.report(ACME).await,
        expected(MADE, "acme: 0 notes, 0 characters")
    );
    assert_eq!(
        server.report(ACME).await,
        expected(KEPT, "acme: 0 notes, 0 characters")
    );
    assert_eq!(
        server.report(GLOBEX).await,
        expected(MADE, "globex: 0 notes, 0 characters")
    );

    server.add_note(ACME, "hello").await;
    assert_eq!(
        server.report(ACME).await,
        expected(MADE, "acme: 1 notes, 5 characters")
    );
    assert_eq!(
        server.report(ACME).await,
        expected(KEPT, "acme: 1 notes, 5 characters")
    );
    assert_eq!(
        server.report(GLOBEX).await,
        expected(KEPT, "globex: 0 notes, 0 characters")
    );
}

#[tokio::test]
async fn who_has_the_report_gets_304_until_there_is_another_note() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    let first = server.get(ACME, "/report").await;
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let condition = format!("If-None-Match: {}\r\n", first.header("etag").unwrap());
    let again = server.get_with(ACME, "/report", &condition).await;
    assert_eq!((again.status, &*again.body, told(&again)), (304, "", KEPT));
    assert_eq!(again.header("etag"), first.header("etag"));

    server.add_note(ACME, "hello").await;
    let new = server.get_with(ACME, "/report", &condition).await;
    assert_eq!((new.status, told(&new)), (200, MADE));
    assert_ne!(new.header("etag"), first.header("etag"));
}

#[tokio::test]
async fn a_client_that_says_who_it_is_gets_no_kept_report_and_leaves_none() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for line in ["Authorization: Bearer x\r\n", "Cookie: session=1\r\n"] {
        for _ in 0..2 {
            let answer = server.get_with(ACME, "/report", line).await;
            assert_eq!((answer.status, told(&answer)), (200, "tenancy; fwd=bypass"));
        }
    }
    assert_eq!(server.report(ACME).await.0, MADE);
    let central = server.get("localhost", "/report").await;
    assert_eq!(central.status, 404, "no tenant's");
}

#[tokio::test]
async fn a_report_that_one_server_has_made_another_serves_until_there_is_another_note() {
    let redis = Redis::start(&[]).await.unwrap();
    let directory = tempdir().unwrap();
    let launch = || Launch::with_data_in(directory.path()).env("TENANCY__CACHE__REDIS_URL", redis.url());
    let one = launch().start().await;
    let two = launch().start().await;
    one.add_note(ACME, "old").await;
    until("a report that both have", async || {
        one.report(ACME).await.0 == KEPT
            && two.report(ACME).await == (KEPT.to_owned(), one.report(ACME).await.1)
    })
    .await;
    one.add_note(ACME, "newer").await;
    assert_eq!(one.report(ACME).await.1, "acme: 2 notes, 8 characters\n");
    until("the new report", async || {
        two.report(ACME).await.1.starts_with("acme: 2 notes")
    })
    .await;
}
