//! Reads that may go to a replica. What stands in for one is the server itself, through a proxy.

use tenancy_sqlx::database::{Server, TenantDatabases};
use tenancy_test::servers::{Fault, FaultProxy};

use super::fixture::{KINDS, World, add, notes, notes_in};
use crate::pool::fixture::steady;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_replica_can_not_write_and_fall_back() {
    for kind in KINDS {
        let world = World::new(kind, "replica", 2).await;
        let proxy = FaultProxy::start(world.database.server().address())
            .await
            .unwrap();
        let build = async |falls_back| {
            let server = Server::at(world.database.app_url())
                .replica(proxy.url(&world.database.app_url()))
                .settings(steady(4));
            TenantDatabases::builder(&world.tenancy)
                .server("main", server)
                .isolation(kind.isolation())
                .reads_fall_back(falls_back)
                .build()
                .await
                .unwrap()
        };
        let databases = build(true).await;
        let db = databases.of(&world.tenants[0]);
        assert_eq!(
            proxy.traffic().connections,
            0,
            "nothing is opened before it is used"
        );
        let mut read = db.read().await.unwrap();
        assert_eq!(notes(&mut read).await.unwrap(), [world.canary(0)], "{kind:?}");
        let refused = add(&mut read, "written").await.unwrap_err();
        assert_eq!(
            refused.as_database_error().unwrap().code().unwrap(),
            "25006",
            "{kind:?}"
        );
        drop(read);
        assert_eq!(proxy.traffic().connections, 1, "{kind:?}");
        notes_in(&db).await.unwrap();
        assert_eq!(proxy.traffic().connections, 1, "what may write does not go there");

        proxy.set(Fault::Reset);
        while proxy.traffic().open > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let mut read = db.read().await.unwrap();
        assert_eq!(
            notes(&mut read).await.unwrap(),
            [world.canary(0)],
            "{kind:?} from the primary"
        );
        assert!(
            add(&mut read, "written").await.is_err(),
            "it does not write there either"
        );
        let strict = build(false).await;
        let error = strict.of(&world.tenants[1]).read().await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
    }
}
