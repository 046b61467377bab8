//! What holds whatever keeps tenants apart.

use std::time::Duration;

use sqlx::{Connection, Row};
use tenancy_sqlx::database::DatabaseError;

use super::fixture::{KINDS, Kind, World, add, notes, notes_in, run};
use crate::pool::fixture::{patient, poll_at_most};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_own_rows_and_no_others() {
    for kind in KINDS {
        let world = World::new(kind, "own_rows", 8).await;
        let work = (0..60).map(|round| {
            let world = &world;
            async move {
                let tenant = round % 8;
                let seen = notes_in(&world.db(tenant)).await.unwrap();
                assert_eq!(seen, [world.canary(tenant)], "{kind:?}");
            }
        });
        futures_util::future::join_all(work).await;
        let figures = world.databases.figures("main").unwrap();
        assert_eq!(
            figures.re_points > 0,
            kind != Kind::Databases,
            "{kind:?} {figures:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_lasts_and_what_is_dropped_does_not() {
    for kind in KINDS {
        let world = World::new(kind, "lasts", 2).await;
        let db = world.db(0);
        let mut kept = db.begin().await.unwrap();
        add(&mut kept, "kept").await.unwrap();
        let mut nested = kept.nested().await.unwrap();
        add(&mut nested, "nested and dropped").await.unwrap();
        drop(nested);
        let mut nested = kept.nested().await.unwrap();
        add(&mut nested, "nested").await.unwrap();
        nested.commit().await.unwrap();
        kept.commit().await.unwrap();

        let mut dropped = db.begin().await.unwrap();
        add(&mut dropped, "dropped").await.unwrap();
        drop(dropped);
        let mut rolled_back = db.begin().await.unwrap();
        add(&mut rolled_back, "rolled back").await.unwrap();
        rolled_back.rollback().await.unwrap();

        let seen = notes_in(&db).await.unwrap();
        assert_eq!(
            seen,
            [world.canary(0), "kept".to_owned(), "nested".to_owned()],
            "{kind:?}"
        );
        assert_eq!(
            notes_in(&world.db(1)).await.unwrap(),
            [world.canary(1)],
            "{kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_dropped_at_any_await_leaves_nothing_to_the_next_tenant() {
    const POLLS: usize = 20;
    for kind in KINDS {
        let world = World::with(kind, "dropped_work", 2, |url| {
            let settings = patient(4).max_per_tenant(1).max_tenants(1).settle(Duration::ZERO);
            tenancy_sqlx::database::Server::at(url).settings(settings)
        })
        .await;
        let work = async |rounds: &mut usize| {
            let mut transaction = world.db(0).begin().await?;
            add(&mut transaction, "uncommitted").await?;
            *rounds += 1;
            transaction.rollback().await
        };
        let (mut dropped, mut ended) = (0, 0);
        for polls in 1..=POLLS {
            for _ in 0..5 {
                match poll_at_most(polls, work(&mut ended)).await {
                    Some(result) => result.unwrap(),
                    None => dropped += 1,
                }
                let seen = notes_in(&world.db(1)).await.unwrap();
                assert_eq!(seen, [world.canary(1)], "{kind:?} after {polls} polls");
            }
        }
        assert!(
            dropped >= 5 && ended >= 1,
            "{kind:?}: {dropped} dropped, {ended} ended"
        );
        assert_eq!(
            notes_in(&world.db(0)).await.unwrap(),
            [world.canary(0)],
            "{kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outside_of_a_transaction_is_one_tenants_until_it_is_dropped() {
    for kind in KINDS {
        let world = World::with(kind, "acquired", 2, |url| {
            let settings = patient(4).max_per_tenant(1).max_tenants(1).settle(Duration::ZERO);
            tenancy_sqlx::database::Server::at(url).settings(settings)
        })
        .await;
        for tenant in [0, 1, 0, 1] {
            let mut connection = world.db(tenant).acquire().await.unwrap();
            assert_eq!(
                notes(&mut connection).await.unwrap(),
                [world.canary(tenant)],
                "{kind:?}"
            );
            let mut transaction = connection.begin().await.unwrap();
            assert_eq!(
                notes(&mut transaction).await.unwrap(),
                [world.canary(tenant)],
                "{kind:?}"
            );
            transaction.rollback().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_another_tenant_can_not_be_written() {
    let world = World::new(Kind::Rows, "foreign_row", 2).await;
    let mut transaction = world.db(0).begin().await.unwrap();
    let other = world.tenants[1].id().as_str();
    let written = sqlx::query("INSERT INTO notes VALUES ($1, 'planted')")
        .bind(other)
        .execute(&mut *transaction)
        .await;
    assert_eq!(
        written.unwrap_err().as_database_error().unwrap().code().unwrap(),
        "42501"
    );
    drop(transaction);
    let moved = world.db(0).begin().await.unwrap().commit().await;
    moved.unwrap();
    assert_eq!(notes_in(&world.db(1)).await.unwrap(), [world.canary(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_tenant_no_row_is_seen_and_no_table_found() {
    let world = World::new(Kind::Rows, "no_tenant", 1).await;
    let mut transaction = world.db(0).begin().await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut *transaction).await.unwrap();
    assert_eq!(notes(&mut transaction).await.unwrap(), Vec::<String>::new());
    drop(transaction);

    let world = World::new(Kind::Schemas, "no_schema", 1).await;
    world
        .place(0, |placement| placement.database = "not there".into())
        .await;
    let error = notes_in(&world.db(0)).await.unwrap_err();
    assert!(error.is_failed() && error.as_sqlx().is_some(), "{error:?}");
    assert!(!error.to_string().contains("not there"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_a_migration_made_stale_is_tried_again_once() {
    let world = World::new(Kind::Databases, "drift", 1).await;
    let db = world.db(0);
    let read = || {
        db.transaction(|transaction| {
            Box::pin(async move {
                let rows = sqlx::query("SELECT * FROM notes")
                    .fetch_all(&mut **transaction)
                    .await?;
                Ok(rows[0].len())
            })
        })
    };
    assert_eq!(read().await.unwrap(), 1);
    let owner = world.database.server().url(
        tenancy_test::servers::Role::Owner,
        &format!("tenant_{}", world.tenants[0].id()),
    );
    run(&owner, "ALTER TABLE notes ADD COLUMN more int").await;
    assert_eq!(read().await.unwrap(), 2, "it was tried again");
    run(&owner, "ALTER TABLE notes ADD COLUMN even_more int").await;
    let mut transaction = db.begin().await.unwrap();
    let stale = sqlx::query("SELECT * FROM notes")
        .fetch_all(&mut *transaction)
        .await;
    let error = DatabaseError::from(stale.unwrap_err());
    assert!(error.is_failed(), "this is what it is kept from: {error:?}");
    drop(transaction);
    let tried = std::sync::atomic::AtomicUsize::new(0);
    let failed = db
        .transaction(|transaction| {
            tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Box::pin(async move {
                sqlx::query("SELECT nothing FROM notes")
                    .execute(&mut **transaction)
                    .await?;
                Ok(())
            })
        })
        .await;
    assert!(failed.unwrap_err().is_failed());
    assert_eq!(tried.into_inner(), 1, "what is wrong stays wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_with_types_of_their_own_keep_their_connections() {
    let world = World::new(Kind::Schemas, "enums", 3).await;
    for tenant in [0, 1] {
        let schema = format!("\"tenant_{}\"", world.tenants[tenant].id());
        run(
            &world.database.owner_url(),
            &format!(
                "CREATE TYPE {schema}.mood AS ENUM ('fine', 'bad'); CREATE TABLE {schema}.moods (mood {schema}.mood); \
                 GRANT ALL ON {schema}.moods TO app"
            ),
        )
        .await;
    }
    let report = world.databases.audit().await.unwrap();
    assert!(!report.refuses() && report.findings().len() == 2, "{report}");
    for _ in 0..3 {
        for tenant in [0, 2, 1] {
            let mut transaction = world.db(tenant).begin().await.unwrap();
            if tenant < 2 {
                sqlx::query("INSERT INTO moods VALUES ($1::mood)")
                    .bind("fine")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                sqlx::query("SELECT mood FROM moods")
                    .fetch_all(&mut *transaction)
                    .await
                    .unwrap();
            }
            assert_eq!(notes(&mut transaction).await.unwrap(), [world.canary(tenant)]);
            transaction.commit().await.unwrap();
        }
    }
}
