//! Behind the real PgBouncer in transaction mode.

use sqlx::Postgres;
use tenancy_sqlx::database::{Server, TenantDatabases};
use tenancy_test::servers::{PgBouncer, PoolMode, Role};

use super::fixture::{KINDS, Kind, World, add, notes, notes_in};
use crate::pool::fixture::{patient, poll_at_most};

async fn behind(world: &World, pooler: &PgBouncer, kind: Kind) -> TenantDatabases<Postgres> {
    let url = pooler.url(Role::App, world.database.name());
    TenantDatabases::builder(&world.tenancy)
        .server(
            "main",
            Server::at(url).settings(patient(8)).behind_transaction_pooler(),
        )
        .isolation(kind.isolation())
        .build()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_work_behind_a_pooler_with_prepared_statements_and_after_cancels() {
    for kind in KINDS {
        let world = World::new(kind, "pooled", 4).await;
        // Fewer sessions than connections: they are mixed up on purpose.
        let pooler = PgBouncer::start_with(
            world.database.server(),
            PoolMode::Transaction,
            &[("default_pool_size", "2")],
        )
        .await
        .unwrap();
        let databases = behind(&world, &pooler, kind).await;
        let work = (0..120).map(|round| {
            let (world, databases) = (&world, &databases);
            async move {
                let tenant = round % 4;
                let db = databases.of(&world.tenants[tenant]);
                if round % 3 == 0 {
                    let cancelled = async {
                        let mut transaction = db.begin().await.unwrap();
                        add(&mut transaction, "uncommitted").await.unwrap();
                        transaction.rollback().await.unwrap();
                    };
                    poll_at_most(1 + round % 11, cancelled).await;
                } else {
                    let seen = notes_in(&db).await.unwrap();
                    assert_eq!(seen, [world.canary(tenant)], "{kind:?}");
                }
            }
        });
        futures_util::future::join_all(work).await;
        let figures = databases.figures("main").unwrap();
        assert_eq!(figures.other_sessions, 0, "{kind:?} {figures:?}");
        assert!(figures.open <= 8, "{kind:?} {figures:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_a_pooler_would_lose_is_refused() {
    for kind in KINDS {
        let world = World::new(kind, "no_session", 1).await;
        let pooler = PgBouncer::start(world.database.server(), PoolMode::Transaction)
            .await
            .unwrap();
        let databases = behind(&world, &pooler, kind).await;
        match databases.of(&world.tenants[0]).acquire().await {
            Ok(mut connection) => {
                assert_eq!(kind, Kind::Databases);
                let seen = sqlx::raw_sql("SELECT text FROM notes")
                    .fetch_all(&mut *connection)
                    .await;
                assert_eq!(seen.unwrap().len(), 1);
            }
            Err(error) => assert!(error.is_behind_pooler() && kind != Kind::Databases, "{error:?}"),
        }
        let mut transaction = databases.of(&world.tenants[0]).begin().await.unwrap();
        assert_eq!(notes(&mut transaction).await.unwrap(), [world.canary(0)]);
    }
}
