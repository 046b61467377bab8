//! Three hundred databases and a hundred connections, beside what one would use instead.

mod fifo;
mod load;
mod lru;
mod occupation;

use std::{sync::Arc, time::Duration};

use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row, number},
    statistics::{median, percentile},
};
use tenancy_sqlx::pool::PoolSettings;
use tenancy_test::servers::Role;

use self::{
    fifo::Fifo,
    load::{Contender, Outcome, Zipf, load},
    lru::LruOfPools,
    occupation::Watch,
};
use crate::{
    bed::{PgBed, Tenants},
    sampler::{Sampled, Sampler, until_quiet},
};

const BUDGET: usize = 100;
const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pool,
    Lru,
    Fifo,
    PoolAgain,
}

const KINDS: [Kind; 4] = [Kind::Pool, Kind::Lru, Kind::Fifo, Kind::PoolAgain];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Pool => "tenant pool",
            Self::Lru => "LRU of 100 PgPools",
            Self::Fifo => "keyed FIFO",
            Self::PoolAgain => "tenant pool again",
        }
    }
}

/// One run of one contender.
struct Run {
    outcome: Outcome,
    sampled: Sampled,
    /// What the contender says of itself.
    says: String,
}

impl Run {
    fn completed(&self) -> f64 {
        self.outcome.times.len() as f64
    }

    fn time(&self, share: f64) -> f64 {
        percentile(&self.outcome.times, share)
    }
}

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Box::pin(check(report)).await;
    }
    eprintln!("databases contend: making 300 databases");
    let bed = PgBed::with_databases(300).await?;
    let tenants = Arc::new(Tenants::new(300).await?);
    for tasks in [64, 200] {
        let mut runs: [Vec<Run>; 4] = Default::default();
        for round in 0..ROUNDS {
            for turn in 0..KINDS.len() {
                let at = if round % 2 == 0 {
                    turn
                } else {
                    KINDS.len() - 1 - turn
                };
                eprintln!(
                    "databases contend: {tasks} at a time, round {}/{ROUNDS}, {}",
                    round + 1,
                    KINDS[at].name()
                );
                let run = run(&bed, &tenants, KINDS[at], BUDGET, tasks, DURATION).await?;
                runs[at].push(run);
            }
        }
        let section = format!("databases: 300 of PostgreSQL, budget of {BUDGET}, {tasks} at a time, 12 s");
        for (kind, runs) in KINDS.iter().zip(&runs) {
            report.add(section.clone(), figures(*kind, runs));
        }
        report.add(section, comparisons(&runs, tasks == 200));
    }
    Ok(())
}

/// The budget alone, quickly: it holds whatever else the machine does.
async fn check(report: &mut Report) -> Result<(), Failure> {
    eprintln!("databases contend: 40 databases, budget of 12");
    let bed = PgBed::with_databases(40).await?;
    let tenants = Arc::new(Tenants::new(40).await?);
    let runs = [run(&bed, &tenants, Kind::Pool, 12, 32, Duration::from_secs(5)).await?];
    report.add(
        "databases: 40 of PostgreSQL, budget of 12, 32 at a time",
        [errors(&runs).at_most(0.0), peak(&runs).at_most(12.0)],
    );
    Ok(())
}

async fn run(
    bed: &PgBed,
    tenants: &Arc<Tenants>,
    kind: Kind,
    budget: usize,
    tasks: usize,
    duration: Duration,
) -> Result<Run, Failure> {
    let options = bed.options(Role::App, "postgres")?;
    let contender = Arc::new(match kind {
        Kind::Pool | Kind::PoolAgain => {
            Contender::Pool(bed.pools(PoolSettings::new(budget))?, Arc::clone(tenants))
        }
        Kind::Lru => Contender::Lru(LruOfPools::new(options)),
        Kind::Fifo => Contender::Fifo(Fifo::new(options, budget)),
    });
    until_quiet(bed).await?;
    let sampler = Sampler::start(bed)?;
    let watch = match &*contender {
        Contender::Pool(pools, _) => Some(Watch::start(pools)),
        Contender::Lru(_) | Contender::Fifo(_) => None,
    };
    let outcome = load(&contender, tasks, duration, &Zipf::new(tenants.count())).await?;
    let says = match (watch, &*contender) {
        (Some(watch), _) => watch.end().await?.to_string(),
        (None, Contender::Fifo(fifo)) => format!("{} opened", fifo.opens()),
        (None, _) => String::new(),
    };
    contender.close().await;
    Ok(Run {
        outcome,
        sampled: sampler.end().await?,
        says,
    })
}

fn errors(runs: &[Run]) -> Row {
    let sum: usize = runs.iter().map(|run| run.outcome.errors).sum();
    let row = Row::shown("requests that failed", "requests", sum as f64);
    match runs.iter().find_map(|run| run.outcome.error.as_ref()) {
        Some(error) => row.note(format!("such as: {error}")),
        None => row,
    }
}

fn peak(runs: &[Run]) -> Row {
    let most = runs.iter().map(|run| run.sampled.most).max().unwrap_or_default();
    let samples: usize = runs.iter().map(|run| run.sampled.samples).sum();
    Row::shown("most connections on the server", "connections", most as f64)
        .note(format!("of {} samples", number(samples as f64)))
}

fn figures(kind: Kind, runs: &[Run]) -> Vec<Row> {
    let middle = |figure: &dyn Fn(&Run) -> f64| median(&runs.iter().map(figure).collect::<Vec<_>>());
    let says = runs
        .iter()
        .map(|run| run.says.as_str())
        .find(|says| !says.is_empty());
    let (mut errors, mut peak) = (errors(runs), peak(runs));
    if matches!(kind, Kind::Pool | Kind::PoolAgain) {
        errors = errors.at_most(0.0);
        peak = peak.at_most(BUDGET as f64);
    }
    let rows = [
        Row::shown("requests that succeeded", "requests", middle(&Run::completed))
            .note(says.unwrap_or_default()),
        errors,
        Row::shown("time of a request, p50", "ms", middle(&|run| run.time(0.5))),
        Row::shown("time of a request, p99", "ms", middle(&|run| run.time(0.99))),
        peak,
    ];
    rows.map(|mut row| {
        row.name = format!("{}: {}", kind.name(), row.name);
        row
    })
    .into()
}

/// Ratios of the same round, the middle one of all rounds. The pool ran twice in each: the mean of both is compared with the
/// others.
fn comparisons(runs: &[Vec<Run>; 4], has_budget: bool) -> Vec<Row> {
    let [pool, lru, fifo, again] = runs;
    let ratio = |base: &[Run], figure: &dyn Fn(&Run) -> f64| {
        let ours = pool
            .iter()
            .zip(again)
            .map(|(one, two)| (figure(one) + figure(two)) / 2.0);
        median(
            &ours
                .zip(base)
                .map(|(ours, base)| ours / figure(base))
                .collect::<Vec<_>>(),
        )
    };
    let same = |figure: &dyn Fn(&Run) -> f64| {
        let ratios = pool.iter().zip(again).map(|(one, two)| figure(one) / figure(two));
        median(&ratios.collect::<Vec<_>>())
    };
    let completed = |base| ratio(base, &Run::completed);
    let slowest = |base| ratio(base, &|run| run.time(0.99));
    let rows = [
        Row::shown("succeeded, tenant pool / LRU of PgPools", "ratio", completed(lru)).at_least(1.0),
        Row::shown("succeeded, tenant pool / keyed FIFO", "ratio", completed(fifo)).at_least(1.3),
        Row::shown("p99, tenant pool / LRU of PgPools", "ratio", slowest(lru)).at_most(0.7),
        Row::shown("p99, tenant pool / keyed FIFO", "ratio", slowest(fifo)),
        Row::shown(
            "succeeded, tenant pool / tenant pool again",
            "ratio",
            same(&Run::completed),
        ),
        Row::shown(
            "p99, tenant pool / tenant pool again",
            "ratio",
            same(&|run| run.time(0.99)),
        ),
    ];
    rows.into_iter()
        .map(|row| if has_budget { row } else { row.without_budget() })
        .collect()
}
