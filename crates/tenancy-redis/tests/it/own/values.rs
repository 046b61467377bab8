//! Values, and commands on other types.

use std::time::Duration;

use tenancy_redis::{RedisLevel, RedisSettings, command};
use tenancy_test::servers::Redis;

use super::{MINUTE, acme, redis_of};
use crate::place::{eventually, newest, on_all_servers, patient, scope};

on_all_servers! {
    values_are_read_as_they_were_put
    tenants_and_nobody_have_a_value_each_under_one_name
    a_value_is_put_where_there_is_none_or_one
    values_end_and_their_ends_are_told
    many_values_are_put_read_and_removed_at_once
    lists_hashes_sets_and_sorted_sets_are_reached_by_their_commands
    commands_take_several_names_of_one_tenant
    commands_in_one_go_are_answered_in_their_order
    what_redis_refuses_is_an_error_that_says_what_and_repeats_nothing
}

async fn values_are_read_as_they_were_put(level: &RedisLevel) {
    let redis = acme(level).await;
    let all: Vec<u8> = (0..=255).collect();
    let names: [&[u8]; 7] = [b"", b"a", b"}", b"{globex:1}:a:b", b"\r\n\0", &all, &[7; 60_000]];
    for (number, name) in (0_u64..).zip(names) {
        redis.set(name, number, None).await.unwrap();
    }
    for (number, name) in (0_u64..).zip(names) {
        assert_eq!(redis.get::<u64>(name).await.unwrap(), Some(number));
    }
    redis.set("a", &all[..], None).await.unwrap();
    assert_eq!(redis.get::<Vec<u8>>("a").await.unwrap(), Some(all));
    redis.set("a", "", None).await.unwrap();
    assert_eq!(redis.get::<String>("a").await.unwrap(), Some(String::new()));
    assert_eq!(redis.get::<String>("none").await.unwrap(), None);
    let unreadable = redis.get::<u64>("a").await.unwrap_err();
    assert!(unreadable.is_unreadable());
    assert!(
        redis
            .set("a", ["1", "NX"].as_slice(), None)
            .await
            .unwrap_err()
            .is_not_allowed()
    );
}

async fn tenants_and_nobody_have_a_value_each_under_one_name(level: &RedisLevel) {
    let (acme, globex) = (redis_of(level, "acme").await, redis_of(level, "globex").await);
    let central = level.redis().central();
    acme.set("a", "acme", None).await.unwrap();
    assert_eq!(globex.get::<String>("a").await.unwrap(), None);
    assert_eq!(central.get::<String>("a").await.unwrap(), None);
    globex.set("a", "globex", None).await.unwrap();
    central.set("a", "nobody", None).await.unwrap();
    for (redis, expected) in [(&acme, "acme"), (&globex, "globex")] {
        assert_eq!(redis.get::<String>("a").await.unwrap().as_deref(), Some(expected));
    }
    assert!(central.remove("a").await.unwrap());
    assert!(acme.exists("a").await.unwrap() && globex.exists("a").await.unwrap());
}

async fn a_value_is_put_where_there_is_none_or_one(level: &RedisLevel) {
    let redis = acme(level).await;
    assert!(!redis.set_if_present("a", 1, None).await.unwrap());
    assert!(redis.set_if_absent("a", 2, MINUTE).await.unwrap());
    assert!(!redis.set_if_absent("a", 3, None).await.unwrap());
    assert_eq!(redis.get::<u64>("a").await.unwrap(), Some(2));
    assert!(redis.time_left("a").await.unwrap().is_some());
    assert!(redis.set_if_present("a", 4, None).await.unwrap());
    assert_eq!(redis.get::<u64>("a").await.unwrap(), Some(4));
    assert!(redis.time_left("a").await.unwrap().is_none());
}

async fn values_end_and_their_ends_are_told(level: &RedisLevel) {
    let redis = acme(level).await;
    redis.set("a", 1, Duration::ZERO).await.unwrap();
    redis.set("b", 1, Duration::MAX).await.unwrap();
    redis.set("c", 1, MINUTE).await.unwrap();
    eventually("the value ends", async || !redis.exists("a").await.unwrap()).await;
    assert!(redis.time_left("b").await.unwrap().unwrap() > 1_000_000 * MINUTE);
    let left = redis.time_left("c").await.unwrap().unwrap();
    assert!(left <= MINUTE && !left.is_zero());
    assert!(redis.expire("c", 2 * MINUTE).await.unwrap());
    assert!(redis.time_left("c").await.unwrap().unwrap() > left);
    assert!(!redis.expire("none", MINUTE).await.unwrap());
    assert_eq!(redis.time_left("none").await.unwrap(), None);
    let kept: bool = redis.run(command("PERSIST").key("c")).await.unwrap();
    assert!(kept && redis.time_left("c").await.unwrap().is_none());
}

async fn many_values_are_put_read_and_removed_at_once(level: &RedisLevel) {
    let redis = acme(level).await;
    redis.set_many([("a", 1), ("b", 2)], MINUTE).await.unwrap();
    let found: Vec<Option<u64>> = redis.get_many(["b", "none", "a", "b"]).await.unwrap();
    assert_eq!(found, [Some(2), None, Some(1), Some(2)]);
    assert!(redis.time_left("b").await.unwrap().is_some());
    assert_eq!(redis.remove_many(["a", "b", "none"]).await.unwrap(), 2);
    assert!(!redis.remove("a").await.unwrap());
    let nothing: [(&str, u64); 0] = [];
    redis.set_many(nothing, None).await.unwrap();
    assert_eq!(redis.get_many::<u64>([""; 0]).await.unwrap(), []);
    assert_eq!(redis.remove_many([""; 0]).await.unwrap(), 0);
}

async fn lists_hashes_sets_and_sorted_sets_are_reached_by_their_commands(level: &RedisLevel) {
    let redis = acme(level).await;
    let length: u64 = redis
        .run(command("rpush").key("jobs").arg(["a", "b"].as_slice()).arg(3))
        .await
        .unwrap();
    assert_eq!(length, 3);
    let jobs: Vec<String> = redis
        .run(command("LRANGE").key("jobs").arg(0).arg(-1))
        .await
        .unwrap();
    assert_eq!(jobs, ["a", "b", "3"]);
    let next: Option<String> = redis.run(command("LPOP").key("jobs")).await.unwrap();
    assert_eq!(next.as_deref(), Some("a"));

    redis
        .run::<u64>(
            command("HSET")
                .key("cart")
                .arg("apples")
                .arg(2)
                .arg("pears")
                .arg(1),
        )
        .await
        .unwrap();
    let apples: u64 = redis
        .run(command("HINCRBY").key("cart").arg("apples").arg(5))
        .await
        .unwrap();
    assert_eq!(apples, 7);
    let cart: std::collections::BTreeMap<String, u64> =
        redis.run(command("HGETALL").key("cart")).await.unwrap();
    assert_eq!(
        cart.into_iter().collect::<Vec<_>>(),
        [("apples".to_owned(), 7), ("pears".to_owned(), 1)]
    );

    redis
        .run::<u64>(command("SADD").key("tags").arg("red"))
        .await
        .unwrap();
    assert!(
        redis
            .run::<bool>(command("SISMEMBER").key("tags").arg("red"))
            .await
            .unwrap()
    );
    redis
        .run::<u64>(command("ZADD").key("scores").arg(3).arg("a").arg(1).arg("b"))
        .await
        .unwrap();
    let lowest: Vec<(String, f64)> = redis
        .run(command("ZRANGE").key("scores").arg(0).arg(0).arg("WITHSCORES"))
        .await
        .unwrap();
    assert_eq!(lowest, [("b".to_owned(), 1.0)]);
    redis
        .run::<String>(command("XADD").key("log").arg("*").arg("text").arg("hello"))
        .await
        .unwrap();
    assert_eq!(redis.run::<u64>(command("XLEN").key("log")).await.unwrap(), 1);
    redis
        .run::<u64>(command("PFADD").key("seen").arg("a"))
        .await
        .unwrap();
    assert_eq!(redis.run::<u64>(command("PFCOUNT").key("seen")).await.unwrap(), 1);
}

async fn commands_take_several_names_of_one_tenant(level: &RedisLevel) {
    let redis = acme(level).await;
    for (set, members) in [("red", ["a", "b"]), ("large", ["b", "c"])] {
        redis
            .run::<u64>(command("SADD").key(set).arg(members.as_slice()))
            .await
            .unwrap();
    }
    let both: Vec<String> = redis.run(command("SINTER").keys(["red", "large"])).await.unwrap();
    assert_eq!(both, ["b"]);
    assert_eq!(
        redis
            .run::<u64>(command("SUNIONSTORE").key("all").keys(["red", "large"]))
            .await
            .unwrap(),
        3
    );
    let sum = command("ZUNIONSTORE")
        .key("sum")
        .arg(2)
        .keys(["red", "large"])
        .arg("WEIGHTS")
        .arg(1)
        .arg(2);
    assert_eq!(redis.run::<u64>(sum).await.unwrap(), 3);
    redis
        .run::<()>(command("MSET").key("x").arg(1).key("y").arg(2))
        .await
        .unwrap();
    redis
        .run::<()>(command("RENAME").key("x").key("y"))
        .await
        .unwrap();
    assert_eq!(redis.get::<u64>("y").await.unwrap(), Some(1));
    redis
        .run::<u64>(command("RPUSH").key("from").arg(7))
        .await
        .unwrap();
    let moved: u64 = redis
        .run(command("LMOVE").key("from").key("to").arg("LEFT").arg("RIGHT"))
        .await
        .unwrap();
    assert_eq!(moved, 7);
    let bits: u64 = redis
        .run(command("BITOP").arg("NOT").key("bits").key("y"))
        .await
        .unwrap();
    assert_eq!(bits, 1);
}

async fn commands_in_one_go_are_answered_in_their_order(level: &RedisLevel) {
    let redis = acme(level).await;
    let (first, second, length, nothing): (u64, u64, u64, Option<String>) = redis
        .run_all([
            command("INCR").key("n"),
            command("INCRBY").key("n").arg(10),
            command("LPUSH").key("l").arg("x"),
            command("GET").key("none"),
        ])
        .await
        .unwrap();
    assert_eq!((first, second, length, nothing), (1, 11, 1, None));
    let numbers: Vec<u64> = redis
        .run_all((0..100).map(|_| command("INCR").key("n")))
        .await
        .unwrap();
    assert_eq!(numbers, (12..112).collect::<Vec<_>>());
    redis.run_all::<()>([]).await.unwrap();
    // None is sent where one is not allowed.
    let error = redis
        .run_all::<()>([command("INCR").key("n"), command("FLUSHALL")])
        .await
        .unwrap_err();
    assert!(error.is_not_allowed());
    assert_eq!(redis.get::<u64>("n").await.unwrap(), Some(111));
}

async fn what_redis_refuses_is_an_error_that_says_what_and_repeats_nothing(level: &RedisLevel) {
    let redis = acme(level).await;
    redis.set("hunter2", "hunter2", None).await.unwrap();
    let wrong_type = redis
        .run::<u64>(command("LPUSH").key("hunter2").arg("hunter2"))
        .await
        .unwrap_err();
    assert!(wrong_type.is_refused() && wrong_type.is_wrong_type());
    assert_eq!(wrong_type.code(), Some("WRONGTYPE"));
    let no_number = redis
        .run::<u64>(command("INCR").key("hunter2"))
        .await
        .unwrap_err();
    assert!(no_number.is_refused() && !no_number.is_wrong_type());
    let too_few = redis
        .run::<u64>(command("LPUSH").key("hunter2"))
        .await
        .unwrap_err();
    let no_script = redis.counter("hunter2").add(1).await.unwrap_err();
    let unreadable = redis.get::<u64>("hunter2").await.unwrap_err();
    for error in [wrong_type, no_number, too_few, no_script, unreadable] {
        assert!(!error.is_unavailable() && !error.may_have_been_done());
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Else a large reply to one would delay the other.
#[tokio::test]
async fn what_applications_ask_goes_over_other_connections_than_the_caches() {
    let server = Redis::start(&[]).await.unwrap();
    let level = patient(RedisSettings::single(server.url()).connections(1))
        .build()
        .unwrap();
    let connections = async || {
        server
            .command("CLIENT LIST TYPE normal")
            .await
            .concat()
            .matches(" age=")
            .count()
    };
    newest(&level, &scope("acme")).await;
    let of_the_cache = connections().await;
    acme(&level).await.set("a", 1, MINUTE).await.unwrap();
    assert_eq!(connections().await, of_the_cache + 1);
}
