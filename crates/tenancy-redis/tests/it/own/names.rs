//! The names that a tenant has.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt};
use tenancy::cache::shared::SharedLevel;
use tenancy_redis::{RedisCallError, RedisLevel, ScopedRedis};
use tenancy_test::servers::Redis;

use super::{MINUTE, acme, redis_of};
use crate::place::{entry, level, newest, on_all_servers, scope};

on_all_servers! {
    the_names_of_one_tenant_that_begin_alike_are_found_among_all
    names_are_found_over_many_pages
}

async fn names(redis: &ScopedRedis, beginning: &[u8]) -> Result<BTreeSet<Vec<u8>>, RedisCallError> {
    redis.names(beginning).try_collect().await
}

fn set(names: &[&[u8]]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

async fn the_names_of_one_tenant_that_begin_alike_are_found_among_all(level: &RedisLevel) {
    let (acme, globex) = (redis_of(level, "acme").await, redis_of(level, "globex").await);
    let all: [&[u8]; 8] = [b"", b"a", b"a*", b"a*b", b"ab", b"a[b]", b"}:v", b"\r\n\0\xff"];
    for redis in [&*acme, &*globex] {
        for name in all {
            redis.set(name, 1, None).await.unwrap();
        }
    }
    globex.set("globex", 1, None).await.unwrap();
    level.redis().central().set("central", 1, None).await.unwrap();
    // What is no value.
    newest(level, &scope("acme")).await;
    level.store(&scope("acme"), &[entry(b"a", b"1")]).await.unwrap();
    let guard = acme.lock("a", MINUTE).acquire(MINUTE).await.unwrap();

    assert_eq!(names(&acme, b"").await.unwrap(), set(&all));
    assert_eq!(names(&acme, b"a").await.unwrap(), set(&all[1..6]));
    assert_eq!(names(&acme, b"a*").await.unwrap(), set(&[b"a*", b"a*b"]));
    assert_eq!(names(&acme, b"a[b]").await.unwrap(), set(&[b"a[b]"]));
    assert_eq!(names(&acme, b"?").await.unwrap(), set(&[]));
    assert_eq!(names(&acme, b"globex").await.unwrap(), set(&[]));
    assert!(names(&acme, &[7; 70_000]).await.unwrap_err().is_not_allowed());
    guard.release().await.unwrap();
}

async fn names_are_found_over_many_pages(level: &RedisLevel) {
    let redis = acme(level).await;
    let other = redis_of(level, "globex").await;
    let many = |number| (format!("n{number}"), number);
    redis.set_many((0..3_000).map(many), None).await.unwrap();
    other.set_many((0..3_000).map(many), None).await.unwrap();
    assert_eq!(names(&redis, b"").await.unwrap().len(), 3_000);
    assert_eq!(names(&redis, b"n1").await.unwrap().len(), 1_111);
}

/// Where it was means nothing to a server that was started anew, and another call may have connected to it meanwhile.
#[tokio::test]
async fn where_the_connection_is_lost_on_the_way_it_begins_again() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let redis = acme(&level).await;
    let all = (0..2_500).map(|number| (format!("n{number}"), 1));
    redis.set_many(all, MINUTE).await.unwrap();
    let mut found = redis.names("");
    let first = found.next().await.unwrap().unwrap();
    server.command("CLIENT KILL TYPE normal").await;
    assert!(redis.exists("n1").await.unwrap());
    let again: BTreeSet<Vec<u8>> = found.try_collect().await.unwrap();
    assert!(again.contains(&first));
    assert_eq!(again.len(), 2_500);
}
