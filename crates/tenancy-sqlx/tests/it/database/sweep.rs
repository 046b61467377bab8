//! Units of work that are committed, dropped at every await: all of it lasts or nothing, and the next borrower begins anew.

use std::time::Duration;

use tenancy_sqlx::{TenantEngine, database::DatabaseError, pool::PoolSettings};
use tenancy_test::servers::{Fault, FaultProxy};

use super::{
    fixture::{KINDS, Kind},
    homes::{Homes, Notes},
};
use crate::pool::fixture::{patient, poll_at_most};

/// More than a unit of work takes, where each answer is waited for.
const POLLS: usize = 22;
const ROUNDS: usize = 3;

/// One connection, which goes from hand to hand; where none does, one for each tenant.
fn single(are_shared: bool) -> PoolSettings {
    let tenants = if are_shared { 1 } else { 2 };
    patient(4)
        .max_per_tenant(1)
        .max_tenants(tenants)
        .settle(Duration::ZERO)
}

/// So that each answer is waited for: what was sent last is on its way when the future is dropped.
fn slowly(proxy: &FaultProxy) {
    proxy.set(Fault::Delay(Duration::from_millis(1)));
}

/// The two halves of a unit of work, and its end.
async fn work<DB: TenantEngine<Connection: Notes>>(
    homes: &Homes<DB>,
    text: &str,
) -> Result<(), DatabaseError> {
    let mut transaction = homes.db(0).begin().await?;
    transaction.add(&format!("{text} a")).await?;
    transaction.add(&format!("{text} b")).await?;
    transaction.commit().await
}

/// What `tenant` sees on a connection that has been another's.
async fn seen_by<DB: TenantEngine<Connection: Notes>>(homes: &Homes<DB>, tenant: usize) -> Vec<String> {
    let mut connection = homes.db(tenant).acquire().await.unwrap();
    assert!(connection.is_outside().await, "it begins inside of a transaction");
    connection.notes().await.unwrap()
}

async fn sweep<DB: TenantEngine<Connection: Notes>>(homes: &Homes<DB>) {
    let (mut lasted, mut vanished, mut unheard) = (0, 0, 0);
    for polls in 1..=POLLS {
        for round in 0..ROUNDS {
            let text = format!("{polls}/{round}");
            let told = poll_at_most(polls, work(homes, &text)).await;
            let other = seen_by(homes, 1).await;
            assert_eq!(other, [homes.canary(1)], "after {polls} polls");
            let own = seen_by(homes, 0).await;
            let part = |part: &str| own.contains(&format!("{text} {part}"));
            assert_eq!(
                part("a"),
                part("b"),
                "half of a unit of work, after {polls} polls"
            );
            match told {
                Some(told) => {
                    told.unwrap();
                    assert!(part("a"), "what was committed is gone, after {polls} polls");
                    lasted += 1;
                }
                None if part("a") => unheard += 1,
                None => vanished += 1,
            }
        }
    }
    assert!(
        lasted >= ROUNDS && vanished >= ROUNDS,
        "{lasted} lasted, {vanished} vanished, {unheard} lasted unheard"
    );
    homes.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_commit_that_is_dropped_is_whole_or_not_at_all() {
    for kind in KINDS {
        sweep(&Homes::postgres(kind, "sweep", 2, single(kind != Kind::Databases), Some(&slowly)).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_a_commit_that_is_dropped_is_whole_or_not_at_all() {
    sweep(&Homes::mariadb("sweep", 2, single(false), Some(&slowly)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_a_commit_that_is_dropped_is_whole_or_not_at_all() {
    sweep(&Homes::files(2, single(false)).await).await;
}
