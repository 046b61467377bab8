//! The faults of the level in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use tenancy::cache::shared::{
    Answer, Ask, Cell, EntryName, FlushMode, Level, Message, Raise, Raised, ScopeName, SharedError,
    SharedLevel, StoredEntry,
};
use tenancy_test::{
    ManualClock,
    cache::{LevelCall, MemoryLevel, MemoryNode, MessageFaults},
};

fn acme() -> ScopeName {
    ScopeName::for_tests("acme:1")
}

fn flush_of(slot: u16) -> Raise {
    Raise {
        scope: acme(),
        cells: vec![Cell::Slot(slot)],
        mode: FlushMode::Hard,
        known: 0,
    }
}

async fn flush(node: &MemoryNode, slot: u16) -> Result<Raised, SharedError> {
    node.raise(&flush_of(slot)).await
}

async fn ask(node: &MemoryNode, seen: u64) -> Result<Answer, SharedError> {
    let asks = [Ask { scope: acme(), seen }];
    Ok(node.renew(&asks).await?.remove(0))
}

async fn newest(node: &MemoryNode) -> u64 {
    match ask(node, 0).await.unwrap() {
        Answer::Whole { number, .. } => number,
        other => panic!("{other:?}"),
    }
}

async fn store(node: &MemoryNode, name: &str) -> Result<(), SharedError> {
    let entry = StoredEntry {
        name: EntryName::for_tests(name.as_bytes()),
        bytes: Bytes::from_static(b"value"),
        ttl: Duration::from_secs(10),
    };
    node.store(&acme(), &[entry]).await
}

async fn is_there(node: &MemoryNode, name: &str) -> bool {
    let ask = Ask {
        scope: acme(),
        seen: 0,
    };
    let names = [EntryName::for_tests(name.as_bytes())];
    node.fetch(&ask, &names).await.unwrap().entries[0].is_some()
}

/// What was heard until now; a gap is 0.
fn heard(messages: &mut BoxStream<'static, Message>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(Some(message)) = messages.next().now_or_never() {
        numbers.push(match message {
            Message::Gap => 0,
            Message::Raised { number, .. } => number,
        });
    }
    numbers
}

#[tokio::test]
async fn a_node_that_is_away_fails_at_once_and_alone() {
    let level = MemoryLevel::new();
    let (away, here) = (level.node(), level.node());
    let mut messages = away.listen();
    assert_eq!(heard(&mut messages), [0]);
    away.go_away();
    assert!(ask(&away, 0).await.is_err());
    assert!(flush(&away, 1).await.is_err());
    assert!(store(&away, "a").await.is_err());
    assert_eq!(level.scopes(), []);
    let mut late = away.listen();
    flush(&here, 1).await.unwrap();
    assert!(heard(&mut messages).is_empty());

    away.come_back();
    let number = flush(&away, 2).await.unwrap().number;
    for messages in [&mut messages, &mut late] {
        assert_eq!(heard(messages), [0, number]);
    }
}

#[tokio::test]
async fn a_frozen_node_answers_when_it_is_thawed() {
    let level = MemoryLevel::new();
    let (frozen, here) = (level.node(), level.node());
    let mut messages = frozen.listen();
    frozen.freeze();
    let mut asking = Box::pin(newest(&frozen));
    assert!(asking.as_mut().now_or_never().is_none());
    assert!(flush(&frozen, 1).now_or_never().is_none(), "given up");
    let number = flush(&here, 2).await.unwrap().number;
    assert_eq!(heard(&mut messages), [0]);

    frozen.thaw();
    assert_eq!(asking.await, number);
    assert_eq!(heard(&mut messages), [number]);
    assert_eq!(level.levels(&acme()).len(), 2, "what was given up was never done");
}

#[tokio::test]
async fn a_frozen_node_that_goes_away_fails() {
    let node = MemoryLevel::new().node();
    node.freeze();
    let mut asking = Box::pin(ask(&node, 0));
    assert!(asking.as_mut().now_or_never().is_none());
    node.go_away();
    assert!(asking.await.is_err());
}

#[tokio::test]
async fn answers_that_are_held_back_come_in_any_order() {
    let level = MemoryLevel::new();
    let (slow, here) = (level.node(), level.node());
    slow.hold_answers();
    let (mut first, mut second) = (Box::pin(newest(&slow)), Box::pin(flush(&slow, 1)));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    let (renewed, raised) = (slow.held_answer().await, slow.held_answer().await);
    assert_eq!(
        (renewed.call(), raised.call()),
        (LevelCall::Renew, LevelCall::Raise)
    );
    let after = flush(&here, 2).await.unwrap();

    raised.release();
    let number = second.await.unwrap().number;
    assert_eq!(number, after.previous, "it was done when it was asked");
    assert!(first.as_mut().now_or_never().is_none());
    drop(renewed);
    assert!(first.await < number, "an answer of before");

    let mut third = Box::pin(ask(&slow, 0));
    assert!(third.as_mut().now_or_never().is_none());
    slow.stop_holding();
    assert!(third.await.is_ok());
    assert!(ask(&slow, 0).now_or_never().is_some());
}

#[tokio::test]
async fn a_flush_whose_answer_is_lost_was_made() {
    let level = MemoryLevel::new();
    let node = level.node();
    node.hold_answers();
    let flushing = tokio::spawn({
        let node = node.clone();
        async move { flush(&node, 1).await.is_err() }
    });
    node.held_answer().await.lose();
    assert!(flushing.await.unwrap());
    assert_eq!(level.levels(&acme()).len(), 2);

    let mut given_up = Box::pin(flush(&node, 2));
    assert!(given_up.as_mut().now_or_never().is_none());
    let held = node.held_answer().await;
    assert!(!held.is_given_up());
    drop(given_up);
    assert!(held.is_given_up());

    let mut cut_off = Box::pin(flush(&node, 3));
    assert!(cut_off.as_mut().now_or_never().is_none());
    node.go_away();
    assert!(cut_off.await.is_err());
    assert_eq!(level.levels(&acme()).len(), 4);
}

#[tokio::test]
async fn messages_of_one_node_are_lost_and_those_of_others_are_not() {
    let level = MemoryLevel::new();
    let (harmed, here) = (level.node(), level.node());
    let (mut to_harmed, mut to_here) = (harmed.listen(), here.listen());
    harmed.harm_messages(MessageFaults::seeded(1).lost(100));
    let first = flush(&here, 1).await.unwrap().number;
    harmed.harm_messages(MessageFaults::seeded(1).delayed(100));
    let second = flush(&here, 1).await.unwrap().number;
    harmed.heal_messages();
    let third = flush(&here, 1).await.unwrap().number;
    harmed.deliver_delayed();
    assert_eq!(heard(&mut to_here), [0, first, second, third]);
    assert_eq!(heard(&mut to_harmed), [0, third, second]);
}

#[tokio::test]
async fn a_subscriber_that_is_cut_off_hears_a_gap() {
    let level = MemoryLevel::new();
    let node = level.node();
    let mut messages = node.listen();
    node.harm_messages(MessageFaults::seeded(1).delayed(100));
    flush(&node, 1).await.unwrap();
    node.cut_subscriber();
    node.deliver_delayed();
    assert_eq!(heard(&mut messages), [0, 0], "what was delayed is lost");

    node.heal_messages();
    node.lose_subscriber();
    flush(&node, 1).await.unwrap();
    assert!(heard(&mut messages).is_empty());
    node.go_away();
    node.regain_subscriber();
    assert!(heard(&mut messages).is_empty(), "it is still away");
    node.come_back();
    let number = flush(&node, 1).await.unwrap().number;
    assert_eq!(heard(&mut messages), [0, number]);
}

#[tokio::test]
async fn a_listener_ends_with_its_process() {
    let level = MemoryLevel::new();
    let (ending, staying) = (level.node(), level.node());
    let clone = ending.clone();
    let (mut ended, mut stayed) = (ending.listen(), staying.listen());
    drop(ending);
    let number = flush(&clone, 1).await.unwrap().number;
    assert_eq!(heard(&mut ended), [0, number]);
    drop(clone);
    assert_eq!(ended.next().await, None);
    assert_eq!(heard(&mut stayed), [0, number]);
}

#[tokio::test]
async fn what_is_flushed_from_the_database_is_gone_and_what_comes_is_above() {
    // A clock that stands still, with numbers ahead of it.
    let level = MemoryLevel::with_clock(Arc::new(ManualClock::new()));
    let node = level.node();
    let mut highest = 0;
    for slot in 0..9 {
        highest = flush(&node, slot).await.unwrap().number;
    }
    store(&node, "a").await.unwrap();
    level.flush_db();
    assert!(level.levels(&acme()).is_empty() && level.entry_names(&acme()).is_empty());
    assert_eq!(ask(&node, highest).await.unwrap(), Answer::Behind);
    let made = level.levels(&acme());
    assert!(made.len() == 1 && made[0].cell == Cell::Base && made[0].hard > highest);
}

#[tokio::test]
async fn a_scope_that_is_forgotten_keeps_its_entries() {
    let level = MemoryLevel::new();
    let node = level.node();
    let highest = flush(&node, 1).await.unwrap().number;
    store(&node, "a").await.unwrap();
    level.forget_scope(&acme());
    assert!(is_there(&node, "a").await);
    let made = level.levels(&acme());
    assert!(made.len() == 1 && made[0].hard > highest);
}

#[tokio::test]
async fn a_failover_loses_numbers_and_entries_and_nothing_else() {
    let level = MemoryLevel::new();
    let node = level.node();
    let kept = flush(&node, 1).await.unwrap().number;
    store(&node, "kept").await.unwrap();
    let checkpoint = level.checkpoint();
    let lost = flush(&node, 2).await.unwrap().number;
    store(&node, "lost").await.unwrap();
    level.fail_over_to(&checkpoint);
    assert_eq!(newest(&node).await, kept);
    assert!(is_there(&node, "kept").await && !is_there(&node, "lost").await);
    assert_eq!(ask(&node, lost).await.unwrap(), Answer::Behind);
    assert_eq!(ask(&node, kept).await.unwrap(), Answer::Same);
    assert!(flush(&node, 3).await.unwrap().number > lost);
    level.fail_over_to(&checkpoint);
    assert_eq!(newest(&node).await, kept, "a checkpoint can be used again");
}

#[tokio::test]
async fn a_clock_that_is_behind_gives_lower_numbers_but_not_to_those_who_know() {
    let level = MemoryLevel::with_clock(Arc::new(ManualClock::new()));
    let node = level.node();
    let checkpoint = level.checkpoint();
    let lost = flush(&node, 1).await.unwrap().number;
    level.fail_over_to(&checkpoint);
    level.set_clock_back(Duration::from_secs(5));
    assert!(newest(&node).await < lost);
    let known = [Level {
        cell: Cell::Slot(1),
        any: lost,
        hard: lost,
    }];
    node.teach(&acme(), &known).await.unwrap();
    assert!(newest(&node).await > lost);
}

#[tokio::test]
async fn entries_expire_by_the_clock_of_the_level() {
    let clock = Arc::new(ManualClock::new());
    let level = MemoryLevel::with_clock(clock.clone());
    let node = level.node();
    store(&node, "a").await.unwrap();
    clock.advance(Duration::from_millis(9_999));
    assert!(is_there(&node, "a").await);
    assert_eq!(level.entry_names(&acme()).len(), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(level.entry_names(&acme()), []);
    assert!(!is_there(&node, "a").await);
}

#[tokio::test]
async fn calls_are_counted_by_kind_and_node() {
    let level = MemoryLevel::new();
    let (one, other) = (level.node(), level.node());
    ask(&one, 0).await.unwrap();
    is_there(&one, "a").await;
    store(&one, "a").await.unwrap();
    flush(&one, 1).await.unwrap();
    one.teach(&acme(), &[]).await.unwrap();
    one.discard(&acme(), &[]).await.unwrap();
    drop(one.listen());
    one.go_away();
    assert!(store(&one, "a").await.is_err());
    flush(&other, 1).await.unwrap();
    let calls = one.calls();
    let rest = [
        calls.renew,
        calls.fetch,
        calls.raise,
        calls.teach,
        calls.discard,
        calls.listen,
    ];
    assert_eq!((rest, calls.store), ([1; 6], 2));
    drop((one, other));
    assert_eq!((level.calls().raise, level.calls().total()), (2, 9));
}

#[tokio::test]
#[should_panic = "a flush of nothing"]
async fn a_flush_of_nothing_fails_its_test() {
    let flush = Raise {
        cells: Vec::new(),
        ..flush_of(1)
    };
    drop(MemoryLevel::new().node().raise(&flush).await);
}
