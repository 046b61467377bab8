//! Redis frozen or killed while requests come in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bb8_redis::{RedisConnectionManager, bb8::Pool, redis};
use tenancy::{
    cache::{CacheSettings, EntryOptions, Keys, TenantCache},
    core::{Clock, SystemClock},
};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row, number},
    statistics::{median, percentile},
};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::Redis;
use tokio::time::{sleep, timeout};

use crate::stack::cache_of_one;

const CLIENTS: usize = 64;
/// Between two requests of one client.
const THINKING: Duration = Duration::from_millis(10);
/// What a load takes: the database.
const LOAD: Duration = Duration::from_millis(5);
const KEYS: u32 = 20_000;
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_secs(1);
/// Nobody waits longer: what takes longer counts as this.
const PATIENCE: Duration = Duration::from_secs(5);

const TEXTS: Keys<u32, String> = Keys::new("texts", 1);

/// One request: when it began, counted from the fault, and how long it took; both in seconds.
#[derive(Clone, Copy)]
struct Request {
    at: f64,
    took: f64,
    is_served: bool,
}

/// What becomes of Redis.
#[derive(Clone, Copy)]
enum Fault {
    Frozen,
    Killed,
    None,
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    let rounds = if extent == Extent::Full { 2 } else { 1 };
    for (fault, name) in [(Fault::Frozen, "frozen"), (Fault::Killed, "killed")] {
        let (mut first, mut later, mut without, mut failed, mut count) = (vec![], vec![], vec![], 0, 0);
        for round in 0..rounds {
            eprintln!("cache     outage: Redis {name}, round {}/{rounds}", round + 1);
            let alone = requests(None, Fault::None).await?;
            let server = Redis::start(&[]).await?;
            let hit = requests(Some(&server), fault).await?;
            first.push(p99(&hit, 0.0..FIRST.as_secs_f64()));
            later.push(p99(&hit, FIRST.as_secs_f64()..AFTER.as_secs_f64()));
            without.push(p99(&alone, FIRST.as_secs_f64()..AFTER.as_secs_f64()));
            failed += hit.iter().filter(|request| !request.is_served).count();
            count += hit.len();
        }
        let (later, without) = (median(&later), median(&without));
        report.add(
            format!(
                "cache: Redis {name} under load, {CLIENTS} clients, loads of {} ms",
                LOAD.as_millis()
            ),
            [
                Row::shown("requests that failed", "requests", failed as f64)
                    .at_most(0.0)
                    .note(format!("of {}", number(count as f64))),
                Row::shown("p99 in the first second", "ms", median(&first)).at_most(250.0),
                Row::shown("p99 from then on", "ms", later),
                Row::shown("p99 at that time without a Redis", "ms", without),
                Row::shown("from then on / without a Redis", "ratio", later / without).at_most(1.5),
            ],
        );
    }
    report.add(
        "cache: Redis frozen under load, a pool of bb8-redis with its defaults",
        pool().await?,
    );
    Ok(())
}

fn p99(requests: &[Request], when: std::ops::Range<f64>) -> f64 {
    let times = requests.iter().filter(|request| when.contains(&request.at));
    let times: Vec<f64> = times.map(|request| request.took * 1e3).collect();
    percentile(&times, 0.99)
}

/// All requests of a run, with a level 2 or without one.
async fn requests(server: Option<&Redis>, fault: Fault) -> Result<Vec<Request>, Failure> {
    let settings = match server {
        Some(server) => CacheSettings::new().shared(RedisLevel::connect(&server.url())?),
        None => CacheSettings::new(),
    };
    let cache = cache_of_one(settings).await?;
    let under_load = Load::begin(move |key| {
        let cache = cache.clone();
        async move { is_served(&cache, key).await }
    });
    sleep(BEFORE).await;
    let at = under_load.clock.monotonic().as_secs_f64();
    match (server, fault) {
        (Some(server), Fault::Frozen) => server.freeze().await,
        (Some(server), Fault::Killed) => server.kill().await,
        _ => {}
    }
    sleep(AFTER).await;
    let found = under_load.end(at).await?;
    if let (Some(server), Fault::Frozen) = (server, fault) {
        server.thaw().await;
    }
    Ok(found)
}

async fn is_served(cache: &TenantCache, key: u32) -> bool {
    // So short that what was asked for before has to be loaded again now and then.
    let options = EntryOptions::new().ttl(Duration::from_secs(3)).tag("texts");
    let text = TEXTS.key(key);
    let remembered = cache.remember(&text, &options, move || async move {
        sleep(LOAD).await;
        Ok::<_, std::io::Error>(format!("text {key}"))
    });
    matches!(timeout(PATIENCE, remembered).await, Ok(Ok(_)))
}

/// The same with a pool as it comes: one read, and the database if that brings nothing.
async fn pool() -> Result<Vec<Row>, Failure> {
    eprintln!("cache     outage: bb8-redis");
    let server = Redis::start(&[]).await?;
    let manager = RedisConnectionManager::new(server.url())?;
    let pool = Pool::builder().max_size(16).build(manager).await?;
    let under_load = Load::begin(move |key| {
        let pool = pool.clone();
        async move { timeout(PATIENCE, through(&pool, key)).await.is_ok() }
    });
    sleep(BEFORE).await;
    let at = under_load.clock.monotonic().as_secs_f64();
    server.freeze().await;
    sleep(AFTER).await;
    let found = under_load.end(at).await?;
    server.thaw().await;
    let failed = found.iter().filter(|request| !request.is_served).count();
    Ok(vec![
        Row::shown(
            "p99 in the first second",
            "ms",
            p99(&found, 0.0..FIRST.as_secs_f64()),
        )
        .note(format!("nobody waits for longer than {} s", PATIENCE.as_secs())),
        Row::shown("requests that failed", "requests", failed as f64)
            .note(format!("of {}", number(found.len() as f64))),
    ])
}

async fn through(pool: &Pool<RedisConnectionManager>, key: u32) {
    if let Ok(mut connection) = pool.get().await {
        let found: redis::RedisResult<Option<String>> =
            redis::cmd("GET").arg(key).query_async(&mut *connection).await;
        if matches!(found, Ok(Some(_))) {
            return;
        }
    }
    sleep(LOAD).await;
}

/// Clients that ask, think, and ask again.
struct Load {
    clock: SystemClock,
    is_over: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<Request>>>,
}

impl Load {
    fn begin<F>(ask: impl Fn(u32) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let (clock, is_over) = (SystemClock::new(), Arc::new(AtomicBool::new(false)));
        let clients = (0..CLIENTS as u64).map(|client| {
            let (ask, is_over) = (ask.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut chance = fastrand::Rng::with_seed(client);
                let mut requests = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let at = clock.monotonic();
                    let is_served = ask(chance.u32(..KEYS)).await;
                    requests.push(Request {
                        at: at.as_secs_f64(),
                        took: (clock.monotonic() - at).as_secs_f64(),
                        is_served,
                    });
                    sleep(THINKING.mul_f64(0.5 + chance.f64())).await;
                }
                requests
            })
        });
        Self {
            clients: clients.collect(),
            clock,
            is_over,
        }
    }

    /// All requests, with their times counted from `fault`.
    async fn end(self, fault: f64) -> Result<Vec<Request>, Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            let requests = client.await?;
            all.extend(requests.into_iter().map(|request| Request {
                at: request.at - fault,
                ..request
            }));
        }
        Ok(all)
    }
}
