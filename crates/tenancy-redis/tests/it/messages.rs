//! What processes hear of each other.

use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use tenancy::cache::shared::{Cell, FlushMode, Message, SharedLevel};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::time::timeout;

use crate::place::{
    database, eventually, hard, level, newest, on_all_servers, patient, raise, raise_of, scope,
};

on_all_servers! {
    raises_are_heard_in_their_order_each_with_the_number_before
    what_is_taught_is_heard_as_one_raise
    a_raise_that_makes_the_scope_tells_its_base
}

/// Fails instead of waiting for ever.
async fn next(heard: &mut BoxStream<'static, Message>) -> Option<Message> {
    timeout(Duration::from_secs(60), heard.next())
        .await
        .expect("a message within a minute")
}

async fn listening(level: &RedisLevel) -> BoxStream<'static, Message> {
    let mut heard = level.listen();
    assert_eq!(next(&mut heard).await, Some(Message::Gap));
    heard
}

/// Skips what was heard before.
async fn gap(heard: &mut BoxStream<'static, Message>) -> usize {
    let mut skipped = 0;
    while next(heard).await.unwrap() != Message::Gap {
        skipped += 1;
    }
    skipped
}

async fn raises_are_heard_in_their_order_each_with_the_number_before(level: &RedisLevel) {
    let acme = scope("acme");
    let (mut heard, mut heard_too) = (listening(level).await, listening(level).await);
    let first = newest(level, &acme).await;
    futures_util::future::join_all((0..50).map(|slot| raise(level, &acme, slot))).await;
    let soft = raise_of(&acme, &[Cell::Slot(4_095), Cell::Base], FlushMode::Soft);
    let last = level.raise(&soft).await.unwrap();

    let mut seen = first;
    let mut slots = Vec::new();
    for _ in 0..50 {
        let message = next(&mut heard).await;
        assert_eq!(next(&mut heard_too).await, message);
        let Some(Message::Raised {
            scope,
            previous,
            number,
            cells,
            mode: FlushMode::Hard,
        }) = message
        else {
            panic!("{message:?}");
        };
        assert_eq!((scope, previous), (acme.clone(), seen));
        seen = number;
        slots.extend(cells);
    }
    slots.sort_unstable();
    assert_eq!(slots, (0..50).map(Cell::Slot).collect::<Vec<_>>());
    assert_eq!(
        next(&mut heard).await,
        Some(Message::Raised {
            scope: acme,
            previous: seen,
            number: last.number,
            cells: soft.cells,
            mode: FlushMode::Soft,
        })
    );
}

async fn what_is_taught_is_heard_as_one_raise(level: &RedisLevel) {
    let acme = scope("acme");
    let first = newest(level, &acme).await;
    let mut heard = listening(level).await;
    let soft = tenancy::cache::shared::Level {
        hard: 0,
        ..hard(Cell::Slot(6), first + 1)
    };
    let known = [hard(Cell::Base, first), hard(Cell::Slot(5), first + 1), soft];
    let (number, levels) = crate::place::whole(level.teach(&acme, &known).await.unwrap());
    assert_eq!(
        next(&mut heard).await,
        Some(Message::Raised {
            scope: acme.clone(),
            previous: first,
            number,
            cells: vec![Cell::Slot(5), Cell::Slot(6)],
            mode: FlushMode::Hard,
        })
    );
    // What is heard is what is there.
    assert_eq!(levels[1..], [5, 6].map(|slot| hard(Cell::Slot(slot), number)));
    // Teaching what is known is not heard.
    level.teach(&acme, &levels).await.unwrap();
    let raised = raise(level, &acme, 1).await;
    assert!(
        matches!(next(&mut heard).await, Some(Message::Raised { number, .. }) if number == raised.number)
    );
}

async fn a_raise_that_makes_the_scope_tells_its_base(level: &RedisLevel) {
    let acme = scope("acme");
    let mut heard = listening(level).await;
    let soft = raise_of(&acme, &[Cell::Slot(1), Cell::Base], FlushMode::Soft);
    let raised = level.raise(&soft).await.unwrap();
    assert_eq!(
        next(&mut heard).await,
        Some(Message::Raised {
            scope: acme,
            previous: 0,
            number: raised.number,
            cells: vec![Cell::Base, Cell::Slot(1)],
            mode: FlushMode::Hard,
        })
    );
}

#[tokio::test]
async fn a_subscriber_that_was_cut_off_hears_of_a_gap_and_then_the_rest() {
    let server = Redis::start(&[]).await.unwrap();
    let (level, acme) = (level(&server.url()), scope("acme"));
    let mut heard = listening(&level).await;
    for _ in 0..5 {
        assert_eq!(server.command("CLIENT KILL TYPE pubsub").await, ["1"]);
        assert_eq!(gap(&mut heard).await, 0);
        let raised = raise(&level, &acme, 1).await;
        assert!(
            matches!(next(&mut heard).await, Some(Message::Raised { number, .. }) if number == raised.number)
        );
    }
    server.kill().await;
    server.restart().await.unwrap();
    assert_eq!(gap(&mut heard).await, 0);
    raise(&level, &acme, 1).await;
    assert!(matches!(next(&mut heard).await, Some(Message::Raised { .. })));
}

/// As long as Redis takes for a message to all cells of a scope, many times.
#[tokio::test]
async fn a_subscriber_that_redis_cuts_off_for_being_slow_hears_of_a_gap() {
    let server = Redis::start(&[("client-output-buffer-limit", "pubsub 1mb 0 0")])
        .await
        .unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let slow = level(&proxy.url(&server.url()));
    let mut heard = listening(&slow).await;
    proxy.set(Fault::Freeze);
    // A message that levels understand, and more than buffers of the system hold.
    let message = format!("PUBLISH tenancy:changes \"acme:1 1 2 h{}\"", " 1".repeat(30_000));
    eventually("Redis cuts it off", async || {
        server.command(vec![message.as_str(); 50].join("\n")).await;
        server
            .command("CLIENT LIST TYPE pubsub")
            .await
            .concat()
            .is_empty()
    })
    .await;
    proxy.set(Fault::Pass);
    gap(&mut heard).await;
    let raised = raise(&level(&server.url()), &scope("acme"), 1).await;
    assert!(
        matches!(next(&mut heard).await, Some(Message::Raised { number, .. }) if number == raised.number)
    );
}

#[tokio::test]
async fn who_does_not_take_what_was_heard_is_told_of_a_gap_and_holds_no_more_than_a_queue() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let mut heard = listening(&level).await;
    let messages = vec!["PUBLISH tenancy:changes \"acme:1 1 2 h 1\""; 3_000].join("\n");
    server.command(messages).await;
    eventually("it gives up its connection", async || {
        server
            .command("CLIENT LIST TYPE pubsub")
            .await
            .concat()
            .is_empty()
    })
    .await;
    let skipped = gap(&mut heard).await;
    assert!(skipped <= 1_024, "{skipped}");
    let raised = raise(&level, &scope("acme"), 1).await;
    assert!(
        matches!(next(&mut heard).await, Some(Message::Raised { number, .. }) if number == raised.number)
    );
}

#[tokio::test]
async fn what_is_not_understood_is_a_gap() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let mut heard = listening(&level).await;
    for text in ["hello", "\"acme:1 1 2 hh 1\"", "\"\\xff\\x00\""] {
        server.command(format!("PUBLISH tenancy:changes {text}")).await;
        assert_eq!(next(&mut heard).await, Some(Message::Gap));
    }
    raise(&level, &scope("acme"), 1).await;
    assert!(matches!(next(&mut heard).await, Some(Message::Raised { .. })));
}

#[tokio::test]
async fn databases_and_prefixes_do_not_hear_each_other() {
    let (database, other) = (database().await, database().await);
    let here = level(&database.url());
    let prefixed = patient(RedisSettings::single(database.url()))
        .prefix("shop:")
        .build()
        .unwrap();
    let mut heard = listening(&here).await;
    let acme = scope("acme");
    let apart = [
        raise(&level(&other.url()), &acme, 1).await,
        raise(&prefixed, &acme, 2).await,
    ];
    assert_eq!(apart.map(|raised| raised.previous), [0, 0]);
    raise(&here, &acme, 3).await;
    assert!(
        matches!(next(&mut heard).await, Some(Message::Raised { cells, .. }) if cells.contains(&Cell::Slot(3)))
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_level_and_also_where_redis_never_was() {
    let database = database().await;
    let level = level(&database.url());
    let mut heard = listening(&level).await;
    drop(level);
    assert_eq!(next(&mut heard).await, None);

    let nowhere = RedisLevel::connect("redis://127.0.0.1:1").unwrap();
    let mut heard = nowhere.listen();
    assert!(timeout(Duration::from_millis(200), heard.next()).await.is_err());
    drop(nowhere);
    assert_eq!(next(&mut heard).await, None);
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_its_connection() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let heard = listening(&level).await;
    assert!(
        !server
            .command("CLIENT LIST TYPE pubsub")
            .await
            .concat()
            .is_empty()
    );
    drop(heard);
    eventually("its connection ends", async || {
        server
            .command("CLIENT LIST TYPE pubsub")
            .await
            .concat()
            .is_empty()
    })
    .await;
}
