//! The rows against a model, on each database.
#![allow(
    clippy::unwrap_used,
    reason = "helpers beside the test functions are not covered by clippy.toml"
)]

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use tenancy_core::{Clock, ManualClock};
use tenancy_test::servers::{MariaDb, Postgres};

use super::*;
use crate::store::SqlStoreOptions;

const BUDGET: u64 = 20;
const LEASE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
enum Step {
    /// What it has open is a part of what it has, in percent.
    Renew {
        holder: usize,
        open: u64,
        wants: u64,
    },
    GiveBack {
        holder: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..5_usize, 0..=100_u64, 0..40_u64)
            .prop_map(|(holder, open, wants)| Step::Renew { holder, open, wants }),
        1 => (0..5_usize).prop_map(|holder| Step::GiveBack { holder }),
        1 => (1..10_u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What each holder believes to have: its share, and until when.
#[derive(Debug, Default)]
struct Model(BTreeMap<usize, (u64, Duration)>);

impl Model {
    fn living(&self, now: Duration) -> u64 {
        let living = self.0.values().filter(|(_, until)| now < *until);
        living.map(|(share, _)| share).sum()
    }

    fn has(&self, holder: usize, now: Duration) -> u64 {
        let row = self.0.get(&holder).filter(|(_, until)| now < *until);
        row.map_or(0, |(share, _)| *share)
    }
}

/// `clock` is the database's, where it is in the hands of the test.
async fn check(ledger: &ShareLedger, clock: Option<&ManualClock>, server: &str, steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        let now = clock.map_or(Duration::ZERO, Clock::monotonic);
        match *step {
            Step::Renew { holder, open, wants } => {
                let had = model.has(holder, now);
                let keeps = had * open / 100;
                let request = ShareRequest {
                    server,
                    holder: &format!("h{holder}"),
                    budget: BUDGET,
                    keeps,
                    wants,
                    lease: LEASE,
                };
                let share = ledger.renew(request).await.unwrap();
                assert!(
                    share.granted >= keeps,
                    "{share:?} is less than the {keeps} that are open"
                );
                assert!(share.granted <= share.due.max(keeps), "{share:?}");
                model.0.insert(holder, (share.granted, now + LEASE));
            }
            Step::GiveBack { holder } => {
                ledger.give_back(server, &format!("h{holder}")).await.unwrap();
                model.0.remove(&holder);
            }
            Step::Wait { seconds } => {
                if let Some(clock) = clock {
                    clock.advance(Duration::from_secs(seconds));
                }
            }
        }
        let now = clock.map_or(Duration::ZERO, Clock::monotonic);
        assert!(model.living(now) <= BUDGET, "{model:?}");
    }
    let now = clock.map_or(Duration::ZERO, Clock::monotonic);
    settles(ledger, &mut model, server, now).await;
}

/// When nobody changes what it wants and everybody closes what it has too much, all have their part soon.
async fn settles(ledger: &ShareLedger, model: &mut Model, server: &str, now: Duration) {
    model.0.retain(|_, (_, until)| now < *until);
    let holders: Vec<usize> = model.0.keys().copied().collect();
    let mut last = Vec::new();
    for _ in 0..4 {
        last.clear();
        for holder in &holders {
            let request = ShareRequest {
                server,
                holder: &format!("h{holder}"),
                budget: BUDGET,
                keeps: 0,
                wants: 1 + *holder as u64 * 3,
                lease: LEASE,
            };
            last.push(ledger.renew(request).await.unwrap());
        }
    }
    assert!(last.iter().all(|share| share.granted == share.due), "{last:?}");
    let sum: u64 = last.iter().map(|share| share.granted).sum();
    assert_eq!(sum, if holders.is_empty() { 0 } else { BUDGET });
}

fn on_each_case(cases: u32, ledger: &ShareLedger, clock: Option<&ManualClock>) {
    let runtime = tokio::runtime::Handle::current();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let case = std::cell::Cell::new(0);
    let ran = TestRunner::new(config).run(&steps(), |steps| {
        case.set(case.get() + 1);
        let server = format!("s{}", case.get());
        runtime.block_on(check(ledger, clock, &server, &steps));
        Ok(())
    });
    ran.unwrap();
}

async fn ledger_at(options: SqlStoreOptions) -> ShareLedger {
    let store = SqlStore::open(options).await.unwrap();
    store.share_ledger().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shares_in_a_file_are_never_over_the_budget_and_expire() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let options = SqlStoreOptions::new(directory.path().join("catalogue.db"));
    let ledger = ledger_at(options.clock(clock.clone())).await;
    tokio::task::block_in_place(|| on_each_case(60, &ledger, Some(&clock)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shares_on_postgresql_are_never_over_the_budget() {
    let database = Postgres::shared().await.database("catalogue").await;
    let options = SqlStoreOptions::url(&database.owner_url()).unwrap();
    let ledger = ledger_at(options.connections(0..=4)).await;
    tokio::task::block_in_place(|| on_each_case(20, &ledger, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shares_on_mariadb_are_never_over_the_budget() {
    let database = MariaDb::shared().await.database("catalogue").await;
    let options = SqlStoreOptions::url(&database.owner_url()).unwrap();
    let ledger = ledger_at(options.connections(0..=4)).await;
    tokio::task::block_in_place(|| on_each_case(20, &ledger, None));
}
