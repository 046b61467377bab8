//! Leases in a file, between processes that each have a connection of their own.

use std::{sync::Arc, time::Duration};

use tenancy_core::{LockStore, ManualClock};
use tenancy_sqlx::store::SqlLocks;

use crate::support::{Place, on_every_database};

on_every_database!(
    a_name_is_held_by_one_until_it_is_released_or_its_time_is_over,
    of_many_who_want_it_at_once_one_gets_it,
    leases_outlive_the_process_and_stand_beside_the_catalogue,
);

const MINUTE: Duration = Duration::from_secs(60);

async fn two(place: &Place) -> (SqlLocks, SqlLocks, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let open = || SqlLocks::open(place.options().clock(clock.clone()));
    (open().await.unwrap(), open().await.unwrap(), clock)
}

async fn a_name_is_held_by_one_until_it_is_released_or_its_time_is_over(place: Place) {
    let (here, there, clock) = two(&place).await;
    assert!(here.try_acquire("a", "1", MINUTE).await.unwrap());
    assert!(
        here.try_acquire("a", "1", MINUTE).await.unwrap(),
        "asked again by its holder"
    );
    assert!(!there.try_acquire("a", "2", MINUTE).await.unwrap());
    assert!(there.try_acquire("b", "2", MINUTE).await.unwrap(), "another name");

    there.release("a", "2").await.unwrap();
    assert!(
        !there.try_acquire("a", "2", MINUTE).await.unwrap(),
        "only its holder releases it"
    );
    here.release("a", "1").await.unwrap();
    assert!(there.try_acquire("a", "2", MINUTE).await.unwrap());

    clock.advance(MINUTE);
    assert!(!there.renew("a", "2", MINUTE).await.unwrap(), "its time is over");
    assert!(here.try_acquire("a", "1", MINUTE).await.unwrap());
    assert!(!there.renew("a", "2", MINUTE).await.unwrap(), "it is another's");
    clock.advance(MINUTE / 2);
    assert!(here.renew("a", "1", MINUTE).await.unwrap());
    clock.advance(MINUTE / 2);
    assert!(
        !there.try_acquire("a", "2", MINUTE).await.unwrap(),
        "it was renewed"
    );
}

async fn of_many_who_want_it_at_once_one_gets_it(place: Place) {
    for round in 0..20 {
        let name = format!("round {round}");
        let mut wanting = Vec::new();
        for process in 0..4 {
            let locks = SqlLocks::open(place.options()).await.unwrap();
            let name = name.clone();
            wanting.push(tokio::spawn(async move {
                locks
                    .try_acquire(&name, &process.to_string(), MINUTE)
                    .await
                    .unwrap()
            }));
        }
        let mut got = 0;
        for wanting in wanting {
            got += usize::from(wanting.await.unwrap());
        }
        assert_eq!(got, 1);
    }
}

async fn leases_outlive_the_process_and_stand_beside_the_catalogue(place: Place) {
    let store = place.open().await;
    let clock = Arc::new(ManualClock::new());
    let open = || SqlLocks::open(place.options().clock(clock.clone()));
    let locks = open().await.unwrap();
    assert!(locks.try_acquire("a", "1", MINUTE).await.unwrap());
    locks.close().await;
    assert!(
        locks
            .try_acquire("a", "2", MINUTE)
            .await
            .unwrap_err()
            .is_unavailable()
    );
    let again = open().await.unwrap();
    assert!(!again.try_acquire("a", "2", MINUTE).await.unwrap());
    store.create(tenancy_sqlx::NewTenant::new("acme")).await.unwrap();

    clock.advance(MINUTE);
    let cleaned = open().await.unwrap();
    let left = place.ask("SELECT count(*) FROM tenancy_locks").await;
    assert_eq!(left, 0, "what has expired is deleted at the next opening");
    assert!(cleaned.try_acquire("a", "2", MINUTE).await.unwrap());
}
