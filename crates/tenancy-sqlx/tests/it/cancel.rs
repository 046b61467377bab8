use std::{
    future::Future as _,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use tenancy_core::TenantStore as _;
use tenancy_sqlx::{NewTenant, store::SqlStore};

use crate::support::{Follower, Place, list, on_every_database};

on_every_database!(
    a_dropped_change_is_either_committed_and_visible_or_did_not_happen,
    a_change_that_was_never_polled_did_not_happen,
);

/// A reader of the process: applies what is announced and says so.
fn keep_following(
    store: &SqlStore,
    follower: Follower,
) -> (Arc<Mutex<Follower>>, tokio::task::JoinHandle<()>) {
    let shared = Arc::new(Mutex::new(Follower {
        mark: follower.mark,
        entries: follower.entries.clone(),
    }));
    let mut subscription = store.signal().unwrap().subscribe();
    let task = tokio::spawn({
        let (store, shared) = (store.clone(), Arc::clone(&shared));
        let mut follower = follower;
        async move {
            loop {
                subscription.changed().await;
                follower.follow(&store, 50).await;
                let mut shared = shared.lock().unwrap();
                shared.mark = follower.mark;
                shared.entries.clone_from(&follower.entries);
                subscription.applied(follower.mark.number);
            }
        }
    });
    (shared, task)
}

async fn a_dropped_change_is_either_committed_and_visible_or_did_not_happen(place: Place) {
    let store = SqlStore::open(place.options().announce(Duration::from_secs(60)))
        .await
        .unwrap();
    let (shared, reader) = keep_following(&store, Follower::start(&store).await);

    let mut finished = 0;
    for n in 0_u64..400 {
        let mut creating = pin!(store.create(NewTenant::new(format!("t{n}"))));
        let polls = 1 + n.wrapping_mul(7919) % 7;
        for poll in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            if creating.as_mut().poll(&mut context).is_ready() {
                finished += 1;
                break;
            }
            for _ in 0..(n.wrapping_mul(31) + poll) % 40 {
                tokio::task::yield_now().await;
            }
        }
    }
    // Returns when every change that began has committed and was announced, or has failed.
    store.close().await;
    reader.abort();

    let reopened = place.open().await;
    let committed = list(&reopened, 100).await;
    assert!(committed.len() >= finished);
    let head = reopened.head().await.unwrap();
    let (mark, visible) = {
        let shared = shared.lock().unwrap();
        (shared.mark, shared.entries.clone())
    };
    assert_eq!(visible, committed);
    assert_eq!(mark, head);

    let log = reopened.changes_since(1, 1000).await.unwrap();
    assert_eq!(log.len(), committed.len());
    for (change, number) in log.iter().zip(2..) {
        assert_eq!((change.number, change.kind.as_str()), (number, "create"));
    }
    // The writing connection was left clean by each of them.
    reopened.create(NewTenant::new("afterwards")).await.unwrap();
}

async fn a_change_that_was_never_polled_did_not_happen(place: Place) {
    let store = place.open().await;
    drop(store.create(NewTenant::new("acme")));
    store.close().await;
    assert_eq!(place.open().await.count().await.unwrap(), 0);
}
