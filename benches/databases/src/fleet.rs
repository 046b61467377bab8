//! What a fleet of 10,000 tenants costs that has nothing to do, and what a sign-up takes.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};
use tenancy::{
    Tenancy,
    core::{Clock, SystemClock},
    resolve::Subdomain,
};
use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::{median, percentile},
};
use tenancy_sqlx::{
    NewTenant, TenantEngine,
    database::{Server, TenantHomes},
    isolation::Isolation,
    lifecycle::Lifecycle,
    migrate::Migrations,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::Role;

use crate::bed::PgBed;

const TENANTS: u64 = 10_000;
const LOOKS: usize = 5;
const SIGN_UPS: u64 = 100;

/// Tenants and their rows of the journal, as the one that was made has them. Each by itself would take longer than all else.
const OTHERS: &str = "
    INSERT INTO tenants (id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms, placement_server,
            placement_database, placement_isolation)
        SELECT 'f' || n, 'f' || n, 'active', 1000000 + n, 1000000 + n, 0, 0, t.placement_server,
            t.placement_database, t.placement_isolation
        FROM tenants t, NUMBERS WHERE t.id = 'first';
    INSERT INTO tenancy_migrations (tenant_id, incarnation, server, place, isolation, version, checksum, at_ms)
        SELECT 'f' || n, 1000000 + n, m.server, m.place, m.isolation, m.version, m.checksum, m.at_ms
        FROM tenancy_migrations m, NUMBERS WHERE m.tenant_id = 'first'";

pub(crate) async fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    if extent == Extent::Check {
        return Ok(());
    }
    eprintln!("databases fleet: {TENANTS} tenants, {SIGN_UPS} sign-ups");
    Box::pin(on_postgres(report)).await?;
    Box::pin(on_files(report)).await
}

async fn on_postgres(report: &mut Report) -> Result<(), Failure> {
    let bed = PgBed::start().await?;
    for database in ["catalogue", "homes"] {
        bed.server()
            .sql(format!("CREATE DATABASE {database} OWNER owner"))
            .await;
    }
    let url = |role, database| bed.server().socket_url(role, database);
    let catalogue = url(Role::Owner, "catalogue");
    let store = SqlStore::open(SqlStoreOptions::url(&catalogue)?).await?;
    let homes = TenantHomes::<sqlx::Postgres>::builder()
        .server(
            "main",
            Server::at(url(Role::App, "homes")).owner(url(Role::Owner, "homes")),
        )
        .isolation(Isolation::schema())
        .build()?;
    let lifecycle = begin(&store, &homes).await?;
    let mut connection = PgConnection::connect(&catalogue).await?;
    let numbers = format!("generate_series(1, {}) AS n", TENANTS - 1);
    let others = OTHERS.replace("NUMBERS", &numbers);
    sqlx::raw_sql(AssertSqlSafe(others))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Box::pin(rows(
        report,
        "a catalogue and schemas on PostgreSQL",
        &store,
        &lifecycle,
    ))
    .await
}

async fn on_files(report: &mut Report) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let catalogue = folder.path().join("catalogue.db");
    let tenants = folder.path().join("tenants");
    std::fs::create_dir(&tenants)?;
    let store = SqlStore::connect(&catalogue).await?;
    let homes = TenantHomes::<sqlx::Sqlite>::builder()
        .server(
            "files",
            Server::at(format!("sqlite://{}?mode=rwc", tenants.display())),
        )
        .build()?;
    let lifecycle = begin(&store, &homes).await?;
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", catalogue.display())).await?;
    let numbers = format!(
        "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {}) SELECT n FROM up)",
        TENANTS - 1
    );
    let others = OTHERS.replace("NUMBERS", &numbers);
    sqlx::raw_sql(AssertSqlSafe(others))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Box::pin(rows(
        report,
        "a catalogue and tenants in files of SQLite",
        &store,
        &lifecycle,
    ))
    .await
}

/// With the tenant that all others are like.
async fn begin<DB: TenantEngine>(
    store: &SqlStore,
    homes: &TenantHomes<DB>,
) -> Result<Lifecycle<DB>, Failure> {
    let text = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)".into_sql_str();
    let notes = Migration::new(1, "notes".into(), MigrationType::Simple, text, false);
    let migrations = Migrations::new(&Migrator::with_migrations(vec![notes]));
    let lifecycle = Lifecycle::builder(store, homes)
        .migrations(migrations)
        .build()
        .await?;
    lifecycle.create(NewTenant::new("first")).await?;
    Ok(lifecycle)
}

async fn rows<DB: TenantEngine>(
    report: &mut Report,
    place: &str,
    store: &SqlStore,
    lifecycle: &Lifecycle<DB>,
) -> Result<(), Failure> {
    let look = look_at_all(lifecycle).await?;
    // A sign-up returns when this process serves the tenant.
    let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
    tenancy.ready().await;
    let (ready, made) = sign_up(lifecycle).await?;
    report.add(
        format!("databases: a fleet of {TENANTS} tenants, {place}"),
        [
            Row::shown("migrating when all are up to date, longest of 5", "s", look).at_most(2.0),
            Row::shown(
                "a sign-up into a home that is ready, median",
                "ms",
                median(&ready),
            )
            .at_most(5.0),
            Row::shown("the same, p99", "ms", percentile(&ready, 0.99)),
            Row::shown("a sign-up whose home is made then, median", "ms", median(&made)),
        ],
    );
    Ok(())
}

async fn look_at_all<DB: TenantEngine>(lifecycle: &Lifecycle<DB>) -> Result<f64, Failure> {
    let fleet = lifecycle.fleet().ok_or("there are migrations")?;
    let mut longest = Duration::ZERO;
    for _ in 0..LOOKS {
        let done = fleet.migrate().await?;
        if done.up_to_date != TENANTS || done.migrated != 0 {
            return Err(format!("not all were up to date: {done:?}").into());
        }
        longest = longest.max(done.elapsed);
    }
    Ok(longest.as_secs_f64())
}

/// What each took, in milliseconds: into homes that are ready, and into new ones.
async fn sign_up<DB: TenantEngine>(lifecycle: &Lifecycle<DB>) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let clock = SystemClock::new();
    let pending = lifecycle.pending(SIGN_UPS);
    pending.refill_once().await?;
    let (mut ready, mut made) = (Vec::new(), Vec::new());
    for number in 0..SIGN_UPS {
        let began = clock.monotonic();
        pending.claim(NewTenant::new(format!("ready{number}"))).await?;
        ready.push((clock.monotonic() - began).as_secs_f64() * 1e3);
    }
    if pending.status().await?.ready != 0 {
        return Err("sign-ups did not take the homes that were ready".into());
    }
    for number in 0..SIGN_UPS / 5 {
        let began = clock.monotonic();
        lifecycle.create(NewTenant::new(format!("made{number}"))).await?;
        made.push((clock.monotonic() - began).as_secs_f64() * 1e3);
    }
    Ok((ready, made))
}
