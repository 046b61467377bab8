//! Where levels of tests are.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tenancy::cache::shared::{
    Answer, Ask, Cell, EntryName, FlushMode, Level, Raise, Raised, ScopeName, SharedLevel, StoredEntry,
};
use tenancy_redis::{RedisLevel, RedisSettings};
use tenancy_test::servers::{Redis, RedisCluster, RedisDatabase, RedisSentinel};
use tokio::sync::OnceCell;

/// As long as a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn patient(settings: RedisSettings) -> RedisSettings {
    settings.response_timeout(PATIENCE).connect_timeout(PATIENCE)
}

/// A database of one's own on the server of all tests.
pub(crate) async fn database() -> RedisDatabase {
    Redis::shared().await.database().await
}

pub(crate) fn level(url: &str) -> RedisLevel {
    patient(RedisSettings::single(url)).build().unwrap()
}

/// A cluster for all tests that do it no harm; they are apart by their prefixes.
pub(crate) async fn shared_cluster() -> RedisSettings {
    static CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();
    let cluster = CLUSTER
        .get_or_init(async || RedisCluster::start().await.unwrap())
        .await;
    patient(RedisSettings::cluster(cluster.urls())).prefix(fresh_prefix())
}

pub(crate) async fn shared_sentinel() -> RedisSettings {
    static SENTINEL: OnceCell<RedisSentinel> = OnceCell::const_new();
    let sentinel = SENTINEL
        .get_or_init(async || RedisSentinel::start().await.unwrap())
        .await;
    of_sentinel(sentinel).prefix(fresh_prefix())
}

pub(crate) fn of_sentinel(sentinel: &RedisSentinel) -> RedisSettings {
    patient(RedisSettings::sentinel(
        sentinel.sentinel_urls(),
        sentinel.master_url(),
    ))
}

fn fresh_prefix() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("test{}:", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The same test on each kind of server.
macro_rules! on_all_servers {
    ($($name:ident)*) => { $(
        mod $name {
            #[tokio::test]
            async fn on_one_server() {
                let database = $crate::place::database().await;
                super::$name(&$crate::place::level(&database.url())).await;
            }

            #[tokio::test]
            async fn on_a_cluster() {
                super::$name(&$crate::place::shared_cluster().await.build().unwrap()).await;
            }

            #[tokio::test]
            async fn on_what_sentinel_calls_the_master() {
                super::$name(&$crate::place::shared_sentinel().await.build().unwrap()).await;
            }
        }
    )* };
}
pub(crate) use on_all_servers;

pub(crate) fn scope(id: &str) -> ScopeName {
    ScopeName::for_tests(&format!("{id}:1"))
}

pub(crate) fn name(key: &[u8]) -> EntryName {
    EntryName::for_tests(key)
}

pub(crate) fn entry(key: &[u8], value: &[u8]) -> StoredEntry {
    StoredEntry {
        name: name(key),
        bytes: value.to_vec().into(),
        ttl: Duration::from_secs(60),
    }
}

pub(crate) async fn ask(level: &RedisLevel, scope: &ScopeName, seen: u64) -> Answer {
    let ask = Ask {
        scope: scope.clone(),
        seen,
    };
    let mut answers = level.renew(&[ask]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The number and the levels of a whole answer.
pub(crate) fn whole(answer: Answer) -> (u64, Vec<Level>) {
    match answer {
        Answer::Whole { number, levels } => (number, levels),
        other => panic!("{other:?}"),
    }
}

/// Makes the scope if need be, and says its newest number.
pub(crate) async fn newest(level: &RedisLevel, scope: &ScopeName) -> u64 {
    whole(ask(level, scope, 0).await).0
}

pub(crate) fn raise_of(scope: &ScopeName, cells: &[Cell], mode: FlushMode) -> Raise {
    Raise {
        scope: scope.clone(),
        cells: cells.to_vec(),
        mode,
        known: 0,
    }
}

pub(crate) async fn raise(level: &RedisLevel, scope: &ScopeName, slot: u16) -> Raised {
    let raise = raise_of(scope, &[Cell::Slot(slot)], FlushMode::Hard);
    level.raise(&raise).await.unwrap()
}

pub(crate) fn hard(cell: Cell, number: u64) -> Level {
    Level {
        cell,
        any: number,
        hard: number,
    }
}

/// Waits for what has no signal of its own. Gives up after a minute.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} within a minute");
}
