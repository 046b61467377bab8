//! What the connections of the pool under measurement are doing, on average: where its time goes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::Postgres;
use tenancy_bench::Failure;
use tenancy_sqlx::pool::{PoolFigures, TenantPools};
use tokio::task::JoinHandle;

use crate::bed::SERVER;

const EVERY: Duration = Duration::from_millis(20);

/// Sums over all samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Occupation {
    samples: usize,
    tenants: usize,
    leased: usize,
    dirty: usize,
    idle: usize,
    opening: usize,
    closing: usize,
    last: PoolFigures,
}

impl Occupation {
    fn add(&mut self, figures: PoolFigures) {
        self.samples += 1;
        self.tenants += figures.tenants;
        self.leased += figures.leased;
        self.dirty += figures.dirty;
        self.idle += figures.idle;
        self.opening += figures.opening;
        self.closing += figures.closing;
        self.last = figures;
    }
}

impl fmt::Display for Occupation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |sum: usize| sum as f64 / self.samples.max(1) as f64;
        write!(
            f,
            "{} opened, {} handed over, {} evicted; on average {:.1} in use, {:.1} reset, {:.1} idle, {:.1} opened, {:.1} closed, of {:.0} tenants",
            self.last.opens,
            self.last.hand_overs,
            self.last.evictions,
            mean(self.leased),
            mean(self.dirty),
            mean(self.idle),
            mean(self.opening),
            mean(self.closing),
            mean(self.tenants),
        )
    }
}

pub(super) struct Watch {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Occupation>,
}

impl Watch {
    pub(super) fn start(pools: &TenantPools<Postgres>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (is_over, pools) = (Arc::clone(&ended), pools.clone());
        let task = tokio::spawn(async move {
            let mut occupation = Occupation::default();
            while !is_over.load(Ordering::Relaxed) {
                tokio::time::sleep(EVERY).await;
                occupation.add(pools.figures(SERVER).unwrap_or_default());
            }
            occupation
        });
        Self { ended, task }
    }

    pub(super) async fn end(self) -> Result<Occupation, Failure> {
        self.ended.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}
