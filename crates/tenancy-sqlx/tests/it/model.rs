use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestRunner};
use tenancy_core::{TenantId, TenantStatus};
use tenancy_sqlx::{CatalogueError, NewTenant, TenantPatch, store::SqlStore};

use crate::support::{Backend, Follower, Place, id, list};

/// A slug and a domain of a few, so that names collide often.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u8),
    Suspend(u8),
    Resume(u8),
    Delete(u8),
    Restore(u8),
    Purge(u8),
    Plan(u8, u8),
    AddDomain(u8, u8),
    RemoveDomain(u8, u8),
    Follow(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..10, 0_u8..3, 0_u8..3).prop_map(|(kind, slug, other)| match kind {
        0 => Step::Create(slug),
        1 => Step::Suspend(slug),
        2 => Step::Resume(slug),
        3 => Step::Delete(slug),
        4 => Step::Restore(slug),
        5 => Step::Purge(slug),
        6 => Step::Plan(slug, other),
        7 => Step::AddDomain(slug, other),
        8 => Step::RemoveDomain(slug, other),
        _ => Step::Follow(other),
    });
    proptest::collection::vec(step, 1..60)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelTenant {
    id: TenantId,
    status: TenantStatus,
    plan: Option<u8>,
    domains: BTreeSet<u8>,
    epoch: u64,
    incarnation: u64,
}

/// The catalogue, written the simple way.
#[derive(Default)]
struct Model {
    number: u64,
    created: BTreeMap<u8, u32>,
    tenants: BTreeMap<u8, ModelTenant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Conflict,
    NotFound,
}

impl Model {
    fn living(&mut self, slug: u8) -> Result<&mut ModelTenant, Answer> {
        match self.tenants.get_mut(&slug) {
            None => Err(Answer::NotFound),
            Some(tenant) if tenant.status == TenantStatus::Deleted => Err(Answer::Conflict),
            Some(tenant) => Ok(tenant),
        }
    }

    fn status(&mut self, slug: u8, status: TenantStatus) -> Result<bool, Answer> {
        let tenant = self.living(slug)?;
        Ok(std::mem::replace(&mut tenant.status, status) != status)
    }

    /// Whether the step changes anything, or why it is refused.
    fn step(&mut self, step: Step) -> Result<bool, Answer> {
        match step {
            Step::Create(slug) => {
                if self.tenants.contains_key(&slug) {
                    return Err(Answer::Conflict);
                }
                let times = self.created.entry(slug).or_default();
                *times += 1;
                let name = if *times == 1 {
                    format!("s{slug}")
                } else {
                    format!("s{slug}-{times}")
                };
                let tenant = ModelTenant {
                    id: id(&name),
                    status: TenantStatus::Active,
                    plan: None,
                    domains: BTreeSet::new(),
                    epoch: 0,
                    incarnation: self.number + 1,
                };
                self.tenants.insert(slug, tenant);
                Ok(true)
            }
            Step::Suspend(slug) => self.status(slug, TenantStatus::Suspended),
            Step::Resume(slug) => self.status(slug, TenantStatus::Active),
            Step::Delete(slug) => {
                let tenant = self.tenants.get_mut(&slug).ok_or(Answer::NotFound)?;
                Ok(std::mem::replace(&mut tenant.status, TenantStatus::Deleted) != TenantStatus::Deleted)
            }
            Step::Restore(slug) => {
                let tenant = self.tenants.get_mut(&slug).ok_or(Answer::NotFound)?;
                if tenant.status != TenantStatus::Deleted {
                    return Err(Answer::Conflict);
                }
                tenant.status = TenantStatus::Suspended;
                Ok(true)
            }
            Step::Purge(slug) => {
                let tenant = self.tenants.get(&slug).ok_or(Answer::NotFound)?;
                if tenant.status != TenantStatus::Deleted {
                    return Err(Answer::Conflict);
                }
                self.tenants.remove(&slug);
                Ok(true)
            }
            Step::Plan(slug, plan) => {
                let tenant = self.living(slug)?;
                Ok(tenant.plan.replace(plan) != Some(plan))
            }
            Step::AddDomain(slug, domain) => {
                let is_taken = self
                    .tenants
                    .iter()
                    .any(|(other, tenant)| *other != slug && tenant.domains.contains(&domain));
                let tenant = self.living(slug)?;
                if is_taken {
                    Err(Answer::Conflict)
                } else {
                    Ok(tenant.domains.insert(domain))
                }
            }
            Step::RemoveDomain(slug, domain) => {
                let tenant = self.tenants.get_mut(&slug).ok_or(Answer::NotFound)?;
                if tenant.domains.remove(&domain) {
                    Ok(true)
                } else {
                    Err(Answer::NotFound)
                }
            }
            Step::Follow(_) => Ok(false),
        }
    }

    fn apply(&mut self, step: Step) -> Answer {
        match self.step(step) {
            Ok(true) => {
                self.number += 1;
                if let Some(tenant) = slug_of(step).and_then(|slug| self.tenants.get_mut(&slug)) {
                    tenant.epoch = self.number;
                }
                Answer::Done
            }
            Ok(false) => Answer::Done,
            Err(answer) => answer,
        }
    }
}

fn slug_of(step: Step) -> Option<u8> {
    match step {
        Step::Create(slug)
        | Step::Suspend(slug)
        | Step::Resume(slug)
        | Step::Delete(slug)
        | Step::Restore(slug)
        | Step::Purge(slug)
        | Step::Plan(slug, _)
        | Step::AddDomain(slug, _)
        | Step::RemoveDomain(slug, _) => Some(slug),
        Step::Follow(_) => None,
    }
}

async fn perform(store: &SqlStore, step: Step, target: &TenantId) -> Result<(), CatalogueError> {
    let domain = |domain: u8| format!("d{domain}.example");
    match step {
        Step::Create(slug) => store.create(NewTenant::new(format!("s{slug}"))).await.map(drop),
        Step::Suspend(_) => store.suspend(target).await.map(drop),
        Step::Resume(_) => store.resume(target).await.map(drop),
        Step::Delete(_) => store.delete(target).await.map(drop),
        Step::Restore(_) => store.restore(target).await.map(drop),
        Step::Purge(_) => store.purge(target).await,
        Step::Plan(_, plan) => {
            let mut patch = TenantPatch::default();
            patch.plan = Some(Some(format!("p{plan}")));
            store.update(target, patch).await.map(drop)
        }
        Step::AddDomain(_, name) => store.add_domain(target, &domain(name), false).await.map(drop),
        Step::RemoveDomain(_, name) => store.remove_domain(target, &domain(name)).await.map(drop),
        Step::Follow(_) => Ok(()),
    }
}

fn answer_of(result: Result<(), CatalogueError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) if error.is_conflict() => Answer::Conflict,
        Err(error) if error.is_not_found() => Answer::NotFound,
        Err(error) => panic!("{error:?}"),
    }
}

async fn agrees(store: &SqlStore, model: &Model) {
    let mut found = BTreeMap::new();
    for slug in model.tenants.keys() {
        let details = store.get_by_slug(&format!("s{slug}")).await.unwrap().unwrap();
        let number = |text: &str| text[1..2].parse::<u8>().unwrap();
        let tenant = ModelTenant {
            id: details.record.id.clone(),
            status: details.record.status,
            plan: details.record.plan.as_deref().map(number),
            domains: details
                .domains
                .iter()
                .map(|domain| number(&domain.domain))
                .collect(),
            epoch: details.record.epoch,
            incarnation: details.record.incarnation,
        };
        found.insert(*slug, tenant);
    }
    assert_eq!(found, model.tenants);
    assert_eq!(store.count().await.unwrap(), found.len() as u64);
}

async fn check(backend: Backend, steps: Vec<Step>) {
    let place = Place::on(backend).await;
    let stores = [place.open().await, place.open().await];
    let mut model = Model {
        number: 1,
        ..Model::default()
    };
    let mut follower = Follower::start(&stores[0]).await;
    for (index, step) in steps.into_iter().enumerate() {
        let nobody = id("nobody");
        let target = slug_of(step)
            .and_then(|slug| model.tenants.get(&slug))
            .map_or(nobody, |tenant| tenant.id.clone());
        let store = &stores[index % 2];
        let answer = answer_of(perform(store, step, &target).await);
        assert_eq!(answer, model.apply(step), "{step:?}");
        assert_eq!(store.head().await.unwrap().number, model.number, "{step:?}");
        if let Step::Follow(limit) = step {
            follower.follow(&stores[0], usize::from(limit) + 1).await;
            assert_eq!(follower.entries, list(&stores[1], 2).await);
        }
    }
    agrees(&stores[0], &model).await;
    follower.follow(&stores[1], 2).await;
    assert_eq!(follower.entries, list(&stores[0], 2).await);
}

/// The servers are shared by all cases, which run in one runtime.
fn agrees_on(backend: Backend, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(check(backend, steps));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn numbers_records_and_followers_agree_with_the_model_on_sqlite() {
    agrees_on(Backend::Sqlite, 24);
}

#[test]
fn numbers_records_and_followers_agree_with_the_model_on_postgres() {
    agrees_on(Backend::Postgres, 12);
}

#[test]
fn numbers_records_and_followers_agree_with_the_model_on_mariadb() {
    agrees_on(Backend::MariaDb, 12);
}
