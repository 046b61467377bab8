//! Flushing one tenant while Redis holds a million entries.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bb8_redis::redis::{self, aio::MultiplexedConnection};
use futures_util::future::BoxFuture;
use tenancy::{
    cache::{
        CacheSettings, TenantCache,
        shared::{Ask, EntryName, ScopeName, SharedLevel, StoredEntry},
    },
    core::{Clock, SystemClock},
};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::{median, percentile},
};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::{FaultProxy, Redis};

use crate::{
    correctness::{self, Finding, TENANCY},
    rounds::median_ratio,
    stack::cache_of_one,
};

const TENANTS: usize = 100;
const ENTRIES: usize = 1_000_000;
const AT_ONCE: usize = 2_000;
const FLUSHES: usize = 400;
const ROUNDS: usize = 4;
const SEGMENT: Duration = Duration::from_millis(1500);

/// Flushes one tenant of another cache.
pub type FlushOne = fn(Arc<Crowded>) -> BoxFuture<'static, Result<Finding, Failure>>;

/// A Redis with a million entries, of a hundred tenants alike.
#[derive(Clone)]
pub struct Crowded {
    /// The server.
    pub server: Redis,
    /// A connection to it.
    pub connection: MultiplexedConnection,
}

impl fmt::Debug for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crowded").field(&self.server).finish()
    }
}

impl Crowded {
    /// Starts a server and fills it.
    ///
    /// # Errors
    /// Redis is not installed, or does not take what it is given.
    pub async fn start() -> Result<Self, Failure> {
        let server = Redis::start(&[]).await?;
        eprintln!("cache     flush: filling Redis with {ENTRIES} entries");
        let level = RedisLevel::connect(&server.url())?;
        let scopes: Vec<_> = (0..TENANTS)
            .map(|tenant| ScopeName::for_tests(&format!("crowd-{tenant}:1")))
            .collect();
        for batch in 0..ENTRIES / AT_ONCE {
            let entries: Vec<_> = (0..AT_ONCE)
                .map(|at| StoredEntry {
                    name: EntryName::for_tests(format!("notes@1:{:09}", batch * AT_ONCE + at).as_bytes()),
                    bytes: vec![b'x'; 32].into(),
                    ttl: Duration::from_secs(86_400),
                })
                .collect();
            level.store(&scopes[batch % TENANTS], &entries).await?;
        }
        let client = redis::Client::open(server.url())?;
        let connection = client.get_multiplexed_async_connection().await?;
        Ok(Self { server, connection })
    }
}

pub(crate) async fn measure(report: &mut Report, others: &[FlushOne], extent: Extent) -> Result<(), Failure> {
    let crowded = Arc::new(Crowded::start().await?);
    let mut findings = vec![ours(report, &crowded, extent).await?];
    for other in others {
        findings.push(other(Arc::clone(&crowded)).await?);
    }
    correctness::add(
        report,
        "one tenant of a hundred is flushed, 1,000,000 entries (pitfall 13)",
        findings,
    );
    Ok(())
}

async fn ours(report: &mut Report, crowded: &Crowded, extent: Extent) -> Result<Finding, Failure> {
    eprintln!("cache     flush: one tenant");
    let url = crowded.server.url();
    let cache = cache_of_one(CacheSettings::new().shared(RedisLevel::connect(&url)?)).await?;
    let mut incr = crowded.connection.clone();
    let (mut flushes, mut increments, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let times = if extent == Extent::Full {
        FLUSHES
    } else {
        FLUSHES / 4
    };
    // The script is known, and the connections are there.
    cache.flush().await;
    for _ in 0..times {
        let clock = SystemClock::new();
        let receipt = cache.flush().await;
        flushes.push(clock.monotonic().as_secs_f64() * 1e6);
        if receipt.is_pending() {
            return Err("a flush did not reach Redis".into());
        }
        increments.push(increment(&mut incr).await?);
        again.push(increment(&mut incr).await?);
    }
    let trips = round_trips(&crowded.server).await?;
    let [alone, beside, after] = others(crowded, &cache, extent).await?;
    report.add(
        "cache: flush of one tenant among 1,000,000 entries",
        [
            Row::shown("round trips", "round trips", trips).at_most(1.0),
            Row::shown("flush", "µs", median(&flushes)),
            Row::shown("INCR", "µs", median(&increments)),
            Row::shown("flush / INCR", "ratio", median_ratio(&flushes, &increments)).at_most(2.0),
            Row::shown("INCR again / INCR", "ratio", median_ratio(&again, &increments)).note("noise"),
            Row::shown("others' reads of level 2, p99 without flushes", "µs", alone),
            Row::shown(
                "others' reads of level 2, p99 beside 100 flushes a second",
                "µs",
                beside,
            ),
            Row::shown("beside flushes / without", "ratio", beside / alone).at_most(1.25),
            Row::shown("without again / without", "ratio", after / alone).note("noise"),
        ],
    );
    Ok(Finding::seen(
        TENANCY,
        trips <= 1.0,
        format!("{trips} round trip, {:.2} ms", median(&flushes) / 1e3),
    ))
}

async fn increment(connection: &mut MultiplexedConnection) -> Result<f64, Failure> {
    let clock = SystemClock::new();
    let _: i64 = redis::cmd("INCR").arg("counter").query_async(connection).await?;
    Ok(clock.monotonic().as_secs_f64() * 1e6)
}

/// Of one flush, on the wire.
async fn round_trips(server: &Redis) -> Result<f64, Failure> {
    let proxy = FaultProxy::start(server.address()).await?;
    let level = RedisLevel::connect(&proxy.url(&server.url()))?;
    // Leases are renewed every second: the fewest of some flushes is without one.
    let cache = cache_of_one(
        CacheSettings::new()
            .staleness_bound(Duration::from_secs(60))
            .shared(level),
    )
    .await?;
    cache.flush().await;
    let mut fewest = f64::INFINITY;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = proxy.traffic().round_trips;
        cache.flush().await;
        fewest = fewest.min((proxy.traffic().round_trips - before) as f64);
    }
    Ok(fewest)
}

/// The p99 of others' reads, without flushes, beside them, and without again, in µs: the medians of rounds.
async fn others(crowded: &Crowded, flushed: &TenantCache, extent: Extent) -> Result<[f64; 3], Failure> {
    let level = Arc::new(RedisLevel::connect(&crowded.server.url())?);
    let rounds = if extent == Extent::Full { ROUNDS } else { 1 };
    let mut found: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        eprintln!("cache     flush: others, round {}/{rounds}", round + 1);
        // What drifts meets those before and after alike.
        let (first, last) = if round % 2 == 0 { (0, 2) } else { (2, 0) };
        found[first].push(percentile(&reads(&level).await?, 0.99));
        let is_over = Arc::new(AtomicBool::new(false));
        let flushing = tokio::spawn(flush_on(flushed.clone(), Arc::clone(&is_over)));
        found[1].push(percentile(&reads(&level).await?, 0.99));
        is_over.store(true, Ordering::Relaxed);
        flushing.await?;
        found[last].push(percentile(&reads(&level).await?, 0.99));
    }
    Ok(found.map(|of| median(&of)))
}

async fn flush_on(cache: TenantCache, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        cache.flush().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Microseconds of each read of other tenants' entries, by a few tasks.
async fn reads(level: &Arc<RedisLevel>) -> Result<Vec<f64>, Failure> {
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let level = Arc::clone(level);
            tokio::spawn(async move { reads_of_one(&level, task).await })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

async fn reads_of_one(level: &RedisLevel, seed: u64) -> Result<Vec<f64>, Failure> {
    let (clock, mut chance, mut times) = (SystemClock::new(), fastrand::Rng::with_seed(seed), Vec::new());
    while clock.monotonic() < SEGMENT {
        let batch = chance.usize(..ENTRIES / AT_ONCE);
        let ask = Ask {
            scope: ScopeName::for_tests(&format!("crowd-{}:1", batch % TENANTS)),
            seen: 0,
        };
        let key = format!("notes@1:{:09}", batch * AT_ONCE + chance.usize(..AT_ONCE));
        let before = clock.monotonic();
        let fetched = level.fetch(&ask, &[EntryName::for_tests(key.as_bytes())]).await?;
        times.push((clock.monotonic() - before).as_secs_f64() * 1e6);
        if fetched.entries.iter().any(Option::is_none) {
            return Err(format!("{key} is gone").into());
        }
        // Not as many as there can be: a request each millisecond, as from a server that has work.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(times)
}
