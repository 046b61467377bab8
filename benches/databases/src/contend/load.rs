//! Tasks that ask for tenants one after the other, some tenants far more often than others.

use std::{sync::Arc, time::Duration};

use sqlx::Postgres;
use tenancy::core::{Clock, SystemClock};
use tenancy_bench::Failure;
use tenancy_sqlx::pool::TenantPools;

use super::{fifo::Fifo, lru::LruOfPools};
use crate::bed::{Tenants, read_note};

/// What hands out connections.
pub(super) enum Contender {
    Pool(TenantPools<Postgres>, Arc<Tenants>),
    Lru(LruOfPools),
    Fifo(Fifo),
}

impl Contender {
    async fn request(&self, tenant: usize) -> Result<(), Failure> {
        match self {
            Self::Pool(pools, tenants) => {
                let mut lease = pools.acquire(tenants.get(tenant)).await?;
                read_note(&mut lease, tenant).await
            }
            Self::Lru(pools) => {
                let mut connection = pools.pool(tenant).acquire().await?;
                read_note(&mut connection, tenant).await
            }
            Self::Fifo(fifo) => {
                let mut open = fifo.acquire(tenant).await?;
                read_note(&mut open.connection, tenant).await?;
                fifo.give_back(open).await;
                Ok(())
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Pool(pools, _) => pools.close().await,
            Self::Lru(pools) => pools.close().await,
            Self::Fifo(fifo) => fifo.close().await,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Milliseconds that each request took that succeeded.
    pub(super) times: Vec<f64>,
    pub(super) errors: usize,
    /// One of them.
    pub(super) error: Option<String>,
}

/// The popularity of tenants: the second is asked for half as often as the first, the third a third as often.
#[derive(Clone)]
pub(super) struct Zipf(Arc<[f64]>);

impl Zipf {
    pub(super) fn new(tenants: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=tenants).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self(sums.collect())
    }

    pub(super) fn choose(&self, random: &mut fastrand::Rng) -> usize {
        let total = self.0.last().copied().unwrap_or_default();
        let at = random.f64() * total;
        let last = self.0.len().saturating_sub(1);
        self.0.partition_point(|sum| *sum <= at).min(last)
    }
}

/// So many tasks, each with a seed of its own, for so long.
pub(super) async fn load(
    contender: &Arc<Contender>,
    tasks: usize,
    duration: Duration,
    keys: &Zipf,
) -> Result<Outcome, Failure> {
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (contender, keys) = (Arc::clone(contender), keys.clone());
            tokio::spawn(async move { one_after_the_other(&contender, task, duration, &keys).await })
        })
        .collect();
    let mut all = Outcome::default();
    for task in running {
        let outcome = task.await?;
        all.times.extend(outcome.times);
        all.errors += outcome.errors;
        all.error = all.error.or(outcome.error);
    }
    Ok(all)
}

async fn one_after_the_other(contender: &Contender, seed: usize, duration: Duration, keys: &Zipf) -> Outcome {
    let clock = SystemClock::new();
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let mut outcome = Outcome::default();
    loop {
        let before = clock.monotonic();
        if before >= duration {
            return outcome;
        }
        match contender.request(keys.choose(&mut random)).await {
            Ok(()) => {
                let took = clock.monotonic() - before;
                outcome.times.push(took.as_secs_f64() * 1e3);
            }
            Err(error) => {
                outcome.errors += 1;
                outcome.error = Some(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tenant_is_asked_for_twice_as_often_as_the_second() {
        let keys = Zipf::new(300);
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [0_usize; 300];
        for _ in 0..100_000 {
            counts[keys.choose(&mut random)] += 1;
        }
        let ratio = counts[0] as f64 / counts[1] as f64;
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
