//! Futures dropped at each place where they wait, and what the next borrower of the connection sees of it.

mod engines;

use std::{future::poll_fn, ops::DerefMut, path::Path, pin::pin, task::Poll, time::Duration};

use sqlx::{
    Connection, MySql, Postgres, Sqlite,
    mysql::{MySqlConnectOptions, MySqlSslMode},
    postgres::PgPoolOptions,
    sqlite::SqliteConnectOptions,
};
use tenancy_bench::{
    Failure,
    report::{Report, Row},
};
use tenancy_sqlx::pool::{PoolSettings, Target, TenantPools};
use tenancy_test::servers::{MariaDb, MariaDbOptions, Role};
use tokio::time::timeout;

use self::engines::{Look, Subject};
use crate::bed::{PgBed, SERVER, Tenants, name_of};

const TIMES: usize = 300;
/// A connection that nobody can use any more may let its borrower wait without end.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Begin,
    Query,
    Commit,
}

/// What was dropped, and what was seen of it.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    dropped: usize,
    seen: usize,
    /// The most polls after which an operation was dropped.
    polls: usize,
}

pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let section = format!("databases: begin, query and commit, {TIMES} of each dropped where they wait");
    for (engine, sweep) in [
        ("PostgreSQL", Box::pin(postgres()).await?),
        ("MariaDB", Box::pin(mariadb()).await?),
        ("SQLite", Box::pin(sqlite()).await?),
    ] {
        let row = Row::shown(
            format!("seen by the next borrower, {engine}"),
            "times",
            sweep.seen as f64,
        );
        let row = row.at_most(0.0).note(format!(
            "{} dropped, after up to {} polls",
            sweep.dropped, sweep.polls
        ));
        report.add(section.clone(), [row]);
    }
    let name = "the same, PostgreSQL by a PgPool";
    report.add(
        section,
        [match timeout(PATIENCE, Box::pin(postgres_by_pgpool())).await {
            Ok(Ok(sweep)) => {
                Row::shown(name, "times", sweep.seen as f64).note(format!("of {}", sweep.dropped))
            }
            Ok(Err(error)) => Row::shown(name, "times", f64::NAN).note(error.to_string()),
            Err(_) => Row::shown(name, "times", f64::NAN).note("it hangs"),
        }],
    );
    Ok(())
}

/// One connection to each tenant, so that the next borrower has the one of the last.
fn settings() -> PoolSettings {
    PoolSettings::new(4).max_per_tenant(1)
}

async fn postgres() -> Result<Sweep, Failure> {
    let bed = PgBed::with_databases(1).await?;
    let tenants = Tenants::new(1).await?;
    let pools = bed.pools(settings())?;
    let sweep = sweep_all::<Postgres, _>(async || Ok(pools.acquire(tenants.get(0)).await?)).await?;
    pools.close().await;
    Ok(sweep)
}

async fn postgres_by_pgpool() -> Result<Sweep, Failure> {
    let bed = PgBed::with_databases(1).await?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(bed.options(Role::App, &name_of(0))?)
        .await?;
    sweep_all::<Postgres, _>(async || Ok(pool.acquire().await?)).await
}

async fn mariadb() -> Result<Sweep, Failure> {
    let server = MariaDb::start(MariaDbOptions::new()).await?;
    let database = server.database("cancel").await;
    let options: MySqlConnectOptions = database.owner_url().parse()?;
    let options = options.ssl_mode(MySqlSslMode::Disabled);
    let mut connection = sqlx::MySqlConnection::connect_with(&options).await?;
    sqlx::raw_sql("CREATE TABLE notes (text TEXT)")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let name = database.name().to_owned();
    let pools = TenantPools::<MySql>::builder(move |_| Target::database(&name))
        .server(SERVER, options, settings())
        .build();
    let tenants = Tenants::new(1).await?;
    let sweep = sweep_all::<MySql, _>(async || Ok(pools.acquire(tenants.get(0)).await?)).await?;
    pools.close().await;
    Ok(sweep)
}

async fn sqlite() -> Result<Sweep, Failure> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)?
    } else {
        tempfile::tempdir()?
    };
    let file = folder.path().join("tenant.db").display().to_string();
    let pools = TenantPools::<Sqlite>::builder(move |_| Target::database(&file))
        .server(
            SERVER,
            SqliteConnectOptions::new().create_if_missing(true),
            settings(),
        )
        .build();
    let tenants = Tenants::new(1).await?;
    sqlx::raw_sql("CREATE TABLE notes (text TEXT)")
        .execute(&mut *pools.acquire(tenants.get(0)).await?)
        .await?;
    let sweep = sweep_all::<Sqlite, _>(async || Ok(pools.acquire(tenants.get(0)).await?)).await?;
    pools.close().await;
    Ok(sweep)
}

async fn sweep_all<S: Subject, B>(borrow: impl AsyncFn() -> Result<B, Failure>) -> Result<Sweep, Failure>
where
    B: DerefMut<Target = S::Connection>,
{
    let mut all = Sweep::default();
    // Commits come last: their rows stay.
    for operation in [Operation::Begin, Operation::Query, Operation::Commit] {
        let sweep = Box::pin(sweep::<S, B>(&borrow, operation)).await?;
        all.dropped += sweep.dropped;
        all.seen += sweep.seen;
        all.polls = all.polls.max(sweep.polls);
    }
    Ok(all)
}

async fn sweep<S: Subject, B>(
    borrow: &impl AsyncFn() -> Result<B, Failure>,
    operation: Operation,
) -> Result<Sweep, Failure>
where
    B: DerefMut<Target = S::Connection>,
{
    let mut sweep = Sweep::default();
    let mut polls = 0;
    for nonce in 1.. {
        let mut borrowed = borrow().await?;
        let is_dropped = drop_after::<S>(&mut borrowed, operation, polls).await?;
        drop(borrowed);
        sweep.seen += usize::from(is_seen::<S>(&mut *borrow().await?, operation, nonce).await);
        if !is_dropped {
            // It ends before: once more from the first.
            polls = 0;
            continue;
        }
        sweep.dropped += 1;
        sweep.polls = sweep.polls.max(polls);
        polls += 1;
        if sweep.dropped == TIMES {
            break;
        }
    }
    Ok(sweep)
}

/// Whether it was dropped before it ended.
async fn drop_after<S: Subject>(
    connection: &mut S::Connection,
    operation: Operation,
    polls: usize,
) -> Result<bool, sqlx::Error> {
    if operation == Operation::Begin {
        let begun = poll_at_most(polls, connection.begin()).await;
        return Ok(begun.transpose()?.is_none());
    }
    let mut transaction = connection.begin().await?;
    if operation == Operation::Query {
        let written = poll_at_most(polls, S::write(&mut transaction)).await;
        return Ok(written.transpose()?.is_none());
    }
    S::write(&mut transaction).await?;
    let committed = poll_at_most(polls, transaction.commit()).await;
    Ok(committed.transpose()?.is_none())
}

/// Whether the next borrower is in a transaction that it did not begin, sees a row that nobody committed, or has the
/// answer to another question.
async fn is_seen<S: Subject>(connection: &mut S::Connection, operation: Operation, nonce: i64) -> bool {
    let Ok(look) = S::look(connection, nonce).await else {
        return true;
    };
    let Look {
        answered,
        is_in_transaction,
        rows,
    } = look;
    answered != nonce || is_in_transaction || (rows > 0 && operation != Operation::Commit)
}

/// Polls a future so many times and no more. `None` if it had not ended then.
async fn poll_at_most<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Dropped where it stands, without waiting for what it waits for.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_so_many_times_and_no_more() {
        for (polls, ends) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            let mut polled = 0;
            let future = poll_fn(|context| {
                polled += 1;
                if polled == 3 {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            });
            assert_eq!(poll_at_most(polls, future).await.is_some(), ends, "{polls}");
            assert_eq!(polled, polls.min(3));
        }
    }
}
