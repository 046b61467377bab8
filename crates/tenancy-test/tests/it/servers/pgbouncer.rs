use tenancy_test::servers::{PgBouncer, PoolMode, Postgres, Role};

use super::postgres::psql;

/// Two clients by turns on the only server connection: the second sees what the first one set, or waits in vain.
#[tokio::test]
async fn transaction_mode_hands_a_session_on_and_session_mode_does_not() {
    let database = Postgres::shared().await.database("pooled").await;
    let one_connection = [("default_pool_size", "1"), ("server_reset_query_always", "0")];
    let start = |mode| PgBouncer::start_with(database.server(), mode, &one_connection);
    let (transaction, session) = tokio::join!(start(PoolMode::Transaction), start(PoolMode::Session));
    let left_behind = |pooler: &PgBouncer| {
        let url = pooler.url(Role::Owner, database.name());
        psql(&url, "SET search_path = theirs").unwrap();
        psql(&url, "SHOW search_path").unwrap() == "theirs"
    };
    assert!(left_behind(&transaction.unwrap()));
    assert!(!left_behind(&session.unwrap()));
}

#[tokio::test]
async fn each_role_logs_in_through_it_also_after_a_restart_of_both() {
    let server = Postgres::start(Default::default()).await.unwrap();
    let database = server.database("pooled").await;
    let pooler = PgBouncer::start(&server, PoolMode::Transaction).await.unwrap();
    let who = |role| psql(&pooler.url(role, database.name()), "SELECT current_user").unwrap();
    for role in [Role::App, Role::Owner, Role::Admin] {
        assert_eq!(who(role), role.name());
    }
    server.restart().await.unwrap();
    pooler.kill().await;
    pooler.restart().await.unwrap();
    assert_eq!(who(Role::App), "app");
}
