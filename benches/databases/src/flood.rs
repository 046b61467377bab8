//! One tenant that asks without end, and ninety-nine that ask now and then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::Postgres;
use tenancy::core::{Clock, SystemClock};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row, number},
    statistics::percentile,
};
use tenancy_sqlx::pool::{PoolSettings, TenantPools};

use crate::bed::{PgBed, SERVER, Tenants};

/// The one that floods.
const HEAVY: usize = 0;
const TENANTS: usize = 100;
const FLOOD: usize = 300;
const ROUNDS: usize = 4;
const SEGMENT: Duration = Duration::from_secs(6);
/// The middle of how long a light tenant waits between two requests.
const THINKING: u64 = 900;

/// Does what a query would, without the processor: that one is shared by all, whatever a pool does.
const WORK: &str = "SELECT pg_sleep(0.02)";

struct Flooded {
    pools: TenantPools<Postgres>,
    tenants: Tenants,
}

impl Flooded {
    async fn request(&self, tenant: usize) -> Result<(), Failure> {
        let mut lease = self.pools.acquire(self.tenants.get(tenant)).await?;
        sqlx::query(WORK).execute(&mut *lease).await?;
        Ok(())
    }
}

/// Milliseconds of the requests of light tenants, and how many were refused.
#[derive(Default)]
struct Light {
    times: Vec<f64>,
    refused: usize,
    error: Option<String>,
}

impl Light {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.refused += other.refused;
        self.error = self.error.take().or(other.error);
    }

    fn p99(&self) -> f64 {
        percentile(&self.times, 0.99)
    }
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Ok(());
    }
    eprintln!("databases flood: making {TENANTS} databases");
    let bed = PgBed::with_databases(TENANTS).await?;
    for (budget, what) in [(150, "room for all"), (40, "room for some")] {
        let flooded = Arc::new(Flooded {
            pools: bed.pools(PoolSettings::new(budget))?,
            tenants: Tenants::new(TENANTS).await?,
        });
        let [mut alone, mut beside, mut again] = [Light::default(), Light::default(), Light::default()];
        let served = AtomicUsize::new(0);
        // So that what is compared has met each database once.
        light(&flooded, SEGMENT / 3).await?;
        for round in 0..ROUNDS {
            eprintln!("databases flood: {what}, round {}/{ROUNDS}", round + 1);
            // In changing order, so that what drifts and what the flood leaves behind meets both alike.
            let (first, last) = match round % 2 {
                0 => (&mut alone, &mut again),
                _ => (&mut again, &mut alone),
            };
            first.add(light(&flooded, SEGMENT).await?);
            beside.add(under_flood(&flooded, &served).await?);
            last.add(light(&flooded, SEGMENT).await?);
        }
        let opens = flooded.pools.figures(SERVER).map_or(0, |figures| figures.opens);
        let served = number(served.into_inner() as f64);
        let refused = Row::shown(
            "light tenants' requests refused",
            "requests",
            beside.refused as f64,
        )
        .at_most(0.0);
        report.add(
            format!("databases: one tenant floods with {FLOOD} at a time, 99 light ones, budget of {budget}: {what}"),
            [
                Row::shown("light tenants' p99 alone", "ms", alone.p99())
                    .note(format!("of {} requests", number(alone.times.len() as f64))),
                Row::shown("light tenants' p99 beside the flood", "ms", beside.p99())
                    .note(format!("{served} requests of the flood served, {opens} connections opened in all")),
                Row::shown("beside the flood / alone", "ratio", beside.p99() / alone.p99()).at_most(1.5),
                Row::shown("alone again / alone", "ratio", again.p99() / alone.p99()),
                match beside.error {
                    Some(error) => refused.note(error),
                    None => refused,
                },
            ],
        );
        flooded.pools.close().await;
    }
    Ok(())
}

async fn under_flood(flooded: &Arc<Flooded>, served: &AtomicUsize) -> Result<Light, Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let (flooded, is_over) = (Arc::clone(flooded), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut served = 0;
                while !is_over.load(Ordering::Relaxed) {
                    served += usize::from(flooded.request(HEAVY).await.is_ok());
                }
                served
            })
        })
        .collect();
    let light = light(flooded, SEGMENT).await;
    is_over.store(true, Ordering::Relaxed);
    for task in flood {
        served.fetch_add(task.await?, Ordering::Relaxed);
    }
    light
}

/// Each light tenant asks, waits, and asks again.
async fn light(flooded: &Arc<Flooded>, duration: Duration) -> Result<Light, Failure> {
    let tasks: Vec<_> = (HEAVY + 1..TENANTS)
        .map(|tenant| {
            let flooded = Arc::clone(flooded);
            tokio::spawn(async move { now_and_then(&flooded, tenant, duration).await })
        })
        .collect();
    let mut all = Light::default();
    for task in tasks {
        all.add(task.await?);
    }
    Ok(all)
}

async fn now_and_then(flooded: &Flooded, tenant: usize, duration: Duration) -> Light {
    let clock = SystemClock::new();
    let mut random = fastrand::Rng::with_seed(tenant as u64);
    let mut light = Light::default();
    loop {
        let pause = random.u64(THINKING / 2..=THINKING * 3 / 2);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let before = clock.monotonic();
        if before >= duration {
            return light;
        }
        match flooded.request(tenant).await {
            Ok(()) => light.times.push((clock.monotonic() - before).as_secs_f64() * 1e3),
            Err(error) => {
                light.refused += 1;
                light.error = Some(error.to_string());
            }
        }
    }
}
