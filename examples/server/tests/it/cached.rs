//! Notes that are cached: by one server, and by two that have a Redis in common.

use std::time::Duration;

use tempfile::{TempDir, tempdir};
use tenancy_test::servers::Redis;
use tokio::{net::TcpListener, time};

use crate::support::{Launch, Server, until};

const ACME: &str = "acme.localhost";
const GLOBEX: &str = "globex.localhost";

/// Ten times what is promised, for a machine that is busy. Far below what an entry lives without a flush.
const LONG: Duration = Duration::from_secs(20);

impl Server {
    async fn counted(&self, host: &str, what: &str) -> u64 {
        let answer = self.get(host, "/cache").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()[what].as_u64().unwrap()
    }

    /// Returns when the list is in its memory.
    async fn has_cached(&self, host: &str) {
        until("a list from memory", async || {
            let before = self.counted(host, "hits").await;
            self.notes(host).await;
            self.counted(host, "hits").await > before
        })
        .await;
    }

    async fn comes_to_show(&self, host: &str, newest: &str) {
        let shown = time::timeout(LONG, async {
            while self.notes(host).await.first().is_none_or(|text| text != newest) {
                time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(shown.await.is_ok(), "{newest:?} is not shown: {}", self.log());
    }
}

/// Two servers over the same tenants, notes and Redis.
struct Pair {
    one: Server,
    two: Server,
    _directory: TempDir,
}

impl Pair {
    async fn with(redis: &Redis) -> Self {
        let directory = tempdir().unwrap();
        let launch = || Launch::with_data_in(directory.path()).env("TENANCY__CACHE__REDIS_URL", redis.url());
        Self {
            one: launch().start().await,
            two: launch().start().await,
            _directory: directory,
        }
    }

    /// Both have the lists of both tenants in memory.
    async fn knows_an_old_note(&self) {
        for host in [ACME, GLOBEX] {
            self.one.add_note(host, "old").await;
            for server in [&self.one, &self.two] {
                server.comes_to_show(host, "old").await;
                server.has_cached(host).await;
            }
        }
    }
}

async fn subscribers(redis: &Redis) -> usize {
    let clients = redis.command("CLIENT LIST TYPE pubsub").await.concat();
    clients
        .lines()
        .filter(|client| client.contains(" sub=1 "))
        .count()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Subscriptions {
    Kept,
    CutOnce,
    CutForGood,
}

async fn what_one_adds_the_other_shows(subscriptions: Subscriptions) {
    let redis = Redis::start(&[]).await.unwrap();
    let pair = Pair::with(&redis).await;
    pair.knows_an_old_note().await;
    until("two that listen", async || subscribers(&redis).await == 2).await;
    let mut loads_of_globex = Vec::new();
    for server in [&pair.one, &pair.two] {
        loads_of_globex.push(server.counted(GLOBEX, "loads").await);
    }

    if subscriptions == Subscriptions::CutForGood {
        redis.command("ACL SETUSER default -subscribe").await;
    }
    if subscriptions != Subscriptions::Kept {
        assert_eq!(redis.command("CLIENT KILL TYPE pubsub").await, ["2"]);
    }
    pair.one.add_note(ACME, "new").await;
    assert_eq!(pair.one.notes(ACME).await, ["new", "old"]);
    pair.two.comes_to_show(ACME, "new").await;
    if subscriptions == Subscriptions::CutForGood {
        assert_eq!(subscribers(&redis).await, 0, "it was not told");
    }

    for (server, loads) in [&pair.one, &pair.two].into_iter().zip(loads_of_globex) {
        assert_eq!(server.notes(GLOBEX).await, ["old"]);
        assert_eq!(server.counted(GLOBEX, "loads").await, loads, "untouched");
    }
    for server in [pair.one, pair.two] {
        let said = server.said();
        let ended = server.end().await;
        assert!(said.contains("cache: shared, redis://127.0.0.1:"), "{said}");
        let all = [said, ended.stderr].concat();
        assert!(!all.contains(redis.password()), "{all}");
    }
}

#[tokio::test]
async fn a_note_that_one_server_adds_is_shown_by_another_that_had_the_list_cached() {
    what_one_adds_the_other_shows(Subscriptions::Kept).await;
}

#[tokio::test]
async fn a_note_is_shown_by_a_server_whose_subscription_was_cut() {
    what_one_adds_the_other_shows(Subscriptions::CutOnce).await;
}

#[tokio::test]
async fn a_note_is_shown_by_a_server_that_can_hear_no_messages() {
    what_one_adds_the_other_shows(Subscriptions::CutForGood).await;
}

#[tokio::test]
async fn a_redis_that_was_killed_holds_nobody_up_and_what_was_added_meanwhile_is_shown_after_it() {
    let redis = Redis::start(&[]).await.unwrap();
    let pair = Pair::with(&redis).await;
    pair.knows_an_old_note().await;
    redis.kill().await;
    pair.one.add_note(ACME, "meanwhile").await;
    assert_eq!(pair.one.notes(ACME).await, ["meanwhile", "old"]);
    assert_eq!(pair.two.get(ACME, "/notes").await.status, 200);
    redis.restart().await.unwrap();
    pair.two.comes_to_show(ACME, "meanwhile").await;
    assert_eq!(pair.two.notes(GLOBEX).await, ["old"]);
}

#[tokio::test]
async fn a_server_starts_and_serves_where_no_redis_answers() {
    // Connections are taken, by the kernel, and nothing is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|at| (at.to_string(), silent)).unwrap();
    for address in ["127.0.0.1:1", &silent.0] {
        let directory = tempdir().unwrap();
        let server = Launch::with_data_in(directory.path())
            .arg("--redis-url")
            .arg(format!("redis://:hunter2@{address}/0"))
            .start()
            .await;
        for host in [ACME, GLOBEX] {
            assert!(server.notes(host).await.is_empty());
            server.add_note(host, "one").await;
            assert_eq!(server.notes(host).await, ["one"]);
            server.add_note(host, "two").await;
            assert_eq!(server.notes(host).await, ["two", "one"]);
            server.has_cached(host).await;
        }
        let all = server.said() + &server.end().await.stderr;
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[tokio::test]
async fn without_redis_a_server_caches_for_itself() {
    let directory = tempdir().unwrap();
    let server = Launch::with_data_in(directory.path()).start().await;
    for host in [ACME, GLOBEX] {
        server.add_note(host, "old").await;
        server.has_cached(host).await;
    }
    let loads = server.counted(GLOBEX, "loads").await;
    let flushes = server.counted(ACME, "flushes").await;
    server.add_note(ACME, "new").await;
    assert_eq!(server.notes(ACME).await, ["new", "old"]);
    assert_eq!(server.notes(GLOBEX).await, ["old"]);
    assert_eq!(server.counted(GLOBEX, "loads").await, loads);
    assert_eq!(server.counted(ACME, "flushes").await, flushes + 1);
    assert_eq!(server.get("localhost", "/cache").await.status, 404, "no tenant's");
}

#[tokio::test]
async fn what_is_no_redis_is_refused_without_its_password() {
    let directory = tempdir().unwrap();
    for (url, expected) in [
        (
            "hunter2",
            "--redis-url: cache.redis_url: it must begin with `redis://`",
        ),
        ("redis://:hunter2@", "the cache can not be shared: "),
    ] {
        let launch = Launch::with_data_in(directory.path()).arg("--redis-url").arg(url);
        let error = launch.refused().await;
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
}
