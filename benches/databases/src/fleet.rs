//! What a fleet of 10,000 tenants costs that has nothing to do.

use std::time::Duration;

use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
};
use tenancy_sqlx::{TenantEngine, lifecycle::Lifecycle};

use crate::crowd::{Crowd, TENANTS};

const LOOKS: usize = 5;

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Ok(());
    }
    eprintln!("databases fleet: {TENANTS} tenants");
    let on_postgres = Box::pin(Crowd::on_postgres()).await?;
    Box::pin(row(report, on_postgres.place, &on_postgres.lifecycle)).await?;
    let on_files = Box::pin(Crowd::on_files()).await?;
    Box::pin(row(report, on_files.place, &on_files.lifecycle)).await
}

async fn row<DB: TenantEngine>(
    report: &mut Report,
    place: &str,
    lifecycle: &Lifecycle<DB>,
) -> Result<(), Failure> {
    let look = look_at_all(lifecycle).await?;
    report.add(
        format!("databases: a fleet of {TENANTS} tenants, {place}"),
        [Row::shown("migrating when all are up to date, longest of 5", "s", look).at_most(2.0)],
    );
    Ok(())
}

async fn look_at_all<DB: TenantEngine>(lifecycle: &Lifecycle<DB>) -> Result<f64, Failure> {
    let fleet = lifecycle.fleet().ok_or("there are migrations")?;
    let mut longest = Duration::ZERO;
    for _ in 0..LOOKS {
        let done = fleet.migrate().await?;
        if done.up_to_date != TENANTS || done.migrated != 0 {
            return Err(format!("not all were up to date: {done:?}").into());
        }
        longest = longest.max(done.elapsed);
    }
    Ok(longest.as_secs_f64())
}
