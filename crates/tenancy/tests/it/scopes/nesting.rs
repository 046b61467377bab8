//! Scopes outside of requests: nested, left in every way, side by side.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    scope::{self, carry, central, current_tenant, on_exit, run},
};

use super::{Notes, caught, enter, here, subdomains, sweep, two_tenants, yields};

#[tokio::test]
async fn the_innermost_scope_counts_and_the_outer_one_comes_back() {
    let (acme, globex) = two_tenants().await;
    assert_eq!(here(), "nobody");
    run(&acme, async {
        assert_eq!(here(), "acme");
        run(&globex, async {
            yields(1).await;
            assert_eq!(here(), "globex");
            central(async {
                yields(1).await;
                assert_eq!(here(), "central");
                assert_eq!(current_tenant(), None);
            })
            .await;
            assert_eq!(here(), "globex");
        })
        .await;
        assert_eq!(current_tenant(), Some(acme.clone()));
    })
    .await;
    assert_eq!(here(), "nobody");
}

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Error,
    Panic,
}

async fn end_by(end: End) -> Result<(), std::num::ParseIntError> {
    yields(2).await;
    let text = match end {
        End::Success => "1",
        End::Error => "one",
        End::Panic => panic!("as told"),
    };
    text.parse::<u8>()?;
    Ok(())
}

#[tokio::test]
async fn success_error_and_panic_put_the_outer_scope_back_after_clean_up() {
    let (acme, globex) = two_tenants().await;
    for end in [End::Success, End::Error, End::Panic] {
        let notes = Notes::default();
        let inner = async {
            let of_inner = notes.clone();
            on_exit(move || of_inner.note("inner")).unwrap();
            end_by(end).await
        };
        let outer = run(&acme, async {
            let of_outer = notes.clone();
            on_exit(move || of_outer.note("outer")).unwrap();
            let ended = caught(run(&globex, inner)).await;
            notes.note("between");
            ended
        });
        let ended = outer.await;
        match end {
            End::Success => assert_eq!(ended, Ok(Ok(()))),
            End::Error => assert!(matches!(ended, Ok(Err(_)))),
            End::Panic => assert_eq!(ended, Err("as told".to_owned())),
        }
        assert_eq!(
            notes.all(),
            ["inner for globex", "between for acme", "outer for acme"],
            "{end:?}"
        );
        assert_eq!(here(), "nobody", "{end:?}");
    }
}

/// What was registered and what was cleaned up, each with its scope.
#[derive(Clone, Default)]
struct Ledger {
    registered: Arc<Mutex<Vec<(String, u8)>>>,
    cleaned: Arc<Mutex<Vec<(String, u8)>>>,
}

impl Ledger {
    fn register(&self, number: u8) {
        self.registered.lock().unwrap().push((here(), number));
        let cleaned = Arc::clone(&self.cleaned);
        on_exit(move || cleaned.lock().unwrap().push((here(), number))).unwrap();
    }

    /// What one scope has registered, last first, is what was cleaned up in it.
    fn assert_balanced(&self, polls: usize) {
        let (registered, cleaned) = (self.registered.lock().unwrap(), self.cleaned.lock().unwrap());
        for scope in ["acme", "globex", "central"] {
            let of_scope = |all: &[(String, u8)]| -> Vec<u8> {
                let own = all.iter().filter(|(of, _)| of == scope);
                own.map(|(_, number)| *number).collect()
            };
            let mut expected = of_scope(&registered);
            expected.reverse();
            assert_eq!(of_scope(&cleaned), expected, "{scope} after {polls} polls");
        }
        assert_eq!(registered.len(), cleaned.len(), "after {polls} polls");
    }
}

async fn work_in_three_scopes(acme: &Tenant, globex: &Tenant, ledger: &Ledger) {
    run(acme, async {
        ledger.register(1);
        yields(1).await;
        run(globex, async {
            ledger.register(2);
            yields(1).await;
            ledger.register(3);
            yields(1).await;
        })
        .await;
        ledger.register(4);
        yields(1).await;
        central(async {
            ledger.register(5);
            yields(2).await;
            ledger.register(6);
        })
        .await;
        yields(1).await;
        ledger.register(7);
    })
    .await;
}

#[tokio::test]
async fn dropped_at_any_await_each_scope_is_cleaned_up_once_in_reverse_and_for_its_own_tenant() {
    let (acme, globex) = two_tenants().await;
    let ledgers = RefCell::new(Vec::new());
    let make = || {
        let ledger = Ledger::default();
        ledgers.borrow_mut().push(ledger.clone());
        let (acme, globex) = (acme.clone(), globex.clone());
        async move { work_in_three_scopes(&acme, &globex, &ledger).await }
    };
    for outer in ["nobody", "globex", "central"] {
        let check = |polls: usize| {
            ledgers.borrow().last().unwrap().assert_balanced(polls);
            assert_eq!(here(), outer, "after {polls} polls");
        };
        ledgers.borrow_mut().clear();
        let cancelled = match outer {
            "globex" => run(&globex, sweep(make, check)).await,
            "central" => central(sweep(make, check)).await,
            _ => sweep(make, check).await,
        };
        assert_eq!(cancelled, 8, "one before the first poll, one at each await");
        let finished = ledgers.borrow().last().unwrap().cleaned.lock().unwrap().len();
        assert_eq!(finished, 7);
    }
}

/// Fails when the scope is ever another one than that of `tenant`.
async fn watch(tenant: &Tenant, rounds: usize) {
    for round in 0..rounds {
        assert_eq!(current_tenant().as_ref(), Some(tenant));
        if round % 5 == 0 {
            central(async {
                yields(fastrand::usize(..3)).await;
                assert_eq!(here(), "central");
            })
            .await;
        }
        yields(fastrand::usize(..4)).await;
    }
    assert_eq!(current_tenant().as_ref(), Some(tenant));
}

#[tokio::test]
async fn two_tenants_on_one_task_never_see_each_other() {
    let (acme, globex) = two_tenants().await;
    let both = async {
        tokio::join!(
            run(&acme, watch(&acme, 50)),
            run(&globex, watch(&globex, 70)),
            async {
                for _ in 0..60 {
                    assert_eq!(here(), "nobody");
                    yields(1).await;
                }
            }
        )
    };
    both.await;
    assert_eq!(here(), "nobody");
}

async fn fifty_tenants() -> Vec<Tenant> {
    let names: Vec<String> = (0..50).map(|n| format!("tenant-{n}")).collect();
    let tenancy = Tenancy::new(subdomains(), MemoryStore::of(&names).unwrap());
    let mut tenants = Vec::new();
    for name in &names {
        tenants.push(enter(&tenancy, name).await);
    }
    tenants
}

#[tokio::test]
async fn fifty_tenants_on_one_task_never_see_each_other() {
    let tenants = fifty_tenants().await;
    let mut running: FuturesUnordered<_> = tenants
        .iter()
        .map(|tenant| run(tenant, watch(tenant, 20)))
        .collect();
    let mut done = 0;
    while running.next().await.is_some() {
        assert_eq!(here(), "nobody");
        done += 1;
    }
    assert_eq!(done, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_move_between_threads_and_are_aborted_keep_their_tenant() {
    let tenants = fifty_tenants().await;
    let cleaned = Arc::new(Mutex::new(0_usize));
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let tenant = tenants[number % tenants.len()].clone();
            let cleaned = Arc::clone(&cleaned);
            let task = tokio::spawn(async move {
                run(&tenant, async {
                    let expected = tenant.clone();
                    on_exit(move || {
                        assert_eq!(current_tenant(), Some(expected));
                        *cleaned.lock().unwrap() += 1;
                    })
                    .unwrap();
                    let inner = tenant.clone();
                    let spawned = scope::spawn(async move { watch(&inner, 20).await });
                    watch(&tenant, 40).await;
                    spawned.await.unwrap();
                })
                .await;
                assert_eq!(here(), "nobody");
            });
            (number, task)
        })
        .collect();
    let mut never_began = 0;
    for (number, task) in tasks {
        if number % 3 == 0 {
            task.abort();
        }
        match task.await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                never_began += 1;
            }
        }
    }
    let cleaned = *cleaned.lock().unwrap();
    assert!(
        (400 - never_began..=400).contains(&cleaned),
        "{cleaned} cleaned up, {never_began} aborted"
    );
}

#[tokio::test]
async fn spawn_and_carry_take_the_scope_along_and_a_plain_spawn_has_none() {
    let (acme, _) = two_tenants().await;
    let seen = run(&acme, async {
        scope::put(7_u8).unwrap();
        let spawned = scope::spawn(async { (here(), scope::get::<u8>()) });
        let carried = tokio::spawn(carry(async { here() }));
        let plain = tokio::spawn(async { here() });
        let (spawned, values) = spawned.await.unwrap();
        assert_eq!(
            values, None,
            "what the request has put away ends with the request"
        );
        [spawned, carried.await.unwrap(), plain.await.unwrap()]
    })
    .await;
    assert_eq!(seen, ["acme", "acme", "nobody"]);
    assert_eq!(central(carry(async { here() })).await, "central");
    assert_eq!(carry(async { here() }).await, "nobody");
}

#[tokio::test]
async fn a_carried_future_keeps_the_scope_in_which_it_was_carried() {
    let (acme, globex) = two_tenants().await;
    let carried = run(&acme, async { Some(carry(async { here() })) }).await;
    assert_eq!(run(&globex, carried.unwrap()).await, "acme");
    let of_nobody = carry(async { here() });
    assert_eq!(
        run(&globex, of_nobody).await,
        "globex",
        "there was nothing to carry"
    );
}

#[tokio::test]
async fn a_future_that_is_dropped_unpolled_is_dropped_for_its_tenant() {
    let (acme, _) = two_tenants().await;
    let notes = Notes::default();
    let held = notes.on_drop("dropped");
    drop(run(&acme, async move { drop(held) }));
    assert_eq!(notes.all(), ["dropped for acme"]);
}

thread_local! {
    static LEFT_BEHIND: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

#[tokio::test]
async fn clean_up_runs_on_a_thread_whose_locals_are_gone_already() {
    let (acme, _) = two_tenants().await;
    let cleaned = Arc::new(Mutex::new(0));
    let of_thread = Arc::clone(&cleaned);
    let thread = std::thread::spawn(move || {
        // What a thread used first is dropped last: the future outlives the place of the current scope.
        LEFT_BEHIND.with_borrow_mut(|left| *left = None);
        let mut future = Box::pin(async move {
            run(&acme, async {
                for _ in 0..2 {
                    let cleaned = Arc::clone(&of_thread);
                    on_exit(move || *cleaned.lock().unwrap() += 1).unwrap();
                }
                std::future::pending::<()>().await;
            })
            .await;
        });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        LEFT_BEHIND.with_borrow_mut(|left| *left = Some(future));
    });
    thread.join().unwrap();
    assert_eq!(*cleaned.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_carried_callback_runs_in_the_scope_in_which_it_was_carried_wherever_it_is_called() {
    let (acme, globex) = two_tenants().await;
    let callback = || scope::carry_callback(|before: String| async move { (before, here()) });
    let of_acme = run(&acme, async { Some(callback()) }).await.unwrap();
    let called = tokio::spawn(async { of_acme(here()).await });
    assert_eq!(called.await.unwrap(), ("nobody".into(), "acme".into()));

    let synchronous = run(&acme, async {
        Some(scope::carry_callback(|()| std::future::ready(here())))
    })
    .await;
    let called = run(&globex, async { synchronous.unwrap()(()).await }).await;
    assert_eq!(called, "acme", "also what runs before the future is polled");

    let of_nobody = callback();
    assert_eq!(of_nobody(String::new()).await.1, "nobody");
}
