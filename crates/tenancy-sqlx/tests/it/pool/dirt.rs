//! What a session may keep, and nobody after it may see.

use sqlx::{AssertSqlSafe, Postgres, Row};
use tenancy_sqlx::pool::Lease;

use super::{
    fixture::{Fixture, backend, steady},
    server::PgServer,
};

async fn scalar(lease: &mut Lease<Postgres>, sql: &'static str) -> String {
    let row = sqlx::raw_sql(sql).fetch_one(&mut **lease).await.unwrap();
    row.get::<Option<String>, _>(0).unwrap_or_default()
}

/// What leaves something, how to see it, what is seen when it is gone, and whether the connection can go on.
const STATES: &[(&str, &str, &str, bool)] = &[
    (
        "SET search_path TO pg_catalog",
        "SHOW search_path",
        r#""$user", public"#,
        true,
    ),
    (
        "SET app.tenant TO 'x'",
        "SELECT current_setting('app.tenant', true)",
        "",
        true,
    ),
    ("SET ROLE app_role", "SELECT current_user", "admin", true),
    (
        "SET SESSION AUTHORIZATION app_role",
        "SELECT session_user",
        "admin",
        true,
    ),
    ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "UTC", true),
    (
        "SET default_transaction_read_only TO on",
        "SHOW transaction_read_only",
        "off",
        true,
    ),
    (
        "CREATE TEMP TABLE secrets (s text)",
        "SELECT to_regclass('secrets')::text",
        "",
        true,
    ),
    (
        "LISTEN gossip",
        "SELECT count(*)::text FROM pg_listening_channels()",
        "0",
        true,
    ),
    (
        "SELECT pg_advisory_lock(7), pg_advisory_lock_shared(8)",
        "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "0",
        true,
    ),
    (
        "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*)::text FROM pg_cursors",
        "0",
        true,
    ),
    (
        "PREPARE stolen AS SELECT 1",
        "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql",
        "0",
        false,
    ),
    (
        "BEGIN; CREATE TABLE half_done ()",
        "SELECT to_regclass('half_done')::text",
        "",
        true,
    ),
    (
        "BEGIN; SAVEPOINT a; SET LOCAL app.tenant TO 'x'",
        "SELECT current_setting('app.tenant', true)",
        "",
        true,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_session_keeps_reaches_the_next_borrower() {
    let server = PgServer::shared().await;
    let settings = steady(4).max_per_tenant(1);
    let fixture = Fixture::databases(&server, "dirt", 1, settings).await;
    let mut admin = server.connect("postgres").await;
    super::server::run(&mut admin, "CREATE ROLE app_role".into()).await;
    for &(leave, look, gone, goes_on) in STATES {
        let mut lease = fixture.lease(0).await;
        let before = backend(&mut lease).await;
        sqlx::raw_sql(leave).execute(&mut *lease).await.unwrap();
        assert_ne!(
            (
                scalar(&mut lease, look).await.as_str(),
                leave.starts_with("BEGIN; C")
            ),
            (gone, false),
            "{leave} leaves nothing to be seen"
        );
        drop(lease);
        let mut next = fixture.lease(0).await;
        assert_eq!(scalar(&mut next, look).await, gone, "{leave}");
        let row = sqlx::raw_sql("SELECT now() = statement_timestamp()")
            .fetch_one(&mut *next)
            .await;
        assert!(
            row.unwrap().get::<bool, _>(0),
            "a transaction is open after {leave}"
        );
        assert_eq!(backend(&mut next).await == before, goes_on, "{leave}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_transaction_is_ended() {
    let settings = steady(4).max_per_tenant(1);
    let fixture = Fixture::databases(&PgServer::shared().await, "aborted", 1, settings).await;
    for leave in ["BEGIN; SELECT 1/0", "BEGIN; SELECT 'x'::int; SELECT 2"] {
        let mut lease = fixture.lease(0).await;
        assert!(sqlx::raw_sql(leave).execute(&mut *lease).await.is_err());
        drop(lease);
        let mut next = fixture.lease(0).await;
        assert_eq!(scalar(&mut next, "SELECT 1::text").await, "1");
    }
    assert_eq!(fixture.figures().opens, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_of_sqlx_survive() {
    let settings = steady(4).max_per_tenant(1);
    let fixture = Fixture::databases(&PgServer::shared().await, "prepared", 1, settings).await;
    for _ in 0..3 {
        let mut lease = fixture.lease(0).await;
        let row = sqlx::query("SELECT $1::int4 + 1")
            .bind(1)
            .fetch_one(&mut *lease)
            .await;
        assert_eq!(row.unwrap().get::<i32, _>(0), 2);
    }
    let mut lease = fixture.lease(0).await;
    let kept = "SELECT count(*)::text FROM pg_prepared_statements WHERE statement LIKE '%int4 + 1'";
    assert_eq!(
        scalar(&mut lease, kept).await,
        "1",
        "prepared once, and still there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_not_used_goes_back_without_a_reset() {
    let settings = steady(4);
    let fixture = Fixture::databases(&PgServer::shared().await, "unused", 1, settings).await;
    for _ in 0..10 {
        drop(fixture.lease(0).await);
    }
    let figures = fixture.figures();
    assert_eq!(
        (figures.resets, figures.opens, figures.idle),
        (0, 1, 1),
        "{figures:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_swapped_between_tenants_are_closed() {
    let settings = steady(8);
    let fixture = Fixture::databases(&PgServer::shared().await, "swapped", 2, settings).await;
    let mut first = fixture.lease(0).await;
    let mut second = fixture.lease(1).await;
    std::mem::swap(&mut *first, &mut *second);
    drop((first, second));
    let figures = fixture.until(|figures| figures.open == 0).await;
    assert_eq!(figures.other_sessions, 2);
    for tenant in 0..2 {
        let mut lease = fixture.lease(tenant).await;
        let row = sqlx::raw_sql(AssertSqlSafe("SELECT tenant FROM canary".to_owned()))
            .fetch_one(&mut *lease)
            .await
            .unwrap();
        assert_eq!(row.get::<String, _>(0), format!("t{tenant}"));
    }
}
