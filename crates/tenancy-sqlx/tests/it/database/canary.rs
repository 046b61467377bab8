//! Whatever many tenants do at once, and wherever it is dropped: each sees its own notes, and what it was told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use sqlx::Connection;
use tenancy_sqlx::{TenantEngine, database::DatabaseError, pool::PoolSettings};

use super::{
    fixture::KINDS,
    homes::{Homes, Notes},
};
use crate::pool::fixture::{patient, poll_at_most};

const TENANTS: usize = 6;
const WORKERS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Act {
    Read,
    /// Two notes, in one transaction.
    Write,
    WriteAndDrop,
    Nest,
    Slow,
    /// A session that leaves something.
    Leave(usize),
}

/// Where it is dropped.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Never,
    Polls(usize),
    Micros(u64),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    tenant: usize,
    act: Act,
    cut: Cut,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        4 => Just(Act::Read),
        4 => Just(Act::Write),
        2 => Just(Act::WriteAndDrop),
        1 => Just(Act::Nest),
        1 => Just(Act::Slow),
        3 => (0_usize..3).prop_map(Act::Leave),
    ];
    let cut = prop_oneof![
        3 => Just(Cut::Never),
        3 => (1_usize..16).prop_map(Cut::Polls),
        2 => (0_u64..4_000).prop_map(Cut::Micros),
    ];
    (0..TENANTS, act, cut).prop_map(|(tenant, act, cut)| Step { tenant, act, cut })
}

/// The notes whose commit was answered, and those whose commit may have happened.
#[derive(Debug, Default)]
struct Ledger {
    certain: BTreeMap<usize, BTreeSet<usize>>,
    possible: BTreeMap<usize, BTreeSet<usize>>,
    next: usize,
}

struct Scene<DB: TenantEngine> {
    homes: Homes<DB>,
    ledger: Mutex<Ledger>,
}

impl<DB: TenantEngine<Connection: Notes>> Scene<DB> {
    fn new(homes: Homes<DB>) -> Self {
        let ledger = Mutex::default();
        Self { homes, ledger }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No note of another tenant's, and none that nobody wrote.
    fn check(&self, tenant: usize, notes: &[String], step: Step) {
        let canary = self.homes.canary(tenant);
        let own = |note: &String| *note == canary || note.starts_with(&format!("{canary} "));
        assert!(
            notes.iter().all(own) && notes.contains(&canary),
            "{step:?} saw {notes:?}"
        );
    }

    async fn act(&self, step: Step) -> Result<(), DatabaseError> {
        let (tenant, db) = (step.tenant, self.homes.db(step.tenant));
        let canary = self.homes.canary(tenant);
        match step.act {
            Act::Read => {
                let mut transaction = db.begin().await?;
                self.check(tenant, &transaction.notes().await?, step);
                transaction.commit().await
            }
            Act::Write => {
                let number = self.number();
                let mut transaction = db.begin().await?;
                transaction.add(&format!("{canary} {number} a")).await?;
                transaction.add(&format!("{canary} {number} b")).await?;
                // From here it may last, whether or not anybody hears of it.
                self.ledger().possible.entry(tenant).or_default().insert(number);
                transaction.commit().await?;
                self.ledger().certain.entry(tenant).or_default().insert(number);
                Ok(())
            }
            Act::WriteAndDrop => {
                let mut transaction = db.begin().await?;
                let number = self.number();
                transaction.add(&format!("{canary} {number} never")).await?;
                Ok(())
            }
            Act::Nest => {
                let mut transaction = db.begin().await?;
                let mut nested = transaction.nested().await?;
                nested.add(&format!("{canary} {} never", self.number())).await?;
                drop(nested);
                self.check(tenant, &transaction.notes().await?, step);
                transaction.rollback().await
            }
            Act::Slow => {
                let mut transaction = db.begin().await?;
                transaction.leave(DB::Connection::SLOW).await?;
                self.check(tenant, &transaction.notes().await?, step);
                Ok(())
            }
            Act::Leave(which) => {
                let mut connection = db.acquire().await?;
                self.check(tenant, &connection.notes().await?, step);
                let left = DB::Connection::LEFT[which].replace("{foreign}", "a foreign note");
                connection.leave(&left).await?;
                connection.ping().await?;
                Ok(())
            }
        }
    }

    fn number(&self) -> usize {
        let mut ledger = self.ledger();
        ledger.next += 1;
        ledger.next
    }

    async fn take(&self, step: Step) -> bool {
        let answer = match step.cut {
            Cut::Never => Some(self.act(step).await),
            Cut::Polls(polls) => poll_at_most(polls, self.act(step)).await,
            Cut::Micros(micros) => {
                let limit = Duration::from_micros(micros);
                tokio::time::timeout(limit, self.act(step)).await.ok()
            }
        };
        if let Some(answer) = answer {
            answer.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
            return true;
        }
        false
    }

    /// Each tenant has what it was told of, and of what it was not told, all or nothing.
    async fn reckon(&self) {
        for tenant in 0..TENANTS {
            let mut transaction = self.homes.db(tenant).begin().await.unwrap();
            let notes = transaction.notes().await.unwrap();
            transaction.commit().await.unwrap();
            let canary = self.homes.canary(tenant);
            let part = |number: &usize, part: &str| notes.contains(&format!("{canary} {number} {part}"));
            let ledger = self.ledger();
            let of = |numbers: &BTreeMap<usize, BTreeSet<usize>>| {
                numbers.get(&tenant).cloned().unwrap_or_default()
            };
            for number in of(&ledger.certain) {
                assert!(part(&number, "a") && part(&number, "b"), "{number} was committed");
            }
            let mut pairs = 0;
            for number in of(&ledger.possible) {
                assert_eq!(
                    part(&number, "a"),
                    part(&number, "b"),
                    "{number} is there by half"
                );
                pairs += usize::from(part(&number, "a"));
            }
            assert_eq!(notes.len(), 1 + 2 * pairs, "something that was never committed");
        }
    }

    async fn play(&self, workers: &[Vec<Step>]) -> (usize, usize) {
        let played = workers.iter().map(|steps| async move {
            let mut ended = 0;
            for step in steps {
                ended += usize::from(self.take(*step).await);
            }
            ended
        });
        let ended = futures_util::future::join_all(played).await.into_iter().sum();
        self.reckon().await;
        let figures = self.homes.until_quiet().await;
        assert!(figures.open <= figures.budget, "{figures:?}");
        (ended, workers.iter().map(Vec::len).sum::<usize>() - ended)
    }
}

/// Few connections for many tenants.
fn crowded() -> PoolSettings {
    patient(5).max_per_tenant(2).settle(Duration::from_millis(50))
}

fn whatever_happens<DB: TenantEngine<Connection: Notes>>(homes: impl Future<Output = Homes<DB>>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = Scene::new(runtime.block_on(homes));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = ProptestConfig {
        cases: 3,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let workers = prop::collection::vec(prop::collection::vec(step(), 10..20), WORKERS);
    let (ended, dropped) = (Mutex::new(0), Mutex::new(0));
    TestRunner::new_with_rng(config, rng)
        .run(&workers, |workers| {
            let (more_ended, more_dropped) = runtime.block_on(scene.play(&workers));
            *ended.lock().unwrap() += more_ended;
            *dropped.lock().unwrap() += more_dropped;
            Ok(())
        })
        .unwrap();
    let (ended, dropped) = (ended.into_inner().unwrap(), dropped.into_inner().unwrap());
    assert!(
        ended > 100 && dropped > 50,
        "{ended} ended, {dropped} were dropped"
    );
    let figures = scene.homes.figures();
    let went_on = figures.stained + figures.re_points + figures.evictions;
    assert!(figures.resets > 50 && went_on > 0, "{figures:?}");
    // What the servers have is dropped in the runtime's time.
    runtime.block_on(async move { drop(scene) });
}

#[test]
fn on_postgres_nobody_ever_sees_a_foreign_note() {
    for kind in KINDS {
        whatever_happens(Homes::postgres(kind, "canary", TENANTS, crowded(), None));
    }
}

#[test]
fn on_mariadb_nobody_ever_sees_a_foreign_note() {
    whatever_happens(Homes::mariadb("canary", TENANTS, crowded(), None));
}

#[test]
fn in_files_nobody_ever_sees_a_foreign_note() {
    whatever_happens(Homes::files(TENANTS, crowded()));
}
