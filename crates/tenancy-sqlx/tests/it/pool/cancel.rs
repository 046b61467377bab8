//! Futures dropped at every await: the next borrower sees nothing of it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row};
use tenancy_sqlx::pool::Lease;

use super::{
    fixture::{Fixture, canary, canary_in_schema, drop_when, patient, poll_at_most},
    server::PgServer,
};

/// Polls after which the unit of work below has ended, most of the time: an answer may come before it is waited for.
const POLLS: usize = 8;
const ROUNDS: usize = 30;

/// What a fresh session says of itself.
async fn assert_fresh(lease: &mut Lease<Postgres>, after: &str) {
    // In the simple protocol, where a statement of its own begins with its transaction.
    let row = sqlx::raw_sql(
        "SELECT current_setting('search_path'), now() = statement_timestamp(), \
                pg_current_xact_id_if_assigned() IS NULL, current_setting('app.tenant', true)",
    )
    .fetch_one(&mut **lease)
    .await
    .unwrap();
    assert_eq!(row.get::<&str, _>(0), r#""$user", public"#, "{after}");
    assert!(row.get::<bool, _>(1), "inside of a transaction {after}");
    assert!(row.get::<bool, _>(2), "something was written {after}");
    let setting = row.get::<Option<&str>, _>(3).unwrap_or_default();
    assert_eq!(setting, "", "{after}");
    let foreign = sqlx::query("SELECT tenant FROM canary")
        .fetch_all(&mut **lease)
        .await;
    assert!(foreign.is_err(), "a row of the tenant before {after}");
}

/// The whole life of a unit of work in a shared database.
async fn work(fixture: &Fixture, tenant: usize) -> Result<(), sqlx::Error> {
    let mut lease = fixture.lease(tenant).await;
    let begin = format!("BEGIN; SET LOCAL search_path TO t{tenant}; SET LOCAL app.tenant TO 't{tenant}'");
    let mut transaction = lease.begin_with(AssertSqlSafe(begin)).await?;
    sqlx::query("INSERT INTO canary SELECT tenant FROM canary LIMIT 1")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_work_dropped_at_any_await_leaves_nothing_to_the_next_tenant() {
    let settings = patient(4).max_per_tenant(1).max_tenants(1).settle(Duration::ZERO);
    let fixture = Fixture::schemas(&PgServer::shared().await, "cancel_work", 2, settings).await;
    let (mut dropped, mut ended) = (0, 0);
    for polls in 1..=POLLS {
        for _ in 0..ROUNDS {
            match poll_at_most(polls, work(&fixture, 0)).await {
                Some(result) => {
                    result.unwrap();
                    ended += 1;
                }
                None => dropped += 1,
            }
            let mut lease = fixture.lease(1).await;
            assert_fresh(&mut lease, &format!("after {polls} polls")).await;
        }
    }
    assert!(
        dropped >= 5 && ended >= 1,
        "{dropped} were dropped, {ended} ended"
    );
    let figures = fixture.until_quiet().await;
    assert!(figures.re_points > 0, "they shared a connection: {figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_is_dropped_is_rolled_back_before_the_next_borrower() {
    let settings = patient(4).max_per_tenant(1);
    let fixture = Fixture::databases(&PgServer::shared().await, "cancel_begin", 1, settings).await;
    for round in 0..150 {
        let mut lease = fixture.lease(0).await;
        let begin = lease.begin_with("BEGIN; CREATE TABLE left_behind (); SET LOCAL app.tenant TO 'x'");
        let begun = poll_at_most(1 + round % 3, begin).await;
        drop(begun);
        drop(lease);
        let mut next = fixture.lease(0).await;
        let row = sqlx::raw_sql("SELECT now() = statement_timestamp(), to_regclass('left_behind') IS NULL")
            .fetch_one(&mut *next)
            .await
            .unwrap();
        assert!(row.get::<bool, _>(0), "inside of a transaction");
        assert!(row.get::<bool, _>(1), "a table of a transaction that was dropped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_cancels_of_many_tenants_never_show_a_foreign_row() {
    let server = PgServer::shared().await;
    let settings = || patient(6).settle(Duration::from_millis(1));
    let own = Fixture::databases(&server, "canary_own", 12, settings()).await;
    let shared = Fixture::schemas(&server, "canary_shared", 12, settings()).await;
    let (own, shared) = (&own, &shared);
    let worker = |seed: u64| async move {
        let mut random = fastrand_like(seed);
        let mut seen = 0;
        for _ in 0..60 {
            let tenant = random(12);
            let expected = format!("t{tenant}");
            let polls = random(16);
            let read = async {
                let answer = if random(2) == 0 {
                    canary(&mut own.lease(tenant).await).await
                } else {
                    canary_in_schema(&mut shared.lease(tenant).await, &expected).await
                };
                assert_eq!(answer.unwrap(), expected);
            };
            // Every other one to its end, so that there is something to be seen.
            let times = if polls < 8 { usize::MAX } else { polls };
            seen += usize::from(poll_at_most(times, read).await.is_some());
        }
        seen
    };
    let seen: usize = futures_util::future::join_all((0..16).map(worker))
        .await
        .into_iter()
        .sum();
    assert!((400..960).contains(&seen), "{seen} of 960 rows were read");
    for fixture in [own, shared] {
        let figures = fixture.until_quiet().await;
        assert!(
            figures.resets > 0 && figures.open <= figures.budget,
            "{figures:?}"
        );
    }
}

/// Small numbers that look random, from a seed.
fn fastrand_like(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    }
}

/// How many connections that call themselves so sleep.
async fn sleeping(observer: &mut PgConnection, application: &str) -> i64 {
    let row = sqlx::query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%pg_sleep%' AND state = 'active'",
    )
    .bind(application)
    .fetch_one(observer)
    .await;
    row.unwrap().get(0)
}

async fn until_it_sleeps(observer: &mut PgConnection, application: &str) {
    while sleeping(observer, application).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_slow_query_is_cancelled_on_the_server() {
    let server = PgServer::shared().await;
    let settings = patient(4).max_per_tenant(1);
    let fixture = Fixture::databases(&server, "slow", 1, settings).await;
    let mut lease = fixture.lease(0).await;
    let slow = sqlx::query("SELECT pg_sleep(600)").execute(&mut *lease);
    let mut observer = server.connect("postgres").await;
    drop_when(until_it_sleeps(&mut observer, fixture.name), slow).await;
    drop(lease);
    let mut next = fixture.lease(0).await;
    assert_eq!(canary(&mut next).await.unwrap(), "t0");
    assert_eq!(sleeping(&mut observer, fixture.name).await, 0, "it still runs");
    let figures = fixture.figures();
    assert_eq!(
        (figures.cancels, figures.closed_hard, figures.opens),
        (1, 0, 1),
        "{figures:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_without_room_for_cancelling_is_not_passed_by_an_abandoned_query() {
    let server = PgServer::shared().await;
    let settings = patient(1).give_up_timeout(Duration::from_millis(300));
    let fixture = Fixture::databases(&server, "tight", 1, settings).await;
    let mut lease = fixture.lease(0).await;
    let slow = sqlx::query("SELECT pg_sleep(1)").execute(&mut *lease);
    let mut observer = server.connect("postgres").await;
    drop_when(until_it_sleeps(&mut observer, fixture.name), slow).await;
    drop(lease);
    let mut next = std::pin::pin!(fixture.lease(0));
    let mut next = loop {
        assert!(server.count(&mut observer, "tight").await <= 1);
        if let Ok(next) = tokio::time::timeout(Duration::from_millis(20), &mut next).await {
            break next;
        }
    };
    assert_eq!(canary(&mut next).await.unwrap(), "t0");
    let figures = fixture.figures();
    assert_eq!((figures.cancels, figures.opens), (0, 1), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_the_queue_takes_nothing_along() {
    let settings = patient(4).max_per_tenant(1);
    let fixture = Fixture::databases(&PgServer::shared().await, "queue_leave", 1, settings).await;
    for polls in 1..6 {
        let held = fixture.lease(0).await;
        let waiting = poll_at_most(polls, fixture.lease(0));
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending() || polls == 1);
        drop(held);
        if polls > 1 {
            drop(waiting.await);
        }
        fixture.until_quiet().await;
    }
    assert_eq!(fixture.figures().opens, 1);
}
