use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tenancy_core::{TenantId, TenantRecord};
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{scope::current_tenant, tenant::tests::tenant};

const TEXT: ResourceKey<String> = ResourceKey::new("text");

fn record(epoch: u64) -> TenantRecord {
    let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
    record.epoch = epoch;
    record
}

fn change(tenant: &Tenant, epoch: u64) {
    assert!(tenant.block().update(record(epoch)));
    tenant.block().drop_outdated_resources();
}

/// Counts how often it made something.
#[derive(Clone, Default)]
struct Maker(Arc<AtomicUsize>);

impl Maker {
    fn made(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn text(&self, tenant: &Tenant) -> Result<Arc<String>, ResourceError> {
        let maker = self.clone();
        tenant
            .resource(TEXT, |tenant| async move {
                maker.0.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(format!("{tenant} {}", tenant.epoch()))
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_ask_first_it_is_made_once() {
    for _ in 0..100 {
        let (acme, maker) = (tenant("acme"), Maker::default());
        let asking = (0..16).map(|_| {
            let (acme, maker) = (acme.clone(), maker.clone());
            tokio::spawn(async move { maker.text(&acme).await.unwrap() })
        });
        let texts = join_all(asking).await;
        let first = texts[0].as_ref().unwrap();
        assert!(
            texts
                .iter()
                .all(|text| Arc::ptr_eq(text.as_ref().unwrap(), first))
        );
        assert_eq!(maker.made(), 1);
    }
}

#[tokio::test]
async fn who_asks_again_gets_it_without_waiting() {
    let (acme, maker) = (tenant("acme"), Maker::default());
    let first = maker.text(&acme).await.unwrap();
    let again = maker.text(&acme).now_or_never().unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &again));
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_wait_and_not_kept() {
    let acme = tenant("acme");
    let (gate, failing) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let fail = || {
        let (gate, failing) = (Arc::clone(&gate), Arc::clone(&failing));
        acme.resource(TEXT, move |_| async move {
            failing.fetch_add(1, Ordering::SeqCst);
            let _ = gate.acquire().await;
            Err::<String, _>(io::Error::other("no route to host"))
        })
    };
    let waiting = join_all((0..5).map(|_| fail()));
    let open = async {
        tokio::task::yield_now().await;
        gate.add_permits(100);
    };
    let (outcomes, ()) = tokio::join!(waiting, open);
    assert_eq!(failing.load(Ordering::SeqCst), 1);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.is_failed() && !error.is_panicked());
        assert_eq!((error.tenant().as_str(), error.name()), ("acme", "text"));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "no route to host");
        assert!(!error.to_string().contains("no route"), "the cause is the source");
    }
    assert_eq!(*Maker::default().text(&acme).await.unwrap(), "acme 0");
}

#[tokio::test]
async fn a_panic_is_told_and_not_kept() {
    let acme = tenant("acme");
    let make = |panics: bool| {
        acme.resource(TEXT, move |_| async move {
            assert!(!panics, "on purpose");
            Ok::<_, Infallible>("fine".to_owned())
        })
    };
    let error = make(true).await.unwrap_err();
    assert!(
        error.is_panicked() && error.to_string().contains("on purpose"),
        "{error}"
    );
    assert_eq!(*make(false).await.unwrap(), "fine");
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_told_too() {
    let acme = tenant("acme");
    let panics = |_: Tenant| -> std::future::Ready<Result<String, Infallible>> { panic!("on purpose") };
    assert!(acme.resource(TEXT, panics).await.unwrap_err().is_panicked());
}

#[tokio::test]
async fn a_caller_that_gives_up_neither_stops_nor_spoils_it() {
    let acme = tenant("acme");
    let go_on = Arc::new(Notify::new());
    let waits = {
        let go_on = Arc::clone(&go_on);
        acme.resource(TEXT, move |_| async move {
            go_on.notified().await;
            Ok::<_, Infallible>("made by who has left".to_owned())
        })
    };
    assert!(waits.now_or_never().is_none(), "and is dropped");
    let maker = Maker::default();
    let (text, ()) = tokio::join!(maker.text(&acme), async { go_on.notify_one() });
    assert_eq!(*text.unwrap(), "made by who has left");
    assert_eq!(maker.made(), 0);
}

#[tokio::test]
async fn a_change_of_the_record_drops_it() {
    let (acme, maker) = (tenant("acme"), Maker::default());
    let before = maker.text(&acme).await.unwrap();
    let dropped = Arc::downgrade(&before);
    drop(before);
    change(&acme, 7);
    assert!(dropped.upgrade().is_none(), "at once");
    assert_eq!(*maker.text(&acme).await.unwrap(), "acme 7");
    assert_eq!(acme.home().resources.count(), 1);
}

#[tokio::test]
async fn a_purge_drops_it() {
    let (acme, maker) = (tenant("acme"), Maker::default());
    let dropped = Arc::downgrade(&maker.text(&acme).await.unwrap());
    acme.block().retire();
    acme.block().drop_outdated_resources();
    assert!(dropped.upgrade().is_none());
    assert_eq!(acme.home().resources.count(), 0);
}

#[tokio::test]
async fn what_was_begun_before_a_change_is_not_kept_after_it() {
    let acme = tenant("acme");
    let go_on = Arc::new(Notify::new());
    let old = {
        let go_on = Arc::clone(&go_on);
        acme.resource(TEXT, move |tenant| async move {
            let made_of = tenant.epoch();
            go_on.notified().await;
            Ok::<_, Infallible>(format!("made of {made_of}"))
        })
    };
    let mut old = Box::pin(old);
    assert!((&mut old).now_or_never().is_none());
    tokio::task::yield_now().await;
    change(&acme, 3);
    let maker = Maker::default();
    let anew = tokio::time::timeout(Duration::from_secs(60), maker.text(&acme)).await;
    let anew = anew.expect("it does not wait for the old one");
    assert_eq!(*anew.unwrap(), "acme 3");
    go_on.notify_one();
    assert_eq!(*old.await.unwrap(), "made of 0", "who asked before the change");
    assert_eq!(*maker.text(&acme).await.unwrap(), "acme 3");
    assert_eq!(acme.home().resources.count(), 1);
}

#[tokio::test]
async fn keys_are_told_apart_by_name_and_type_and_tenants_by_themselves() {
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let number = acme.resource(ResourceKey::<u32>::new("text"), |_| async {
        Ok::<_, Infallible>(7)
    });
    assert_eq!(*number.await.unwrap(), 7);
    let maker = Maker::default();
    assert_eq!(*maker.text(&acme).await.unwrap(), "acme 0");
    assert_eq!(*maker.text(&globex).await.unwrap(), "globex 0");
    let other = acme.resource(ResourceKey::<String>::new("other"), |_| async {
        Ok::<_, Infallible>("other".to_owned())
    });
    assert_eq!(*other.await.unwrap(), "other");
    assert_eq!(*maker.text(&acme).await.unwrap(), "acme 0");
}

#[tokio::test]
async fn no_more_are_kept_than_the_limit_and_the_newest_are() {
    let acme = tenant("acme");
    let maker = Maker::default();
    let names: Vec<&'static str> = (0..300)
        .map(|n| &*Box::leak(n.to_string().into_boxed_str()))
        .collect();
    for name in &names {
        let key = ResourceKey::<String>::new(name);
        acme.resource(key, |_| async { Ok::<_, Infallible>(String::new()) })
            .await
            .unwrap();
    }
    assert_eq!(acme.home().resources.count(), 100, "what the tests' home keeps");
    let made = |name| {
        let counter = maker.0.clone();
        acme.resource(ResourceKey::<String>::new(name), |_| async move {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(String::new())
        })
    };
    made(names[299]).await.unwrap();
    assert_eq!(maker.made(), 0, "the newest is kept");
    made(names[0]).await.unwrap();
    assert_eq!(maker.made(), 1, "the oldest was dropped");
}

#[tokio::test]
async fn what_a_forgotten_block_left_behind_goes_with_the_next_object() {
    let acme = tenant("acme");
    let home = Arc::clone(acme.home());
    let globex = Tenant::new(Arc::new(crate::tenant::ControlBlock::new(
        TenantRecord::new(TenantId::new("globex").unwrap()),
        Arc::clone(&home),
    )));
    let maker = Maker::default();
    let left = Arc::downgrade(&maker.text(&acme).await.unwrap());
    drop(acme);
    maker.text(&globex).await.unwrap();
    assert!(left.upgrade().is_none());
    assert_eq!(home.resources.count(), 1);
}

#[tokio::test]
async fn it_is_made_in_the_scope_of_the_tenant() {
    let acme = tenant("acme");
    let scope = acme.resource(ResourceKey::new("scope"), |_| async {
        Ok::<_, Infallible>(current_tenant())
    });
    assert_eq!(*scope.await.unwrap(), Some(acme.clone()));
}

#[tokio::test]
async fn an_object_that_panics_when_it_is_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let acme = tenant("acme");
    let bomb = || acme.resource(ResourceKey::new("bomb"), |_| async { Ok::<_, Infallible>(Bomb) });
    drop(bomb().await.unwrap());
    change(&acme, 1);
    let maker = Maker::default();
    assert_eq!(*maker.text(&acme).await.unwrap(), "acme 1");
}

/// Changes and uses at random, in parallel: nobody is ever given what was made of an older record than the one that
/// was in force when they asked.
#[tokio::test]
async fn nobody_is_given_anything_while_a_change_is_half_done() {
    let (acme, maker) = (tenant("acme"), Maker::default());
    maker.text(&acme).await.unwrap();
    let changing = acme.block().begin_change();
    let mut asking = std::pin::pin!(maker.text(&acme));
    for _ in 0..3 {
        assert!(asking.as_mut().now_or_never().is_none());
    }
    drop(changing);
    asking.await.unwrap();
    assert_eq!(maker.made(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_given_what_was_made_before_a_change_that_they_have_seen() {
    let (acme, maker) = (tenant("acme"), Maker::default());
    let asking = (0..4).map(|_| {
        let (acme, maker) = (acme.clone(), maker.clone());
        tokio::spawn(async move {
            for _ in 0..500 {
                let seen = acme.epoch();
                let text = maker.text(&acme).await.unwrap();
                let made_of: u64 = text.rsplit(' ').next().unwrap().parse().unwrap();
                assert!(made_of >= seen, "made of {made_of}, and {seen} was known");
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    for epoch in 1..500 {
        change(&acme, epoch);
        tokio::task::yield_now().await;
    }
    for outcome in join_all(asking).await {
        outcome.unwrap();
    }
}
