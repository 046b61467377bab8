//! Names that a server takes for one though they are two.

use std::time::Duration;

use sqlx::{MySql, Row};
use tenancy::MemoryStore;
use tenancy_core::Placement;
use tenancy_sqlx::database::{DatabaseError, Server, TenantDatabases, TenantDb};
use tenancy_test::servers::{MariaDb, MariaDbOptions, Role};

use super::fixture::enter_all;
use crate::pool::fixture::patient;

async fn notes(db: &TenantDb<MySql>) -> Result<Vec<String>, DatabaseError> {
    let mut transaction = db.begin().await?;
    let rows = sqlx::query("SELECT CAST(text AS CHAR) FROM notes")
        .fetch_all(&mut *transaction)
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// As servers on Windows and macOS are, and many on Linux are set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server_that_knows_no_case_twins_are_not_let_into_one_database() {
    let options = MariaDbOptions::new().setting("lower_case_table_names", "1");
    let server = MariaDb::start(options).await.unwrap();
    for database in ["kiosk", "tenant_first", "shared", "größe"] {
        server.sql(format!("CREATE DATABASE `{database}`")).await;
        server
            .sql(format!(
                "CREATE TABLE `{database}`.notes AS SELECT '{database}' AS text"
            ))
            .await;
    }
    server.sql("GRANT SELECT ON *.* TO app").await;
    let ids = ["first", "second", "third"].map(str::to_owned);
    let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
    let (tenancy, tenants) = enter_all(&store, &ids).await;
    let databases = TenantDatabases::<MySql>::builder(&tenancy)
        .server(
            "main",
            Server::at(server.url(Role::App, "kiosk")).settings(patient(4)),
        )
        // The role may read everything, so that nothing but the names keeps tenants apart here.
        .audit(false)
        .build()
        .await
        .unwrap();
    let place = async |tenant: usize, name: &str| {
        let tenant = &tenants[tenant];
        let before = tenant.epoch();
        let edit = store.update(tenant.id(), |record| {
            let mut placement = Placement::default();
            placement.database = name.into();
            record.placement = Some(Box::new(placement));
        });
        edit.await.unwrap();
        while tenant.epoch() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // To a database that follows from another's id, which has not been there yet and then has.
    for _ in 0..2 {
        for name in ["TENANT_FIRST", "tenant_f\u{130}rst"] {
            place(1, name).await;
            let error = notes(&databases.of(&tenants[1])).await.unwrap_err();
            assert!(error.is_misplaced(), "{name}: {error:?}");
        }
        assert_eq!(notes(&databases.of(&tenants[0])).await.unwrap(), ["tenant_first"]);
    }
    // To the server's and the application's own.
    for name in [
        "KIOSK",
        "\u{212a}iosk",
        "k\u{130}osk",
        "MySQL",
        "Information_Schema",
    ] {
        place(1, name).await;
        assert!(
            notes(&databases.of(&tenants[1]))
                .await
                .unwrap_err()
                .is_misplaced(),
            "{name}"
        );
    }
    // Two that are named alike but for the case: one of them is let in.
    for (first, second) in [("shared", "Shared"), ("größe", "GRÖßE")] {
        place(1, first).await;
        place(2, second).await;
        assert_eq!(notes(&databases.of(&tenants[1])).await.unwrap(), [first]);
        let error = notes(&databases.of(&tenants[2])).await.unwrap_err();
        assert!(error.is_misplaced(), "{second}: {error:?}");
    }
}
