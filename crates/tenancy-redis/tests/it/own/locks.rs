//! Locks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::time::timeout;

use super::{MINUTE, acme, redis_of};
use crate::place::{database, eventually, level, on_all_servers, patient};

on_all_servers! {
    one_has_the_lock_and_others_wait_for_it
    only_one_at_a_time_works_under_a_lock
    fencing_numbers_only_grow
    a_lock_that_is_dropped_or_given_up_is_free_soon
    a_lock_is_renewed_for_as_long_as_it_is_held
    a_lock_that_was_lost_says_so_and_takes_nothing_from_the_next_holder
    tenants_and_names_have_locks_of_their_own
}

async fn one_has_the_lock_and_others_wait_for_it(level: &RedisLevel) {
    let redis = acme(level).await;
    let lock = redis.lock("import", MINUTE);
    let first = lock.try_acquire().await.unwrap().unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    assert!(
        lock.acquire(Duration::ZERO)
            .await
            .unwrap_err()
            .is_held_elsewhere()
    );
    assert!(!first.is_lost());
    let waiting = {
        let lock = lock.clone();
        tokio::spawn(async move { lock.acquire(Duration::MAX).await })
    };
    assert!(
        lock.acquire(Duration::from_millis(50))
            .await
            .unwrap_err()
            .is_held_elsewhere()
    );
    assert!(first.release().await.unwrap());
    let second = waiting.await.unwrap().unwrap();
    assert!(second.release().await.unwrap());
}

async fn only_one_at_a_time_works_under_a_lock(level: &RedisLevel) {
    let redis = acme(level).await;
    let at_work = AtomicU64::new(0);
    let workers = (0..5).map(|_| async {
        let guard = redis.lock("import", MINUTE).acquire(MINUTE).await.unwrap();
        assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0);
        tokio::task::yield_now().await;
        at_work.fetch_sub(1, Ordering::SeqCst);
        assert!(guard.release().await.unwrap());
    });
    join_all(workers).await;
}

async fn fencing_numbers_only_grow(level: &RedisLevel) {
    let redis = acme(level).await;
    let mut last = 0;
    for round in 0..20 {
        let name = ["import", "export"][round % 2];
        let guard = redis.lock(name, MINUTE).acquire(MINUTE).await.unwrap();
        assert!(guard.fence() > last, "{} after {last}", guard.fence());
        last = guard.fence();
        assert!(guard.release().await.unwrap());
    }
}

async fn a_lock_that_is_dropped_or_given_up_is_free_soon(level: &RedisLevel) {
    let redis = acme(level).await;
    let lock = redis.lock("import", 100 * MINUTE);
    let is_free = async || match lock.try_acquire().await.unwrap() {
        Some(guard) => guard.release().await.unwrap(),
        None => false,
    };
    drop(lock.try_acquire().await.unwrap().unwrap());
    eventually("a dropped guard lets go", is_free).await;
    for _ in 0..20 {
        // At whatever point of it.
        let patience = Duration::from_micros(fastrand::u64(0..2_000));
        let _ = timeout(patience, lock.try_acquire()).await;
        let _ = timeout(patience, lock.acquire(MINUTE)).await;
        eventually("what was given up is let go", is_free).await;
    }
    let guard = lock.acquire(MINUTE).await.unwrap();
    let _ = timeout(Duration::ZERO, guard.release()).await;
    eventually("a release that was given up goes on", is_free).await;
}

async fn a_lock_is_renewed_for_as_long_as_it_is_held(level: &RedisLevel) {
    let redis = acme(level).await;
    let lock = redis.lock("import", Duration::from_secs(1));
    // A machine that stands still loses it; not again and again.
    eventually("a lock outlives its time", async || {
        let guard = lock.acquire(MINUTE).await.unwrap();
        let other = lock.acquire(Duration::from_millis(1_500)).await;
        other.is_err() && guard.release().await.unwrap()
    })
    .await;
}

async fn a_lock_that_was_lost_says_so_and_takes_nothing_from_the_next_holder(level: &RedisLevel) {
    let redis = acme(level).await;
    let first = redis
        .lock("import", Duration::from_millis(600))
        .acquire(MINUTE)
        .await
        .unwrap();
    // As a failover would.
    let tenant = redis.tenant().clone();
    level
        .redis()
        .erase(&tenant.record())
        .after(Duration::ZERO)
        .await
        .unwrap();
    let second = redis.lock("import", MINUTE).acquire(MINUTE).await.unwrap();
    assert!(
        second.fence() > first.fence(),
        "also where the last number was lost"
    );
    timeout(MINUTE, first.lost()).await.unwrap();
    assert!(first.is_lost());
    assert!(!first.release().await.unwrap());
    assert!(!second.is_lost());
    assert!(second.release().await.unwrap());
}

async fn tenants_and_names_have_locks_of_their_own(level: &RedisLevel) {
    let (acme, globex) = (redis_of(level, "acme").await, redis_of(level, "globex").await);
    let mut held = Vec::new();
    for name in [&b""[..], b"a", b"a}", b"\0"] {
        for redis in [&acme, &globex] {
            held.push(redis.lock(name, MINUTE).try_acquire().await.unwrap().unwrap());
        }
        held.push(
            level
                .redis()
                .central()
                .lock(name, MINUTE)
                .try_acquire()
                .await
                .unwrap()
                .unwrap(),
        );
    }
    // Locks are no values: nobody removes one by mistake.
    assert!(!acme.exists("a").await.unwrap());
    assert!(!acme.remove("a").await.unwrap());
    for guard in held {
        assert!(guard.release().await.unwrap());
    }
}

#[tokio::test]
async fn a_holder_whose_redis_is_cut_off_learns_that_the_lock_is_lost_before_it_ends_there() {
    let server = Redis::start(&[]).await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let cut_off = patient(RedisSettings::single(proxy.url(&server.url())))
        .build()
        .unwrap();
    let guard = acme(&cut_off)
        .await
        .lock("import", Duration::from_secs(2))
        .acquire(MINUTE)
        .await
        .unwrap();
    proxy.set(Fault::Freeze);
    timeout(MINUTE, guard.lost()).await.unwrap();
    assert!(guard.is_lost());
    // Another process gets it.
    let other = acme(&level(&server.url()))
        .await
        .lock("import", MINUTE)
        .acquire(MINUTE)
        .await
        .unwrap();
    assert!(other.fence() > guard.fence());
}

#[tokio::test]
async fn a_runtime_that_was_blocked_for_longer_than_the_lock_lasts_knows_at_once_that_it_is_lost() {
    let database = database().await;
    let redis = acme(&level(&database.url())).await;
    let guard = redis
        .lock("import", Duration::from_millis(100))
        .acquire(MINUTE)
        .await
        .unwrap();
    // Nothing else runs: no renewal.
    std::thread::sleep(Duration::from_millis(150));
    assert!(guard.is_lost());
}

#[tokio::test]
async fn a_holder_of_a_server_that_lost_everything_loses_the_lock_and_the_next_number_is_higher() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let redis = acme(&level).await;
    let guard = redis
        .lock("import", Duration::from_millis(600))
        .acquire(MINUTE)
        .await
        .unwrap();
    server.kill().await;
    server.restart().await.unwrap();
    timeout(MINUTE, guard.lost()).await.unwrap();
    let next = redis.lock("import", MINUTE).acquire(MINUTE).await.unwrap();
    assert!(next.fence() > guard.fence());
}
