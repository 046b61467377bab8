//! What calls cost, counted on the wire.

use tenancy::cache::shared::{Ask, Cell, FlushMode, SharedLevel};
use tenancy_redis::RedisSettings;
use tenancy_test::servers::FaultProxy;

use crate::place::{database, entry, hard, name, newest, patient, raise, raise_of, scope};

#[tokio::test]
async fn each_call_is_one_round_trip() {
    let database = database().await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&database.url())).connections(1);
    let (level, acme) = (patient(settings).build().unwrap(), scope("acme"));
    // The server gets to know the scripts.
    newest(&level, &acme).await;
    raise(&level, &acme, 1).await;
    level.teach(&acme, &[]).await.unwrap();

    let ask = |number: usize| Ask {
        scope: scope(&format!("tenant-{number}")),
        seen: 0,
    };
    let asks: Vec<Ask> = (0..100).map(ask).collect();
    let names: Vec<_> = (0..50_u8).map(|number| name(&[number])).collect();
    let entries: Vec<_> = (0..50_u8)
        .map(|number| entry(&[number], &[number; 1_000]))
        .collect();
    let cells: Vec<Cell> = (0..4_096).map(Cell::Slot).collect();
    let flush = raise_of(&acme, &cells, FlushMode::Hard);
    let known: Vec<_> = cells.iter().map(|cell| hard(*cell, 1 << 52)).collect();

    let before = proxy.traffic();
    let trips = || proxy.traffic().round_trips - before.round_trips;
    level.renew(&asks).await.unwrap();
    assert_eq!(trips(), 1);
    level.store(&acme, &entries).await.unwrap();
    assert_eq!(trips(), 2);
    let fetched = level.fetch(&ask(1), &names).await.unwrap();
    assert_eq!((trips(), fetched.entries.len()), (3, 50));
    level.raise(&flush).await.unwrap();
    assert_eq!(trips(), 4);
    level.teach(&acme, &known).await.unwrap();
    assert_eq!(trips(), 5);
    level.discard(&acme, &names).await.unwrap();
    assert_eq!(trips(), 6);
    assert_eq!(proxy.traffic().connections, before.connections);
}

#[tokio::test]
async fn the_numbers_are_read_after_the_entries() {
    let database = database().await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&database.url())).connections(1);
    let (level, acme) = (patient(settings).build().unwrap(), scope("acme"));
    let seen = newest(&level, &acme).await;
    proxy.record();
    let ask = Ask { scope: acme, seen };
    level.fetch(&ask, &[name(b"a"), name(b"b")]).await.unwrap();
    let sent = proxy.take_recorded();
    assert_eq!(sent.len(), 1);
    let text = String::from_utf8_lossy(&sent[0].bytes);
    let commands: Vec<&str> = text
        .split("\r\n")
        .filter(|word| ["GET", "PTTL", "EVALSHA"].contains(word))
        .collect();
    assert_eq!(commands, ["PTTL", "GET", "PTTL", "GET", "EVALSHA"]);
}

#[tokio::test]
async fn any_number_of_calls_share_few_connections() {
    let database = database().await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&database.url()));
    let (level, acme) = (patient(settings).build().unwrap(), scope("acme"));
    futures_util::future::join_all((0..500).map(|slot| raise(&level, &acme, slot))).await;
    assert!(proxy.traffic().connections <= 2);
}
