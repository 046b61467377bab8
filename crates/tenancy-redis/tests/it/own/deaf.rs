//! Answers that are lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tenancy_redis::{RedisSettings, TenantRedis, command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::acme;
use crate::place::{database, level, patient};

/// Lets everything through but the answers to the next so many messages with a word in them: then it hangs up.
struct HangsUp {
    url: String,
    left: Arc<AtomicU64>,
    refuses: Arc<AtomicBool>,
}

impl HangsUp {
    async fn before(database: &tenancy_test::servers::RedisDatabase, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = database.server().address();
        let url = database
            .url()
            .replace(&server.to_string(), &listener.local_addr().unwrap().to_string());
        let left = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left);
        let refuses = Arc::<AtomicBool>::default();
        let does_refuse = Arc::clone(&refuses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if does_refuse.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(pass(client, server, word, Arc::clone(&counted)));
            }
        });
        Self { url, left, refuses }
    }

    async fn redis(&self) -> Arc<TenantRedis> {
        let settings = RedisSettings::single(&self.url).connections(1);
        let level = patient(settings).build().unwrap();
        let redis = acme(&level).await;
        redis.exists("a").await.unwrap();
        redis
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, word: &str, left: Arc<AtomicU64>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                server.write_all(&asked[..length]).await.unwrap();
                let text = String::from_utf8_lossy(&asked[..length]);
                if text.contains(word) && left.load(Ordering::SeqCst) > 0 {
                    left.fetch_sub(1, Ordering::SeqCst);
                    // It has been done when it is answered.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                client.write_all(&answered[..length]).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_not_sent_again_and_the_error_says_that_it_may_be_done() {
    let database = database().await;
    let hangs_up = HangsUp::before(&database, "hits").await;
    let (redis, direct) = (hangs_up.redis().await, acme(&level(&database.url())).await);
    // The server knows the script.
    redis.counter("other").add(1).await.unwrap();
    for expected in 1..=2 {
        hangs_up.left.store(1, Ordering::SeqCst);
        let error = match expected {
            1 => redis.counter("hits").add(1).await.unwrap_err(),
            _ => redis.run::<i64>(command("INCR").key("hits")).await.unwrap_err(),
        };
        assert!(error.is_unavailable() && error.may_have_been_done(), "{error}");
        assert_eq!(direct.get::<i64>("hits").await.unwrap(), Some(expected));
    }
    hangs_up.left.store(1, Ordering::SeqCst);
    let error = redis.set_if_absent("hits", 7, None).await.unwrap_err();
    assert!(error.may_have_been_done());
    // Not even in one go with what only reads.
    hangs_up.left.store(1, Ordering::SeqCst);
    let commands = [command("GET").key("hits"), command("INCR").key("hits")];
    assert!(
        redis
            .run_all::<(i64, i64)>(commands)
            .await
            .unwrap_err()
            .may_have_been_done()
    );
    assert_eq!(direct.get::<i64>("hits").await.unwrap(), Some(3));
}

#[tokio::test]
async fn what_may_be_done_twice_is_sent_again_over_a_new_connection() {
    let database = database().await;
    let hangs_up = HangsUp::before(&database, "name").await;
    let redis = hangs_up.redis().await;
    let once_more = || hangs_up.left.store(1, Ordering::SeqCst);
    once_more();
    redis.set("name", 7, None).await.unwrap();
    once_more();
    assert_eq!(redis.get::<i64>("name").await.unwrap(), Some(7));
    once_more();
    assert_eq!(redis.run::<i64>(command("STRLEN").key("name")).await.unwrap(), 1);
    once_more();
    redis
        .run::<i64>(command("HSET").key("name 2").arg("a").arg(1).may_repeat())
        .await
        .unwrap();
    once_more();
    // The same token takes the lock again.
    let guard = redis
        .lock("name", super::MINUTE)
        .try_acquire()
        .await
        .unwrap()
        .unwrap();
    assert!(guard.release().await.unwrap());
    assert_eq!(hangs_up.left.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_may_have_been_done_before_redis_went_away_says_so() {
    let database = database().await;
    let hangs_up = HangsUp::before(&database, "name").await;
    let redis = hangs_up.redis().await;
    hangs_up.refuses.store(true, Ordering::SeqCst);
    hangs_up.left.store(1, Ordering::SeqCst);
    let error = redis.set("name", 7, None).await.unwrap_err();
    assert!(error.is_unavailable() && error.may_have_been_done(), "{error}");
    let error = redis.set("name", 8, None).await.unwrap_err();
    assert!(error.is_unavailable() && !error.may_have_been_done(), "{error}");
    let direct = acme(&level(&database.url())).await;
    assert_eq!(direct.get::<u64>("name").await.unwrap(), Some(7));
}
