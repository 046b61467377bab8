//! Entries.

use std::time::Duration;

use tenancy::cache::shared::{Answer, Ask, EntryName, Fetched, ScopeName, SharedLevel, StoredEntry};
use tenancy_redis::RedisLevel;

use crate::place::{database, entry, level, name, newest, on_all_servers, raise, scope};

on_all_servers! {
    entries_are_found_in_the_order_asked_for
    keys_and_values_are_any_bytes
    scopes_do_not_see_each_others_entries
    an_entry_takes_the_place_of_the_last_and_goes_when_it_is_discarded
    the_answer_is_not_older_than_the_entries
}

async fn fetch(level: &RedisLevel, scope: &ScopeName, keys: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let names: Vec<EntryName> = keys.iter().map(|key| name(key)).collect();
    let ask = Ask {
        scope: scope.clone(),
        seen: 0,
    };
    let Fetched { answer, entries } = level.fetch(&ask, &names).await.unwrap();
    assert!(matches!(answer, Answer::Whole { .. }), "{answer:?}");
    assert_eq!(entries.len(), keys.len());
    entries
        .into_iter()
        .map(|entry| entry.map(|found| found.bytes.to_vec()))
        .collect()
}

fn some(value: &[u8]) -> Option<Vec<u8>> {
    Some(value.to_vec())
}

async fn entries_are_found_in_the_order_asked_for(level: &RedisLevel) {
    let acme = scope("acme");
    level
        .store(&acme, &[entry(b"a", b"1"), entry(b"b", b"2"), entry(b"c", b"")])
        .await
        .unwrap();
    let found = fetch(level, &acme, &[b"c", b"x", b"a", b"b", b"a"]).await;
    assert_eq!(found, [some(b""), None, some(b"1"), some(b"2"), some(b"1")]);
    level.store(&acme, &[]).await.unwrap();
    level.discard(&acme, &[]).await.unwrap();
    assert_eq!(fetch(level, &acme, &[]).await, []);
}

async fn keys_and_values_are_any_bytes(level: &RedisLevel) {
    let acme = scope("acme");
    let all: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = all.iter().copied().cycle().take(100_000).collect();
    let mut other_long = long.clone();
    other_long[99_999] ^= 1;
    let keys: [&[u8]; 8] = [b"", b"}", b"{x}", b" \r\n", b"\0\xff", &all, &long, &other_long];
    let entries: Vec<StoredEntry> = (0_u8..)
        .zip(keys)
        .map(|(number, key)| {
            let mut value = all.clone();
            value.push(number);
            entry(key, &value)
        })
        .collect();
    level.store(&acme, &entries).await.unwrap();
    let found = fetch(level, &acme, &keys).await;
    for (found, stored) in found.iter().zip(&entries) {
        assert_eq!(found.as_deref(), Some(&stored.bytes[..]), "{:?}", stored.name);
    }
    level
        .store(&acme, &[entry(b"large", &long.repeat(30))])
        .await
        .unwrap();
    assert_eq!(fetch(level, &acme, &[b"large"]).await, [Some(long.repeat(30))]);
}

async fn scopes_do_not_see_each_others_entries(level: &RedisLevel) {
    let scopes = [
        scope("acme"),
        ScopeName::for_tests("acme:2"),
        scope("acme-1"),
        ScopeName::parse(":central").unwrap(),
    ];
    for scope in &scopes {
        level
            .store(scope, &[entry(b"a", scope.as_str().as_bytes())])
            .await
            .unwrap();
    }
    for scope in &scopes {
        assert_eq!(
            fetch(level, scope, &[b"a"]).await,
            [some(scope.as_str().as_bytes())]
        );
    }
}

async fn an_entry_takes_the_place_of_the_last_and_goes_when_it_is_discarded(level: &RedisLevel) {
    let acme = scope("acme");
    let long = [7; 300];
    for value in [b"1", b"2"] {
        level
            .store(
                &acme,
                &[entry(b"a", value), entry(&long, value), entry(b"b", value)],
            )
            .await
            .unwrap();
    }
    assert_eq!(
        fetch(level, &acme, &[b"a", &long]).await,
        [some(b"2"), some(b"2")]
    );
    level
        .discard(&acme, &[name(b"a"), name(&long), name(b"never stored")])
        .await
        .unwrap();
    assert_eq!(
        fetch(level, &acme, &[b"a", &long, b"b"]).await,
        [None, None, some(b"2")]
    );
}

async fn the_answer_is_not_older_than_the_entries(level: &RedisLevel) {
    let acme = scope("acme");
    let seen = newest(level, &acme).await;
    let raised = raise(level, &acme, 9).await;
    let ask = Ask {
        scope: acme.clone(),
        seen,
    };
    match level.fetch(&ask, &[name(b"a")]).await.unwrap().answer {
        Answer::Changed { number, .. } => assert_eq!(number, raised.number),
        other => panic!("{other:?}"),
    }
    let ask = Ask {
        seen: raised.number,
        ..ask
    };
    assert_eq!(level.fetch(&ask, &[]).await.unwrap().answer, Answer::Same);
}

#[tokio::test]
async fn an_entry_ends_by_itself_and_says_what_is_left() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    let ttls = [
        Duration::MAX,
        Duration::from_secs(60),
        Duration::from_millis(1),
        Duration::from_nanos(1),
    ];
    let entries = ttls.map(|ttl| StoredEntry {
        ttl,
        ..entry(format!("{ttl:?}").as_bytes(), b"1")
    });
    level.store(&acme, &entries).await.unwrap();
    let names = entries.map(|entry| entry.name);
    let ask = Ask {
        scope: acme.clone(),
        seen: 0,
    };
    crate::place::eventually("the short ones end", async || {
        let found = level.fetch(&ask, &names).await.unwrap().entries;
        found[2].is_none() && found[3].is_none()
    })
    .await;
    let found = level.fetch(&ask, &names).await.unwrap().entries;
    let left = |place: usize| found[place].as_ref().unwrap().remaining;
    assert!(left(0) > Duration::from_secs(1_000_000_000));
    assert!(!left(1).is_zero() && left(1) <= Duration::from_secs(60));
}

#[tokio::test]
async fn what_no_level_stored_is_not_found() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    let select = format!("SELECT {}", database.number());
    let commands = "SET tenancy:{acme:1}:e:forever 1\nRPUSH tenancy:{acme:1}:e:list 1";
    database.server().command(format!("{select}\n{commands}")).await;
    assert_eq!(fetch(&level, &acme, &[b"forever"]).await, [None]);
    // Not a text: somebody else's.
    let ask = Ask { scope: acme, seen: 0 };
    assert!(level.fetch(&ask, &[name(b"list")]).await.is_err());
}
