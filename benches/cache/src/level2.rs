//! Level 2: values of 1 KiB that only Redis has, asked for by many tasks at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bb8_redis::{
    RedisConnectionManager,
    bb8::Pool,
    redis::{self, aio::MultiplexedConnection},
};
use tenancy::{
    cache::{
        CacheKey, CacheSettings, EntryOptions, Keys, TenantCache,
        shared::{Answer, Ask, EntryName, ScopeName, SharedLevel, StoredEntry},
    },
    core::{Clock, SystemClock},
};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::median,
};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::Redis;

use crate::{rounds::median_ratio, stack::cache_of_one};

const TASKS: usize = 256;
const KEYS: u32 = 1000;
const SIZE: usize = 1024;
const ROUNDS: usize = 5;
const SEGMENT: Duration = Duration::from_millis(700);

type Read<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Something that reads one of the values.
trait Reader: Send + Sync {
    fn read(&self, key: u32) -> Read<'_>;
}

/// What one would write without the cache: a connection for each read, a `PING` before it unless told otherwise.
struct Pooled(Pool<RedisConnectionManager>);

impl Reader for Pooled {
    fn read(&self, key: u32) -> Read<'_> {
        Box::pin(async move {
            let Ok(mut connection) = self.0.get().await else {
                return false;
            };
            is_whole(get(key).query_async(&mut *connection).await)
        })
    }
}

/// One connection that all share, with the connection's own pipelining.
struct Shared(MultiplexedConnection);

impl Reader for Shared {
    fn read(&self, key: u32) -> Read<'_> {
        Box::pin(async move { is_whole(get(key).query_async(&mut self.0.clone()).await) })
    }
}

/// The same, and what a process has to know to serve the value: for how long, and whether it was flushed.
struct SharedWithNumbers(MultiplexedConnection);

impl Reader for SharedWithNumbers {
    fn read(&self, key: u32) -> Read<'_> {
        Box::pin(async move {
            let mut pipeline = redis::pipe();
            pipeline.add_command(get(key)).cmd("PTTL").arg(name(key)).ignore();
            pipeline.cmd("LINDEX").arg("n").arg(0).ignore();
            pipeline.cmd("ZSCORE").arg("v").arg("hb").ignore();
            let answer: redis::RedisResult<(Vec<u8>,)> = pipeline.query_async(&mut self.0.clone()).await;
            is_whole(answer.map(|(value,)| value))
        })
    }
}

/// What the cache asks Redis with.
struct Fetch {
    level: RedisLevel,
    ask: Ask,
    names: Vec<EntryName>,
}

impl Reader for Fetch {
    fn read(&self, key: u32) -> Read<'_> {
        Box::pin(async move {
            let names = std::slice::from_ref(&self.names[key as usize]);
            match self.level.fetch(&self.ask, names).await {
                Ok(fetched) => {
                    let entry = fetched.entries.first().and_then(Option::as_ref);
                    fetched.answer == Answer::Same && entry.is_some_and(|entry| entry.bytes.len() == SIZE)
                }
                Err(_) => false,
            }
        })
    }
}

/// All of it: with the value read from its bytes. Level 1 has no room for any.
struct Cached {
    cache: TenantCache,
    keys: Vec<CacheKey<String>>,
}

const TEXTS: Keys<u32, String> = Keys::new("texts", 1);

impl Reader for Cached {
    fn read(&self, key: u32) -> Read<'_> {
        Box::pin(async move {
            let value = self.cache.get(&self.keys[key as usize]).await;
            value.is_some_and(|value| value.len() == SIZE)
        })
    }
}

fn name(key: u32) -> String {
    format!("notes@1:list:open:{key:09}")
}

fn get(key: u32) -> redis::Cmd {
    redis::cmd("GET").arg(name(key)).take()
}

fn is_whole(value: redis::RedisResult<Vec<u8>>) -> bool {
    value.is_ok_and(|value| value.len() == SIZE)
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    let server = Redis::start(&[]).await?;
    let url = server.url();
    let shared = redis::Client::open(url.as_str())?
        .get_multiplexed_async_connection()
        .await?;
    fill_plainly(&shared).await?;
    let defaults = Pool::builder()
        .max_size(16)
        .build(RedisConnectionManager::new(url.as_str())?)
        .await?;
    let unchecked = Pool::builder()
        .max_size(16)
        .test_on_check_out(false)
        .build(RedisConnectionManager::new(url.as_str())?)
        .await?;
    let readers: Vec<(&str, Arc<dyn Reader>)> = vec![
        ("tenancy, fetch of the level", Arc::new(fetch(&url).await?)),
        ("tenancy, get of the cache", Arc::new(cached(&url).await?)),
        ("bb8-redis, its defaults", Arc::new(Pooled(defaults))),
        ("bb8-redis, no check on check-out", Arc::new(Pooled(unchecked))),
        ("one multiplexed connection", Arc::new(Shared(shared.clone()))),
        (
            "one multiplexed connection again",
            Arc::new(Shared(shared.clone())),
        ),
        (
            "one multiplexed connection, with time and numbers",
            Arc::new(SharedWithNumbers(shared)),
        ),
    ];
    let rounds = if extent == Extent::Full { ROUNDS } else { 2 };
    let mut rates = vec![Vec::new(); readers.len()];
    let mut failed = vec![0; readers.len()];
    for round in 0..rounds {
        eprintln!("cache     level 2: round {}/{rounds}", round + 1);
        for step in 0..readers.len() {
            let at = (round + step) % readers.len();
            let (rate, failures) = rate_of(&readers[at].1).await?;
            rates[at].push(rate);
            failed[at] += failures;
        }
    }
    let mut rows = Vec::new();
    for (((name, _), rates), failed) in readers.iter().zip(&rates).zip(&failed) {
        let row = Row::shown(*name, "thousand/s", median(rates));
        rows.push(match failed {
            0 => row,
            some => row.note(format!("{some} reads failed")),
        });
    }
    let ratio = |name, of: usize, to: usize| Row::shown(name, "ratio", median_ratio(&rates[of], &rates[to]));
    rows.extend([
        ratio("fetch / bb8-redis, its defaults", 0, 2).at_least(4.0),
        ratio("fetch / one multiplexed connection", 0, 4)
            .at_least(0.9)
            .note("that one reads the value, and neither its time nor the numbers"),
        ratio("fetch / one multiplexed connection, with time and numbers", 0, 6),
        ratio("get / bb8-redis, its defaults", 1, 2),
        ratio("get / one multiplexed connection", 1, 4),
        ratio("one multiplexed connection again / itself", 5, 4).note("noise"),
        Row::shown(
            "reads of tenancy that failed",
            "reads",
            (failed[0] + failed[1]) as f64,
        )
        .at_most(0.0),
    ]);
    report.add(format!("cache: level 2, values of 1 KiB, {TASKS} tasks"), rows);
    Ok(())
}

/// Thousands of reads in a second, and how many more failed.
async fn rate_of(reader: &Arc<dyn Reader>) -> Result<(f64, u64), Failure> {
    let (is_over, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clock = SystemClock::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (reader, is_over, failed) = (Arc::clone(reader), Arc::clone(&is_over), Arc::clone(&failed));
            tokio::spawn(async move {
                let mut chance = fastrand::Rng::with_seed(task as u64);
                let mut done = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    if reader.read(chance.u32(..KEYS)).await {
                        done += 1;
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                done
            })
        })
        .collect();
    tokio::time::sleep(SEGMENT).await;
    is_over.store(true, Ordering::Relaxed);
    let mut done = 0;
    for task in tasks {
        done += task.await?;
    }
    Ok((
        done as f64 / clock.monotonic().as_secs_f64() / 1e3,
        failed.load(Ordering::Relaxed),
    ))
}

async fn fill_plainly(connection: &MultiplexedConnection) -> Result<(), Failure> {
    let mut pipeline = redis::pipe();
    for key in 0..KEYS {
        pipeline
            .cmd("SET")
            .arg(name(key))
            .arg(vec![b'x'; SIZE])
            .arg("PX")
            .arg(3_600_000)
            .ignore();
    }
    pipeline.cmd("LPUSH").arg("n").arg("1").ignore();
    pipeline.cmd("ZADD").arg("v").arg(1).arg("hb").ignore();
    Ok(pipeline.exec_async(&mut connection.clone()).await?)
}

async fn fetch(url: &str) -> Result<Fetch, Failure> {
    let level = RedisLevel::connect(url)?;
    // Of its own: a flush elsewhere would be told with each answer.
    let scope = ScopeName::for_tests("fetched:1");
    let names: Vec<EntryName> = (0..KEYS)
        .map(|key| EntryName::for_tests(name(key).as_bytes()))
        .collect();
    let entries: Vec<_> = names
        .iter()
        .map(|name| StoredEntry {
            name: name.clone(),
            bytes: vec![b'x'; SIZE].into(),
            ttl: Duration::from_secs(3600),
        })
        .collect();
    level.store(&scope, &entries).await?;
    let mut ask = Ask { scope, seen: 0 };
    let answers = level.renew(std::slice::from_ref(&ask)).await?;
    match answers.first() {
        Some(Answer::Whole { number, .. }) => ask.seen = *number,
        other => return Err(format!("a new scope is told whole, and not {other:?}").into()),
    }
    Ok(Fetch { level, ask, names })
}

async fn has_all(cache: &TenantCache, keys: &[CacheKey<String>]) -> bool {
    for key in keys {
        if cache.get(key).await.is_none() {
            return false;
        }
    }
    true
}

async fn cached(url: &str) -> Result<Cached, Failure> {
    // What is encoded fits. With what level 1 adds for itself it does not.
    let settings = CacheSettings::new()
        .max_bytes(SIZE as u64 + 200)
        .max_entry_bytes(SIZE as u32 + 200)
        .shared(RedisLevel::connect(url)?);
    let cache = cache_of_one(settings).await?;
    let keys: Vec<CacheKey<String>> = (0..KEYS).map(|key| TEXTS.key(key)).collect();
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(3600))
        .early_refresh(false);
    // All at once: what is put later takes from the levels what shares a version cell with it.
    for _ in 0..5 {
        let values = keys.iter().map(|key| (key.clone(), "x".repeat(SIZE)));
        cache.put_many(values, &options).await;
        // A busy machine may be too late to store it.
        if has_all(&cache, &keys).await {
            break;
        }
    }
    match cache.get(&keys[0]).await {
        Some(_) if cache.statistics().bytes == 0 => Ok(Cached { cache, keys }),
        found => Err(format!("only level 2 was to have it: {found:?}, {:?}", cache.statistics()).into()),
    }
}
