//! How many connections the server counts, over time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tenancy_bench::Failure;
use tenancy_test::servers::Role;

use crate::bed::PgBed;

const EVERY: Duration = Duration::from_millis(20);

/// Everybody but superusers, who look on. Who logs in has no name yet.
const COUNT: &str = "SELECT count(*) FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM 'admin'";

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled {
    pub(crate) most: i64,
    pub(crate) samples: usize,
}

/// Looks every 20 ms, on a thread of its own that no load holds up.
pub(crate) struct Sampler {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<Sampled, Failure>>,
}

impl Sampler {
    pub(crate) fn start(bed: &PgBed) -> Result<Self, Failure> {
        let options = bed.options(Role::Admin, "postgres")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        let thread = thread::spawn(move || runtime.block_on(sample(&options, &is_over)));
        Ok(Self { ended, thread })
    }

    pub(crate) async fn end(self) -> Result<Sampled, Failure> {
        self.ended.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        joined.map_err(|_| Failure::from("the sampler panicked"))?
    }
}

async fn sample(options: &PgConnectOptions, is_over: &AtomicBool) -> Result<Sampled, Failure> {
    let mut observer = PgConnection::connect_with(options).await?;
    let mut sampled = Sampled { most: 0, samples: 0 };
    while !is_over.load(Ordering::Relaxed) {
        sampled.most = sampled.most.max(count(&mut observer).await?);
        sampled.samples += 1;
        tokio::time::sleep(EVERY).await;
    }
    Ok(sampled)
}

async fn count(observer: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(COUNT).fetch_one(observer).await
}

/// Waits until all connections of what was measured before are gone.
pub(crate) async fn until_quiet(bed: &PgBed) -> Result<(), Failure> {
    let mut observer = PgConnection::connect_with(&bed.options(Role::Admin, "postgres")?).await?;
    for _ in 0..1_000 {
        if count(&mut observer).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
    Err("connections of what was measured before stay open".into())
}
