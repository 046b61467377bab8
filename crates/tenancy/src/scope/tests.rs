//! What a load notices of its parts.

use super::{
    Scope, carry, carry_callback, central, current, has_seen_stale, note_stale, run::run_load, spawn,
    spawn_blocking,
};

async fn load<F: Future>(future: F) -> (F::Output, bool) {
    run_load(Scope::Central, async { (future.await, has_seen_stale()) }).await
}

async fn sees_stale(future: impl Future) -> bool {
    load(future).await.1
}

#[tokio::test]
async fn a_load_notices_what_its_parts_were_served_stale() {
    assert!(!sees_stale(async {}).await);
    assert!(sees_stale(async { note_stale() }).await);
    assert!(sees_stale(async { spawn(async { note_stale() }).await }).await);
    assert!(sees_stale(async { spawn_blocking(note_stale).await }).await);
    assert!(sees_stale(async { tokio::spawn(carry(async { note_stale() })).await }).await);
    assert!(sees_stale(async { central(async { note_stale() }).await }).await);
    let deeply = async { spawn(central(async { spawn(async { note_stale() }).await })).await };
    assert!(sees_stale(deeply).await);
    // A plain task has no scope.
    assert!(!sees_stale(async { tokio::spawn(async { note_stale() }).await }).await);
}

#[tokio::test]
async fn what_is_called_back_later_belongs_to_the_load_that_made_it() {
    let making = async {
        let callback = carry_callback(|()| async { note_stale() });
        // By somebody who has no scope.
        tokio::spawn(async { callback(()).await }).await
    };
    assert!(sees_stale(making).await);
    // Nor to the one that calls it.
    let (callback, _) = load(async { carry_callback(|()| async { note_stale() }) }).await;
    assert!(!sees_stale(async { callback(()).await }).await);
}

#[tokio::test]
async fn a_load_within_a_load_has_a_mark_of_its_own() {
    let (inner, outer) = load(sees_stale(async { note_stale() })).await;
    assert!(inner && !outer);
    let (inner, outer) = load(async {
        note_stale();
        sees_stale(async {}).await
    })
    .await;
    assert!(!inner && outer);
}

#[tokio::test]
async fn outside_of_loads_nothing_is_noticed() {
    note_stale();
    assert!(!has_seen_stale());
    central(async {
        assert_eq!(current(), Some(Scope::Central));
        note_stale();
        assert!(!has_seen_stale());
    })
    .await;
}
