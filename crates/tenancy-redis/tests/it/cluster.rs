//! What only a cluster does. Each cluster is started for one test.

use std::time::Duration;

use futures_util::future::join_all;
use tenancy::cache::shared::{Answer, Ask, SharedLevel};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{Redis, RedisCluster};

use crate::place::{ask, entry, eventually, name, newest, patient, raise, scope};

const SLOTS: usize = 16_384;

async fn slot_of(node: &Redis, id: &str) -> usize {
    let slot = node.command(format!("CLUSTER KEYSLOT {{{id}:1}}")).await;
    slot[0].parse().unwrap()
}

/// A tenant for each node.
async fn ids(cluster: &RedisCluster) -> [String; 3] {
    let mut ids = [const { String::new() }; 3];
    for number in 0..100 {
        let id = format!("tenant-{number}");
        let node = slot_of(&cluster.nodes()[0], &id).await * 3 / SLOTS;
        ids[node] = id;
    }
    assert!(ids.iter().all(|id| !id.is_empty()));
    ids
}

async fn node_ids(cluster: &RedisCluster) -> Vec<String> {
    let mut ids = Vec::new();
    for node in cluster.nodes() {
        ids.extend(node.command("CLUSTER MYID").await);
    }
    ids
}

async fn works(level: &RedisLevel, id: &str) -> bool {
    let ask = Ask {
        scope: scope(id),
        seen: 0,
    };
    level.renew(&[ask]).await.is_ok()
}

#[tokio::test]
async fn a_slot_that_moved_is_followed_and_so_is_one_that_is_moving() {
    let cluster = RedisCluster::start().await.unwrap();
    // One node is enough to find all.
    let level = patient(RedisSettings::cluster([&cluster.urls()[2]]))
        .build()
        .unwrap();
    let ids = ids(&cluster).await;
    let (from, to) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let (node_ids, slot) = (node_ids(&cluster).await, slot_of(from, &ids[0]).await);
    let acme = scope(&ids[0]);
    let first = newest(&level, &acme).await;
    let keys = format!("EXISTS tenancy:{{{}:1}}:v tenancy:{{{}:1}}:n", ids[0], ids[0]);
    assert_eq!(from.command(keys.clone()).await, ["2"]);

    // What is there is served by the old node, what is not by the new one.
    to.command(format!("CLUSTER SETSLOT {slot} IMPORTING {}", node_ids[0]))
        .await;
    from.command(format!("CLUSTER SETSLOT {slot} MIGRATING {}", node_ids[1]))
        .await;
    level
        .store(&acme, &[entry(b"a", b"1"), entry(b"b", b"2")])
        .await
        .unwrap();
    assert_eq!(to.command(format!("CLUSTER COUNTKEYSINSLOT {slot}")).await, ["2"]);
    let ask_first = Ask {
        scope: acme.clone(),
        seen: first,
    };
    let fetched = level
        .fetch(&ask_first, &[name(b"b"), name(b"x"), name(b"a")])
        .await
        .unwrap();
    assert_eq!(fetched.answer, Answer::Same);
    let found: Vec<_> = fetched
        .entries
        .iter()
        .map(|entry| entry.as_ref().map(|found| &found.bytes[..]))
        .collect();
    assert_eq!(found, [Some(&b"2"[..]), None, Some(&b"1"[..])]);

    // Nothing but the numbers is left to be moved; they are lost here, and made anew there.
    from.command(format!(
        "DEL tenancy:{{{}:1}}:v\nDEL tenancy:{{{}:1}}:n",
        ids[0], ids[0]
    ))
    .await;
    for node in [to, from, &cluster.nodes()[2]] {
        node.command(format!("CLUSTER SETSLOT {slot} NODE {}", node_ids[1]))
            .await;
    }
    assert_eq!(ask(&level, &acme, first).await, Answer::Behind);
    assert_eq!(to.command(keys).await, ["2"]);
    for id in &ids {
        raise(&level, &scope(id), 1).await;
    }
}

async fn connections_received(node: &Redis) -> usize {
    let told = node.command("INFO stats").await.concat();
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_node_that_gets_its_first_slot_is_connected_to_once() {
    let cluster = RedisCluster::start().await.unwrap();
    let (from, other, empty) = (&cluster.nodes()[0], &cluster.nodes()[1], &cluster.nodes()[2]);
    for node in cluster.nodes() {
        node.command("CONFIG SET cluster-require-full-coverage no").await;
    }
    // First where they are: it tells the others no more that they are its own.
    for node in [empty, from, other] {
        node.command(format!("CLUSTER DELSLOTSRANGE {} {}", 2 * SLOTS / 3, SLOTS - 1))
            .await;
    }
    let level = patient(RedisSettings::cluster([&cluster.urls()[0]]))
        .connections(1)
        .build()
        .unwrap();
    let (ids, node_ids) = (ids(&cluster).await, node_ids(&cluster).await);
    let (acme, slot) = (scope(&ids[0]), slot_of(from, &ids[0]).await);
    let seen = newest(&level, &acme).await;
    empty
        .command(format!("CLUSTER SETSLOT {slot} IMPORTING {}", node_ids[0]))
        .await;
    from.command(format!("CLUSTER SETSLOT {slot} MIGRATING {}", node_ids[2]))
        .await;

    let before = connections_received(empty).await;
    let names: Vec<_> = (0..25)
        .map(|number: usize| name(number.to_string().as_bytes()))
        .collect();
    for _ in 0..4 {
        let ask = Ask {
            scope: acme.clone(),
            seen,
        };
        let fetched = level.fetch(&ask, &names).await.unwrap();
        assert!(fetched.entries.iter().all(Option::is_none));
    }
    assert_eq!(connections_received(empty).await - before, 1);
}

#[tokio::test]
async fn a_node_that_stands_still_holds_up_its_own_tenants_alone() {
    let cluster = RedisCluster::start().await.unwrap();
    let level = RedisSettings::cluster(cluster.urls())
        .response_timeout(Duration::from_millis(300))
        .connect_timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let ids = ids(&cluster).await;
    for id in &ids {
        eventually("all nodes are connected", async || works(&level, id).await).await;
    }
    cluster.nodes()[0].freeze().await;
    for _ in 0..3 {
        let (frozen, second, third) = tokio::join!(
            works(&level, &ids[0]),
            works(&level, &ids[1]),
            works(&level, &ids[2])
        );
        assert_eq!((frozen, second, third), (false, true, true));
    }
    cluster.nodes()[0].thaw().await;
    eventually("the node serves again", async || works(&level, &ids[0]).await).await;
}

#[tokio::test]
async fn who_is_sent_on_to_a_node_that_stands_still_fails_alone() {
    let cluster = RedisCluster::start().await.unwrap();
    let level = RedisSettings::cluster(cluster.urls())
        .response_timeout(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    for node in cluster.nodes() {
        node.command("CONFIG SET cluster-require-full-coverage no").await;
    }
    let (ids, node_ids) = (ids(&cluster).await, node_ids(&cluster).await);
    let (from, to) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let (acme, slot) = (scope(&ids[0]), slot_of(from, &ids[0]).await);
    eventually("it is connected", async || works(&level, &ids[0]).await).await;
    let seen = newest(&level, &acme).await;
    level.store(&acme, &[entry(b"here", b"1")]).await.unwrap();
    to.command(format!("CLUSTER SETSLOT {slot} IMPORTING {}", node_ids[0]))
        .await;
    from.command(format!("CLUSTER SETSLOT {slot} MIGRATING {}", node_ids[1]))
        .await;
    to.freeze().await;
    let works = ["gone", "here", "gone", "here"].map(|key| {
        let (level, names) = (&level, [name(key.as_bytes())]);
        let ask = Ask {
            scope: acme.clone(),
            seen,
        };
        async move { level.fetch(&ask, &names).await.is_ok() }
    });
    assert_eq!(join_all(works).await, [false, true, false, true]);
    to.thaw().await;
}

#[tokio::test]
async fn a_node_that_was_killed_comes_back_and_a_level_finds_the_others_without_it() {
    let cluster = RedisCluster::start().await.unwrap();
    for node in cluster.nodes() {
        node.command("CONFIG SET cluster-require-full-coverage no").await;
    }
    let ids = ids(&cluster).await;
    let known = patient(RedisSettings::cluster(cluster.urls())).build().unwrap();
    for id in &ids {
        newest(&known, &scope(id)).await;
    }
    cluster.nodes()[0].kill().await;
    let fresh = patient(RedisSettings::cluster(cluster.urls())).build().unwrap();
    for level in [&known, &fresh] {
        assert!(!works(level, &ids[0]).await);
        for id in &ids[1..] {
            eventually("the others serve", async || works(level, id).await).await;
        }
    }
    cluster.nodes()[0].restart().await.unwrap();
    for level in [&known, &fresh] {
        eventually("it serves again", async || works(level, &ids[0]).await).await;
    }
}
