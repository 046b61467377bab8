//! What it costs to put a transaction into the schema or the row of a tenant, counted on the wire.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenancy_bench::{
    Failure,
    report::{Report, Row},
};
use tenancy_test::servers::{FaultProxy, Role};

use crate::bed::PgBed;

const WAYS: [(&str, &str); 2] = [
    ("a schema", "BEGIN; SET LOCAL search_path TO t0"),
    ("a row", "BEGIN; SET LOCAL app.tenant TO 't0'"),
];

pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    eprintln!("databases round-trips");
    let bed = PgBed::start().await?;
    bed.run_in("postgres", "CREATE SCHEMA t0").await?;
    let proxy = FaultProxy::start(bed.server().address()).await?;
    let url = proxy.url(&bed.server().url(Role::Admin, "postgres"));
    let mut connection = PgConnection::connect(&url).await?;
    let plain = round_trips(&proxy, &mut connection, "BEGIN").await?;
    for (what, begin) in WAYS {
        let switched = round_trips(&proxy, &mut connection, begin).await?;
        report.add(
            "databases: a transaction of one statement on PostgreSQL",
            [Row::shown(
                format!("putting it into {what}"),
                "round trips",
                switched as f64 - plain as f64,
            )
            .at_most(0.0)
            .note(format!("beside {plain} of the transaction itself"))],
        );
    }
    Ok(connection.close().await?)
}

async fn round_trips(
    proxy: &FaultProxy,
    connection: &mut PgConnection,
    begin: &'static str,
) -> Result<u64, Failure> {
    let mut counted = 0;
    // The first time prepares the statement.
    for _ in 0..2 {
        let before = proxy.traffic().round_trips;
        let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
        sqlx::query("SELECT 1").execute(&mut *transaction).await?;
        transaction.commit().await?;
        counted = proxy.traffic().round_trips - before;
    }
    Ok(counted)
}
