use std::{
    convert::Infallible,
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use tenancy_core::{Clock, StoreError, TenantId, TenantStatus};
use tokio::time::{Instant, sleep};

use super::*;
use crate::{MemoryStore, Tenancy, resolve::Subdomain, scope::current_tenant};

const LEASE: Duration = Duration::from_secs(60);

/// The runtime's time, which tests stop and which then jumps to whatever is due next.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl RuntimeClock {
    fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_time(&self) -> Duration {
        self.0.elapsed()
    }
}

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

async fn three_tenants() -> (MemoryStore, Tenancy) {
    let store = MemoryStore::of(["acme", "globex", "initech"]).unwrap();
    let tenancy = Tenancy::builder(Subdomain::of("example.com").unwrap(), store.clone())
        .clock(RuntimeClock::new())
        .build()
        .unwrap();
    tenancy.ready().await;
    (store, tenancy)
}

fn locks() -> MemoryLocks {
    MemoryLocks::with_clock(Arc::new(RuntimeClock::new()))
}

fn job(locks: impl LockStore) -> TenantJob {
    TenantJob::new("invoices", locks).lease(LEASE)
}

/// What a job saw.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort();
        lines
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_for_each_served_tenant_in_its_scope_whatever_becomes_of_the_others() {
    let (store, tenancy) = three_tenants().await;
    store
        .set_status(&id("initech"), TenantStatus::Suspended)
        .await
        .unwrap();
    let log = Log::default();
    let logging = log.clone();
    let outcomes = job(locks())
        .run(tenancy.tenants(), move |tenant| {
            let log = logging.clone();
            async move {
                assert_eq!(current_tenant().as_ref(), Some(&tenant));
                log.add(tenant.to_string());
                if *tenant.id() == "acme" {
                    return Err(io::Error::other("printer on fire"));
                }
                Ok(())
            }
        })
        .await;
    assert_eq!(log.sorted(), ["acme", "globex"]);
    let [acme, globex] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    let error = acme.result.as_ref().unwrap_err();
    assert!(error.is_failed() && !error.is_held_elsewhere());
    assert_eq!(
        std::error::Error::source(error).unwrap().to_string(),
        "printer on fire"
    );
    assert!(*globex.tenant.id() == "globex" && globex.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panics_frees_its_lock() {
    let (_store, tenancy) = three_tenants().await;
    let job = job(locks());
    let panics = |_: Tenant| async move {
        sleep(Duration::from_secs(1)).await;
        if true {
            panic!("on purpose");
        }
        Ok::<_, Infallible>(())
    };
    let outcomes = job.run(tenancy.tenants(), panics).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.result.as_ref().is_err_and(JobError::is_panicked))
    );
    tokio::task::yield_now().await;
    let outcomes = job
        .run(tenancy.tenants(), |_| async { Ok::<_, Infallible>(()) })
        .await;
    assert!(
        outcomes.iter().all(|outcome| outcome.result.is_ok()),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_several_processes_one_runs_it_for_a_tenant_however_long_it_takes() {
    let (_store, tenancy) = three_tenants().await;
    let (locks, log) = (locks(), Log::default());
    let processes = (0..5).map(|_| {
        let (job, tenants, log) = (job(locks.clone()), tenancy.tenants(), log.clone());
        tokio::spawn(async move {
            job.run(tenants, move |tenant| {
                let log = log.clone();
                async move {
                    log.add(tenant.to_string());
                    sleep(LEASE * 10).await;
                    Ok::<_, Infallible>(())
                }
            })
            .await
        })
    });
    let processes: Vec<_> = processes.collect();
    sleep(LEASE * 5).await;
    let latecomer = job(locks.clone());
    for outcome in latecomer
        .run(tenancy.tenants(), |_| async { Ok::<_, Infallible>(()) })
        .await
    {
        assert!(outcome.result.unwrap_err().is_held_elsewhere());
    }
    let mut ran = 0;
    for process in processes {
        for outcome in process.await.unwrap() {
            match outcome.result {
                Ok(()) => ran += 1,
                Err(error) => assert!(error.is_held_elsewhere(), "{error}"),
            }
        }
    }
    assert_eq!(ran, 3);
    assert_eq!(log.sorted(), ["acme", "globex", "initech"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_one_tenant_blocks_no_other_and_is_taken_over_when_its_process_died() {
    let (_store, tenancy) = three_tenants().await;
    let locks = locks();
    let acme = tenancy.enter(&id("acme")).await.unwrap();
    let name = lock_name("acme", acme.incarnation(), "invoices");
    assert!(
        LockStore::try_acquire(&locks, &name, "a process that died", LEASE)
            .await
            .unwrap()
    );
    let run = || async {
        let outcomes = job(locks.clone())
            .run(tenancy.tenants(), |_| async { Ok::<_, Infallible>(()) })
            .await;
        let ran = outcomes.into_iter().filter(|outcome| outcome.result.is_ok());
        ran.map(|outcome| outcome.tenant.id().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(run().await, ["globex", "initech"]);
    sleep(LEASE + Duration::from_millis(1)).await;
    assert_eq!(run().await, ["acme", "globex", "initech"]);
}

/// Says of a lease that it can be had, and then what it was told to say.
struct Faulty {
    renewal: fn() -> Result<bool, StoreError>,
    acquired_at: Mutex<Option<Instant>>,
}

impl LockStore for Faulty {
    async fn try_acquire(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreError> {
        *self.acquired_at.lock().unwrap() = Some(Instant::now());
        Ok(true)
    }

    async fn renew(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreError> {
        (self.renewal)()
    }

    async fn release(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_before_another_process_can_have_its_lease() {
    struct NotesItsEnd(Arc<Mutex<Option<Instant>>>);
    impl Drop for NotesItsEnd {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = Some(Instant::now());
        }
    }

    let (_store, tenancy) = three_tenants().await;
    let answers: [fn() -> Result<bool, StoreError>; 2] =
        [|| Ok(false), || Err(StoreError::unavailable("away"))];
    for renewal in answers {
        let began_at = Instant::now();
        let ended_at = Arc::new(Mutex::new(None));
        let faulty = Faulty {
            renewal,
            acquired_at: Mutex::default(),
        };
        let ends = Arc::clone(&ended_at);
        let acme = tenancy.enter(&id("acme")).await.unwrap();
        let outcomes = job(faulty)
            .run([acme], move |_| {
                let ended = NotesItsEnd(Arc::clone(&ends));
                async move {
                    let _ended = ended;
                    std::future::pending::<Result<(), Infallible>>().await
                }
            })
            .await;
        assert!(outcomes[0].result.as_ref().is_err_and(JobError::is_lease_lost));
        let ended_at = ended_at.lock().unwrap().unwrap();
        assert!(ended_at - began_at <= LEASE, "{:?}", ended_at - began_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_not_tell_lets_nothing_run() {
    struct Away;
    impl LockStore for Away {
        async fn try_acquire(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreError> {
            Err(StoreError::unavailable("away"))
        }
        async fn renew(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreError> {
            Err(StoreError::unavailable("away"))
        }
        async fn release(&self, _: &str, _: &str) -> Result<(), StoreError> {
            std::future::pending().await
        }
    }
    let (_store, tenancy) = three_tenants().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&ran);
    let outcomes = job(Away)
        .run(tenancy.tenants(), move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(()) }
        })
        .await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.result.as_ref().is_err_and(JobError::is_lock_unavailable))
    );
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_tenant_that_is_suspended_meanwhile_ends() {
    let (store, tenancy) = three_tenants().await;
    let log = Log::default();
    let (job, tenants, logging) = (job(locks()), tenancy.tenants(), log.clone());
    let running = tokio::spawn(async move {
        job.run(tenants, move |tenant| {
            let log = logging.clone();
            async move {
                sleep(Duration::from_secs(10)).await;
                log.add(tenant.to_string());
                Ok::<_, Infallible>(())
            }
        })
        .await
    });
    sleep(Duration::from_secs(5)).await;
    store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    let outcomes = running.await.unwrap();
    assert!(
        outcomes[0].result.as_ref().is_err_and(JobError::is_not_served),
        "{outcomes:?}"
    );
    assert_eq!(log.sorted(), ["globex", "initech"]);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_strike_together_run_it_once_for_each_period_and_again_after_a_failure() {
    let (_store, tenancy) = three_tenants().await;
    let (locks, log) = (locks(), Log::default());
    let hour = Duration::from_secs(3600);
    let run = |fails: bool| {
        let job = job(locks.clone()).at_most_every(hour);
        let (tenants, log) = (tenancy.tenants(), log.clone());
        async move {
            job.run(tenants, move |tenant| {
                let log = log.clone();
                async move {
                    log.add(tenant.to_string());
                    if fails {
                        Err(io::Error::other("no"))
                    } else {
                        Ok(())
                    }
                }
            })
            .await
        }
    };
    run(true).await;
    assert_eq!(log.len(), 3);
    run(false).await;
    assert_eq!(log.len(), 6, "what failed may be tried again at once");
    for outcome in run(false).await {
        assert!(outcome.result.unwrap_err().is_held_elsewhere());
    }
    sleep(hour).await;
    run(false).await;
    assert_eq!(log.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_frees_its_locks() {
    let (_store, tenancy) = three_tenants().await;
    let job = job(locks());
    let forever = |_: Tenant| std::future::pending::<Result<(), Infallible>>();
    let dropped = tokio::time::timeout(Duration::from_secs(1), job.run(tenancy.tenants(), forever));
    assert!(dropped.await.is_err());
    tokio::task::yield_now().await;
    let outcomes = job
        .run(tenancy.tenants(), |_| async { Ok::<_, Infallible>(()) })
        .await;
    assert!(
        outcomes.iter().all(|outcome| outcome.result.is_ok()),
        "{outcomes:?}"
    );
}

proptest! {
    #[test]
    fn different_tenants_and_jobs_never_have_one_lock(
        a in ("[a-z0-9_-]{1,4}", 0_u64..30, "[a-z0-9:_\\-]{0,6}"),
        b in ("[a-z0-9_-]{1,4}", 0_u64..30, "[a-z0-9:_\\-]{0,6}"),
    ) {
        let equal = lock_name(&a.0, a.1, &a.2) == lock_name(&b.0, b.1, &b.2);
        prop_assert_eq!(equal, a == b);
    }
}
