use std::sync::Arc;

use tenancy::domains::{Challenge, CheckAnswer, DomainCheck};
use tokio::sync::Barrier;

use super::{Process, place};

/// Proves only when all have come to it, so that all of them write at once.
struct Together(Barrier);

impl DomainCheck for Together {
    async fn check(&self, _: &Challenge) -> CheckAnswer {
        self.0.wait().await;
        CheckAnswer::Proven
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_tenants_that_prove_one_domain_at_once_one_gets_it() {
    let (place, clock) = place().await;
    let processes = [
        Process::start(&place, &clock).await,
        Process::start(&place, &clock).await,
    ];
    const ROUNDS: usize = 20;
    for round in 0..ROUNDS {
        let domain = format!("d{round}.test");
        let check = Arc::new(Together(Barrier::new(2)));
        let tries = processes
            .clone()
            .into_iter()
            .zip(["acme", "globex"])
            .map(|(process, tenant)| {
                let (domain, check) = (domain.clone(), Arc::clone(&check));
                tokio::spawn(async move {
                    process.claim(tenant, &domain).await.unwrap();
                    (tenant, process.verify(tenant, &domain, &check).await)
                })
            });
        let mut winners = Vec::new();
        for outcome in tries.collect::<Vec<_>>() {
            match outcome.await.unwrap() {
                (tenant, Ok(verification)) => {
                    assert!(verification.is_verified());
                    winners.push(tenant);
                }
                (_, Err(error)) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1);
        for process in &processes {
            let held = process.store.get_by_domain(&domain).await.unwrap().unwrap();
            assert_eq!(held.record.id, winners[0]);
            if round + 1 == ROUNDS {
                process.until(&domain, Ok(winners[0])).await;
            }
        }
    }
    let kinds = processes[0].kinds_of_changes().await;
    let verified = kinds.iter().filter(|kind| *kind == "verify_domain").count();
    assert_eq!(verified, ROUNDS, "one change for each");
}
