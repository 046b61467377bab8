//! The same for many tenants, some at a time.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tenancy::{
    MemoryStore, Tenancy, Tenant,
    scope::{current_tenant, on_exit, run_for_many},
};

use super::{Notes, dropped_after, enter, here, subdomains, yields};

async fn tenants(count: usize) -> Vec<Tenant> {
    let names: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    let tenancy = Tenancy::new(subdomains(), MemoryStore::of(&names).unwrap());
    let mut tenants = Vec::new();
    for name in &names {
        tenants.push(enter(&tenancy, name).await);
    }
    tenants
}

#[tokio::test]
async fn outcomes_come_in_the_order_of_the_tenants_and_each_ran_in_its_scope() {
    let tenants = tenants(20).await;
    for concurrency in [0, 1, 3, 20, 1000] {
        let outcomes = run_for_many(tenants.clone(), concurrency, async |tenant: Tenant| {
            // The first take longest.
            yields(40 - tenant.id().as_str().len() * 10).await;
            assert_eq!(current_tenant(), Some(tenant.clone()));
            tenant.id().clone()
        })
        .await;
        let order: Vec<_> = outcomes.iter().map(|outcome| outcome.tenant.clone()).collect();
        assert_eq!(order, tenants);
        for outcome in outcomes {
            assert_eq!(outcome.result.unwrap(), *outcome.tenant.id());
        }
        assert_eq!(here(), "nobody");
    }
}

#[tokio::test]
async fn no_more_run_at_once_than_was_asked_for() {
    let tenants = tenants(30).await;
    for (asked, most) in [(0, 1), (1, 1), (7, 7), (1000, 30)] {
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (of_run, of_peak) = (Arc::clone(&running), Arc::clone(&peak));
        run_for_many(tenants.clone(), asked, move |_| {
            let (running, peak) = (Arc::clone(&of_run), Arc::clone(&of_peak));
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                peak.fetch_max(now, Ordering::SeqCst);
                yields(fastrand::usize(1..5)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        assert_eq!(peak.load(Ordering::SeqCst), most, "asked for {asked}");
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_panic_is_that_tenants_outcome_and_nobody_elses() {
    let tenants = tenants(5).await;
    let cleaned = Arc::new(Mutex::new(Vec::new()));
    let of_run = Arc::clone(&cleaned);
    let outcomes = run_for_many(tenants, 2, move |tenant| {
        let cleaned = Arc::clone(&of_run);
        // Panics before there is a future, too.
        assert_ne!(*tenant.id(), "t1", "in the call");
        async move {
            on_exit(move || cleaned.lock().unwrap().push(here())).unwrap();
            yields(1).await;
            assert_ne!(*tenant.id(), "t3", "in the future");
        }
    })
    .await;
    let panicked: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.result.as_ref().err().map(ToString::to_string))
        .collect();
    assert!(
        panicked[1].as_ref().unwrap().contains("in the call"),
        "{panicked:?}"
    );
    assert!(
        panicked[3].as_ref().unwrap().contains("in the future"),
        "{panicked:?}"
    );
    assert!([0, 2, 4].iter().all(|at| panicked[*at].is_none()), "{panicked:?}");
    let mut cleaned = cleaned.lock().unwrap().clone();
    cleaned.sort();
    assert_eq!(cleaned, ["t0", "t2", "t3", "t4"]);
}

#[tokio::test]
async fn progress_is_told_after_each_tenant_failed_ones_too() {
    let tenants = tenants(6).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let of_progress = Arc::clone(&told);
    run_for_many(tenants, 3, async |tenant: Tenant| {
        assert_ne!(*tenant.id(), "t2", "as told");
    })
    .on_progress(move |done, all| of_progress.lock().unwrap().push((done, all)))
    .await;
    assert_eq!(
        *told.lock().unwrap(),
        [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    );
    assert!(run_for_many([], 3, async |_| ()).await.is_empty());
}

#[tokio::test]
async fn dropping_it_drops_what_runs_and_begins_nothing_more() {
    let tenants = tenants(5).await;
    let notes = Notes::default();
    let of_run = notes.clone();
    let all = run_for_many(tenants, 2, move |_| {
        let notes = of_run.clone();
        async move {
            let _held = notes.on_drop("dropped");
            let at_end = notes.clone();
            on_exit(move || at_end.note("cleaned up")).unwrap();
            std::future::pending::<()>().await;
        }
    });
    assert!(dropped_after(3, all.into_future()).await.is_none());
    let mut notes = notes.all();
    notes.sort();
    let expected = [
        "cleaned up for t0",
        "cleaned up for t1",
        "dropped for t0",
        "dropped for t1",
    ];
    assert_eq!(notes, expected);
    assert_eq!(here(), "nobody");
}
