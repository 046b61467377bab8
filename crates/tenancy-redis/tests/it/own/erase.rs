//! Erasing what a tenant has left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tenancy::cache::shared::{ScopeName, SharedLevel};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::Redis;

use super::{MINUTE, acme, redis_of};
use crate::place::{database, entry, eventually, level, newest, on_all_servers, raise};

on_all_servers! {
    all_that_a_tenant_has_is_erased_and_nothing_of_others
    erasing_again_finds_nothing
    what_is_written_meanwhile_is_found_by_another_pass
}

async fn fill(level: &RedisLevel, tenant: &str) {
    let redis = redis_of(level, tenant).await;
    redis
        .set_many((0..2_500).map(|number| (format!("n{number}"), 1)), None)
        .await
        .unwrap();
    redis.counter("counter").lasting(MINUTE).add(1).await.unwrap();
    redis.set("}:v", 1, None).await.unwrap();
    let guard = redis.lock("lock", MINUTE).acquire(MINUTE).await.unwrap();
    let incarnation = redis.tenant().incarnation();
    let (scope, long) = (ScopeName::of(redis.tenant().id(), incarnation), [7; 300]);
    newest(level, &scope).await;
    raise(level, &scope, 1).await;
    level
        .store(&scope, &[entry(b"a", b"1"), entry(&long, b"1")])
        .await
        .unwrap();
    guard.release().await.unwrap();
    redis
        .run::<u64>(tenancy_redis::command("LPUSH").key("list").arg(1))
        .await
        .unwrap();
}

/// 2,500 values, a counter, one more value, a list, the last fencing number, two of the cache's numbers, two entries.
const FILLED: u64 = 2_500 + 1 + 1 + 1 + 1 + 2 + 2;

async fn all_that_a_tenant_has_is_erased_and_nothing_of_others(level: &RedisLevel) {
    fill(level, "acme").await;
    fill(level, "globex").await;
    let central = level.redis().central();
    central.set("a", 1, None).await.unwrap();
    let acme = acme(level).await;
    let (told, passes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (tell_keys, tell_passes) = (Arc::clone(&told), Arc::clone(&passes));
    let erase = level.redis().erase(&acme.tenant().record()).after(Duration::ZERO);
    let erased = erase.progress(move |so_far| {
        assert!(
            so_far.keys >= tell_keys.swap(so_far.keys, Ordering::SeqCst),
            "it never goes back"
        );
        tell_passes.store(so_far.passes.into(), Ordering::SeqCst);
    });
    let erased = erased.await.unwrap();
    assert_eq!((erased.keys, erased.found_last), (FILLED, 0));
    assert!(erased.is_all() && erased.passes >= 2);
    assert_eq!(told.load(Ordering::SeqCst), FILLED);
    assert_eq!(passes.load(Ordering::SeqCst), u64::from(erased.passes));

    assert!(central.exists("a").await.unwrap());
    let globex = redis_of(level, "globex").await;
    let erased = level
        .redis()
        .erase(&globex.tenant().record())
        .after(Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(erased.keys, FILLED);
}

async fn erasing_again_finds_nothing(level: &RedisLevel) {
    let acme = acme(level).await;
    acme.set("a", 1, None).await.unwrap();
    let mut record = tenancy::core::TenantRecord::clone(&acme.tenant().record());
    record.incarnation += 1;
    let other = level.redis().erase(&record).after(Duration::ZERO).await.unwrap();
    assert_eq!(
        (other.keys, other.passes),
        (0, 1),
        "another incarnation is another tenant"
    );
    for keys in [1, 0, 0] {
        let erased = level
            .redis()
            .erase(&acme.tenant().record())
            .after(Duration::ZERO)
            .await
            .unwrap();
        assert_eq!((erased.keys, erased.is_all()), (keys, true));
    }
}

async fn what_is_written_meanwhile_is_found_by_another_pass(level: &RedisLevel) {
    let acme = acme(level).await;
    acme.set_many((0..5_000).map(|number| (number.to_string(), 1)), None)
        .await
        .unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let writer = {
        let (acme, ends) = (Arc::clone(&acme), Arc::clone(&ends));
        tokio::spawn(async move {
            let mut written = 0;
            while !ends.load(Ordering::SeqCst) {
                acme.set(format!("late {written}"), 1, None).await.unwrap();
                written += 1;
            }
        })
    };
    let stops = Arc::clone(&ends);
    let erase = level.redis().erase(&acme.tenant().record()).after(Duration::ZERO);
    // Whoever writes stops in the second pass.
    let erase = erase.progress(move |so_far| stops.store(so_far.passes >= 2, Ordering::SeqCst));
    let erased = erase.await.unwrap();
    writer.await.unwrap();
    // The last write may have come after the last look.
    let after = level
        .redis()
        .erase(&acme.tenant().record())
        .after(Duration::ZERO)
        .await
        .unwrap();
    assert!(after.keys <= 1 && after.is_all(), "{after:?}");
    assert!(erased.is_all() && erased.keys >= 5_000, "{erased:?}");
}

#[tokio::test]
async fn a_prefix_with_signs_of_a_glob_erases_its_own_keys() {
    let database = database().await;
    let odd = RedisSettings::single(database.url())
        .prefix("a*[bc]?:")
        .build()
        .unwrap();
    let other = RedisSettings::single(database.url())
        .prefix("a-b-:")
        .build()
        .unwrap();
    for level in [&odd, &other] {
        acme(level).await.set("a", 1, None).await.unwrap();
    }
    let record = acme(&odd).await.tenant().record();
    let erased = odd.redis().erase(&record).after(Duration::ZERO).await.unwrap();
    assert_eq!((erased.keys, erased.is_all()), (1, true));
    assert!(acme(&other).await.exists("a").await.unwrap());
}

#[tokio::test]
async fn an_erasure_that_is_given_up_has_erased_what_it_has_and_another_finishes() {
    let database = database().await;
    let level = level(&database.url());
    let acme = acme(&level).await;
    acme.set_many((0..20_000).map(|number| (number.to_string(), 1)), None)
        .await
        .unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&seen);
    let erase = level.redis().erase(&acme.tenant().record()).after(Duration::ZERO);
    let erasing = tokio::spawn(
        erase
            .progress(move |so_far| tell.store(so_far.keys, Ordering::SeqCst))
            .into_future(),
    );
    eventually("it has begun", async || seen.load(Ordering::SeqCst) > 0).await;
    erasing.abort();
    let _ = erasing.await;
    let rest = level
        .redis()
        .erase(&acme.tenant().record())
        .after(Duration::ZERO)
        .await
        .unwrap();
    assert!(rest.is_all() && rest.keys < 20_000);
}

/// It may lack what its master has been given since.
#[tokio::test]
async fn that_a_replica_has_nothing_is_no_proof() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let record = acme(&level).await.tenant().record();
    let erase = || level.redis().erase(&record).after(Duration::ZERO);
    assert!(erase().await.unwrap().is_all());
    server.command("REPLICAOF 127.0.0.1 1").await;
    let error = erase().await.unwrap_err();
    assert_eq!(error.to_string(), "the server of Redis is no master any more");
    server.command("REPLICAOF NO ONE").await;
    assert!(erase().await.unwrap().is_all());
}

#[tokio::test]
async fn an_erasure_without_redis_is_an_error() {
    let level = level("redis://127.0.0.1:1");
    let record = acme(&level).await.tenant().record();
    let error = level
        .redis()
        .erase(&record)
        .after(Duration::ZERO)
        .await
        .unwrap_err();
    assert!(error.is_unavailable() && !error.may_have_been_done());
}
