//! What a sign-up takes into a home that is ready, beside one whose home is made then.

use tenancy::{
    Tenancy,
    core::{Clock, SystemClock},
    resolve::Subdomain,
};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::{median, percentile},
};
use tenancy_sqlx::{
    NewTenant, TenantEngine,
    lifecycle::{Lifecycle, PendingHomes},
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{FaultProxy, Role};

use crate::{
    bed::PgBed,
    crowd::{Crowd, TENANTS, lifecycle},
};

const TIMED: u64 = 200;
const COUNTED: u64 = 40;

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    eprintln!("databases signup: {TENANTS} tenants");
    let on_postgres = Box::pin(Crowd::on_postgres()).await?;
    Box::pin(count(report, &on_postgres)).await?;
    if extent == Extent::Check {
        return Ok(());
    }
    Box::pin(time(report, &on_postgres)).await?;
    let on_files = Box::pin(Crowd::on_files()).await?;
    Box::pin(time(report, &on_files)).await
}

fn section<DB: TenantEngine, Ground>(crowd: &Crowd<DB, Ground>) -> String {
    format!("databases: a sign-up beside {TENANTS} tenants, {}", crowd.place)
}

async fn time<DB: TenantEngine, Ground>(
    report: &mut Report,
    crowd: &Crowd<DB, Ground>,
) -> Result<(), Failure> {
    let tenancy = follow(&crowd.store).await?;
    let clock = SystemClock::new();
    let (mut ready, mut made) = (Vec::new(), Vec::new());
    let pending = made_ahead(&crowd.lifecycle, TIMED).await?;
    for number in 0..TIMED {
        let began = clock.monotonic();
        pending.claim(NewTenant::new(format!("ready{number}"))).await?;
        ready.push((clock.monotonic() - began).as_secs_f64() * 1e3);
    }
    check_all_are_taken(&pending).await?;
    for number in 0..TIMED / 10 {
        let began = clock.monotonic();
        crowd
            .lifecycle
            .create(NewTenant::new(format!("made{number}")))
            .await?;
        made.push((clock.monotonic() - began).as_secs_f64() * 1e3);
    }
    drop(tenancy);
    report.add(
        section(crowd),
        [
            Row::shown("into a home that is ready, median", "ms", median(&ready)).at_most(5.0),
            Row::shown("the same, p99", "ms", percentile(&ready, 0.99)),
            Row::shown("whose home is made then, median", "ms", median(&made)),
        ],
    );
    Ok(())
}

async fn count(report: &mut Report, crowd: &Crowd<sqlx::Postgres, PgBed>) -> Result<(), Failure> {
    let server = crowd.ground.server();
    let proxy = FaultProxy::start(server.address()).await?;
    let options = SqlStoreOptions::url(&proxy.url(&server.url(Role::Owner, "catalogue")))?;
    let store = SqlStore::open(options).await?;
    let lifecycle = lifecycle(&store, crowd.lifecycle.homes()).await?;
    let tenancy = follow(&store).await?;
    let mut counted = Vec::new();
    let pending = made_ahead(&lifecycle, COUNTED).await?;
    for number in 0..COUNTED {
        let before = proxy.traffic().round_trips;
        pending.claim(NewTenant::new(format!("counted{number}"))).await?;
        counted.push((proxy.traffic().round_trips - before) as f64);
    }
    check_all_are_taken(&pending).await?;
    drop(tenancy);
    report.add(
        section(crowd),
        [Row::shown(
            "of the catalogue, from one to the next, median",
            "round trips",
            median(&counted),
        )
        .at_most(16.0)
        .note("with those that nobody waits for: connections given back, who follows, who listens")],
    );
    Ok(())
}

/// A sign-up returns when this process serves the tenant.
async fn follow(store: &SqlStore) -> Result<Tenancy, Failure> {
    let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
    tenancy.ready().await;
    Ok(tenancy)
}

async fn made_ahead<DB: TenantEngine>(
    lifecycle: &Lifecycle<DB>,
    homes: u64,
) -> Result<PendingHomes<DB>, Failure> {
    let pending = lifecycle.pending(homes);
    pending.refill_once().await?;
    Ok(pending)
}

async fn check_all_are_taken<DB: TenantEngine>(pending: &PendingHomes<DB>) -> Result<(), Failure> {
    match pending.status().await?.ready {
        0 => Ok(()),
        _ => Err("sign-ups did not take the homes that were ready".into()),
    }
}
