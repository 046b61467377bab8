//! The connection that the tenant used last and nobody took meanwhile.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use tenancy::core::{Clock, SystemClock};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::{median, percentile},
};
use tenancy_sqlx::pool::PoolSettings;
use tenancy_test::servers::Role;

use crate::bed::{PgBed, Tenants, name_of, read_note};

const TIMES: usize = 20_000;
const ROUNDS: usize = 5;

/// What taking and giving back took, each time, in microseconds.
#[derive(Default)]
struct Times {
    taken: Vec<f64>,
    given_back: Vec<f64>,
}

impl Times {
    fn add(&mut self, began: Duration, taken: Duration, given_back: Duration) {
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        self.taken.push(microseconds(taken - began));
        self.given_back.push(microseconds(given_back - began));
    }
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Ok(());
    }
    eprintln!("databases warm: {ROUNDS} rounds of {TIMES}");
    let bed = PgBed::with_databases(1).await?;
    let tenants = Tenants::new(1).await?;
    let pools = bed.pools(PoolSettings::new(10))?;
    let other = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect_with(bed.options(Role::App, &name_of(0))?)
        .await?;
    read_note(&mut *pools.acquire(tenants.get(0)).await?, 0).await?;
    let clock = SystemClock::new();
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        for _ in 0..TIMES {
            let began = clock.monotonic();
            let lease = pools.acquire(tenants.get(0)).await?;
            let taken = clock.monotonic();
            drop(lease);
            ours.add(began, taken, clock.monotonic());
        }
        // It gives back in a task, which may not be done when the next one asks: a tenth is enough.
        for _ in 0..TIMES / 10 {
            let began = clock.monotonic();
            let connection = other.acquire().await?;
            let taken = clock.monotonic();
            drop(connection);
            theirs.add(began, taken, clock.monotonic());
        }
    }
    let row = |name, times: &[f64]| Row::shown(name, "µs", median(times));
    report.add(
        "databases: a warm connection of PostgreSQL",
        [
            row("taking the tenant's own idle connection, median", &ours.taken).at_most(3.0),
            Row::shown("the same, p99", "µs", percentile(&ours.taken, 0.99)),
            row("taking it and giving it back unused, median", &ours.given_back),
            row("taking the one of a PgPool, median", &theirs.taken)
                .note("without the ping that it sends unless told not to"),
        ],
    );
    pools.close().await;
    other.close().await;
    Ok(())
}
