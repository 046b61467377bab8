//! Counters.

use std::time::Duration;

use futures_util::future::join_all;
use tenancy_redis::RedisLevel;

use super::{MINUTE, acme, redis_of};
use crate::place::{eventually, on_all_servers};

on_all_servers! {
    a_counter_is_added_to_in_one_step_by_all_at_once
    a_window_begins_with_its_first_addition_and_ends
    no_more_is_added_than_the_limit_however_many_ask_at_once
    one_at_its_limit_that_has_no_end_is_given_one
    counters_are_numbers_of_64_bits_and_ordinary_values
}

async fn a_counter_is_added_to_in_one_step_by_all_at_once(level: &RedisLevel) {
    let redis = acme(level).await;
    let counter = redis.counter("visits");
    let added = join_all((0..100).map(|_| counter.add(1))).await;
    let mut values: Vec<i64> = added.into_iter().map(|counted| counted.unwrap().value).collect();
    values.sort_unstable();
    assert_eq!(values, (1..=100).collect::<Vec<_>>());
    let last = counter.add(-100).await.unwrap();
    assert_eq!((last.value, last.time_left, last.is_added), (0, None, true));
    assert_eq!(
        redis_of(level, "globex")
            .await
            .counter("visits")
            .add(0)
            .await
            .unwrap()
            .value,
        0
    );
}

async fn one_at_its_limit_that_has_no_end_is_given_one(level: &RedisLevel) {
    let redis = acme(level).await;
    redis.counter("tries").add(5).await.unwrap();
    let refused = redis
        .counter("tries")
        .lasting(MINUTE)
        .add_up_to(1, 5)
        .await
        .unwrap();
    assert!(!refused.is_added);
    assert!(refused.time_left.is_some_and(|left| left <= MINUTE));
    // Who asks for no end sets none.
    redis.counter("others").add(5).await.unwrap();
    let refused = redis.counter("others").add_up_to(1, 5).await.unwrap();
    assert_eq!((refused.is_added, refused.time_left), (false, None));
}

async fn a_window_begins_with_its_first_addition_and_ends(level: &RedisLevel) {
    let redis = acme(level).await;
    let window = redis.counter("attempts").lasting(MINUTE);
    let first = window.add(1).await.unwrap();
    assert!(first.time_left.unwrap() <= MINUTE);
    let longer = redis
        .counter("attempts")
        .lasting(10 * MINUTE)
        .add(1)
        .await
        .unwrap();
    assert_eq!(longer.value, 2);
    assert!(
        longer.time_left.unwrap() <= first.time_left.unwrap(),
        "it does not slide"
    );

    let short = redis.counter("short").lasting(Duration::from_millis(1));
    short.add(5).await.unwrap();
    eventually("a new window begins", async || {
        short.add(1).await.unwrap().value == 1
    })
    .await;

    // One without an end, as another program may have left it.
    redis.set("left", 7, None).await.unwrap();
    let given = redis.counter("left").lasting(MINUTE).add(1).await.unwrap();
    assert!(given.value == 8 && given.time_left.is_some());
}

async fn no_more_is_added_than_the_limit_however_many_ask_at_once(level: &RedisLevel) {
    let redis = acme(level).await;
    let counter = redis.counter("attempts").lasting(MINUTE);
    let counted = join_all((0..50).map(|_| counter.add_up_to(1, 10))).await;
    let added = counted
        .into_iter()
        .filter(|counted| counted.as_ref().unwrap().is_added);
    assert_eq!(added.count(), 10);
    let refused = counter.add_up_to(1, 10).await.unwrap();
    assert!(!refused.is_added && refused.value == 10 && refused.time_left.is_some());
    assert!(!counter.add_up_to(2, 11).await.unwrap().is_added);
    assert!(counter.add_up_to(1, 11).await.unwrap().is_added);
    let none = redis.counter("none").add_up_to(5, 4).await.unwrap();
    assert_eq!((none.is_added, none.value, none.time_left), (false, 0, None));
    assert!(!redis.exists("none").await.unwrap());
}

async fn counters_are_numbers_of_64_bits_and_ordinary_values(level: &RedisLevel) {
    let redis = acme(level).await;
    let counter = redis.counter("large");
    assert_eq!(counter.add(i64::MAX).await.unwrap().value, i64::MAX);
    assert!(counter.add(1).await.unwrap_err().is_refused());
    assert_eq!(counter.add(-1).await.unwrap().value, i64::MAX - 1);
    assert_eq!(redis.get::<i64>("large").await.unwrap(), Some(i64::MAX - 1));
    assert!(redis.remove("large").await.unwrap());
    assert_eq!(
        counter.lasting(Duration::MAX).add(i64::MIN).await.unwrap().value,
        i64::MIN
    );
    redis
        .run::<u64>(tenancy_redis::command("LPUSH").key("list").arg(1))
        .await
        .unwrap();
    assert!(redis.counter("list").add(1).await.unwrap_err().is_wrong_type());
}
