//! One process, ten, and one again, under load on one server whose budget they share.
//!
//! Each is a program of its own: this one, started anew with [`Child`] for its arguments. One of the ten is killed, so that
//! it gives nothing back.

use std::{
    io::{BufRead, BufReader, Write},
    process::{self, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use sqlx::Postgres;
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row, number},
};
use tenancy_sqlx::{
    pool::{BudgetShares, PoolSettings, Target, TenantPools},
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::Role;
use tokio::time::sleep;

use crate::{
    bed::{PgBed, SERVER, Tenants, read_note},
    sampler::{Sampler, until_quiet},
};

const TASKS: usize = 12;
const LEASE: Duration = Duration::from_secs(5);

/// What one of the processes is told.
#[derive(Debug, Args)]
pub(crate) struct Child {
    /// Be one of the processes of the group `processes`: the URL of the tenants' server
    #[arg(long, hide = true)]
    child_of: Option<String>,
    /// The URL of the catalogue
    #[arg(long, hide = true, default_value = "")]
    catalogue: String,
    #[arg(long, hide = true, default_value_t = 0)]
    tenants: usize,
    #[arg(long, hide = true, default_value_t = 0)]
    budget: usize,
}

impl Child {
    pub(crate) fn is_one(&self) -> bool {
        self.child_of.is_some()
    }

    /// Asks without end until a line comes, and says then how often it was served, how often not, and its share.
    pub(crate) async fn run(&self) -> Result<String, Failure> {
        let url = self.child_of.as_deref().unwrap_or_default();
        let options = SqlStoreOptions::url(&self.catalogue)?.connections(0..=2);
        let store = SqlStore::open(options).await?;
        let shares = BudgetShares::through(&store).await?.lease(LEASE);
        let settings = PoolSettings::new(self.budget).wait_timeout(Duration::from_secs(20));
        let pools = TenantPools::<Postgres>::builder(|record| Target::database(record.id.as_str()))
            .server(SERVER, url.parse()?, settings)
            .share_budgets(&shares)
            .build();
        let tenants = Arc::new(Tenants::new(self.tenants).await?);
        let is_over = Arc::new(AtomicBool::new(false));
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let asking: Vec<_> = (0..TASKS)
            .map(|_| {
                let (pools, tenants) = (pools.clone(), Arc::clone(&tenants));
                let (is_over, counts) = (Arc::clone(&is_over), Arc::clone(&counts));
                tokio::spawn(async move {
                    while !is_over.load(Ordering::Relaxed) {
                        let asked = request(&pools, &tenants).await;
                        counts[usize::from(asked.is_err())].fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
        is_over.store(true, Ordering::Relaxed);
        for task in asking {
            task.await?;
        }
        let share = pools.figures(SERVER).unwrap_or_default().budget;
        pools.close().await;
        let [served, failed] = [0, 1].map(|which: usize| counts[which].load(Ordering::Relaxed));
        Ok(format!("{served} {failed} {share}"))
    }
}

async fn request(pools: &TenantPools<Postgres>, tenants: &Tenants) -> Result<(), Failure> {
    let tenant = fastrand::usize(..tenants.count());
    let mut lease = pools.acquire(tenants.get(tenant)).await?;
    read_note(&mut lease, tenant).await
}

/// What a process said when it ended.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    served: usize,
    failed: usize,
    share: usize,
}

/// Killed when dropped.
struct Running(process::Child);

impl Running {
    fn start(bed: &PgBed, tenants: usize, budget: usize) -> Result<Self, Failure> {
        let child = Command::new(std::env::current_exe()?)
            .args(["--child-of", &bed.server().socket_url(Role::App, "postgres")])
            .args(["--catalogue", &bed.server().socket_url(Role::Admin, "postgres")])
            .args(["--tenants", &tenants.to_string()])
            .args(["--budget", &budget.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    async fn end(mut self) -> Result<Said, Failure> {
        let said = tokio::task::spawn_blocking(move || {
            if let Some(mut input) = self.0.stdin.take() {
                writeln!(input)?;
            }
            let mut line = String::new();
            if let Some(output) = self.0.stdout.take() {
                BufReader::new(output).read_line(&mut line)?;
            }
            self.0.wait()?;
            Ok::<_, std::io::Error>(line)
        });
        let line = said.await??;
        let numbers: Vec<usize> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        match numbers[..] {
            [served, failed, share] => Ok(Said {
                served,
                failed,
                share,
            }),
            _ => Err("a process ended without a word".into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    let (most, budget, databases, time) = match extent {
        Extent::Check => (3, 12, 24, Duration::from_secs(3)),
        Extent::Full => (10, 100, 150, Duration::from_secs(10)),
    };
    eprintln!("databases processes: {databases} databases, 1 → {most} → 1 processes");
    let bed = PgBed::with_databases(databases).await?;
    until_quiet(&bed).await?;
    let sampler = Sampler::start(&bed)?;
    let mut running = vec![Running::start(&bed, databases, budget)?];
    sleep(time).await;
    for _ in 1..most {
        running.push(Running::start(&bed, databases, budget)?);
    }
    sleep(time).await;
    // Without a word: its share is nobody's until its lease is over.
    drop(running.pop());
    sleep(time / 2).await;
    let last = running.remove(0);
    let mut served = 0;
    let mut failed = 0;
    for process in running {
        let said = process.end().await?;
        served += said.served;
        failed += said.failed;
    }
    sleep(LEASE + time).await;
    let said = last.end().await?;
    let sampled = sampler.end().await?;
    report.add(
        format!("databases: 1 → {most} → 1 processes on PostgreSQL, budget of {budget} for all, one killed"),
        [
            Row::shown(
                "most connections on the server",
                "connections",
                sampled.most as f64,
            )
            .at_most(budget as f64)
            .note(format!("of {} samples", number(sampled.samples as f64))),
            Row::shown("requests that failed", "requests", (failed + said.failed) as f64).at_most(0.0),
            Row::shown(
                "requests that succeeded",
                "requests",
                (served + said.served) as f64,
            )
            .note(format!(
                "{} of them of the first and last",
                number(said.served as f64)
            )),
            // One is for cancelling.
            Row::shown("what the last one has alone", "connections", said.share as f64)
                .at_least(budget as f64 - 1.0),
        ],
    );
    Ok(())
}
