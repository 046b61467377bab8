//! Entries that are asked for at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{join_all, pending},
};
use tenancy::cache::shared::{Answer, Ask, EntryName, ScopeName, SharedLevel};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{FaultProxy, Redis};

use crate::place::{database, entry, eventually, level, name, newest, on_all_servers, patient, raise, scope};

on_all_servers! {
    each_gets_what_it_asked_for
    who_knows_another_number_is_told_what_changed_since_that
}

fn ask(scope: &ScopeName, seen: u64) -> Ask {
    Ask {
        scope: scope.clone(),
        seen,
    }
}

/// The value under its own name, in a tenant's part.
async fn fetch_one(level: &RedisLevel, scope: &ScopeName, key: &str) -> Option<String> {
    let names = [name(key.as_bytes())];
    let fetched = level.fetch(&ask(scope, 0), &names).await.unwrap();
    let found = fetched.entries.into_iter().next().unwrap()?;
    Some(String::from_utf8(found.bytes.to_vec()).unwrap())
}

async fn fill(level: &RedisLevel, scope: &ScopeName, entries: usize) {
    let value = |number: usize| format!("{scope} {number}");
    let entries: Vec<_> = (0..entries)
        .map(|number| entry(number.to_string().as_bytes(), value(number).as_bytes()))
        .collect();
    level.store(scope, &entries).await.unwrap();
}

/// How often this stands in what was sent as a word of its own.
fn words(sent: &str, word: &str) -> usize {
    sent.split("\r\n").filter(|sent| *sent == word).count()
}

async fn each_gets_what_it_asked_for(level: &RedisLevel) {
    let scopes: Vec<_> = (0..7).map(|tenant| scope(&format!("tenant-{tenant}"))).collect();
    for scope in &scopes {
        fill(level, scope, 50).await;
    }
    let calls = (0..700_usize).map(|at| {
        let scope = &scopes[at % scopes.len()];
        async move {
            let number = at % 60;
            let expected = (number < 50).then(|| format!("{scope} {number}"));
            assert_eq!(fetch_one(level, scope, &number.to_string()).await, expected);
        }
    });
    join_all(calls).await;
}

async fn who_knows_another_number_is_told_what_changed_since_that(level: &RedisLevel) {
    let acme = scope("acme");
    let mut known = vec![newest(level, &acme).await];
    for slot in 1..=5 {
        known.push(raise(level, &acme, slot).await.number);
    }
    let newest = known[5];
    let calls = (0..60).map(|at| {
        let (acme, seen) = (&acme, known[at % 6]);
        async move { (at % 6, level.fetch(&ask(acme, seen), &[]).await.unwrap().answer) }
    });
    for (at, answer) in join_all(calls).await {
        match answer {
            Answer::Same => assert_eq!(at, 5),
            Answer::Changed { number, levels } => assert_eq!((number, levels.len()), (newest, 5 - at)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn many_calls_are_few_questions() {
    let database = database().await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&database.url())).connections(1);
    let (level, acme) = (patient(settings).build().unwrap(), scope("acme"));
    fill(&level, &acme, 300).await;
    newest(&level, &acme).await;
    proxy.record();
    let before = proxy.traffic().round_trips;
    let keys: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let found = join_all(keys.iter().map(|key| fetch_one(&level, &acme, key))).await;
    assert!(found.iter().all(Option::is_some));
    let trips = proxy.traffic().round_trips - before;
    let sent: Vec<u8> = proxy
        .take_recorded()
        .into_iter()
        .flat_map(|burst| burst.bytes)
        .collect();
    let sent = String::from_utf8_lossy(&sent);
    assert_eq!((words(&sent, "GET"), words(&sent, "PTTL")), (300, 300));
    // One alone, and the rest by 32 at first.
    let questions = words(&sent, "EVALSHA");
    assert!((2..=11).contains(&questions), "{questions} questions");
    assert!(trips <= 11, "{trips} round trips");
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_nothing_from_those_it_went_with() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    fill(&level, &acme, 40).await;
    for polled in 0..12 {
        let mut dropped: Vec<_> = (0..20_usize)
            .map(|number| {
                let (level, acme) = (&level, &acme);
                async move { fetch_one(level, acme, &number.to_string()).await }.boxed_local()
            })
            .collect();
        let kept = (20..40_usize).map(|number| {
            let (level, acme) = (&level, &acme);
            async move { fetch_one(level, acme, &number.to_string()).await }
        });
        let giving_up = async {
            for _ in 0..polled {
                for call in &mut dropped {
                    if call.as_mut().now_or_never().is_some() {
                        *call = pending().boxed_local();
                    }
                }
                tokio::task::yield_now().await;
            }
            drop(dropped);
        };
        let (found, ()) = tokio::join!(join_all(kept), giving_up);
        let expected: Vec<_> = (20..40).map(|number| Some(format!("{acme} {number}"))).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_caller_that_stands_still_holds_up_nobody() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    fill(&level, &acme, 40).await;
    let mut still: Vec<_> = (0..20_usize)
        .map(|number| {
            let (level, acme) = (&level, &acme);
            Box::pin(async move { fetch_one(level, acme, &number.to_string()).await })
        })
        .collect();
    // The first is sent alone, and the others wait for a sender.
    for call in &mut still {
        assert!(call.as_mut().now_or_never().is_none());
    }
    for number in 0..40_usize {
        assert!(fetch_one(&level, &acme, &number.to_string()).await.is_some());
    }
    drop(still);
}

#[tokio::test]
async fn what_is_refused_to_one_is_refused_to_no_other() {
    let database = database().await;
    let (level, acme, beta) = (level(&database.url()), scope("acme"), scope("beta"));
    fill(&level, &acme, 20).await;
    fill(&level, &beta, 20).await;
    let select = format!("SELECT {}", database.number());
    let commands = "RPUSH tenancy:{acme:1}:e:list 1\nSET tenancy:{beta:1}:n 1";
    database.server().command(format!("{select}\n{commands}")).await;
    let call = |scope: &ScopeName, key: &str, seen| {
        let (ask, names) = (ask(scope, seen), [EntryName::for_tests(key.as_bytes())]);
        let level = &level;
        async move { level.fetch(&ask, &names).await.is_ok() }
    };
    let calls = (0..20).flat_map(|number| {
        let key = number.to_string();
        [
            call(&acme, &key, 0),
            call(&acme, "list", 0),
            call(&acme, &key, u64::MAX),
            // Its history is no list.
            call(&beta, &key, 0),
        ]
    });
    for outcomes in join_all(calls).await.chunks(4) {
        assert_eq!(outcomes, [true, false, false, false]);
    }
}

#[tokio::test]
async fn all_that_wait_for_a_server_that_stands_still_fail_together() {
    let server = Redis::start(&[]).await.unwrap();
    let level = Arc::new(
        RedisSettings::single(server.url())
            .response_timeout(Duration::from_millis(500))
            .connect_timeout(Duration::from_secs(30))
            .build()
            .unwrap(),
    );
    let acme = scope("acme");
    eventually("all is well", async || {
        level.fetch(&ask(&acme, 0), &[]).await.is_ok()
    })
    .await;
    server.freeze().await;
    let calls = (0..1_000_usize).map(|number| {
        let (level, acme) = (&level, &acme);
        async move {
            let names = [name(number.to_string().as_bytes())];
            level.fetch(&ask(acme, 0), &names).await.is_err()
        }
    });
    // Were they to wait in turn, they would wait for a minute.
    let ended = tokio::time::timeout(Duration::from_secs(30), join_all(calls)).await;
    assert!(ended.unwrap().iter().all(|is_error| *is_error));
    server.thaw().await;
    eventually("it answers again", async || {
        level.fetch(&ask(&acme, 0), &[]).await.is_ok()
    })
    .await;
    fill(&level, &acme, 1).await;
    assert!(fetch_one(&level, &acme, "0").await.is_some());
}

/// Whoever has flushed is not answered with what was read before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_what_was_sent_before() {
    let database = database().await;
    let (level, acme) = (Arc::new(level(&database.url())), scope("acme"));
    fill(&level, &acme, 20).await;
    let mut seen = newest(&level, &acme).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..32_usize)
        .map(|number| {
            let (level, acme, is_over) = (Arc::clone(&level), acme.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    fetch_one(&level, &acme, &(number % 20).to_string()).await;
                }
            })
        })
        .collect();
    for round in 0..200 {
        let raised = raise(&level, &acme, round % 7).await;
        match level
            .fetch(&ask(&acme, seen), &[name(b"1")])
            .await
            .unwrap()
            .answer
        {
            Answer::Changed { number, .. } => assert_eq!(number, raised.number),
            other => panic!("{other:?}"),
        }
        seen = raised.number;
    }
    is_over.store(true, Ordering::Relaxed);
    for other in others {
        other.await.unwrap();
    }
}
