//! A slow statement whose client went away.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tenancy::core::{Clock, SystemClock};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
};
use tenancy_sqlx::pool::PoolSettings;
use tenancy_test::servers::Role;
use tokio::time::timeout;

use crate::bed::{PgBed, Tenants, read_note};

const TIMES: usize = 5;
const PATIENCE: Duration = Duration::from_millis(100);
const RUNNING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    eprintln!("databases slow: {TIMES} statements of 3 s");
    let bed = PgBed::with_databases(1).await?;
    let tenants = Tenants::new(1).await?;
    // One connection, so that the next request must wait for the one of the slow statement.
    let pools = bed.pools(PoolSettings::new(8).max_per_tenant(1))?;
    let mut observer = PgConnection::connect_with(&bed.options(Role::Admin, "postgres")?).await?;
    let clock = SystemClock::new();
    let (mut longest, mut ran_on) = (Duration::ZERO, 0);
    for _ in 0..TIMES {
        let mut lease = pools.acquire(tenants.get(0)).await?;
        let slow = sqlx::query("SELECT pg_sleep(3)").execute(&mut *lease);
        if timeout(PATIENCE, slow).await.is_ok() {
            return Err("the slow statement is not slow".into());
        }
        let running: i64 = sqlx::query_scalar(RUNNING).fetch_one(&mut observer).await?;
        if running != 1 {
            return Err("the slow statement was not seen on the server".into());
        }
        let dropped = clock.monotonic();
        drop(lease);
        let mut next = pools.acquire(tenants.get(0)).await?;
        longest = longest.max(clock.monotonic() - dropped);
        let running: i64 = sqlx::query_scalar(RUNNING).fetch_one(&mut observer).await?;
        ran_on += running;
        read_note(&mut next, 0).await?;
    }
    let time = Row::shown(
        "until the next request has the slot, longest",
        "s",
        longest.as_secs_f64(),
    )
    .at_most(1.0)
    .note("the connection is given 250 ms to end by itself");
    report.add(
        format!("databases: pg_sleep(3), dropped after 100 ms, {TIMES} times"),
        [
            if extent == Extent::Full {
                time
            } else {
                time.without_budget()
            },
            Row::shown("still running on the server then", "statements", ran_on as f64).at_most(0.0),
        ],
    );
    pools.close().await;
    Ok(())
}
