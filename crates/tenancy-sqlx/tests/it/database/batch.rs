//! Operations in groups.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sqlx::{PgConnection, Postgres, Row};
use tenancy::Tenant;
use tenancy_sqlx::{
    batch::{BatchSettings, Batcher},
    database::DatabaseError,
};

use super::fixture::{KINDS, Kind, World, add, notes, notes_in};

/// Waits for ever for a group to be full.
fn full_groups(world: &World, operations: usize) -> Batcher<Postgres> {
    let settings = BatchSettings::new()
        .max_operations(operations)
        .max_delay(Duration::from_secs(600));
    Batcher::with_settings(world.databases.clone(), settings)
}

async fn transaction_of(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    let row = sqlx::query("SELECT txid_current()").fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

async fn write(
    batcher: &Batcher<Postgres>,
    tenant: &Tenant,
    text: String,
) -> Result<(String, i64), DatabaseError> {
    batcher
        .run(tenant, |connection| {
            Box::pin(async move {
                add(connection, &text).await?;
                if text.starts_with("fail") {
                    sqlx::query("SELECT 1 / 0").execute(&mut *connection).await?;
                }
                assert!(!text.starts_with("panic"), "on purpose");
                Ok((text, transaction_of(connection).await?))
            })
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_operations_share_a_transaction_and_each_caller_has_its_own_result() {
    for kind in KINDS {
        let world = World::new(kind, "groups", 3).await;
        let batcher = full_groups(&world, 10);
        let callers = (0..90).map(|number| {
            let (world, batcher) = (&world, &batcher);
            async move {
                let tenant = &world.tenants[number % 3];
                let (text, transaction) = write(batcher, tenant, format!("note {number}")).await.unwrap();
                assert_eq!(text, format!("note {number}"));
                (number % 3, transaction)
            }
        });
        let told: HashSet<_> = join_all(callers).await.into_iter().collect();
        assert_eq!(told.len(), 9, "{kind:?}: three groups for each of three tenants");
        for tenant in 0..3 {
            let seen = notes_in(&world.db(tenant)).await.unwrap();
            assert_eq!(seen.len(), 31, "{kind:?}");
            let own = seen.iter().filter_map(|note| note.strip_prefix("note "));
            assert!(
                own.clone()
                    .all(|number| number.parse::<usize>().unwrap() % 3 == tenant),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_or_panics_is_taken_back_alone() {
    for kind in KINDS {
        let world = World::new(kind, "neighbours", 1).await;
        let batcher = full_groups(&world, 5);
        let texts = ["a", "fail", "b", "panic", "c"];
        let callers = texts.map(|text| write(&batcher, &world.tenants[0], text.to_owned()));
        let told = join_all(callers).await;
        let outcome: Vec<_> = told.iter().map(Result::is_ok).collect();
        assert_eq!(outcome, [true, false, true, false, true], "{kind:?} {told:?}");
        assert!(told[1].as_ref().unwrap_err().is_failed(), "its own error");
        assert!(told[3].as_ref().unwrap_err().is_abandoned());
        let seen = notes_in(&world.db(0)).await.unwrap();
        let canary = world.canary(0);
        assert_eq!(seen, ["a", "b", "c", canary.as_str()], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_success_before_the_commit() {
    let world = World::new(Kind::Databases, "at_commit", 1).await;
    let owner = world.database.server().url(
        tenancy_test::servers::Role::Owner,
        &format!("tenant_{}", world.tenants[0].id()),
    );
    let unique = "ALTER TABLE notes ADD CONSTRAINT once UNIQUE (text) DEFERRABLE INITIALLY DEFERRED";
    super::fixture::run(&owner, unique).await;
    let batcher = full_groups(&world, 3);
    let texts = ["a", "twice", "twice"];
    let told = join_all(texts.map(|text| write(&batcher, &world.tenants[0], text.to_owned()))).await;
    assert!(
        told.iter().all(|told| told.as_ref().unwrap_err().is_failed()),
        "{told:?}"
    );
    assert_eq!(notes_in(&world.db(0)).await.unwrap(), [world.canary(0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_do_not_harm_their_group() {
    let world = World::new(Kind::Schemas, "gone", 1).await;
    let batcher = full_groups(&world, 4);
    let tenant = &world.tenants[0];
    let gone = tokio::time::timeout(Duration::from_millis(20), write(&batcher, tenant, "gone".into())).await;
    assert!(gone.is_err(), "the group waits for others");
    let ran = Arc::new(AtomicUsize::new(0));
    // One that goes while its operation runs.
    let (started, is_started) = tokio::sync::oneshot::channel();
    let counted = Arc::clone(&ran);
    let leaving = tokio::spawn({
        let (batcher, tenant) = (batcher.clone(), tenant.clone());
        async move {
            batcher
                .run(&tenant, move |connection| {
                    Box::pin(async move {
                        started.send(()).unwrap();
                        sqlx::query("SELECT pg_sleep(0.1)")
                            .execute(&mut *connection)
                            .await?;
                        add(connection, "left").await?;
                        counted.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                })
                .await
        }
    });
    let others = ["a", "b"].map(|text| write(&batcher, tenant, text.to_owned()));
    let leave = async {
        is_started.await.unwrap();
        leaving.abort();
    };
    let (told, ()) = tokio::join!(join_all(others), leave);
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    let canary = world.canary(0);
    let seen = notes_in(&world.db(0)).await.unwrap();
    assert_eq!(
        seen,
        ["a", "b", canary.as_str(), "left"],
        "and not the one that was gone before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_can_not_begin_tells_everybody_and_nobody_waits_for_others_for_ever() {
    let world = World::new(Kind::Databases, "no_begin", 2).await;
    world
        .place(0, |placement| placement.database = "missing".into())
        .await;
    let batcher = Batcher::new(world.databases.clone());
    let callers = (0..7).map(|number| write(&batcher, &world.tenants[0], format!("note {number}")));
    for told in join_all(callers).await {
        assert!(told.unwrap_err().is_missing_database());
    }
    for settings in [
        BatchSettings::new(),
        BatchSettings::new().max_delay(Duration::ZERO),
        BatchSettings::new()
            .max_operations(0)
            .max_delay(Duration::from_secs(600)),
    ] {
        let batcher = Batcher::with_settings(world.databases.clone(), settings);
        let seen = batcher
            .run(&world.tenants[1], |connection| {
                Box::pin(async move {
                    assert!(
                        tenancy::scope::current_tenant().is_some(),
                        "it runs for its tenant"
                    );
                    Ok(notes(connection).await?)
                })
            })
            .await;
        assert_eq!(seen.unwrap(), [world.canary(1)], "{settings:?}");
    }
}
