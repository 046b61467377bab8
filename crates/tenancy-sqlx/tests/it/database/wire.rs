//! What a tenant costs on the wire.

use sqlx::Postgres;
use tenancy_sqlx::database::{Server, TenantDatabases, TenantDb};
use tenancy_test::servers::FaultProxy;

use super::fixture::{KINDS, Kind, World, notes};
use crate::pool::fixture::steady;

/// One transaction: how often it waited for an answer, and its first message. What comes after is the reset.
async fn transaction(db: &TenantDb<Postgres>, proxy: &FaultProxy) -> (usize, String) {
    proxy.record();
    let mut transaction = db.begin().await.unwrap();
    notes(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let bursts = proxy.take_recorded();
    let texts: Vec<_> = bursts
        .iter()
        .map(|burst| String::from_utf8_lossy(&burst.bytes).into_owned())
        .collect();
    let commit = texts.iter().position(|text| text.contains("COMMIT")).unwrap();
    (commit + 1, texts[0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_schema_or_rows_cost_no_round_trip_in_a_transaction() {
    for kind in KINDS {
        let world = World::new(kind, "wire", 2).await;
        let proxy = FaultProxy::start(world.database.server().address())
            .await
            .unwrap();
        let databases = TenantDatabases::<Postgres>::builder(&world.tenancy)
            .server(
                "main",
                Server::at(proxy.url(&world.database.app_url())).settings(steady(1)),
            )
            .isolation(kind.isolation())
            .build()
            .await
            .unwrap();
        let quiet = || async {
            while databases.figures("main").unwrap().idle != 1 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        // The statement is prepared in the first, and the connection the other tenant's in the second.
        let (mut measured, mut message) = (0, String::new());
        for tenant in [0, 1, 0, 1] {
            if kind == Kind::Databases && tenant == 1 {
                continue;
            }
            (measured, message) = transaction(&databases.of(&world.tenants[tenant]), &proxy).await;
            quiet().await;
        }
        assert_eq!(measured, 3, "{kind:?}: BEGIN, the query, COMMIT");
        let enters = match kind {
            Kind::Databases => None,
            Kind::Schemas => Some("SET LOCAL search_path"),
            Kind::Rows => Some(r#"SET LOCAL "app"."tenant""#),
        };
        assert!(message.contains("BEGIN"), "{message}");
        assert!(enters.is_none_or(|enters| message.contains(enters)), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_cut_while_it_was_idle_is_not_the_callers_business() {
    for kind in KINDS {
        let world = World::new(kind, "cut", 1).await;
        let proxy = FaultProxy::start(world.database.server().address())
            .await
            .unwrap();
        let databases = TenantDatabases::<Postgres>::builder(&world.tenancy)
            .server(
                "main",
                Server::at(proxy.url(&world.database.app_url())).settings(steady(4)),
            )
            .isolation(kind.isolation())
            .build()
            .await
            .unwrap();
        let db = databases.of(&world.tenants[0]);
        for _ in 0..3 {
            let mut transaction = db.begin().await.unwrap();
            assert_eq!(
                notes(&mut transaction).await.unwrap(),
                [world.canary(0)],
                "{kind:?}"
            );
            transaction.commit().await.unwrap();
            while databases.figures("main").unwrap().idle != 1 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            proxy.cut();
            // Cut in the proxy's own time: what begins before is cut while it is used.
            while proxy.traffic().open > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}
