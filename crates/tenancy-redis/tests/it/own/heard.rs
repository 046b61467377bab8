//! Messages of one tenant's.

use futures_util::{StreamExt, stream::BoxStream};
use tenancy_redis::{Heard, RedisLevel};
use tenancy_test::servers::Redis;

use super::{acme, redis_of};
use crate::place::{eventually, level, on_all_servers};

on_all_servers! {
    who_listens_to_a_tenants_channel_hears_what_is_said_there_and_nothing_else
}

fn message(text: &'static [u8]) -> Option<Heard> {
    Some(Heard::Message(text.into()))
}

async fn who_listens_to_a_tenants_channel_hears_what_is_said_there_and_nothing_else(level: &RedisLevel) {
    let (acme, globex) = (redis_of(level, "acme").await, redis_of(level, "globex").await);
    let central = level.redis().central();
    let mut heard: Vec<BoxStream<'static, Heard>> = Vec::new();
    for redis in [&*acme, &*globex, &*central] {
        for name in ["", "a", "a*", "}:p:a"] {
            heard.push(redis.subscribe(name).unwrap());
        }
    }
    for stream in &mut heard {
        assert_eq!(stream.next().await, Some(Heard::Gap));
    }
    for (redis, who) in [
        (&*acme, &b"acme"[..]),
        (&globex, b"globex"),
        (&central, b"nobody"),
    ] {
        for name in ["", "a", "a*", "}:p:a"] {
            redis.publish(name, who).await.unwrap();
            redis.publish(name, name).await.unwrap();
        }
    }
    for (streams, who) in heard.chunks_mut(4).zip([&b"acme"[..], b"globex", b"nobody"]) {
        for (stream, name) in streams.iter_mut().zip(["", "a", "a*", "}:p:a"]) {
            assert_eq!(stream.next().await, message(who), "{name}");
            assert_eq!(stream.next().await, message(name.as_bytes()), "{name}");
        }
    }
    assert!(acme.subscribe([7; 70_000]).err().unwrap().is_not_allowed());
}

#[tokio::test]
async fn databases_have_channels_of_their_own() {
    let server = Redis::shared().await;
    let (one, two) = (server.database().await, server.database().await);
    let (one, two) = (acme(&level(&one.url())).await, acme(&level(&two.url())).await);
    let (mut heard_one, mut heard_two) = (one.subscribe("a").unwrap(), two.subscribe("a").unwrap());
    assert_eq!(heard_one.next().await, Some(Heard::Gap));
    assert_eq!(heard_two.next().await, Some(Heard::Gap));
    assert_eq!(one.publish("a", "one").await.unwrap(), 1);
    assert_eq!(two.publish("a", "two").await.unwrap(), 1);
    assert_eq!(heard_one.next().await, message(b"one"));
    assert_eq!(heard_two.next().await, message(b"two"));
}

#[tokio::test]
async fn a_listener_that_was_cut_off_hears_of_the_gap_and_one_that_is_dropped_lets_its_connection_go() {
    let server = Redis::start(&[]).await.unwrap();
    let level = level(&server.url());
    let redis = acme(&level).await;
    drop(level);
    let mut heard = redis.subscribe("a").unwrap();
    assert_eq!(heard.next().await, Some(Heard::Gap));
    server.command("CLIENT KILL TYPE pubsub").await;
    assert_eq!(heard.next().await, Some(Heard::Gap));
    redis.publish("a", 7).await.unwrap();
    assert_eq!(heard.next().await, message(b"7"));
    drop(heard);
    let listeners = async || server.command("CLIENT LIST TYPE pubsub").await.concat();
    eventually("nobody listens", async || listeners().await.trim().is_empty()).await;
}
