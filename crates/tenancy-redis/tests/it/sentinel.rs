//! What only Sentinel does.

use futures_util::StreamExt;
use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, Message, SharedLevel};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::RedisSentinel;

use crate::place::{ask, entry, eventually, newest, of_sentinel, raise, raise_of, scope};

async fn works(level: &RedisLevel) -> bool {
    let ask = Ask {
        scope: scope("probe"),
        seen: 0,
    };
    level.renew(&[ask]).await.is_ok()
}

/// As long as Sentinel takes to notice that a master is gone: some seconds.
#[tokio::test]
async fn calls_and_messages_follow_the_master() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let [first, second] = sentinel.servers();
    let (level, acme) = (of_sentinel(&sentinel).build().unwrap(), scope("acme"));
    let mut heard = level.listen();
    assert_eq!(heard.next().await, Some(Message::Gap));
    let before = raise(&level, &acme, 1).await.number;
    level.store(&acme, &[entry(b"a", b"1")]).await.unwrap();
    assert!(matches!(heard.next().await, Some(Message::Raised { .. })));

    first.command("WAIT 1 10000").await;
    sentinel.fail_over().await;
    eventually("the new master is found", async || works(&level).await).await;
    // What was replicated goes on where it was.
    assert_eq!(ask(&level, &acme, before).await, Answer::Same);
    let there = raise(&level, &acme, 2).await;
    assert_eq!(there.previous, before);
    assert_eq!(second.command("ROLE").await[0], "master");

    // The next one happens by itself, and is hard.
    second.command("WAIT 1 10000").await;
    second.kill().await;
    assert!(!works(&level).await);
    eventually("the first is the master again", async || works(&level).await).await;
    assert_eq!(ask(&level, &acme, there.number).await, Answer::Same);

    // Messages are heard again, after a gap at least.
    eventually("messages are heard", async || {
        level
            .raise(&raise_of(&acme, &[Cell::Slot(3)], FlushMode::Hard))
            .await
            .unwrap();
        let mut last = None;
        while let Ok(message) =
            tokio::time::timeout(std::time::Duration::from_millis(500), heard.next()).await
        {
            last = message;
        }
        matches!(last, Some(Message::Raised { cells, .. }) if cells == [Cell::Slot(3)])
    })
    .await;
    assert!(newest(&level, &acme).await > there.number);
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_left_at_its_first_refusal() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let [first, second] = sentinel.servers();
    let (level, acme) = (of_sentinel(&sentinel).build().unwrap(), scope("acme"));
    raise(&level, &acme, 1).await;
    first.command("WAIT 1 10000").await;
    sentinel.fail_over().await;
    second.command("PING").await;
    // The old master is there and answers; no call fails by it.
    for slot in 0..10 {
        raise(&level, &acme, slot).await;
    }
    assert_eq!(first.command("ROLE").await[0], "slave");
}
