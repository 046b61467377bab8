//! Servers that are away. Calls are judged by how they end, not by when.

use std::{error::Error, time::Duration};

use futures_util::future::join_all;
use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, SharedError, SharedLevel};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::time::timeout;

use crate::place::{entry, eventually, hard, level, name, newest, patient, raise, raise_of, scope};

/// One of each call, at once; those that failed.
async fn one_of_each(level: &RedisLevel) -> Vec<SharedError> {
    let acme = scope("acme");
    let ask = Ask {
        scope: acme.clone(),
        seen: 0,
    };
    let (asks, raise) = ([ask.clone()], raise_of(&acme, &[Cell::Slot(1)], FlushMode::Hard));
    let (names, entries, known) = ([name(b"a")], [entry(b"a", b"1")], [hard(Cell::Base, 1)]);
    let calls = async {
        tokio::join!(
            async { level.renew(&asks).await.err() },
            async { level.fetch(&ask, &names).await.err() },
            async { level.store(&acme, &entries).await.err() },
            async { level.raise(&raise).await.err() },
            async { level.teach(&acme, &known).await.err() },
            async { level.discard(&acme, &[name(b"b")]).await.err() },
        )
    };
    let (a, b, c, d, e, f) = timeout(Duration::from_secs(60), calls)
        .await
        .expect("calls limit their own time");
    [a, b, c, d, e, f].into_iter().flatten().collect()
}

fn in_half_a_second(url: &str) -> RedisLevel {
    let limit = Duration::from_millis(500);
    RedisSettings::single(url)
        .response_timeout(limit)
        .connect_timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_server_that_stands_still_makes_errors_and_the_next_call_after_it_works() {
    let server = Redis::start(&[]).await.unwrap();
    let level = in_half_a_second(&server.url());
    for connected_before in [false, true, true] {
        if connected_before {
            eventually("all is well", async || one_of_each(&level).await.is_empty()).await;
        }
        server.freeze().await;
        for _ in 0..3 {
            assert_eq!(one_of_each(&level).await.len(), 6);
        }
        assert!(level.redis().ping().await.unwrap_err().is_unavailable());
        server.thaw().await;
        newest(&level, &scope("acme")).await;
        level.redis().ping().await.unwrap();
        assert_eq!(one_of_each(&level).await.len(), 0);
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_makes_errors_and_new_connections() {
    let server = Redis::start(&[]).await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let level = in_half_a_second(&proxy.url(&server.url()));
    assert_eq!(one_of_each(&level).await.len(), 0);
    let before = proxy.traffic().connections;
    proxy.set(Fault::Freeze);
    assert_eq!(one_of_each(&level).await.len(), 6);
    proxy.set(Fault::Pass);
    assert_eq!(one_of_each(&level).await.len(), 0);
    // A reply that was late is nobody else's: its connection is not used again.
    assert!(proxy.traffic().connections > before);
}

/// Twenty restarts take some seconds.
#[tokio::test]
async fn a_server_that_is_killed_and_restarted_costs_no_call_that_was_not_in_flight() {
    let server = Redis::start(&[]).await.unwrap();
    let (level, acme) = (level(&server.url()), scope("acme"));
    for restart in 0..20 {
        let in_flight = join_all((0..8).map(|slot| {
            let (level, raise) = (&level, raise_of(&acme, &[Cell::Slot(slot)], FlushMode::Hard));
            async move { level.raise(&raise).await.is_err() }
        }));
        let (failed, ()) = tokio::join!(in_flight, server.kill());
        assert_eq!(failed.len(), 8);
        // While it is away, at once.
        assert_eq!(one_of_each(&level).await.len(), 6);
        server.restart().await.unwrap();
        let errors = one_of_each(&level).await;
        assert!(errors.is_empty(), "after restart {restart}: {errors:?}");
        join_all((0..8).map(|slot| raise(&level, &acme, slot))).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_costs_nothing() {
    let server = Redis::start(&[]).await.unwrap();
    let level = patient(RedisSettings::single(server.url()))
        .connections(8)
        .build()
        .unwrap();
    for _ in 0..20 {
        assert_eq!(one_of_each(&level).await.len(), 0);
        server.command("CLIENT KILL TYPE normal SKIPME yes").await;
    }
    assert_eq!(one_of_each(&level).await.len(), 0);
}

#[tokio::test]
async fn calls_that_are_given_up_leave_nothing_broken() {
    let server = Redis::start(&[]).await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let level = patient(RedisSettings::single(proxy.url(&server.url())))
        .connections(1)
        .build()
        .unwrap();
    let acme = scope("acme");
    let first = newest(&level, &acme).await;
    let before = proxy.traffic().connections;
    proxy.set(Fault::Delay(Duration::from_millis(20)));
    for _ in 0..20 {
        let raise = raise_of(&acme, &[Cell::Slot(1)], FlushMode::Hard);
        let _ = timeout(Duration::from_millis(10), level.raise(&raise)).await;
        let _ = timeout(Duration::ZERO, level.store(&acme, &[entry(b"a", b"1")])).await;
    }
    proxy.set(Fault::Pass);
    // Replies go to those who asked.
    let last = raise(&level, &acme, 2).await;
    assert!(last.previous >= first);
    assert_eq!(newest(&level, &acme).await, last.number);
    assert_eq!(proxy.traffic().connections, before);
}

#[tokio::test]
async fn redis_may_come_later_than_the_level() {
    let server = Redis::start(&[]).await.unwrap();
    server.stop().await;
    let level = level(&server.url());
    assert_eq!(one_of_each(&level).await.len(), 6);
    server.restart().await.unwrap();
    assert_eq!(one_of_each(&level).await.len(), 0);
}

#[tokio::test]
async fn a_call_ends_with_its_attempt_and_does_not_try_again_and_again() {
    let server = Redis::start(&[]).await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    proxy.set(Fault::Reset);
    let level = level(&proxy.url(&server.url()));
    for calls in 1..=10 {
        assert!(level.store(&scope("acme"), &[entry(b"a", b"1")]).await.is_err());
        let attempts = proxy.traffic().connections;
        assert!(attempts <= 4 * calls, "{attempts} in {calls} calls");
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_asked_once_more_over_a_new_connection() {
    let server = Redis::start(&[]).await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&server.url())).connections(1);
    let (level, acme) = (patient(settings).build().unwrap(), scope("acme"));
    let before = newest(&level, &acme).await;
    let connections = proxy.traffic().connections;
    server.command("REPLICAOF 127.0.0.1 1").await;
    let flush = raise_of(&acme, &[Cell::Base], FlushMode::Hard);
    assert!(level.raise(&flush).await.is_err());
    // Behind Sentinel, or a name that changed its address, this one leads to the new master.
    assert_eq!(proxy.traffic().connections, connections + 1);
    server.command("REPLICAOF NO ONE").await;
    assert_eq!(level.raise(&flush).await.unwrap().previous, before);
}

#[tokio::test]
async fn a_server_that_became_a_replica_says_nothing_of_what_is_new() {
    let server = Redis::start(&[]).await.unwrap();
    let level = patient(RedisSettings::single(server.url())).build().unwrap();
    let acme = scope("acme");
    let seen = newest(&level, &acme).await;
    let ask = Ask {
        scope: acme.clone(),
        seen,
    };
    assert_eq!(
        level.renew(std::slice::from_ref(&ask)).await.unwrap(),
        [Answer::Same]
    );
    server.command("REPLICAOF 127.0.0.1 1").await;
    // It may lag, or never hear of anything again: no lease may rest on it.
    assert!(level.renew(std::slice::from_ref(&ask)).await.is_err());
    assert!(level.fetch(&ask, &[name(b"a")]).await.is_err());
}

#[tokio::test]
async fn a_question_is_nothing_to_replicate() {
    let server = Redis::start(&[]).await.unwrap();
    let level = patient(RedisSettings::single(server.url())).build().unwrap();
    let acme = scope("acme");
    let seen = newest(&level, &acme).await;
    let changes = async || {
        let info = server.command("INFO persistence").await.join("\n");
        let line = info
            .lines()
            .find(|line| line.starts_with("rdb_changes_since_last_save"));
        line.unwrap().trim().to_owned()
    };
    let before = changes().await;
    let ask = Ask {
        scope: acme.clone(),
        seen,
    };
    for _ in 0..5 {
        assert_eq!(
            level.renew(std::slice::from_ref(&ask)).await.unwrap(),
            [Answer::Same]
        );
    }
    assert_eq!(changes().await, before);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_show_it() {
    let server = Redis::start(&[]).await.unwrap();
    let url = format!("redis://:hunter2@{}", server.address());
    let level = level(&url);
    let errors = one_of_each(&level).await;
    assert_eq!(errors.len(), 6);
    for error in errors {
        let mut text = format!("{error:?} {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text += &format!(" {cause:?} {cause}");
            source = cause.source();
        }
        assert!(text.contains("uthentication"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(!format!("{level:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_full_refuses_and_serves_on() {
    let server = Redis::start(&[("maxmemory", "1"), ("maxmemory-policy", "noeviction")])
        .await
        .unwrap();
    let level = level(&server.url());
    let acme = scope("acme");
    assert!(level.store(&acme, &[entry(b"a", b"1")]).await.is_err());
    server.command("CONFIG SET maxmemory 0").await;
    assert_eq!(one_of_each(&level).await.len(), 0);
}
